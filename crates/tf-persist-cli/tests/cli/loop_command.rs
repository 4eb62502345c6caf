//! `tf-persist loop` without a server: reasons, attempts, and what a process that died left. With servers, clients and
//! kills at random moments, `python/checks/check_loop.py` runs it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array};
use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use tf_persist_core::tensor::npz;

use crate::columns;
use crate::disk::full_disk;
use crate::support::Dir;

const DATA: &str = "models/digits_trainable";

/// A loop that trains for a moment. There is no server: the label moves at once.
const LOOP: &str = r#"
store = "models.store"
model = "digits"

[watch]
logs = ["logs"]

[act]
cool_down = "0s"

[train]
data = ["models/digits_trainable/train.npz"]
held_out = "models/digits_trainable/validate.npz"
epochs = 2

[gates]
metric = "accuracy"
golden = 1.0
largest_latency_ratio = 50.0

[guard]
time = "0s"
"#;

/// A folder with a version in production that is not trained to its end, and `loop.toml`.
fn with_loop() -> Dir {
    let dir = Dir::new();
    dir.cmd(&format!("train {DATA}/model --data {DATA}/train.npz --epochs 1 --output first")).run().ok();
    dir.cmd(&format!("verify first --record {DATA}/examples.npz")).run().ok();
    dir.cmd("store init").run().ok();
    dir.cmd("store publish first digits --label production").run().ok();
    dir.write("loop.toml", LOOP);
    dir
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hidden(dir: &Dir) -> std::path::PathBuf {
    dir.path("models.store/digits/.store")
}

fn production(dir: &Dir) -> u64 {
    json_of(&hidden(dir).join("labels.json"))["labels"]["production"].as_u64().unwrap()
}

/// The decisions of the store's log.
fn decisions(dir: &Dir) -> Vec<Value> {
    let report = dir.cmd("store log digits --format json").without_tensorflow().run().ok().json();
    report["decisions"].as_array().cloned().unwrap_or_default()
}

fn names(dir: &Dir) -> Vec<String> {
    decisions(dir).iter().map(|it| it["decision"].as_str().unwrap().to_owned()).collect()
}

/// Puts the loop where a process died: in a step of an attempt from version 1.
fn die_in(dir: &Dir, step: &str, attempt: &str) {
    let path = hidden(dir).join("loop/state.json");
    let mut state = json_of(&path);
    state["step"] = json!({ "at": step });
    state["attempt"] = json!({"id": attempt, "production": 1, "version": null, "metric": 0.9, "tries": 1});
    fs::write(path, state.to_string()).unwrap();
}

#[test]
fn an_attempt_goes_from_a_reason_to_production() {
    let dir = with_loop();
    let before = dir.listing();
    dir.cmd("loop loop.toml --dry-run").without_tensorflow().run().ok().prints("it would go on watching");
    let plan = dir.cmd("loop loop.toml --dry-run --now").without_tensorflow().run().ok();
    let plan = plan.prints("it would train: a person asked for it").prints("it would move `production` at once");
    plan.check(dir.listing() == before, "a dry run has changed something");
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok().prints("nothing to do: 0 requests");
    let ran = dir.cmd("loop loop.toml --once --now --format json").run().ok();
    let lines: Vec<Value> = ran.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["kind"] == "promote" && line["version"] == 2), "{lines:?}");
    assert_eq!(production(&dir), 2);
    assert_eq!(names(&dir), ["train", "measure", "publish", "promote", "keep"]);
    let made = decisions(&dir);
    let gates = &made[2]["numbers"];
    assert!(gates["new"].as_f64() >= gates["production"].as_f64(), "{gates}");
    assert_eq!((&made[0]["reason"], &gates["golden"]), (&json!("a person asked for it"), &json!(1)));
    let manifest = json_of(&hidden(&dir).join("2.json"));
    assert_eq!(manifest["metadata"]["loop"]["attempt"], made[0]["attempt"]);
    // The new version has its own reference, and its own answers to the recorded requests.
    dir.cmd("verify digits@production").run().ok().prints("same: 1 answer, bit for bit");
    let reference = json_of(&dir.path("models.store/digits/2/assets.extra/monitor_reference.json"));
    assert_eq!(reference["rows"], 450);
    let log = dir.cmd("store log digits").without_tensorflow().run().ok();
    log.prints("decided to publish: all gates hold (bytes ").prints("promoted production: 1 -> 2");
}

