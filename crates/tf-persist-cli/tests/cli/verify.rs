//! `verify`: recorded requests are replayed, or refused.

use std::fs;
use std::thread;
use std::time::Duration;

use tf_persist_core::warmup::FILE;
use tf_persist_core::warmup::tfrecord::{Reader, write_record};
use tf_persist_core::{Tensor, tensor};
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving::prediction_log::prediction_log::Log_type;
use tf_persist_proto::serving::{self as pb, PredictionLog};
use tf_persist_proto::tensorflow::Example;

use crate::recorded::Recorded;
use crate::support::{Dir, floats, npy, npz};

/// A model that multiplies `x` by a number, and has a random signature.
pub(crate) fn times(dir: &Dir, name: &str, factor: &str) {
    let graph = format!(
        r#"saved_model_schema_version: 1
        meta_graphs {{
          meta_info_def {{ tags: "serve" }}
          graph_def {{
            node {{ name: "x" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }} }}
            node {{ name: "c" op: "Const" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }}
                   attr {{ key: "value" value {{ tensor {{ dtype: DT_FLOAT tensor_shape {{ }} float_val: {factor} }} }} }} }}
            node {{ name: "y" op: "Mul" input: "x" input: "c" attr {{ key: "T" value {{ type: DT_FLOAT }} }} }}
            node {{ name: "s" op: "Shape" input: "x" attr {{ key: "T" value {{ type: DT_FLOAT }} }}
                   attr {{ key: "out_type" value {{ type: DT_INT32 }} }} }}
            node {{ name: "r" op: "RandomUniform" input: "s" attr {{ key: "T" value {{ type: DT_INT32 }} }}
                   attr {{ key: "dtype" value {{ type: DT_FLOAT }} }} }}
            versions {{ producer: 26 }}
          }}
          signature_def {{ key: "serving_default" value {{
            inputs {{ key: "x" value {{ name: "x:0" dtype: DT_FLOAT tensor_shape {{ unknown_rank: true }} }} }}
            outputs {{ key: "y" value {{ name: "y:0" dtype: DT_FLOAT tensor_shape {{ unknown_rank: true }} }} }} }} }}
          signature_def {{ key: "chance" value {{
            inputs {{ key: "x" value {{ name: "x:0" dtype: DT_FLOAT tensor_shape {{ unknown_rank: true }} }} }}
            outputs {{ key: "r" value {{ name: "r:0" dtype: DT_FLOAT tensor_shape {{ unknown_rank: true }} }} }} }} }}
        }}"#
    );
    dir.write(format!("{name}/saved_model.pbtxt"), graph);
}

/// The data of the records of a model.
fn records(dir: &Dir, model: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(dir.path(model).join(FILE)).unwrap();
    let mut reader = Reader::new("records", bytes.as_slice(), bytes.len() as u64);
    let mut all = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        all.push(record);
    }
    all
}

fn write(dir: &Dir, model: &str, logs: &[PredictionLog]) {
    let mut file = Vec::new();
    logs.iter().for_each(|log| write_record(&mut file, &log.write_to_bytes().unwrap()).unwrap());
    dir.write(format!("{model}/{FILE}"), file);
}

