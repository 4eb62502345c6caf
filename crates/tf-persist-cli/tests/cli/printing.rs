//! What a model prints (`tf.print`) goes to standard error: standard output is for results.

use std::fs;
use std::path::Path;

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use crate::command::Ran;
use crate::support::{Dir, floats, npy};

const PRINTED: &str = "printed by the model";

fn node(name: &str, op: &str, attributes: &[(&str, pb::AttrValue)]) -> pb::NodeDef {
    let attr = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    pb::NodeDef { name: name.into(), op: op.into(), attr, ..Default::default() }
}

/// Has each output of every signature print to standard output before it is computed.
fn make_talkative(model: &Path) {
    let file = model.join("saved_model.pb");
    let mut saved = pb::SavedModel::parse_from_bytes(&fs::read(&file).unwrap()).unwrap();
    let meta_graph = &mut saved.meta_graphs[0];
    let signatures = meta_graph.signature_def.iter().filter(|(name, _)| !name.starts_with("__"));
    let outputs = signatures.flat_map(|(_, signature)| signature.outputs.values());
    let said: Vec<String> = outputs.map(|info| info.name().split(':').next().unwrap().to_owned()).collect();
    let graph = meta_graph.graph_def.mut_or_insert_default();
    for speaker in graph.node.iter_mut().filter(|node| said.contains(&node.name)) {
        speaker.input.push("^print_it".into());
    }
    let mut dtype = pb::AttrValue::new();
    dtype.set_type(pb::DataType::DT_STRING);
    let mut text = pb::TensorProto { dtype: pb::DataType::DT_STRING.into(), ..Default::default() };
    text.string_val.push(PRINTED.as_bytes().to_vec().into());
    text.tensor_shape.mut_or_insert_default();
    let mut value = pb::AttrValue::new();
    value.set_tensor(text);
    let mut stream = pb::AttrValue::new();
    stream.set_s(b"stdout".to_vec().into());
    graph.node.push(node("what_it_says", "Const", &[("dtype", dtype), ("value", value)]));
    let print = node("print_it", "PrintV2", &[("output_stream", stream)]);
    graph.node.push(pb::NodeDef { input: vec!["what_it_says".into()], ..print });
    fs::write(&file, saved.write_to_bytes().unwrap()).unwrap();
}

#[track_caller]
fn said_on_standard_error(ran: Ran) -> Ran {
    ran.check(ran.err().contains(PRINTED), "standard error should have what the model prints");
    ran.check(!ran.out().contains(PRINTED), "standard output should not have what the model prints");
    ran
}

#[test]
fn standard_output_has_only_the_result() {
    let dir = Dir::new();
    make_talkative(&dir.copy_model("half_plus_two", "model"));
    let run = |line: &str| said_on_standard_error(dir.cmd(line).run().ok());
    let answer = run("run model --input x=[1] --format json").json();
    assert_eq!(answer["outputs"]["y"][0], 2.5);
    run("run model --input x=[1]").prints_only("y  float32 [1]\n[2.5]\n");
    run("run model --input x=[1] --output y.npz --inter-op-threads -1").prints_only("");
    dir.write("requests.jsonl", "{\"instances\": [1]}\n{\"instances\": [2]}\n");
    let answers = run("run model --requests requests.jsonl").json_lines();
    assert_eq!((answers.len(), answers[1]["predictions"][0].as_f64()), (2, Some(3.0)));
    dir.write("x.json", "{\"inputs\": {\"x\": [1, 2]}}");
    run("verify model --record x.json");
    assert_eq!(run("verify model --format json").json()["verdict"], "same");
    assert!(run("verify model").out().starts_with("same: "));
}

#[test]
fn a_training_report_is_alone_on_standard_output() {
    let dir = Dir::new();
    make_talkative(&dir.copy_model("denormals", "model"));
    dir.write("x.npz", crate::support::npz(&[("x", npy("<f4", "(4,)", &floats(&[1.0; 4])))]));
    let line = "train model --data x.npz --epochs 1 --output out --format json";
    let report = said_on_standard_error(dir.cmd(line).run().ok()).json();
    assert_eq!(report["steps"], 1);
}

#[test]
fn a_closed_pipe_while_a_model_prints_is_not_a_failure() {
    let dir = Dir::new();
    make_talkative(&dir.copy_model("half_plus_two", "model"));
    dir.write("requests.jsonl", "{\"instances\": [1]}\n".repeat(20_000));
    let script = "\"$@\" 2>/dev/null | head -n 1; exit \"${PIPESTATUS[0]}\"";
    dir.bash(script, "run model --requests requests.jsonl").run().ok().prints("predictions");
    dir.bash("exec \"$@\" > /dev/full", "run model --input x=[1]").run().fails().says("No space left on device");
    dir.bash("exec \"$@\" >&-", "run model --input x=[1]").run().ok();
    dir.bash("exec \"$@\" 2>&-", "run model --input x=[1]").run().ok().prints_only("y  float32 [1]\n[2.5]\n");
}
