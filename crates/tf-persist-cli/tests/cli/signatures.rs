//! Signatures that say less than their graph, or something else.

use serde_json::{Value, json};

use crate::command::Ran;
use crate::serve::Running;
use crate::support::Dir;

/// A model in text form: `y = 2 * x + 1` with `h = 2 * x` within, `sum = u + 1`, a tensor list, and the lengths of
/// texts; and a read of a file, where it is asked for.
fn write(dir: &Dir, name: &str, signatures: &[String]) {
    let float = attr("T", "type: DT_FLOAT");
    let scalar = |name: &str, dtype: &str, value: &str| {
        let tensor = format!("tensor {{ dtype: {dtype} tensor_shape {{}} {value} }}");
        node(name, "Const", &[], &[attr("dtype", &format!("type: {dtype}")), attr("value", &tensor)])
    };
    let placeholder = |name: &str, dtype: &str| {
        let unknown = attr("shape", "shape { unknown_rank: true }");
        node(name, "Placeholder", &[], &[attr("dtype", &format!("type: {dtype}")), unknown])
    };
    let nodes = [
        placeholder("x", "DT_FLOAT"),
        placeholder("u", "DT_FLOAT"),
        placeholder("text", "DT_STRING"),
        scalar("one", "DT_FLOAT", "float_val: 1"),
        scalar("two", "DT_FLOAT", "float_val: 2"),
        node("h", "Mul", &["x", "two"], std::slice::from_ref(&float)),
        node("y", "AddV2", &["h", "one"], std::slice::from_ref(&float)),
        node("sum", "AddV2", &["u", "one"], std::slice::from_ref(&float)),
        scalar("minus", "DT_INT32", "int_val: -1"),
        node(
            "list",
            "EmptyTensorList",
            &["minus", "minus"],
            &[attr("element_dtype", "type: DT_FLOAT"), attr("shape_type", "type: DT_INT32")],
        ),
        node("length", "StringLength", &["text"], &[attr("unit", "s: \"BYTE\"")]),
        node(
            "score",
            "Cast",
            &["length"],
            &[attr("SrcT", "type: DT_INT32"), attr("DstT", "type: DT_FLOAT"), attr("Truncate", "b: false")],
        ),
        node("step", "NoOp", &["^y"], &[]),
    ];
    let (nodes, signatures) = (nodes.concat(), signatures.concat());
    let text = format!(
        "saved_model_schema_version: 1 meta_graphs {{ meta_info_def {{ tags: \"serve\" }} \
         graph_def {{ {nodes} versions {{ producer: 2404 }} }} {signatures} }}"
    );
    dir.write(format!("{name}/saved_model.pbtxt"), text);
}

fn attr(key: &str, value: &str) -> String {
    format!("attr {{ key: \"{key}\" value {{ {value} }} }} ")
}

fn node(name: &str, op: &str, inputs: &[&str], attrs: &[String]) -> String {
    let inputs: String = inputs.iter().map(|input| format!("input: \"{input}\" ")).collect();
    format!("node {{ name: \"{name}\" op: \"{op}\" {inputs} {} }}\n", attrs.concat())
}

/// An input or an output: its key, the tensor, and the dtype that is declared, if any is.
type End<'a> = (&'a str, &'a str, &'a str);

fn dense(tensor: &str, dtype: &str) -> String {
    let dtype = if dtype.is_empty() { String::new() } else { format!("dtype: {dtype}") };
    format!("name: \"{tensor}\" {dtype} tensor_shape {{ unknown_rank: true }}")
}

fn signature(name: &str, inputs: &[End<'_>], outputs: &[End<'_>]) -> String {
    let ends = |field: &str, ends: &[End<'_>]| -> String {
        ends.iter()
            .map(|(key, tensor, dtype)| format!("{field} {{ key: \"{key}\" value {{ {} }} }} ", dense(tensor, dtype)))
            .collect()
    };
    let (inputs, outputs) = (ends("inputs", inputs), ends("outputs", outputs));
    format!("signature_def {{ key: \"{name}\" value {{ {inputs} {outputs} }} }}\n")
}