#[test]
fn recorded_requests_replay_the_same() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "m");
    dir.write("many.jsonl", "{\"inputs\": {\"x\": [1, 2]}}\n\n{\"instances\": [3, 4]}\n");
    dir.write("one.npz", npz(&[("x", npy("<f4", "(3,)", &floats(&[5.0, 6.0, 7.0])))]));
    dir.cmd("verify m --record many.jsonl").run().ok().prints("m/assets.extra/tf_serving_warmup_requests`: 2 requests");
    dir.cmd("verify m --record one.npz").run().ok().prints("1 request recorded, 3 records in all");
    // Recorded again: nothing is new.
    let before = dir.listing();
    let again = dir.cmd("verify m --record many.jsonl").run().ok();
    again.prints("0 requests recorded (2 requests there already), 3 records in all");
    dir.cmd("verify m --record -").stdin("{\"inputs\": [1, 2]}").run().ok().prints("1 request there already");
    assert_eq!(dir.listing(), before);

    dir.cmd("verify m").run().ok().prints_only("same: 3 answers, bit for bit\n");
    dir.cmd("verify m --tolerance 0").run().ok().prints("same: 3 answers, bit for bit");
    let report = dir.cmd("verify m --format json").run().ok().json();
    assert_eq!((&report["verdict"], &report["compared"], &report["bit_equal"]), (&"same".into(), &3.into(), &3.into()));
    assert_eq!(report["records"][2]["outputs"]["y"]["elements"], 3);
    // It is exported with the model.
    dir.cmd("export m copy").run().ok();
    dir.cmd("verify copy").run().ok().prints("same: 3 answers");
    dir.cmd("verify m --record one.npz --replace").run().ok().prints("1 request recorded, 1 record in all");
    assert_eq!(records(&dir, "m").len(), 1);
    assert_eq!(dir.names("m/assets.extra"), ["tf_serving_warmup_requests"]);
}

#[test]
fn the_example_of_the_documentation_holds() {
    let dir = Dir::new();
    let text = fs::read_to_string(tf_persist_testing::root().join("docs/cli.md")).unwrap();
    let section = text.split_once("## verify PATH").unwrap().1;
    let example = section.split_once("```console\n").unwrap().1.split_once("```").unwrap().0;
    let mut commands = 0;
    for block in example.split("$ tf-persist ").skip(1) {
        let (line, expected) = block.split_once('\n').unwrap();
        dir.cmd(line).run().ok().prints(expected);
        commands += 1;
    }
    assert_eq!(commands, 3);
}

#[test]
fn a_different_answer_is_located() {
    let dir = Dir::new();
    times(&dir, "old", "0.5");
    times(&dir, "new", "0.75");
    times(&dir, "near", "0.5000001");
    dir.write("in.json", r#"{"inputs": {"x": [[1, 2], [0, 40]]}}"#);
    dir.cmd("verify old --record in.json --signature serving_default").run().ok();
    for model in ["new", "near"] {
        fs::create_dir(dir.path(model).join("assets.extra")).unwrap();
        fs::copy(dir.path("old").join(FILE), dir.path(model).join(FILE)).unwrap();
    }
    let differs = dir.cmd("verify new").run();
    differs.check(differs.err().lines().all(|line| !line.starts_with("error")), "the report says it all");
    let text = "different: 1 of 1 answer\n  record 1, predict `serving_default`: `y` differs in 3 of 4 elements; largest \
                absolute difference 10, relative 0.3333; at [1, 1] 30 instead of 20\n";
    differs.check(differs.out() == text, format_args!("it should print {text}"));
    let report = dir.cmd("verify new --format json").run().json();
    assert_eq!(report["verdict"], "different");
    let output = &report["records"][0]["outputs"]["y"];
    assert_eq!((&output["differing"], &output["largest_absolute"]), (&3.into(), &10.0.into()));
    assert_eq!(output["worst"]["index"], serde_json::json!([1, 1]));
    dir.cmd("verify near").run().ok().prints("same: 1 answer within rounding (0 bit for bit)\n  record 1");
    dir.cmd("verify near --tolerance 1e-3").run().ok().prints("within 0.001 absolute and relative");
    let exact = dir.cmd("verify near --tolerance 0").run();
    exact.check(exact.out().starts_with("different: 1 of 1 answer\n"), "0 demands the same bits");
    // An existing record is not replaced without a flag.
    dir.cmd("verify new --record in.json")
        .run()
        .fails()
        .says("record 1 is the same request with another answer")
        .hints("--replace");
    dir.cmd("verify new --record in.json --replace").run().ok();
    dir.cmd("verify new").run().ok();
}

#[test]
fn a_request_that_fails_is_a_difference() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    dir.write("in.json", r#"{"inputs": {"x": 1}}"#);
    dir.cmd("verify m --record in.json --signature serving_default").run().ok();
    dir.copy_model("tf1_graph", "t");
    fs::copy(dir.path("m").join(FILE), dir.path("t").join(FILE)).unwrap();
    let failed = dir.cmd("verify t").run();
    failed.check(failed.out().starts_with("different: 1 of 1 answer\n"), "it should be different");
    failed.prints("failed: input `x` of signature `serving_default` takes the shape [-1, 4], not []");
}

#[test]
fn a_model_without_recorded_answers_fails_with_a_hint() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "m");
    let none = dir.cmd("verify m").without_tensorflow().run().fails().says("`m` has no recorded answers");
    none.hints("tf-persist verify m --record FILE.npz").prints_only("");
    // Nothing can be recorded in a pack.
    dir.cmd("export m m.tfpack").run().ok();
    let none = dir.cmd("verify m.tfpack").without_tensorflow().run().fails();
    let none = none.says("`m.tfpack` has no recorded answers: there is no `assets.extra/").prints_only("");
    none.hints("tf-persist export m.tfpack FOLDER, tf-persist verify FOLDER --record FILE.npz");
    dir.write("x.npz", npz(&[("x", npy("<f4", "(1,)", &[0; 4]))]));
    let none = dir.cmd("verify m.tfpack --record x.npz").without_tensorflow().run().fails().says("it is not a folder");
    none.hints("unpack it into a folder with export, record there, and export that to a pack again");
    dir.write(format!("m/{FILE}"), "");
    dir.cmd("verify m").without_tensorflow().run().fails().says("is empty");
    dir.cmd("verify none").without_tensorflow().run().fails().says("`none` is not a SavedModel");
    dir.cmd("verify m --tags gpu").without_tensorflow().run().fails().says("has no meta graph with the tag set `gpu`");
}

