//! Where the name that an op uses comes from.

use tf_persist_proto::tensorflow as pb;

use super::graphs::{Model, constant, func, function, node, text};

/// Checks the findings about a `ReadFile` whose file name is the tensor `name` of these nodes.
#[track_caller]
fn read(nodes: Vec<pb::NodeDef>, functions: Vec<pb::FunctionDef>, expected: &[&str]) {
    let reads = vec![node("y", "ReadFile", &["name"], [])];
    let lines = Model::serving("y:0", reads).nodes(nodes).functions(functions).lines();
    let expected: Vec<String> = expected.iter().map(|line| line.replacen(' ', " ReadFile reads a file", 1)).collect();
    let expected: Vec<String> = expected.iter().map(|line| format!("{line} [`serving_default`]")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn constants_are_assessed_by_location() {
    for (name, level) in [
        ("/etc/hostname", "danger"),
        ("../x", "danger"),
        ("a/../../x", "danger"),
        ("a\\..\\x", "danger"),
        ("~/x", "danger"),
        ("C:/x", "danger"),
        ("gs://bucket/x", "danger"),
        ("words.txt", "warning"),
        ("a/..b/words", "warning"),
    ] {
        read(vec![constant("name", &[name])], vec![], &[&format!("{level} : `{name}`")]);
    }
    read(vec![constant("name", &["", ""])], vec![], &[]);
    read(vec![constant("name", &["a", "/b"])], vec![], &["danger : `/b`", "warning : `a`"]);
    let long = "a".repeat(5_000);
    read(vec![constant("name", &[&long])], vec![], &["danger  whose name is computed"]);
    let mut bytes = constant("name", &[]);
    bytes.attr.get_mut("value").unwrap().mut_tensor().tensor_content = b"\x02/x".to_vec().into();
    read(vec![bytes], vec![], &["danger  whose name is computed"]);
}

#[test]
fn ops_that_pass_names_on_are_followed() {
    let (a, b) = (constant("a", &["/a"]), constant("b", &["b"]));
    let joined = node("name", "StringJoin", &["a", "b"], [("separator", text("/"))]);
    read(vec![a.clone(), b.clone(), joined], vec![], &["danger : `/a/b`"]);
    let packed = vec![a.clone(), b.clone(), node("p", "Pack", &["a", "b"], []), node("name", "Unpack", &["p"], [])];
    read(packed, vec![], &["danger : `/a`", "warning : `b`"]);
    let chosen = vec![a.clone(), b.clone(), node("name", "SelectV2", &["x", "a", "b"], [])];
    read(chosen, vec![], &["danger : `/a`", "warning : `b`"]);
    let several =
        vec![a.clone(), b.clone(), node("n", "IdentityN", &["a", "b"], []), node("name", "Identity", &["n:1"], [])];
    read(several, vec![], &["warning : `b`"]);
    read(vec![node("name", "Identity", &["x"], [])], vec![], &["danger : whatever the input `x` names"]);
    let partly = vec![a.clone(), node("name", "StringJoin", &["a", "x"], [])];
    read(partly, vec![], &["danger : whatever the input `x` names"]);
    read(vec![a, node("name", "StringUpper", &["a"], [])], vec![], &["danger  whose name is computed"]);
    read(vec![], vec![], &["danger  whose name is computed"]);
}

#[test]
fn functions_are_followed_in_and_out() {
    let a = constant("a", &["b"]);
    let same = || function("same", &["p", "q"], vec![], &[("r", "q"), ("s", "p")]);
    let call = |op: &str| vec![a.clone(), node("c", op, &["x", "a"], [("f", func("same"))])];
    let through = |op: &str, output: &str| [call(op), vec![node("name", "Identity", &[output], [])]].concat();
    read(through("PartitionedCall", "c"), vec![same()], &["warning : `b`"]);
    read(through("PartitionedCall", "c:1"), vec![same()], &["danger : whatever the input `x` names"]);
    read(through("same", "c"), vec![same()], &["warning : `b`"]);
    read(through("MapDataset", "c"), vec![same()], &["danger  whose name is computed"]);
    read(through("PartitionedCall", "c"), vec![], &["danger  whose name is computed"]);
    // Two functions of one name: TensorFlow refuses them or keeps one; which is unspecified.
    read(through("PartitionedCall", "c"), vec![same(), same()], &["danger  whose name is computed"]);
    // A loop: the initial value and what the body computes.
    let body = function("body", &["p"], vec![constant("k", &["/k"])], &[("r", "k:output:0")]);
    let turns = |body| vec![a.clone(), node("name", "While", &["a"], [("cond", func("same")), ("body", func(body))])];
    read(turns("body"), vec![body], &["danger : `/k`", "warning : `b`"]);
    let endless = function("body", &["p"], vec![], &[("r", "p")]);
    read(turns("body"), vec![endless], &["warning : `b`"]);
}

/// A function that reads the file that its argument names, and its callers.
#[test]
fn argument_comes_from_all_callers() {
    let reader = || function("reader", &["p"], vec![node("r", "ReadFile", &["p"], [])], &[("r", "r:contents:0")]);
    let call = |name: &str, input: &str, op: &str| node(name, op, &[input], [("f", func("reader"))]);
    let model = |second: pb::NodeDef| {
        let nodes = vec![
            constant("a", &["a"]),
            constant("b", &["/b"]),
            call("one", "a", "PartitionedCall"),
            second,
            node("y", "Pack", &["one", "two"], []),
        ];
        Model::serving("y:0", nodes).functions(vec![reader()])
    };
    let by = "[`serving_default`]";
    let lines = model(call("two", "b", "PartitionedCall")).lines();
    let [danger, warning] = ["danger ReadFile reads a file: `/b`", "warning ReadFile reads a file: `a`"];
    assert_eq!(lines, [format!("{danger} {by}"), format!("{warning} {by}")]);
    let lines = model(call("two", "b", "MapDataset")).lines();
    assert_eq!(lines, [format!("danger ReadFile reads a file whose name is computed {by}")]);
    // Each signature by its own argument.
    let lines = model(call("two", "b", "PartitionedCall")).signature("other", "x:0", "one:0").lines();
    assert_eq!(lines, [format!("{danger} {by}"), format!("{warning} [`other`, `serving_default`]")]);
}

#[test]
fn assets_are_the_models_own_during_loading() {
    let nodes =
        || vec![node("a", "Placeholder", &[], []), node("init", "InitializeTableFromTextFileV2", &["x", "a"], [])];
    let model = Model::serving("x:0", nodes()).asset("a:0", "words.txt").init("init");
    let what = "InitializeTableFromTextFileV2 reads a file";
    assert_eq!(model.lines(), [format!("info {what}: the asset `words.txt` [loading (init op)]")]);
    // A signature is not fed the path, so the constant is read.
    let nodes = vec![constant("a", &["/etc/hostname"]), node("y", "ReadFile", &["a"], [])];
    let model = Model::serving("y:0", nodes).asset("a:0", "words.txt");
    assert_eq!(model.lines(), ["danger ReadFile reads a file: `/etc/hostname` [`serving_default`]"]);
}

#[test]
fn variables_hold_assigned_values() {
    let variable = |name: &str, shared: &str| node(name, "VarHandleOp", &[], [("shared_name", text(shared))]);
    let nodes = |asset: pb::NodeDef| {
        vec![
            asset,
            variable("v", "shared"),
            node("assign", "AssignVariableOp", &["v", "a"], []),
            node("value", "ReadVariableOp", &["v"], []),
            node("y", "ReadFile", &["value"], []),
        ]
    };
    let lines = |nodes| Model::serving("y:0", nodes).asset("a:0", "words.txt").init("assign").lines();
    let placeholder = || nodes(node("a", "Placeholder", &[], []));
    assert_eq!(lines(placeholder()), ["info ReadFile reads a file: the asset `words.txt` [`serving_default`]"]);
    // The signature may assign the constant that the asset's path replaces.
    let both = lines(nodes(constant("a", &["/etc/hostname"])));
    assert!(both[0].starts_with("danger ReadFile reads a file: `/etc/hostname`"), "{both:?}");
    // Other ops that may write to it.
    let computed = ["danger ReadFile reads a file whose name is computed [`serving_default`]"];
    for other in [
        variable("w", "shared"),
        node("w", "AssignVariableOp", &["v", "x"], []),
        node("w", "SomeCall", &["v"], []),
        node("w", "_VarHandlesOp", &[], []),
    ] {
        let is_assigned_input = other.op == "AssignVariableOp";
        let found = lines([placeholder(), vec![other]].concat());
        let found: Vec<_> =
            found.iter().filter(|line| line.contains("ReadFile") && line.starts_with("danger")).collect();
        if is_assigned_input {
            assert_eq!(found, ["danger ReadFile reads a file: whatever the input `x` names [`serving_default`]"]);
        } else {
            assert_eq!(found, computed);
        }
    }
}

/// The saver of TensorFlow 2.21, its joins and selections.
fn saver(destination: &str, behind: &[&str]) -> Vec<String> {
    let nodes = vec![
        node("match", "StaticRegexFullMatch", &["file_prefix"], []),
        constant("part", &[behind[0]]),
        constant("temporary", &[behind[1]]),
        node("select", "Select", &["match:output:0", "part:output:0", "temporary:output:0"], []),
        node("join", "StringJoin", &["file_prefix", "select:output:0"], []),
        node("shard", "ShardedFilename", &["join:output:0"], []),
        node("save", "SaveV2", &["shard:filename:0", "t", "t"], []),
        node("prefixes", "Pack", &["shard:filename:0", "^save"], []),
        constant("elsewhere", &["/tmp/x"]),
        node("merge", "MergeV2Checkpoints", &["prefixes:output:0", destination], []),
    ];
    let save = function("save", &["file_prefix"], nodes, &[("r", "file_prefix")]);
    let restore = function("restore", &["file_prefix"], vec![node("r", "RestoreV2", &["file_prefix"], [])], &[]);
    let calls = vec![
        node("filename", "Placeholder", &[], []),
        node("s", "StatefulPartitionedCall", &["filename"], [("f", func("save"))]),
        node("r", "StatefulPartitionedCall", &["filename"], [("f", func("restore"))]),
    ];
    Model::serving("x:0", calls).functions(vec![save, restore]).saver("filename:0", "s:0", "r").lines()
}

#[test]
fn savers_write_to_the_given_prefix() {
    let parts = [".part", "_temp/part"];
    let all = saver("file_prefix", &parts);
    assert!(
        all.len() == 3 && all.iter().all(|line| line.starts_with("info ") && line.contains("the caller gives")),
        "{all:?}"
    );
    let elsewhere = saver("elsewhere:output:0", &parts);
    assert_eq!(elsewhere[0], "danger MergeV2Checkpoints moves and deletes checkpoints: `/tmp/x` [saving]");
    for evil in ["/../../x", "/."] {
        let climbing = saver("file_prefix", &[".part", evil]);
        assert_eq!(climbing.iter().filter(|line| line.starts_with("danger")).count(), 2, "{climbing:?}");
    }
}

#[test]
fn unused_savers_are_not_dangerous() {
    let nodes = vec![
        constant("prefix", &["model"]),
        node("save", "SaveV2", &["prefix"], []),
        node("restore", "RestoreV2", &["prefix"], []),
        node("write", "WriteFile", &["prefix", "x"], []),
    ];
    let lines = Model::serving("x:0", nodes).lines();
    let starts = ["warning WriteFile", "info SaveV2", "info RestoreV2"];
    assert!(lines.len() == 3 && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
}

#[test]
fn inputs_of_a_signature_may_be_omitted() {
    let nodes = vec![constant("a", &["/a"]), node("r", "ReadFile", &["a"], []), node("y", "Identity", &["r"], [])];
    for fetch in ["y:0", "r:0"] {
        let model = Model::serving("y:0", nodes.clone()).signature("serving_default", "r:0", fetch);
        assert_eq!(model.lines(), ["danger ReadFile reads a file: `/a` [`serving_default`]"]);
    }
}

#[test]
fn nodes_fed_during_loading_do_not_run() {
    let nodes = vec![constant("a", &["/a"]), node("r", "ReadFile", &["a"], []), node("init", "Identity", &["r"], [])];
    let model = Model::serving("x:0", nodes).asset("r:0", "words.txt").init("init");
    assert_eq!(model.lines(), ["warning ReadFile reads a file: `/a` []"]);
}

/// Python calls it through the object graph, which may name any function.
#[test]
fn signature_without_outputs_may_run_everything_unreached() {
    let model = || {
        let nodes = vec![constant("a", &["/a"]), node("r", "ReadFile", &["a"], [])];
        Model::serving("x:0", nodes).signature("dump", "x:0", "x:0")
    };
    assert_eq!(model().lines(), ["warning ReadFile reads a file: `/a` []"]);
    let mut dump = model();
    dump.proto.signature_def.get_mut("dump").unwrap().outputs.clear();
    assert_eq!(dump.lines(), ["danger ReadFile reads a file: `/a` [`dump`]"]);
}