/// A signature that gives a ragged tensor of `y` and `length`, and `y` besides if `beside`.
fn ragged(beside: bool) -> String {
    let dim = "dim { size: -1 }";
    let state = format!(
        "tuple_value {{ values {{ tensor_shape_value {{ {dim} {dim} }} }} values {{ tensor_dtype_value: DT_FLOAT }} \
         values {{ int64_value: 1 }} values {{ tensor_dtype_value: DT_INT32 }} }}"
    );
    let spec = format!(
        "type_spec {{ type_spec_class: RAGGED_TENSOR_SPEC type_state {{ {state} }} type_spec_class_name: \"RaggedTensorSpec\" }}"
    );
    let parts =
        format!("components {{ {} }} components {{ {} }}", dense("y:0", "DT_FLOAT"), dense("length:0", "DT_INT32"));
    let composite = format!("outputs {{ key: \"r\" value {{ composite_tensor {{ {spec} {parts} }} }} }}");
    let other = format!("outputs {{ key: \"z\" value {{ {} }} }}", dense("y:0", "DT_FLOAT"));
    let inputs = format!(
        "inputs {{ key: \"x\" value {{ {} }} }} inputs {{ key: \"t\" value {{ {} }} }}",
        dense("x:0", "DT_FLOAT"),
        dense("text:0", "DT_STRING")
    );
    let other = if beside { other } else { String::new() };
    format!("signature_def {{ key: \"ragged\" value {{ {inputs} {composite} {other} }} }}\n")
}

#[track_caller]
fn outputs(ran: Ran) -> Value {
    ran.ok().json()["outputs"].clone()
}

#[test]
fn signatures_of_composite_or_undeclared_outputs_are_signatures() {
    let dir = Dir::new();
    let undeclared = signature("undeclared", &[("x", "x:0", "DT_FLOAT")], &[("y", "y:0", "")]);
    let operation = signature("operation", &[], &[("step", "step", "")]);
    let train = signature("__saved_model_train_op", &[], &[("y", "y:0", "DT_FLOAT")]);
    write(&dir, "m", &[ragged(false), undeclared, operation, train]);
    let report = dir.cmd("inspect m").without_tensorflow().run().ok();
    let report = report
        .prints("signature ragged")
        .prints("signature undeclared")
        .prints("    r  float32  [-1, -1]  ragged float32, values and row splits: r.0 y:0, r.1 length:0\n");
    report.check(!report.out().contains("signature operation"), "an operation is no signature");
    report.check(!report.out().contains("train_op"), "an operation is no signature");
    let json = dir.cmd("inspect m --format json").without_tensorflow().run().ok().json();
    let signatures = &json["meta_graphs"][0]["signatures"];
    assert_eq!(signatures["ragged"]["outputs"]["r"]["composite"], "ragged");
    assert_eq!(signatures["ragged"]["outputs"]["r"]["tensor"][1]["tensor"], "length:0");
    assert_eq!(signatures.as_object().unwrap().len(), 2);

    let inputs = r#"{"inputs": {"x": [1, 2], "t": ["a", "bcd"]}}"#;
    let run = |line: &str| dir.cmd(&format!("run m --format json {line}")).stdin(inputs).run();
    let both = json!({ "r.0": [3.0, 5.0], "r.1": [1, 3] });
    assert_eq!(outputs(run("--signature ragged --inputs -")), both);
    assert_eq!(outputs(run("--signature ragged --inputs - --outputs r")), both);
    assert_eq!(outputs(run("--signature ragged --input x=[1] --outputs r.0")), json!({ "r.0": [3.0] }));
    assert_eq!(outputs(run("--signature undeclared --input x=[1]")), json!({ "y": [3.0] }));
    run("--signature operation").fails().says("has no signature `operation`; it has `ragged` and `undeclared`");
    // Beside a dense output, too; and the two models differ.
    write(&dir, "other", &[ragged(true)]);
    let mixed = dir.cmd("run other --format json --input x=[1] --input t=[\"a\"]").run();
    assert_eq!(outputs(mixed), json!({ "r.0": [3.0], "r.1": [1], "z": [3.0] }));
    dir.cmd("diff m other").without_tensorflow().run().exits_with(1).prints("signatures: 3 removed");
}

