//! `scan` and `--trust`: dangers are listed, and run only if they are permitted.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tf_persist_proto::tensorflow as pb;

use crate::support::Dir;

fn node(name: &str, op: &str, inputs: &[&str], types: &[(&str, pb::DataType)]) -> pb::NodeDef {
    let mut node = pb::NodeDef::new();
    (node.name, node.op) = (name.into(), op.into());
    node.input = inputs.iter().map(|input| (*input).into()).collect();
    for (name, dtype) in types {
        let mut value = pb::AttrValue::new();
        value.set_type(*dtype);
        node.attr.insert((*name).into(), value);
    }
    node
}

/// A model that takes a text, gives it back, and writes it to a file on the way.
fn evil_model(dir: &Dir, target: &Path) {
    let string = pb::DataType::DT_STRING;
    let mut path = node("path", "Const", &[], &[("dtype", string)]);
    let mut value = pb::AttrValue::new();
    let tensor = value.mut_tensor();
    tensor.dtype = string.into();
    tensor.tensor_shape.mut_or_insert_default();
    tensor.string_val.push(target.to_str().unwrap().as_bytes().to_vec().into());
    path.attr.insert("value".into(), value);
    dir.write_proto("evil", |model| {
        let meta_graph = &mut model.meta_graphs[0];
        let graph = meta_graph.graph_def.mut_or_insert_default();
        graph.node = vec![
            node("text", "Placeholder", &[], &[("dtype", string)]),
            path,
            node("write", "WriteFile", &["path", "text"], &[]),
            node("same", "Identity", &["text", "^write"], &[("T", string)]),
        ];
        graph.library = Default::default();
        let info = |tensor: &str| {
            let mut info = pb::TensorInfo::new();
            info.set_name(tensor.into());
            info.dtype = string.into();
            info.tensor_shape.mut_or_insert_default();
            info
        };
        let mut signature = pb::SignatureDef::new();
        signature.inputs.insert("text".into(), info("text:0"));
        signature.outputs.insert("same".into(), info("same:0"));
        meta_graph.signature_def.clear();
        meta_graph.signature_def.insert("serving_default".into(), signature);
        meta_graph.saver_def = Default::default();
        meta_graph.collection_def.clear();
        meta_graph.object_graph_def = Default::default();
    });
}

#[test]
fn a_model_does_only_what_it_is_trusted_with() {
    let dir = Dir::new();
    let target = dir.path("owned.txt");
    evil_model(&dir, &target);
    let what = format!("writes a file: `{}`", target.display());

    let scanned = dir.cmd("scan evil").without_tensorflow().run().fails();
    scanned.prints("evil: 1 danger").prints(format!("danger   WriteFile {what}")).says("has 1 danger");

    // Refused without TensorFlow, which is not there.
    for options in ["", " --trust=ReadFile,MatchingFiles"] {
        let line = format!("run evil --input text=\"hello\"{options}");
        let refused = dir.cmd(&line).without_tensorflow().run().fails();
        let refused = refused.says(format!("the op `WriteFile`, reached by `serving_default`, {what}"));
        refused.check(refused.err().contains("--trust=WriteFile for this op alone"), "the hint is missing");
        assert!(!target.exists());
    }
    // A trusted model does what the scan lists.
    for options in ["--trust", "--trust=WriteFile", "--trust=ReadFile,WriteFile"] {
        dir.cmd(&format!("run evil --input text=\"hello\" {options}")).run().ok();
        assert_eq!(fs::read_to_string(&target).unwrap(), "hello", "{options}");
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn a_pack_is_scanned_like_its_folder() {
    let dir = Dir::new();
    evil_model(&dir, Path::new("/owned"));
    dir.cmd("export evil evil.tfpack").without_tensorflow().run().ok();
    let scanned = dir.cmd("scan evil.tfpack").without_tensorflow().run().fails();
    scanned.prints("evil.tfpack: 1 danger").prints("WriteFile writes a file: `/owned`").prints("; files: ");
    dir.cmd("export models/text/model text.tfpack").without_tensorflow().run().ok();
    let clean = dir.cmd("scan text.tfpack --fail-on warning").without_tensorflow().run().ok();
    clean.prints("reads a file: the asset `").prints("; files: ");
}

#[test]
fn the_failing_level_is_an_option() {
    let dir = Dir::new();
    evil_model(&dir, Path::new("/owned"));
    dir.cmd("scan evil --fail-on never").without_tensorflow().run().ok();
    for level in ["info", "warning", "danger"] {
        dir.cmd(&format!("scan evil --fail-on {level}")).without_tensorflow().run().fails();
    }
    dir.cmd("scan models/digits/model")
        .without_tensorflow()
        .run()
        .ok()
        .prints("reads a checkpoint: the one that the caller gives");
    dir.cmd("scan models/digits/model --fail-on warning").without_tensorflow().run().ok();
    dir.cmd("scan models/digits/model --fail-on info")
        .without_tensorflow()
        .run()
        .fails()
        .says("findings of level info");
    dir.cmd("scan models/digits/model --tags nope").without_tensorflow().run().fails().says("no meta graph");
    dir.cmd("scan nothing").without_tensorflow().run().fails().says("`nothing` is not a SavedModel");
}

#[test]
fn the_json_report_is_as_documented() {
    let dir = Dir::new();
    evil_model(&dir, Path::new("/owned"));
    let ran = dir.cmd("scan evil --format json --tags serve --fail-on never").without_tensorflow().run().ok();
    let report: Value = serde_json::from_str(ran.out()).unwrap();
    assert_eq!((&report["path"], &report["level"], &report["left_out"]), (&"evil".into(), &"danger".into(), &0.into()));
    let expected = serde_json::json!({
        "level": "danger",
        "kind": "op",
        "op": "WriteFile",
        "what": "writes a file: `/owned`",
        "path": "/owned",
        "node": "write",
        "functions": [],
        "reached_from": {
            "restore": false, "init": false, "save": false, "signatures": ["serving_default"], "more": 0,
        },
        "count": 1,
        "tags": ["serve"],
    });
    assert_eq!(report["findings"][0], expected);
}
