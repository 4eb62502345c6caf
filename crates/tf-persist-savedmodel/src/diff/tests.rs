//! Small graphs that are equal under other names, and others that differ under equal names.

use std::fs;
use std::path::Path;

use super::*;
use crate::checkpoint::CheckpointWriter;
use crate::tensor::Tensor;

/// A model in text form.
fn model(folder: &Path, graph: &str, signatures: &str) -> SavedModel {
    fs::create_dir_all(folder).unwrap();
    let text = format!(
        "saved_model_schema_version: 1 meta_graphs {{ meta_info_def {{ tags: \"serve\" }} graph_def {{ {graph} }} {signatures} }}"
    );
    fs::write(folder.join("saved_model.pbtxt"), text).unwrap();
    SavedModel::open(folder).unwrap()
}

fn node(name: &str, op: &str, inputs: &[&str], attrs: &str) -> String {
    let inputs: String = inputs.iter().map(|input| format!("input: \"{input}\" ")).collect();
    format!("node {{ name: \"{name}\" op: \"{op}\" {inputs} {attrs} }}\n")
}

fn constant(name: &str, value: i64) -> String {
    let value = format!(
        "attr {{ key: \"value\" value {{ tensor {{ dtype: DT_INT32 tensor_shape {{}} int_val: {value} }} }} }}"
    );
    node(name, "Const", &[], &value)
}

fn attr(key: &str, value: &str) -> String {
    format!("attr {{ key: \"{key}\" value {{ {value} }} }} ")
}