#[test]
fn nothing_is_done_twice() {
    let dir = with_loop();
    dir.cmd("loop loop.toml --once --now").run().ok();
    let attempt = decisions(&dir)[0]["attempt"].as_str().unwrap().to_owned();
    // It died after the version was published, and after the label had moved.
    for (rolled_back, moves) in [(true, 1), (false, 0)] {
        if rolled_back {
            dir.cmd("store rollback digits").without_tensorflow().run().ok();
        }
        let log = || fs::read_to_string(hidden(&dir).join("log.jsonl")).unwrap();
        let before = log().matches("\"promote\"").count();
        die_in(&dir, if rolled_back { "publishing" } else { "promoting" }, &attempt);
        if !rolled_back {
            let path = hidden(&dir).join("loop/state.json");
            let mut state = json_of(&path);
            state["attempt"]["version"] = json!(2);
            fs::write(path, state.to_string()).unwrap();
        }
        dir.cmd("loop loop.toml --once").without_tensorflow().run().ok();
        assert_eq!(production(&dir), 2);
        assert_eq!(log().matches("\"promote\"").count(), before + moves);
        assert!(!hidden(&dir).join("3.json").exists());
    }
    // The decision was written to the state, and not to the log.
    let path = hidden(&dir).join("decisions.jsonl");
    let all = fs::read_to_string(&path).unwrap();
    let without_last = all.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(&path, format!("{without_last}\n{{\"half")).unwrap();
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), all);
}

#[test]
fn what_is_lost_or_was_changed_by_others_leaves_production() {
    let dir = with_loop();
    dir.cmd("loop loop.toml --once --now").run().ok();
    // The trained model is gone: it is trained again.
    dir.cmd("store rollback digits").without_tensorflow().run().ok();
    die_in(&dir, "gating", "another");
    dir.cmd("loop loop.toml --once").run().ok().prints("the trained model is gone, and is trained again");
    assert_eq!(production(&dir), 3);
    // A person moved the label during the attempt.
    die_in(&dir, "training", "a third");
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok();
    let last = decisions(&dir).pop().unwrap();
    assert_eq!(last["decision"], "abandon");
    assert_eq!(last["reason"], "`production` was moved from version 1 to 3 by somebody else");
    assert_eq!(production(&dir), 3);
    // A clock was ahead.
    let path = hidden(&dir).join("loop/state.json");
    let mut state = json_of(&path);
    (state["since"], state["ended"]) = (json!("2100-01-01T00:00:00Z"), json!("2100-01-01T00:00:00Z"));
    fs::write(&path, state.to_string()).unwrap();
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok().prints("the clock was set back");
    // The state is lost, with an attempt that had a label.
    let count = decisions(&dir).len();
    fs::remove_file(&path).unwrap();
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok().prints("nothing to do");
    assert_eq!((production(&dir), decisions(&dir).len()), (3, count));
    assert_eq!(json_of(&path)["decision"]["number"], count);
    fs::write(&path, "{").unwrap();
    let damaged = dir.cmd("loop loop.toml --once").without_tensorflow().run().fails().says("state.json` is damaged");
    damaged.check(damaged.err().contains("hint: without this file the loop begins anew"), "no hint");
}

#[test]
fn a_full_disk_leaves_production() {
    let dir = with_loop();
    // Neither the state nor what is trained fits.
    dir.bash(&full_disk(0), "loop loop.toml --once --now").run().fails().says("File too large");
    // The state fits, and the trained model does not.
    let ran = dir.bash(&full_disk(100), "loop loop.toml --once --now").run().ok();
    ran.check(ran.out().contains("the training failed: cannot write"), "no reason");
    assert_eq!((production(&dir), names(&dir)), (1, ["train".to_owned(), "fail".to_owned()].to_vec()));
    assert!(!hidden(&dir).join("loop/attempt").exists());
    dir.cmd("loop loop.toml --once --now").run().ok();
    assert_eq!(production(&dir), 2);
}

#[test]
fn rows_may_be_columns_of_parquet_files() {
    let dir = with_loop();
    let arrays = npz::read_file(dir.path(DATA).join("train.npz")).unwrap();
    let of = |name: &str| arrays.iter().find(|(other, _)| other == name).unwrap().1.clone();
    let mut image: ArrayRef = Arc::new(Float32Array::from(of("image").view::<f32>().unwrap().to_vec()));
    for size in [1, 8, 8] {
        let field = Arc::new(Field::new("item", image.data_type().clone(), false));
        image = Arc::new(FixedSizeListArray::new(field, size, image, None));
    }
    assert!(matches!(image.data_type(), DataType::FixedSizeList(_, 8)));
    let y: ArrayRef = Arc::new(Int64Array::from(of("y").view::<i64>().unwrap().to_vec()));
    fs::create_dir(dir.path("data")).unwrap();
    columns::write(&dir.path("data/a.parquet"), vec![("image", image), ("y", y)]);
    dir.write("loop.toml", LOOP.replace("[\"models/digits_trainable/train.npz\"]", "[\"data\"]"));
    dir.cmd("loop loop.toml --once --now").run().ok();
    assert_eq!((production(&dir), &decisions(&dir)[1]["numbers"]["rows"]), (2, &json!(1347)));
}