#[test]
fn requests_of_tensorflow_serving_run_and_have_nothing_to_compare_with() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "m");
    dir.write("in.json", r#"{"inputs": {"x": [1, 2]}}"#);
    dir.cmd("verify m --record in.json").run().ok();
    let mut log = PredictionLog::parse_from_bytes(&records(&dir, "m")[0]).unwrap();
    let answered = log.clone();
    log.mut_predict_log().response = MessageField::none();
    log.log_metadata = MessageField::none();
    write(&dir, "m", std::slice::from_ref(&log));
    let ran = dir.cmd("verify m").run().fails().says("have no answers to compare with").hints("--record");
    ran.prints_only("unknown: no record has an answer; 1 request ran, nothing to compare with\n");
    assert_eq!(dir.cmd("verify m --format json").run().fails().json()["verdict"], "unknown");
    let filtered = "{\"output_filter\": [\"y\"], ";
    let request = std::fs::read_to_string(dir.path("in.json")).unwrap().trim_start().replacen('{', filtered, 1);
    let ran = dir.cmd("verify m --record -").stdin(request).run().ok();
    ran.check(
        ran.err().contains("`output_filter` is ignored: all outputs are recorded"),
        "the filter is ignored silently",
    );
    write(&dir, "m", std::slice::from_ref(&log));
    // Recording the request adds its answer, and no second request.
    dir.cmd("verify m --record in.json").run().ok().prints("1 request recorded, 1 record in all");
    dir.cmd("verify m").run().ok().prints("same: 1 answer");

    // Other kinds of requests are counted; only the filtered outputs are compared.
    let streamed =
        PredictionLog { log_type: Some(Log_type::PredictStreamedLog(Default::default())), ..Default::default() };
    let session = PredictionLog { log_type: Some(Log_type::SessionRunLog(Default::default())), ..Default::default() };
    let multi = PredictionLog { log_type: Some(Log_type::MultiInferenceLog(Default::default())), ..Default::default() };
    let mut filtered = answered.clone();
    filtered.mut_predict_log().request.mut_or_insert_default().output_filter.push("y".into());
    let mut other = answered.clone();
    other.log_metadata.mut_or_insert_default().saved_model_tags = vec!["gpu".into()];
    write(&dir, "m", &[streamed, session, multi, filtered.clone(), log, other]);
    let ran = dir.cmd("verify m").run().ok();
    ran.check(
        ran.out().starts_with(
            "same: 1 answer, bit for bit; 1 request ran, nothing to compare with; 4 requests not replayed\n",
        ),
        "each should be counted",
    );
    let ran = ran.prints("record 2, session_run `serving_default`: not replayed");
    ran.prints("it was recorded for the meta graph with the tags `gpu`");
    // Added and removed outputs are differences.
    filtered.mut_predict_log().request.mut_or_insert_default().output_filter = vec!["z".into()];
    let mut missing = answered.clone();
    let outputs = &mut missing.mut_predict_log().response.mut_or_insert_default().outputs;
    let y = outputs.remove("y").unwrap();
    outputs.insert("old".into(), y);
    write(&dir, "m", &[filtered, missing]);
    let ran = dir.cmd("verify m").run().prints("different: 2 of 2 answers").prints("there is no output `z`");
    ran.prints("`old` was recorded, and is not there any more").prints("`y` is there, and was not recorded");
}

