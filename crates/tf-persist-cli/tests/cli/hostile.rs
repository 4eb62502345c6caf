//! Names in a model must not control the terminal of the person who inspects it.

use std::fs;

use crate::command::Ran;
use crate::support::Dir;

/// A name that sets the terminal's title, clears the screen, and begins a new line.
const EVIL: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}2J\r\nerror: forged\x7f";

/// Prints with colours, so that no escape sequence is filtered out on its way, and checks that none of the model's got
/// through.
#[track_caller]
fn harmless(cmd: crate::command::Cmd<'_>) -> Ran {
    let ran = cmd.in_colour().run();
    let said = format!("{}{}", ran.out(), ran.err());
    // What sets colours is ours.
    for evil in ["\x1b]", "\x1b[2J", "\x07", "\u{9b}", "\r", "\x7f"] {
        ran.check(!said.contains(evil), format_args!("a control character got through: {evil:?}"));
    }
    ran.check(!said.lines().any(|line| line.starts_with("error: forged")), "a line was forged");
    ran
}

/// A model with such names wherever there are names; nothing runs it.
fn evil_model(dir: &Dir) {
    dir.write_proto("evil", |model| {
        let graph = &mut model.meta_graphs[0];
        let info = graph.meta_info_def.mut_or_insert_default();
        info.tags = vec![EVIL.into(), "serve".into()];
        info.tensorflow_version = EVIL.into();
        info.tensorflow_git_version = EVIL.into();
        let mut signature = graph.signature_def.remove("sparse").unwrap();
        signature.method_name = EVIL.into();
        let mut input = signature.inputs.remove("features").unwrap();
        input.mut_coo_sparse().values_tensor_name = EVIL.into();
        signature.inputs.insert(EVIL.into(), input);
        let mut output = signature.outputs.remove("doubled").unwrap();
        output.set_name(EVIL.into());
        signature.outputs.insert(EVIL.into(), output);
        graph.signature_def.insert(format!("train {EVIL}"), signature);
        let nodes = &mut graph.graph_def.mut_or_insert_default().node;
        let mut node = nodes[0].clone();
        node.name = EVIL.into();
        node.op = EVIL.into();
        nodes.push(node);
        let mut asset = tf_persist_proto::tensorflow::AssetFileDef::new();
        asset.filename = EVIL.into();
        graph.asset_file_def.push(asset);
    });
    dir.write(format!("evil/assets/{EVIL}.txt"), "");
}

/// A model that runs, with such names of a signature, its input and its output.
fn runnable_model(dir: &Dir) {
    dir.write_proto("runs", |model| {
        let signatures = &mut model.meta_graphs[0].signature_def;
        let mut signature = signatures.remove("sparse").unwrap();
        signatures.clear();
        let input = signature.inputs.remove("features").unwrap();
        signature.inputs.insert(EVIL.into(), input);
        let output = signature.outputs.remove("doubled").unwrap();
        signature.outputs.insert(EVIL.into(), output);
        signatures.insert(EVIL.into(), signature);
    });
}

#[test]
fn reports_spell_control_characters_out() {
    let dir = Dir::new();
    evil_model(&dir);
    let text = harmless(dir.cmd("inspect evil").without_tensorflow());
    text.check(text.out().contains("\\u{1b}]0;owned"), "the name is not spelled out");
    for option in ["--ops", "--variables", "--format json", "--tags", "--signature"] {
        let cmd = dir.cmd(&format!("inspect evil {option}")).without_tensorflow();
        match option {
            "--tags" => drop(harmless(cmd.arg(format!("serve,{EVIL}")))),
            "--signature" => drop(harmless(cmd.arg(format!("train {EVIL}")))),
            "--format json" => drop(cmd.run()),
            _ => drop(harmless(cmd)),
        }
    }
}

#[test]
fn lists_of_signatures_spell_control_characters_out() {
    let dir = Dir::new();
    runnable_model(&dir);
    let unknown = harmless(dir.cmd("inspect runs --signature nope").without_tensorflow());
    unknown.check(unknown.err().contains("has no signature `nope`"), "it should be refused");
    harmless(dir.cmd("run runs --signature nope").without_tensorflow());
}

#[test]
fn lists_of_tags_spell_control_characters_out() {
    let dir = Dir::new();
    evil_model(&dir);
    let unknown = harmless(dir.cmd("inspect evil --tags gpu").without_tensorflow());
    unknown.check(unknown.err().contains("no meta graph with the tag set `gpu`"), "it should be refused");
}

#[test]
fn lists_of_inputs_spell_control_characters_out() {
    let dir = Dir::new();
    runnable_model(&dir);
    let missing = harmless(dir.cmd("run runs").without_tensorflow());
    missing.check(missing.err().contains("which were not given"), "it should be refused");
    let extra = harmless(dir.cmd("run runs --input x=[1]").without_tensorflow());
    extra.check(extra.err().contains("has no input `x`"), "it should be refused");
    let wrong = dir.cmd("run runs --input").arg(format!("{EVIL}.indices=[0.5]")).without_tensorflow();
    harmless(wrong);
}

#[test]
fn outputs_spell_control_characters_out() {
    let dir = Dir::new();
    runnable_model(&dir);
    let parts = ["indices=[[0,1]]", "values=[1.5]", "dense_shape=[1,4]"];
    let inputs = || parts.iter().flat_map(|part| ["--input".to_owned(), format!("{EVIL}.{part}")]);
    let ran = harmless(dir.cmd("run runs").args(inputs()));
    ran.check(ran.out().contains("values  float32 [1]\n[3.0]"), "it should run");
    let json = dir.cmd("run runs --format json").args(inputs()).run().ok().json();
    assert_eq!(json["outputs"][format!("{EVIL}.values")][0], 3.0);
}

#[test]
fn strings_spell_control_characters_out() {
    let dir = Dir::new();
    let ran = harmless(
        dir.cmd("run models/dtypes/model --signature unknown_rank --input float32=1 --input int64=1 --input")
            .arg("string=\"\\u001b]0;owned\\u0007\""),
    );
    ran.check(ran.out().contains("\\u001b]0;owned\\u0007"), "the string is not spelled out");
}

#[test]
fn messages_of_tensorflow_spell_control_characters_out() {
    let dir = Dir::new();
    let cmd = dir
        .cmd("run models/tf1_graph/model --signature regress --input")
        .arg("inputs=[\"\\u001b]0;owned\\u0007\\u001b[2J\"]");
    let ran = harmless(cmd);
    ran.check(ran.err().contains("TensorFlow could not run"), "it should be refused");
}

#[test]
fn names_of_files_beside_a_model_spell_control_characters_out() {
    let dir = Dir::new();
    dir.write(format!("above/{EVIL}/saved_model.pb"), "");
    harmless(dir.cmd("inspect above").without_tensorflow());
    dir.write(format!("keras/{EVIL}.keras"), "");
    harmless(dir.cmd("inspect keras").without_tensorflow());
    let model = dir.copy_model("text", "model");
    fs::write(model.join("assets").join(EVIL), "").unwrap();
    harmless(dir.cmd("inspect model").without_tensorflow());
    harmless(dir.cmd("inspect").arg(EVIL).without_tensorflow());
}