fn signature(inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> String {
    let infos = |field: &str, all: &[(&str, &str)]| -> String {
        let info = |(key, tensor): &(&str, &str)| {
            format!("{field} {{ key: \"{key}\" value {{ name: \"{tensor}:0\" dtype: DT_INT32 tensor_shape {{}} }} }} ")
        };
        all.iter().map(info).collect()
    };
    let (inputs, outputs) = (infos("inputs", inputs), infos("outputs", outputs));
    format!("signature_def {{ key: \"s\" value {{ {inputs} {outputs} }} }}")
}

/// The differences between two graphs with one signature from `a` and `b` to `y`.
fn compare(first: &[String], second: &[String]) -> Diff {
    compare_signed([first, second], [&signature(&[("a", "a"), ("b", "b")], &[("y", "y")]); 2])
}

fn compare_signed(graphs: [&[String]; 2], signatures: [&str; 2]) -> Diff {
    let work = tempfile::tempdir().unwrap();
    let [a, b] =
        [0, 1].map(|side: usize| model(&work.path().join(side.to_string()), &graphs[side].concat(), signatures[side]));
    diff(&a, &b, &DiffOptions::default()).unwrap()
}

fn inputs() -> [String; 2] {
    ["a", "b"].map(|name| node(name, "Placeholder", &[], ""))
}

#[test]
fn names_and_order_of_nodes_do_not_count() {
    let [a, b] = inputs();
    let first =
        [a.clone(), b.clone(), constant("c", 1), node("s", "Sub", &["a", "c"], ""), node("y", "Mul", &["s", "b"], "")];
    let renamed = [
        node("y", "Mul", &["Sub_7:0", "b"], &attr("_class", "list { s: \"loc:@x\" }")),
        node("Sub_7", "Sub", &["a", "Const_3"], ""),
        b,
        constant("Const_3", 1),
        a,
    ];
    let diff = compare(&first, &renamed);
    // `Sub_7:0` and `Sub_7` are one tensor.
    assert!(diff.is_same(), "{diff:?}");
}

#[test]
fn computations_count() {
    let [a, b] = inputs();
    let with = |nodes: &[String]| [&[a.clone(), b.clone()], nodes].concat();
    let sub = |x, y| with(&[node("y", "Sub", &[x, y], "")]);
    let swapped = compare(&sub("a", "b"), &sub("b", "a"));
    assert_eq!(swapped.parts(), ["graph"]);
    let value = |value| with(&[constant("c", value), node("y", "Mul", &["a", "c"], "")]);
    let changed = compare(&value(1), &value(2));
    let nodes = &changed.meta_graphs[0].graph.nodes;
    assert_eq!((&nodes.changed[..], nodes.dependent), (&["c (Const)".to_owned()][..], 1));
    let output = |port| with(&[node("u", "Unique", &["a"], ""), node("y", "Identity", &[port], "")]);
    assert!(!compare(&output("u"), &output("u:1")).is_same());
    let control = |inputs: &[&str]| with(&[constant("c", 1), node("y", "Identity", inputs, "")]);
    assert!(!compare(&control(&["a"]), &control(&["a", "^c"])).is_same());
    let more = compare(&value(1), &[value(1), vec![constant("d", 5)]].concat());
    assert_eq!(more.parts(), ["ops", "graph"]);
    assert_eq!(more.meta_graphs[0].graph.ops, [OpDiff { op: "Const".into(), counts: [1, 2] }]);
    let renamed = compare(
        &with(&[node("y", "VarHandleOp", &[], &attr("shared_name", "s: \"v_1\""))]),
        &with(&[node("y", "VarHandleOp", &[], &attr("shared_name", "s: \"v_2\""))]),
    );
    assert!(!renamed.is_same(), "variables go by their names");
}

#[test]
fn signatures_with_other_tensors_differ() {
    let [a, b] = inputs();
    let graph = |extra: &str| {
        [a.clone(), b.clone(), node("y", "Neg", &["a"], ""), node("z", "Abs", &["a"], ""), extra.to_owned()]
    };
    let signed = |output| signature(&[("a", "a"), ("b", "b")], &[("y", output)]);
    // Only the bytes of the graphs differ.
    let noise = "versions { producer: 9 }";
    let same = compare_signed([&graph(""), &graph(noise)], [&signed("y"), &signed("y")]);
    assert!(same.is_same(), "{same:?}");
    let rewired = compare_signed([&graph(""), &graph(noise)], [&signed("y"), &signed("z")]);
    assert_eq!(rewired.parts(), ["signatures"]);
    assert_eq!(rewired.meta_graphs[0].signatures[0].changes, ["output `y` is another tensor of the graph"]);
    let gone = compare_signed([&graph(""), &graph("")], [&signed("y"), ""]);
    assert_eq!(gone.meta_graphs[0].signatures[0].added, Some(false));
}

#[test]
fn signatures_of_composite_outputs_are_compared() {
    let [a, b] = inputs();
    let graph = || [a.clone(), b.clone(), node("y", "Neg", &["a"], "")];
    let composite = |parts: &[&str]| -> String {
        let part = |name: &&str| format!("components {{ name: \"{name}\" dtype: DT_INT32 }} ");
        let parts: String = parts.iter().map(part).collect();
        format!(
            "signature_def {{ key: \"r\" value {{ outputs {{ key: \"r\" value {{ composite_tensor {{ {parts} }} }} }} }} }}"
        )
    };
    let gone = compare_signed([&graph(), &graph()], [&composite(&["y:0"]), ""]);
    assert_eq!(gone.meta_graphs[0].signatures[0].added, Some(false));
    let other = compare_signed([&graph(), &graph()], [&composite(&["y:0"]), &composite(&["y:0", "y:0"])]);
    assert_eq!(other.meta_graphs[0].signatures[0].changes.len(), 1, "{other:?}");
    let train = |name: &str| {
        format!(
            "signature_def {{ key: \"__saved_model_train_op\" value {{ outputs {{ key: \"op\" value {{ name: \"{name}\" }} }} }} }}"
        )
    };
    let gone = compare_signed([&graph(), &graph()], [&train("y"), ""]);
    assert_eq!(gone.meta_graphs[0].signatures[0].added, Some(false));
}

/// A function that subtracts a number, and one that calls it.
fn library(names: [&str; 2], number: i64, argument: &str) -> String {
    let [leaf, caller] = names;
    let number = constant("n", number).replacen("node {", "node_def {", 1);
    let call = attr("f", &format!("func {{ name: \"{leaf}\" }}"));
    format!(
        "library {{
          function {{ signature {{ name: \"{caller}\" input_arg {{ name: \"v\" type: DT_INT32 }} output_arg {{ name: \"o\" type: DT_INT32 }} }}
            node_def {{ name: \"call\" op: \"PartitionedCall\" input: \"v\" {call} }}
            ret {{ key: \"o\" value: \"call:output:0\" }} }}
          function {{ signature {{ name: \"{leaf}\" input_arg {{ name: \"{argument}\" type: DT_INT32 }} output_arg {{ name: \"o\" type: DT_INT32 }} }}
            {number}
            node_def {{ name: \"sub\" op: \"Sub\" input: \"{argument}\" input: \"n:output:0\" }}
            ret {{ key: \"o\" value: \"sub:z:0\" }} }}
        }}"
    )
}

#[test]
fn functions_are_compared_by_their_contents() {
    let [a, b] = inputs();
    let graph = |names: [&str; 2], number, argument| {
        let call = attr("f", &format!("func {{ name: \"{}\" }}", names[1]));
        [a.clone(), b.clone(), node("y", "PartitionedCall", &["a"], &call), library(names, number, argument)]
    };
    let first = graph(["__inference_leaf_1", "__inference_caller_2"], 1, "x");
    let again = compare(&first, &graph(["__inference_leaf_71", "__inference_caller_72"], 1, "renamed"));
    assert!(again.is_same(), "{again:?}");
    let changed = compare(&first, &graph(["__inference_leaf_8", "__inference_caller_9"], 2, "x"));
    let functions = &changed.meta_graphs[0].graph.functions;
    assert_eq!((&functions.changed[..], functions.callers), (&["__inference_leaf_1".to_owned()][..], 1));
    let other = compare(&first, &graph(["__inference_other_1", "__inference_caller_2"], 2, "x"));
    let functions = &other.meta_graphs[0].graph.functions;
    assert_eq!(
        (&functions.removed[..], &functions.added[..]),
        (&["__inference_leaf_1".to_owned()][..], &["__inference_other_1".to_owned()][..])
    );
}

#[test]
fn circles_end() {
    let [a, b] = inputs();
    // A loop of TensorFlow 1, recursive nodes and functions, and missing names.
    let graph = |step| {
        [
            a.clone(),
            b.clone(),
            node("merge", "Merge", &["a", "next"], ""),
            constant("c", step),
            node("add", "Add", &["merge", "c"], ""),
            node("next", "NextIteration", &["add"], ""),
            node("p", "Neg", &["q"], ""),
            node("q", "Neg", &["p"], ""),
            node("y", "Identity", &["merge", "nowhere"], ""),
            library(["f", "f"], 1, "x"),
        ]
    };
    assert!(compare(&graph(1), &[graph(1).to_vec(), vec!["versions { producer: 9 }".into()]].concat()).is_same());
    assert!(!compare(&graph(1), &graph(2)).is_same());
}

/// A model with variables only.
fn variables(folder: &Path, tensors: &[(&str, Tensor)]) -> SavedModel {
    let model = model(folder, "", "");
    fs::create_dir_all(folder.join("variables")).unwrap();
    let mut writer = CheckpointWriter::create(folder.join("variables/variables")).unwrap();
    tensors.iter().for_each(|(key, tensor)| writer.add(key, tensor).unwrap());
    writer.finish().unwrap();
    model
}

fn compare_variables(a: &[(&str, Tensor)], b: &[(&str, Tensor)], options: &DiffOptions) -> Diff {
    let work = tempfile::tempdir().unwrap();
    diff(&variables(&work.path().join("a"), a), &variables(&work.path().join("b"), b), options).unwrap()
}

#[test]
fn variables_are_compared_by_key() {
    let floats = |values: &[f32]| Tensor::from_slice(&[values.len()], values).unwrap();
    let a = [
        ("gone", floats(&[1.0])),
        ("shape", floats(&[1.0])),
        ("type", floats(&[1.0])),
        ("value", floats(&[1.0, 2.0])),
        ("words", Tensor::from_strings(&[2], ["a", "b"]).unwrap()),
        ("flags", Tensor::from_slice(&[2], &[true, false]).unwrap()),
        ("nan", floats(&[f32::NAN])),
    ];
    let b = [
        ("new", floats(&[1.0])),
        ("shape", floats(&[1.0, 2.0])),
        ("type", Tensor::from_slice(&[1], &[1.0_f64]).unwrap()),
        ("value", floats(&[1.0, 2.5])),
        ("words", Tensor::from_strings(&[2], ["a", "c"]).unwrap()),
        ("flags", Tensor::from_slice(&[2], &[true, true]).unwrap()),
        ("nan", floats(&[f32::NAN])),
    ];
    let all = compare_variables(&a, &b, &DiffOptions::default());
    assert_eq!(all.parts(), ["variables"]);
    let found = &all.variables;
    assert_eq!(
        (&found.added[..], &found.removed[..], found.common),
        (&["new".to_owned()][..], &["gone".to_owned()][..], 6)
    );
    let changes: Vec<&str> = found.changed.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(changes, ["flags", "shape", "type", "value", "words"]);
    let differing = |name: &str| match &found.changed.iter().find(|variable| variable.name == name).unwrap().change {
        VariableChange::Values(values) => (values.differing, values.largest_absolute),
        other => panic!("{other:?}"),
    };
    assert_eq!(differing("value"), (1, Some(0.5)));
    assert_eq!((differing("words"), differing("flags")), ((1, None), (1, None)));
    let near = |tolerance| {
        let options = DiffOptions::default().tolerance(Tolerance::Within(tolerance));
        compare_variables(&[("v", floats(&[1.0]))], &[("v", floats(&[1.001]))], &options)
    };
    assert!(near(0.01).is_same() && near(0.01).variables.changed[0].is_within() && !near(1e-4).is_same());
    assert!(!compare_variables(&a[..1], &[], &DiffOptions::default()).is_same());
}

#[test]
fn keras_lists_of_all_variables_have_no_order() {
    let floats = |values: &[f32]| Tensor::from_slice(&[values.len()], values).unwrap();
    let a = [
        ("_all_variables/0", floats(&[1.0])),
        ("_all_variables/1", floats(&[1.0, 2.0])),
        ("_all_variables/2", floats(&[3.0])),
    ];
    let [x, y, z] = a.clone().map(|(_, tensor)| tensor);
    let b = [("_all_variables/0", y.clone()), ("_all_variables/1", z), ("_all_variables/2", x)];
    assert!(compare_variables(&a, &b, &DiffOptions::default()).is_same());
    let changed = [("_all_variables/0", y), ("_all_variables/1", floats(&[3.0])), ("_all_variables/2", floats(&[7.0]))];
    let diff = compare_variables(&a, &changed, &DiffOptions::default());
    let all: Vec<&str> = diff.variables.changed.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!((all, diff.variables.common), (vec!["_all_variables/0"], 3));
}

#[test]
fn damaged_variable_is_an_error() {
    let work = tempfile::tempdir().unwrap();
    let tensor = || Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
    let a = variables(&work.path().join("a"), &[("v", tensor())]);
    let b = variables(&work.path().join("b"), &[("v", tensor())]);
    let shard = work.path().join("b/variables/variables.data-00000-of-00001");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[0] ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(diff(&a, &b, &DiffOptions::default()).unwrap_err().to_string().contains("the checksum is wrong"));
}

#[test]
fn assets_are_compared_by_their_contents() {
    let work = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        let folder = work.path().join(name);
        fs::create_dir_all(folder.join("assets/deep")).unwrap();
        fs::create_dir_all(folder.join("assets.extra")).unwrap();
        fs::write(folder.join("assets/same"), vec![7; 200_000]).unwrap();
        fs::write(folder.join("assets/deep/changed"), name).unwrap();
        fs::write(folder.join("assets.extra").join(name), "").unwrap();
        model(&folder, "", "")
    });
    let diff = diff(&a, &b, &DiffOptions::default()).unwrap();
    assert_eq!(diff.parts(), ["assets"]);
    assert_eq!(
        (&diff.assets.added[..], &diff.assets.removed[..]),
        (&["assets.extra/b".to_owned()][..], &["assets.extra/a".to_owned()][..])
    );
    assert_eq!(diff.assets.changed, [AssetDiff { name: "assets/deep/changed".into(), bytes: [1, 1] }]);
}

#[test]
fn meta_graphs_are_matched_by_tags() {
    let multi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/multi/model");
    let one = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/half_plus_two/model");
    let (multi, one) = (SavedModel::open(multi).unwrap(), SavedModel::open(one).unwrap());
    let all = diff(&multi, &one, &DiffOptions::default()).unwrap();
    assert_eq!((all.removed_tags.len(), all.meta_graphs.len()), (1, 1));
    let tags = DiffOptions::default().tags(Some(vec!["serve".into(), "train".into()]));
    assert!(diff(&multi, &multi, &tags).unwrap().is_same());
    assert!(diff(&multi, &one, &tags).is_err());
    let variables = DiffOptions::default().only_variables(true);
    assert_eq!(diff(&multi, &one, &variables).unwrap().parts(), ["variables"]);
}