#[test]
fn classification_and_regression_are_replayed() {
    let dir = Dir::new();
    dir.copy_model("tf1_graph", "m");
    let recorded = Recorded::read("tf1_graph");
    let cases = recorded.cases();
    let case = |signature: &str| cases.iter().find(|case| case.signature == signature).unwrap();
    let get =
        |tensors: &[(String, Tensor)], name: &str| tensors.iter().find(|(other, _)| other == name).unwrap().1.clone();
    let spec =
        |signature: &str| MessageField::some(pb::ModelSpec { signature_name: signature.into(), ..Default::default() });
    let input = |signature: &str| {
        let inputs = get(&case(signature).inputs, "inputs");
        let examples = inputs.strings().unwrap().iter().map(|bytes| Example::parse_from_bytes(bytes).unwrap());
        let list = pb::ExampleList { examples: examples.collect(), ..Default::default() };
        let kind = Some(pb::input::input::Kind::ExampleList(list));
        MessageField::some(pb::Input { kind, ..Default::default() })
    };
    let outputs = &case("classify").outputs;
    let (classes, scores) = (get(outputs, "classes"), get(outputs, "scores"));
    let width = classes.shape()[1];
    let labels: Vec<&[u8]> = classes.strings().unwrap().iter().collect();
    let rows = labels.chunks(width).zip(scores.view::<f32>().unwrap().chunks(width)).map(|(labels, scores)| {
        let class = |(label, score): (&&[u8], &f32)| pb::Class {
            label: String::from_utf8(label.to_vec()).unwrap(),
            score: *score,
            ..Default::default()
        };
        pb::Classifications { classes: labels.iter().zip(scores).map(class).collect(), ..Default::default() }
    });
    let result = pb::ClassificationResult { classifications: rows.collect(), ..Default::default() };
    let classify = pb::ClassifyLog {
        request: MessageField::some(pb::ClassificationRequest {
            model_spec: spec("classify"),
            input: input("classify"),
            ..Default::default()
        }),
        response: MessageField::some(pb::ClassificationResponse {
            result: MessageField::some(result),
            ..Default::default()
        }),
        ..Default::default()
    };
    let values = get(&case("regress").outputs, "outputs");
    let regressions =
        values.view::<f32>().unwrap().iter().map(|value| pb::Regression { value: *value, ..Default::default() });
    let result = pb::RegressionResult { regressions: regressions.collect(), ..Default::default() };
    let regress = pb::RegressLog {
        request: MessageField::some(pb::RegressionRequest {
            model_spec: spec("regress"),
            input: input("regress"),
            ..Default::default()
        }),
        response: MessageField::some(pb::RegressionResponse {
            result: MessageField::some(result),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut logs = [Log_type::ClassifyLog(classify), Log_type::RegressLog(regress)]
        .map(|log| PredictionLog { log_type: Some(log), ..Default::default() });
    write(&dir, "m", &logs);
    dir.cmd("verify m").run().ok().prints("same: 2 answers");
    logs[0].mut_classify_log().response.mut_or_insert_default().result.mut_or_insert_default().classifications[0]
        .classes[0]
        .label = "other".into();
    write(&dir, "m", &logs);
    let changed = dir
        .cmd("verify m")
        .run()
        .prints("different: 1 of 2 answers\n  record 1, classify `classify`: `classes` differs");
    changed.prints("instead of \"other\"");
}

#[test]
fn unrepeatable_requests_are_not_recorded() {
    let dir = Dir::new();
    for model in ["counter", "sparse", "multi"] {
        dir.copy_model(model, model);
    }
    times(&dir, "m", "2");
    dir.write("delta.json", r#"{"inputs": {"delta": 3}}"#);
    let state = dir.cmd("verify counter --record delta.json --signature increment").without_tensorflow().run().fails();
    state.says("signature `increment` writes to the model's state (`AssignAddVariableOp`").hints("only reads");
    let parts = [
        ("features.indices", npy("<i8", "(1, 2)", &[0; 16])),
        ("features.values", npy("<f4", "(1,)", &floats(&[1.0]))),
        ("features.dense_shape", npy("<i8", "(2,)", &[1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0])),
    ];
    dir.write("sparse.npz", npz(&parts));
    let sparse = dir.cmd("verify sparse --record sparse.npz").without_tensorflow().run().fails();
    sparse.says("`features` of signature `serving_default` is not a dense tensor");
    dir.write("x.json", r#"{"inputs": {"x": [[1, 2]]}}"#);
    let tags = dir.cmd("verify multi --record x.json --tags serve,train").without_tensorflow().run().fails();
    tags.says("TensorFlow Serving would use the meta graph `serve`").hints("--tags serve");
    dir.cmd("verify multi --record x.json").run().ok();
    let chance = dir.cmd("verify m --record x.json --signature chance").run().fails();
    chance.says("request 1 of `x.json`").says("the second time: `r` differs");
    assert!(!dir.path("m/assets.extra").exists());
}

#[test]
fn invalid_requests_are_refused_before_tensorflow_is_opened() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "m");
    let before = dir.listing();
    let refused = |content: &str, file: &str| {
        dir.write(file, content);
        let ran = dir.cmd(&format!("verify m --record {file}")).without_tensorflow().run().fails();
        fs::remove_file(dir.path(file)).unwrap();
        ran
    };
    refused("", "a.jsonl").says("`a.jsonl` has no requests");
    refused("{\"inputs\": {\"x\": [1]}}\n{\"inputs\"", "a.jsonl").says("line 2");
    refused(r#"{"inputs": {"z": [1]}}"#, "a.json").says("has no input `z`");
    refused(r#"{"signature_name": "none", "inputs": {"x": [1]}}"#, "a.json").says("has no signature `none`");
    refused("PK", "a.npz").says("a.npz");
    dir.cmd("verify m --record none.json").without_tensorflow().run().fails().says("none.json");
    dir.cmd("verify m --record none.jsonl").without_tensorflow().run().fails().says("none.jsonl");
    dir.cmd("verify m --record a.txt").without_tensorflow().run().misused();
    dir.cmd("verify m --record a.npy").without_tensorflow().run().misused().says("write an .npz");
    dir.write("d.npz", npz(&[("x", npy("<f8", "(1,)", &[0; 8]))]));
    dir.cmd("verify m --record d.npz")
        .without_tensorflow()
        .run()
        .fails()
        .says("`d.npz`: ")
        .says("is float32, not float64");
    dir.write("d.npz", npz(&[("z", npy("<f4", "(1,)", &[0; 4]))]));
    dir.cmd("verify m --record d.npz").without_tensorflow().run().fails().says("`d.npz`: ").says("has no input `z`");
    fs::remove_file(dir.path("d.npz")).unwrap();
    assert_eq!(dir.listing(), before);
}

#[test]
fn a_damaged_file_is_refused_by_the_number_of_its_record() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    dir.write("in.jsonl", "{\"inputs\": {\"x\": 1}}\n{\"inputs\": {\"x\": 2}}\n");
    dir.cmd("verify m --record in.jsonl --signature serving_default").run().ok();
    let whole = fs::read(dir.path("m").join(FILE)).unwrap();
    let refused = |bytes: &[u8], says: &str| {
        dir.write(format!("m/{FILE}"), bytes);
        let verified = dir.cmd("verify m").without_tensorflow().run().fails();
        verified.says("m/assets.extra/tf_serving_warmup_requests").says(says).prints_only("");
        let recorded = dir.cmd("verify m --record in.jsonl --signature serving_default").without_tensorflow().run();
        recorded.fails().says(says);
        assert_eq!(fs::read(dir.path("m").join(FILE)).unwrap(), bytes, "it was written to");
    };
    refused(&whole[..whole.len() - 3], "record 2: it is cut off");
    refused(&whole[..5], "record 1: it is cut off");
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    refused(&flipped, "record 1: the checksum of its data is wrong");
    flipped[3] ^= 1;
    refused(&flipped, "record 1: the checksum of its length is wrong");
    // A length of 2^60 with a valid checksum.
    let mut absurd = whole.clone();
    absurd.extend(b"\0\0\0\0\0\0\0\x10");
    let checksum = masked(&absurd[whole.len()..]);
    absurd.extend(checksum);
    refused(&absurd, "record 3: it claims 1152921504606846976 bytes");
    refused(b"\x1f\x8b\x08\0\0\0\0\0\0\x03 and more", "compressed by gzip");
    let mut odd = Vec::new();
    write_record(&mut odd, b"no protobuf").unwrap();
    refused(&odd, "record 1: ");
    let mut many = Vec::new();
    (0..1001).for_each(|_| write_record(&mut many, b"").unwrap());
    refused(&many, "more than 1000 records");
    // A new recording does not read the old one.
    dir.cmd("verify m --record in.jsonl --signature serving_default --replace").run().ok().prints("2 records in all");
    // A file holds at most a thousand records.
    let mut full = Vec::new();
    (0..1000).for_each(|_| write_record(&mut full, b"").unwrap());
    dir.write(format!("m/{FILE}"), &full);
    let refused = dir.cmd("verify m --record in.jsonl --signature serving_default").run().fails();
    refused.says("there are 1000 records already").hints("--replace");
    fs::remove_file(dir.path("m").join(FILE)).unwrap();
    fs::create_dir(dir.path("m").join(FILE)).unwrap();
    dir.cmd("verify m").without_tensorflow().run().fails().says("it is not a regular file");
}

/// The masked CRC-32C of eight bytes.
fn masked(data: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    write_record(&mut record, data).unwrap();
    record.split_off(record.len() - 4)
}

#[test]
fn usage_errors_of_verify_exit_with_2() {
    let dir = Dir::new();
    for line in [
        "verify",
        "verify a b",
        "verify a --signature b",
        "verify a --replace",
        "verify a --tolerance -1",
        "verify a --tolerance nan",
        "verify a --tolerance much",
        "verify a --record b.json --tolerance 0",
        "verify a --record b.json --format json",
    ] {
        dir.cmd(line).without_tensorflow().run().misused();
    }
}

#[test]
fn on_a_full_disk_the_old_file_stays() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    let numbers = vec!["1"; 20_000].join(",");
    dir.write("in.json", format!("{{\"signature_name\": \"serving_default\", \"inputs\": {{\"x\": [{numbers}]}}}}"));
    let full = |line: &str| dir.bash("trap '' XFSZ; ulimit -f 8; exec \"$@\"", line);
    let before = dir.listing();
    let ran = full("verify m --record in.json").run().fails();
    ran.says("cannot write `m/assets.extra/tf_serving_warmup_requests`").says("File too large");
    assert_eq!(dir.listing(), before, "a folder without anything in it is left");
    dir.write("small.json", r#"{"signature_name": "serving_default", "inputs": {"x": 1}}"#);
    dir.cmd("verify m --record small.json").run().ok();
    let before = dir.listing();
    full("verify m --record in.json").run().fails();
    assert_eq!(dir.listing(), before);
    dir.cmd("verify m").run().ok();
}

#[test]
fn a_read_only_folder_is_an_error() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    dir.write("m/assets.extra", "a file");
    dir.write("in.json", r#"{"signature_name": "serving_default", "inputs": {"x": 1}}"#);
    let ran = dir.cmd("verify m --record in.json").run().fails().says("m/assets.extra");
    ran.check(!ran.err().contains(".tmp"), "it names its own temporary file");
}

#[test]
fn a_killed_recording_leaves_the_old_or_the_new_file() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    dir.write("first.json", r#"{"signature_name": "serving_default", "inputs": {"x": 1}}"#);
    let numbers = vec!["1.5"; 200_000].join(",");
    dir.write("more.json", format!("{{\"signature_name\": \"serving_default\", \"inputs\": {{\"x\": [{numbers}]}}}}"));
    dir.cmd("verify m --record first.json").run().ok();
    let graph = fs::read(dir.path("m/saved_model.pbtxt")).unwrap();
    let old = fs::read(dir.path("m").join(FILE)).unwrap();
    dir.cmd("verify m --record more.json").run().ok();
    let new = fs::read(dir.path("m").join(FILE)).unwrap();
    // Microseconds after the temporary file appears, or the new one.
    for moment in (0..4000).step_by(250) {
        fs::write(dir.path("m").join(FILE), &old).unwrap();
        let before = dir.names("m/assets.extra");
        let mut child = dir.cmd("verify m --record more.json").start();
        let begun = || dir.names("m/assets.extra") != before;
        while !begun() && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(50));
        }
        thread::sleep(Duration::from_micros(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = fs::read(dir.path("m").join(FILE)).unwrap();
        assert!(now == old || now == new, "{} bytes, neither the old file nor the new", now.len());
        assert_eq!(fs::read(dir.path("m/saved_model.pbtxt")).unwrap(), graph);
        let (left, others): (Vec<String>, Vec<String>) = dir
            .names("m/assets.extra")
            .into_iter()
            .partition(|name| name.starts_with(".tf_serving_warmup_requests.tmp-"));
        assert_eq!(others, ["tf_serving_warmup_requests"]);
        assert!(left.len() <= 1, "{left:?}");
    }
    dir.cmd("verify m").run().ok().prints("same: ");
    // The leftover file is not part of the model.
    dir.cmd("export m copy").run().ok();
    assert_eq!(dir.names("copy/assets.extra"), ["tf_serving_warmup_requests"]);
    // The last process may have been killed after it had written: whoever has nothing to add writes nothing, and so
    // deletes nothing.
    fs::write(dir.path("m").join(FILE), &old).unwrap();
    dir.cmd("verify m --record more.json").run().ok();
    assert_eq!(dir.names("m/assets.extra"), ["tf_serving_warmup_requests"]);
}

#[test]
fn names_in_records_do_not_control_the_terminal() {
    let dir = Dir::new();
    times(&dir, "m", "2");
    let x = tensor::proto::to_proto(&Tensor::scalar(1.0_f32).unwrap());
    let mut log = pb::PredictLog::new();
    let request = log.request.mut_or_insert_default();
    request.model_spec.mut_or_insert_default().signature_name = "\x1b[31mred".into();
    request.inputs.insert("x".into(), x.clone());
    log.response.mut_or_insert_default().outputs.insert("\x1b[32my".into(), x);
    write(&dir, "m", &[PredictionLog { log_type: Some(Log_type::PredictLog(log)), ..Default::default() }]);
    let ran = dir.cmd("verify m").in_colour().run().prints("different: 1 of 1 answer");
    ran.check(!ran.out().contains('\x1b'), "escape sequences of the file are printed");
}
