//! Requests that write to the model's state: recorded in order, and replayed on a newly loaded model.

use std::fs;

use tf_persist_core::warmup::{FILE, SEQUENCE_FILE};

use crate::support::Dir;

/// Counts up by 2 and by 3, reads, and counts on.
const REQUESTS: &str = r#"{"signature_name": "increment", "inputs": {"delta": 2}}
{"signature_name": "increment", "inputs": {"delta": 3}}
{"signature_name": "value", "inputs": {}}
{"signature_name": "increment", "inputs": {"delta": 3}}
"#;

fn recorded(dir: &Dir) {
    dir.copy_model("counter", "m");
    dir.write("requests.jsonl", REQUESTS);
    let ran = dir.cmd("verify m --record requests.jsonl --in-order").run().ok();
    ran.prints(format!("`m/{SEQUENCE_FILE}`: 4 requests recorded in order, 4 records in all"));
}

#[test]
fn a_signature_that_writes_is_refused_with_a_hint() {
    let dir = Dir::new();
    dir.copy_model("counter", "m");
    dir.write("requests.jsonl", REQUESTS);
    let ran = dir.cmd("verify m --record requests.jsonl").without_tensorflow().run().fails();
    let ran = ran.says("signature `increment` writes to the model's state (`AssignAddVariableOp`");
    let ran = ran.hints("record its requests in order").hints("--in-order");
    let ran = ran.hints("`value` only reads, and is recorded as it is");
    ran.check(!ran.err().contains("such as serving_default"), "a signature is recommended that is not there");
    dir.cmd("verify m --in-order").without_tensorflow().run().misused();
}

#[test]
fn a_new_model_replays_a_sequence() {
    let dir = Dir::new();
    recorded(&dir);
    assert_eq!(dir.names("m/assets.extra"), ["tf-persist-sequence.tfrecord"]);
    for _ in 0..2 {
        dir.cmd("verify m").run().ok().prints_only("same: 4 answers, bit for bit\n");
    }
    dir.cmd("inspect m").without_tensorflow().run().ok().prints("tf-persist-sequence.tfrecord  ").prints("in order");
    // More requests come behind those that are there, and answers are those after all of them.
    dir.cmd("verify m --record - --in-order --signature value")
        .stdin("{\"inputs\": {}}")
        .run()
        .ok()
        .prints("5 records in all");
    let report = dir.cmd("verify m --format json").run().ok().json();
    assert_eq!((&report["compared"], &report["records"][4]["in_order"]), (&5.into(), &true.into()));
    // The requests that TensorFlow Serving may run are in another file, and replayed on another model.
    dir.cmd("verify m --record - --signature value").stdin("{\"inputs\": {}}").run().ok().prints(FILE);
    dir.cmd("verify m").run().ok().prints_only("same: 6 answers, bit for bit\n");
    dir.cmd("verify m --record requests.jsonl --in-order --replace").run().ok().prints("4 records in all");
    dir.cmd("verify m").run().ok().prints_only("same: 5 answers, bit for bit\n");
}

#[test]
fn another_order_or_model_is_different() {
    let dir = Dir::new();
    recorded(&dir);
    // The first two records change places: their requests are the same but for the number, their answers are not.
    let bytes = fs::read(dir.path("m").join(SEQUENCE_FILE)).unwrap();
    let mut reader = tf_persist_core::warmup::tfrecord::Reader::new("m", bytes.as_slice(), bytes.len() as u64);
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    records.swap(0, 1);
    let mut file = Vec::new();
    records.iter().for_each(|record| tf_persist_core::warmup::tfrecord::write_record(&mut file, record).unwrap());
    fs::write(dir.path("m").join(SEQUENCE_FILE), file).unwrap();
    let ran = dir.cmd("verify m").run().exits_with(1).prints("different: 2 of 4 answers");
    let ran = ran.prints("record 1 of the sequence, predict `increment`: `total` differs");
    ran.check(!ran.out().contains("record 3"), "what came after is as it was");
    let more = dir.cmd("verify m --record requests.jsonl --in-order").run().fails();
    more.says("record 1 of the sequence has another answer now").hints("begin a new recording (--replace)");
    fs::write(dir.path("m").join(SEQUENCE_FILE), b"no records").unwrap();
    dir.cmd("verify m").without_tensorflow().run().fails().says("tf-persist-sequence.tfrecord` is damaged");
}

#[test]
fn random_answers_are_not_recorded() {
    let dir = Dir::new();
    crate::verify::times(&dir, "m", "2");
    let ran =
        dir.cmd("verify m --record - --in-order --signature chance").stdin("{\"inputs\": {\"x\": [1, 2, 3]}}").run();
    ran.fails().says("signature `chance` gives another answer when the same requests run on the model loaded anew");
    assert!(!dir.path("m/assets.extra").exists());
}

#[test]
fn a_sequence_is_exported_whole_or_not_at_all() {
    let dir = Dir::new();
    recorded(&dir);
    dir.cmd("export m all").run().ok();
    dir.cmd("export m m.tfpack").run().ok();
    dir.cmd("export m renamed --rename-signature increment=add").run().ok();
    for model in ["all", "m.tfpack", "renamed"] {
        dir.cmd(&format!("verify {model}")).run().ok().prints_only("same: 4 answers, bit for bit\n");
    }
    let ran = dir.cmd("export m some --signatures increment,reset").run().ok();
    let note = "note: its recorded sequence of requests is left out: it calls signatures that are not kept";
    ran.check(ran.err().contains(note), "it is not said that the sequence is left out");
    assert!(!dir.path("some").join(SEQUENCE_FILE).exists());
    let ran = dir.cmd("verify some").without_tensorflow().run().fails().says("has no recorded answers");
    ran.hints("tf-persist verify some --record FILE.jsonl --in-order");
    dir.cmd("diff m some").without_tensorflow().run().exits_with(1).prints("tf-persist-sequence.tfrecord");
    dir.cmd("verify m.tfpack --record requests.jsonl --in-order")
        .without_tensorflow()
        .run()
        .fails()
        .says("it is not a folder");
}
