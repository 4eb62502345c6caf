//! `tf-persist monitor` over logs of a server and over lines that are made here. Figures are compared with scipy's by
//! `python/checks/check_monitor.py`.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::serve::Running;
use crate::support::{Dir, npy, npz};

/// Lines of a log of half_plus_two: numbers that rise, one a second, moved.
fn lines(count: usize, moved: f64) -> String {
    let mut lines = String::new();
    for index in 0..count {
        let (x, minute, second) = ((index * 37 % 101) as f64 / 10.0 + moved, index / 60, index % 60);
        let half = x / 2.0 + 2.0;
        let time = format!("2026-11-29T05:{minute:02}:{second:02}.000000Z");
        writeln!(
            lines,
            "{{\"time\":\"{time}\",\"id\":\"r{index}\",\"model\":\"m\",\"version\":1,\"signature_name\":\"serving_default\",\
             \"inputs\":{{\"x\":[{x:?}]}},\"outputs\":{{\"y\":[{half:?}]}},\"latency_ms\":1.5,\"status\":\"OK\"}}"
        )
        .unwrap();
    }
    lines
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn logs_of_a_server_in_both_formats_are_one() {
    let logged = |format: &str| {
        let dir = Dir::new();
        dir.copy_model("half_plus_two", "base/1");
        let flags = "--model_base_path=base --model_name=m --request_log=log";
        let server = Running::start(&dir, &format!("{flags} --request_log_format={format}"));
        server.waits_for("ready: every model answers");
        for index in 0..40 {
            let body = format!("{{\"instances\": [{}.5, {}.25]}}", index % 7, index % 5);
            assert_eq!(server.ask("POST", "/v1/models/m:predict", &body).0, 200);
        }
        server.ask("POST", "/v1/models/m:predict", "{\"instances\": [[1.0, 2.0], [3.0]]}");
        server.signal("-TERM");
        assert_eq!(server.exits(), Some(0));
        dir
    };
    let (records, text) = (logged("tfrecord"), logged("jsonl"));
    let made = records.cmd("monitor reference log --output reference.json").without_tensorflow().run().ok();
    made.prints("wrote reference.json: 80 rows, 2 features");
    fs::copy(records.path("reference.json"), text.path("reference.json")).unwrap();
    let ran = text.cmd("monitor log --reference reference.json --format json").without_tensorflow().run().ok();
    let report = json(ran.out());
    assert_eq!((&report["drift"]["alarm"], &report["traffic"]["rows"]), (&false.into(), &80.into()), "{report:#}");
    assert!(report["features"].as_array().unwrap().iter().all(|feature| feature["ks"] == 0.0), "{report:#}");
    assert!(report["traffic"]["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
}

#[test]
fn drift_is_the_first_word_and_may_be_the_exit_code() {
    let dir = Dir::new();
    dir.write("before.jsonl", lines(600, 0.0));
    dir.write("same.jsonl", lines(300, 0.0));
    dir.write("moved.jsonl", lines(300, 3.0));
    dir.cmd("monitor reference before.jsonl --output r.json").run().ok().prints("wrote r.json: 600 rows, 2 features");
    let same = dir.cmd("monitor same.jsonl --reference r.json --fail-on-drift").without_tensorflow().run().ok();
    same.check(same.out().starts_with("no drift: 2 features"), "nothing has changed");
    let moved = dir.cmd("monitor moved.jsonl --reference r.json").run().ok();
    moved.check(moved.out().starts_with("drift: 2 of 2 features"), "both have drifted");
    dir.cmd("monitor moved.jsonl --reference r.json --fail-on-drift").run().exits_with(1);
    // A large distance is needed, too.
    let far = dir.cmd("monitor moved.jsonl --reference r.json --psi 50 --fail-on-drift").run().ok();
    far.check(far.out().starts_with("no drift"), "the threshold is high");
    let alone = dir.cmd("monitor moved.jsonl --window 2m --slice x").run().ok();
    alone.check(alone.out().starts_with("no reference"), "there is nothing to compare with");
    alone.prints("2026-11-29T05:04:00Z: 60 rows, 1.5 ms for 99%");
    let html =
        dir.cmd("monitor moved.jsonl --reference r.json --window 1m --format html --output page.html").run().ok();
    html.check(html.out().is_empty(), "the page is in its file");
    assert!(fs::read_to_string(dir.path("page.html")).unwrap().contains("<svg class=\"line\""));
    let page = dir.cmd("monitor moved.jsonl --reference r.json --format prometheus").run().ok();
    page.prints("tf_persist_monitor_alarm{model=\"m\"} 1\n");
}

#[test]
fn states_of_two_servers_are_one_report() {
    let dir = Dir::new();
    dir.write("before.jsonl", lines(500, 0.0));
    dir.write("a.jsonl", lines(200, 1.0));
    dir.write("b.jsonl", lines(300, 0.5));
    dir.cmd("monitor reference before.jsonl --output r.json").run().ok();
    for name in ["a", "b"] {
        dir.cmd(&format!("monitor {name}.jsonl --reference r.json --state {name}.json")).run().ok();
    }
    let features = |inputs: &str| {
        let ran = dir.cmd(&format!("monitor {inputs} --reference r.json --format json")).run().ok();
        let report = json(ran.out());
        let features = report["features"].as_array().unwrap().clone();
        features
            .iter()
            .map(|feature| [&feature["psi"], &feature["ks"], &feature["rows"]].map(Value::to_string))
            .collect::<Vec<_>>()
    };
    let whole = features("a.jsonl b.jsonl");
    assert_eq!(features("a.json b.json"), whole);
    assert_eq!(features("a.json b.jsonl"), whole);
    dir.cmd("monitor reference a.jsonl --output other.json").run().ok();
    dir.cmd("monitor a.json b.json --reference other.json")
        .run()
        .fails()
        .says("`a.json` is not a state for this report: it was made with another reference");
    dir.cmd("monitor a.json").run().fails().says("was made with another reference");
    dir.write("bad.json", fs::read(dir.path("a.json")).unwrap().split_at(900).0);
    dir.cmd("monitor bad.json --reference r.json").run().fails().says("`bad.json` is not a state");
    dir.cmd("monitor a.jsonl --reference a.json").run().fails().says("`a.json` is not a reference");
}

#[test]
fn labels_are_joined_by_id() {
    let dir = Dir::new();
    dir.write("log.jsonl", lines(100, 0.0));
    let mut labels = String::from("id,label\n");
    (0..50).for_each(|index| writeln!(labels, "r{index},{:?}", (index * 37 % 101) as f64 / 20.0 + 2.5).unwrap());
    labels.push_str("nobody,1\nr3,7.5\n");
    dir.write("labels.csv", labels);
    let ran = dir.cmd("monitor log.jsonl --labels labels.csv").run().ok();
    ran.prints("quality: 49 rows with labels, mean absolute error 0.5000, root mean squared error 0.5000")
        .prints("note: labels with ids that no answered request of the log has: 1 (`nobody`)")
        .prints("note: ids with several different labels, of which none counts: 1 (`r3`)");
    dir.cmd("monitor log.jsonl --labels labels.csv --label-output z").run().fails().says("its outputs are `y`");
}

#[test]
fn a_reference_travels_with_its_model() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "m");
    let values: Vec<u8> = (0..500_u16).flat_map(|index| (f32::from(index * 37 % 101) / 10.0).to_le_bytes()).collect();
    let label = npy("<f4", "(500,)", &values);
    dir.write("data.npz", npz(&[("x", npy("<f4", "(500,)", &values)), ("label", label)]));
    fs::create_dir_all(model.join("assets.extra")).unwrap();
    let made = dir.cmd("monitor reference data.npz --model m --output m/assets.extra/monitor_reference.json");
    made.without_tensorflow().run().ok().prints("500 rows, 1 feature").prints("the array `label` is no input");
    dir.write("log.jsonl", lines(300, 3.0));
    let ran = dir.cmd("monitor log.jsonl --model m").without_tensorflow().run().ok();
    ran.check(ran.out().starts_with("drift: 1 of 1 features"), "the reference of the model was used");
    ran.prints("note: tensors without a reference, left out: `y` (300)");
    // A pack has it, too.
    dir.cmd("export m m.tfpack").run().ok();
    let ran = dir.cmd("monitor log.jsonl --model m.tfpack").run().ok();
    ran.check(ran.out().starts_with("drift: 1 of 1 features"), "the reference of the pack was used");
}

#[test]
fn a_log_that_is_not_one_is_an_error() {
    let dir = Dir::new();
    dir.cmd("monitor nothing.jsonl").run().fails().says("cannot read `nothing.jsonl`");
    fs::create_dir(dir.path("empty")).unwrap();
    dir.cmd("monitor empty").run().fails().says("`empty` has no files with `.tfrecord` or `.jsonl`");
    dir.write("noise.jsonl", "no\njson\n");
    dir.cmd("monitor noise.jsonl").run().fails().says("the log has no answered request to watch");
    dir.write("cut.tfrecord", "no record at all");
    dir.cmd("monitor cut.tfrecord").run().fails().says("the log has no answered request to watch");
}