/// What an evaluation graph has for inputs: inner tensors that the graph computes, and placeholders.
fn inner() -> String {
    let inputs =
        [("x", "x:0", "DT_FLOAT"), ("h", "h:0", "DT_FLOAT"), ("again", "h:0", "DT_FLOAT"), ("u", "u:0", "DT_FLOAT")];
    let outputs = [("y", "y:0", "DT_FLOAT"), ("h", "h:0", "DT_FLOAT"), ("sum", "sum:0", "DT_FLOAT")];
    signature("serving_default", &inputs, &outputs)
}

#[test]
fn inputs_that_the_graph_computes_may_be_left_out() {
    let dir = Dir::new();
    write(&dir, "m", &[inner()]);
    let run = |line: &str| dir.cmd(&format!("run m --format json {line}")).run();
    assert_eq!(outputs(run("--input x=1 --input u=5")), json!({ "h": 2.0, "sum": 6.0, "y": 3.0 }));
    // Given values replace the computed ones, and are returned.
    assert_eq!(outputs(run("--input x=1 --input u=5 --input h=7")), json!({ "h": 7.0, "sum": 6.0, "y": 8.0 }));
    assert_eq!(outputs(run("--input h=7 --input u=5")), json!({ "h": 7.0, "sum": 6.0, "y": 8.0 }));
    let missing = dir.cmd("run m --input u=5").without_tensorflow().run().fails();
    let missing = missing.says("signature `serving_default` needs `x`, which was not given");
    missing.hints("ask only for outputs that do not need it, such as `sum`").hints("--outputs sum");
    let missing = dir.cmd("run m --input h=5").without_tensorflow().run().fails();
    missing.says("needs `u`, which was not given").hints("--outputs h,y");

    // `--outputs` needs only the inputs of these outputs.
    assert_eq!(outputs(run("--input x=1 --outputs y")), json!({ "y": 3.0 }));
    assert_eq!(outputs(run("--input h=1 --outputs y,h --outputs y")), json!({ "h": 1.0, "y": 2.0 }));
    assert_eq!(outputs(run("--input u=1 --outputs sum")), json!({ "sum": 2.0 }));
    // What is not needed may be given all the same.
    assert_eq!(outputs(run("--input x=9 --input u=1 --outputs sum")), json!({ "sum": 2.0 }));
    dir.cmd("run m --outputs y").without_tensorflow().run().fails().says("needs `x`, which was not given");
    let unknown = dir.cmd("run m --outputs z").without_tensorflow().run().fails();
    unknown.says("there is no output `z`; the outputs are `h`, `sum` and `y`");
    let lines = "{\"inputs\": {\"x\": 1}}\n{\"inputs\": {\"u\": 1}}\n{\"inputs\": {\"h\": 3}}\n";
    let ran = dir.cmd("run m --requests - --outputs y").stdin(lines).run();
    let answers = ran.json_lines();
    assert_eq!((&answers[0], &answers[2]), (&json!({"outputs": {"y": 3.0}}), &json!({"outputs": {"y": 4.0}})));
    assert!(answers[1]["error"].as_str().unwrap().contains("needs `x`"), "{answers:?}");
    ran.fails().says("1 of 3 requests");
    // Which of several outputs go into a .npy.
    dir.cmd("run m --input x=1 --outputs y --output y.npy").run().ok();
    dir.cmd("run m --input x=1 --output y.npy").run().misused();
}