#[test]
fn every_gate_can_refuse() {
    let dir = with_loop();
    let gates = [
        ("golden = 1.0", "golden = 1e-9", "its answers to 1 recorded requests differ by "),
        ("golden = 1.0", "largest_bytes = 1000", " bytes, and at most 1000 are allowed"),
        ("golden = 1.0", "margin = 1.0", "and it must be better by 1"),
        ("golden = 1.0", "least_rows = 451", "only 450 rows are held out, and 451 are needed"),
        ("golden = 1.0", "label = \"z\"", "have no array `z`"),
        ("ratio = 50.0", "ratio = 1e-9", "and at most 0.000000001 times is allowed"),
    ];
    for (from, to, reason) in gates {
        dir.write("loop.toml", LOOP.replace(from, to));
        dir.cmd("loop loop.toml --once --now").run().ok();
        let last = decisions(&dir).pop().unwrap();
        assert!(last["reason"].as_str().unwrap().contains(reason), "{last}");
        assert_eq!(last["decision"], if to.starts_with("label") { "fail" } else { "refuse" });
        assert_eq!(production(&dir), 1);
    }
    assert!(!hidden(&dir).join("2.json").exists());
}

#[test]
fn commands_make_rows_and_models() {
    let dir = with_loop();
    let files = "data = [\"models/digits_trainable/train.npz\"]";
    let rows = format!("data_command = [\"sh\", \"-c\", \"cp {DATA}/train.npz \\\"$TF_PERSIST_DATA\\\"\"]");
    dir.write("loop.toml", LOOP.replace(files, &rows));
    dir.cmd("loop loop.toml --once --now").run().ok();
    assert_eq!((production(&dir), &decisions(&dir)[1]["numbers"]["rows"]), (2, &json!(1347)));
    // A model as good as the one in production is one that may be published.
    let script = "test -f \\\"$TF_PERSIST_DATA\\\" -a -f \\\"$TF_PERSIST_HELD_OUT\\\" && \
                  cp -r \\\"$TF_PERSIST_MODEL\\\" \\\"$TF_PERSIST_OUTPUT\\\"";
    let model = format!("command = [\"sh\", \"-c\", \"{script}\"]");
    dir.write("loop.toml", LOOP.replace(files, &format!("{files}\n{model}")));
    let ran = dir.cmd("loop loop.toml --once --now").run().ok();
    ran.check(production(&dir) == 3, "the command's model is not in production");
}

#[test]
fn mistakes_are_sentences() {
    let dir = Dir::new();
    let fails = |line: &str| dir.cmd(line).without_tensorflow().run().fails();
    fails("loop nowhere.toml").says("cannot read `nowhere.toml`");
    dir.write("loop.toml", LOOP.replace("[act]", "[when]"));
    fails("loop loop.toml").says("`loop.toml`: line 8: unknown field `when`");
    dir.write("loop.toml", LOOP);
    fails("loop loop.toml --once").says("`models.store` is not a store of models");
    dir.cmd("store init").run().ok();
    fails("loop loop.toml --once").says("`models.store` has no model `digits`");
    dir.cmd("store publish models/digits/model digits --label production").run().ok();
    // This version has no train signature.
    fails("loop loop.toml --dry-run --now").says("cannot be trained");
    let ran = dir.cmd("loop loop.toml --once --now").without_tensorflow().run().ok();
    ran.check(ran.out().contains("the training failed: `"), "no reason");
    dir.write("loop.toml", LOOP.replace("model = \"digits\"", "model = \"digits\"\nlabel = \"stable\""));
    fails("loop loop.toml --once").says("stable");
    let server = format!("{LOOP}[promote]\ntraffic = \"t.toml\"\nserver = \"http://127.0.0.1:1\"\npatience = \"1s\"\n");
    dir.write("loop.toml", server);
    dir.cmd("loop loop.toml --once").without_tensorflow().run().ok();
    assert_eq!(fs::read_to_string(dir.path("t.toml")).unwrap(), "[digits.weights]\nproduction = 100\n");
}