/// TensorFlow Serving, which warms up with recorded requests, requires every input.
#[test]
fn a_request_that_leaves_an_input_out_is_not_recorded() {
    let dir = Dir::new();
    write(&dir, "m", &[inner()]);
    dir.write("r.jsonl", r#"{"inputs": {"x": 1, "u": 1}}"#);
    dir.cmd("verify m --record r.jsonl")
        .run()
        .fails()
        .says("input `again` of signature `serving_default` was left out");
}

/// A placeholder that is not an input keeps an inner tensor from being computed: that one is requested, not the
/// placeholder.
#[test]
fn an_input_that_the_graph_cannot_compute_is_required() {
    let dir = Dir::new();
    write(&dir, "m", &[signature("s", &[("h", "h:0", "DT_FLOAT")], &[("y", "y:0", "DT_FLOAT")])]);
    let missing = dir.cmd("run m").without_tensorflow().run().fails();
    missing.says("signature `s` needs `h`, which was not given");
    assert_eq!(outputs(dir.cmd("run m --format json --input h=1").run()), json!({ "y": 2.0 }));
}

#[test]
fn the_graph_decides_on_the_dtype_of_an_input() {
    let dir = Dir::new();
    let lies = signature("lies", &[("inputs", "text:0", "DT_FLOAT")], &[("length", "length:0", "DT_INT32")]);
    write(&dir, "m", &[lies]);
    let shown = dir.cmd("inspect m").without_tensorflow().run().ok();
    shown.prints("string (declared float32)");
    let run = |value: &str| dir.cmd("run m --format json --input").arg(format!("inputs={value}")).run();
    assert_eq!(outputs(run("[\"a\", \"bcd\"]")), json!({ "length": [1, 3] }));
    run("[1.5]").fails();
    let requests = "{\"instances\": [\"abc\"]}\n";
    let answer = dir.cmd("run m --requests -").stdin(requests).run().ok().json_lines();
    assert_eq!(answer[0], json!({ "predictions": [3] }));
    // It is also recorded and replayed.
    dir.write("requests.jsonl", "{\"inputs\": {\"inputs\": [\"abc\"]}}\n");
    dir.cmd("verify m --record requests.jsonl").run().ok();
    dir.cmd("verify m").run().ok().prints("same: 1 answer, bit for bit");
}

#[test]
fn the_server_uses_the_dtypes_of_the_graph() {
    let dir = Dir::new();
    let lies = |name: &str, output: End<'_>| signature(name, &[("inputs", "text:0", "DT_FLOAT")], &[output]);
    let signatures = [
        lies("serving_default", ("length", "length:0", "DT_INT32")),
        lies("regress", ("outputs", "score:0", "")),
        signature("reset", &[("x", "x:0", "DT_FLOAT")], &[]),
        signature("list", &[("x", "x:0", "DT_FLOAT")], &[("list", "list:0", "DT_VARIANT"), ("y", "y:0", "")]),
        ragged(false),
    ];
    write(&dir, "versions/1", &signatures);
    let server = Running::start(&dir, "--model_base_path versions --model_name m");
    server.waits_for("ready: every model answers");
    let ask = |method: &str, body: &str| {
        let (code, body) = server.ask("POST", &format!("/v1/models/m:{method}"), body);
        (code, serde_json::from_str::<Value>(&body).unwrap())
    };
    assert_eq!(ask("predict", r#"{"instances": ["abc"]}"#), (200, json!({ "predictions": [3] })));
    assert_eq!(ask("predict", r#"{"instances": [1.5]}"#).0, 400);
    // The bytes of the example.
    let regress = r#"{"signature_name": "regress", "examples": [{"x": 2.0}]}"#;
    assert_eq!(ask("regress", regress), (200, json!({ "results": [17.0] })));
    let ragged = r#"{"signature_name": "ragged", "inputs": {"x": [1], "t": ["abc"]}}"#;
    assert_eq!(ask("predict", ragged), (200, json!({ "outputs": { "r.0": [3.0], "r.1": [3] } })));
    let (code, said) = ask("predict", r#"{"signature_name": "reset", "instances": [1]}"#);
    assert!(code == 400 && said["error"].as_str().unwrap().contains("cannot run signature `reset`"), "{said}");
    let (code, said) = ask("predict", r#"{"signature_name": "list", "instances": [1]}"#);
    assert!(code == 501 && said["error"].as_str().unwrap().contains("output `list`"), "{said}");
    // The metadata show the signature of the file.
    let (_, metadata) = server.ask("GET", "/v1/models/m/metadata", "");
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let signatures = &metadata["metadata"]["signature_def"]["signature_def"];
    assert_eq!(signatures["serving_default"]["inputs"]["inputs"]["dtype"], "DT_FLOAT");
    assert_eq!(signatures.as_object().unwrap().len(), 5);
}

#[test]
fn other_outputs_are_fetched_without_an_unfetchable_one() {
    let dir = Dir::new();
    let outputs_of = [
        ("y", "y:0", "DT_FLOAT"),
        ("list", "list:0", "DT_VARIANT"),
        ("undeclared", "list:0", ""),
        ("step", "step", ""),
        ("gone", "gone:0", "DT_FLOAT"),
    ];
    write(&dir, "m", &[signature("s", &[("x", "x:0", "DT_FLOAT")], &outputs_of)]);
    let run = |line: &str| dir.cmd(&format!("run m --format json --input x=1 {line}")).run();
    assert_eq!(outputs(run("--outputs y")), json!({ "y": 3.0 }));
    let list = dir.cmd("run m --input x=1 --outputs y,list").without_tensorflow().run().fails();
    list.says("output `list` of signature `s` cannot be fetched: tensors of variant are not supported")
        .hints("--outputs gone");
    run("--outputs undeclared").fails().says("output `undeclared` of signature `s` cannot be fetched");
    run("--outputs step").fails().says("it names the operation `step`, which has no outputs");
    run("--outputs gone").fails().says("it names the tensor `gone:0`, which the graph lacks");
    run("").fails().says("cannot be fetched").hints("ask for other outputs");
}

#[test]
fn a_signature_without_outputs_is_listed_and_not_run() {
    let dir = Dir::new();
    write(&dir, "m", &[signature("reset", &[("x", "x:0", "DT_FLOAT")], &[])]);
    dir.cmd("inspect m").without_tensorflow().run().ok().prints("signature reset").prints("a session cannot run it");
    for line in ["run m", "run m --input x=1", "run m --signature reset --format json"] {
        let ran = dir.cmd(line).without_tensorflow().run().fails().prints_only("");
        ran.says("a session cannot run signature `reset`: it has no outputs");
    }
    let lines = dir.cmd("run m --requests -").stdin("{\"inputs\": {\"x\": 1}}\n").run();
    assert!(lines.json_lines()[0]["error"].as_str().unwrap().contains("cannot run signature `reset`"));
    lines.fails();
}

#[test]
fn defaults_are_shown() {
    let dir = Dir::new();
    let value = |dtype: &str, value: &str| format!("dtype: {dtype} tensor_shape {{}} {value}");
    let with = |key: &str, tensor: &str| format!("defaults {{ key: \"{key}\" value {{ {tensor} }} }} ");
    let plain = signature("s", &[("x", "x:0", "DT_FLOAT"), ("u", "u:0", "DT_FLOAT")], &[("y", "y:0", "DT_FLOAT")]);
    let defaults = with("x", &value("DT_FLOAT", "float_val: 2")) + &with("u", &value("DT_FLOAT", "float_val: nan"));
    write(&dir, "m", &[plain.replace("} }\n", &format!("{defaults} }} }}\n"))]);
    let text = dir.cmd("inspect m").without_tensorflow().run().ok();
    text.prints("x:0  (default 2.0)").prints("u:0  (default NaN)");
    let json = dir.cmd("inspect m --format json").without_tensorflow().run().ok().json();
    let signature = &json["meta_graphs"][0]["signatures"]["s"];
    assert_eq!(signature["defaults"], json!(["u", "x"]));
    assert_eq!(signature["default_values"], json!({ "u": "NaN", "x": 2.0 }));
    assert_eq!(outputs(dir.cmd("run m --format json").run()), json!({ "y": 5.0 }));
}
