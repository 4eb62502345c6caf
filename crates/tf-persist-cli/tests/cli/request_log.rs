//! The request log of `serve-local`, and what reads it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::serve::Running;
use crate::support::Dir;

const TIMEOUT: Duration = Duration::from_secs(60);
const MODEL: &str = "--model_base_path=base --model_name=m";
const ROWS: &str = "{\"instances\": [1.0, 2.0]}";

/// A folder with a base path of one model.
fn with_base() -> Dir {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    dir
}

/// The files of the log.
fn files(dir: &Dir) -> Vec<PathBuf> {
    dir.names("log").iter().map(|name| dir.path("log").join(name)).collect()
}

fn stop(server: Running) {
    server.signal("-TERM");
    assert_eq!(server.exits(), Some(0));
}

#[test]
fn both_formats_are_run_and_verified() {
    for format in ["tfrecord", "jsonl"] {
        let dir = with_base();
        let server = Running::start(&dir, &format!("{MODEL} --request_log=log --request_log_format={format}"));
        server.waits_for("ready: every model answers");
        for body in [ROWS, "{\"inputs\": {\"x\": [5]}}", "{\"instances\": [\"text\"]}"] {
            server.ask("POST", "/v1/models/m:predict", body);
        }
        stop(server);
        let [file] = &files(&dir)[..] else { panic!("{:?}", files(&dir)) };
        let name = file.strip_prefix(dir.path("")).unwrap().display().to_string();
        assert!(name.starts_with("log/m-2") && name.ends_with(&format!("Z.{format}")), "{name}");
        let ran = dir.cmd(&format!("run base/1 --requests {name}")).run().ok();
        assert_eq!(
            ran.out().lines().collect::<Vec<_>>(),
            ["{\"outputs\": {\"y\": [2.5, 3.0]}}", "{\"outputs\": {\"y\": [4.5]}}"]
        );
        let ran = dir.cmd(&format!("verify base/1 --requests {name}")).run().ok();
        ran.check(ran.out().starts_with("same: 2 answers, bit for bit"), "the answers are the same");

        // Another model gives other answers.
        let other = dir.cmd(&format!("verify models/counter/model --requests {name}")).run();
        other.check(!other.out().starts_with("same"), "another model does not have these answers");
        other.exits_with(1);

        // A damaged file is an error with its place.
        let mut bytes = fs::read(file).unwrap();
        // Any byte of a record has a checksum; of a line, one that JSON needs is changed.
        let needed = bytes.windows(8).position(|window| window == b"\"inputs\"");
        let changed = needed.filter(|_| format == "jsonl").unwrap_or(bytes.len() / 2);
        bytes[changed] = b'}';
        fs::write(file, bytes).unwrap();
        let place = if format == "jsonl" { "line" } else { "record" };
        dir.cmd(&format!("verify base/1 --requests {name}")).run().fails().says(place);
    }
}

#[test]
fn a_log_without_answers_is_not_the_same() {
    let dir = with_base();
    dir.write("log.jsonl", "{\"inputs\": {\"x\": [1]}}\n");
    let ran = dir.cmd("verify base/1 --requests log.jsonl").run().fails();
    ran.says("`log.jsonl` has no answers to compare with");
    dir.write("log.jsonl", "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [2.5]}}\n{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [3]}}");
    let ran = dir.cmd("verify base/1 --requests log.jsonl").run();
    ran.check(ran.out().starts_with("different: 1 of 2 answers"), "one differs");
    ran.exits_with(1);
    dir.write("log.jsonl", "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"z\": [2.5]}}\n");
    let ran = dir.cmd("verify base/1 --requests log.jsonl").run();
    ran.prints("`z` was recorded, and is not there any more").exits_with(1);
}

#[test]
fn answers_of_another_version_are_different() {
    let dir = with_base();
    let lines = [
        "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"output_0\": [2.5]}}",
        "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [\"2.5\"]}}",
        "{\"inputs\": {\"z\": [1]}, \"outputs\": {\"y\": [2.5]}}",
        "{\"signature_name\": \"other\", \"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [2.5]}}",
        "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [2.5]}}",
    ];
    // A byte order mark is no part of the first line.
    dir.write("log.jsonl", format!("\u{feff}{}", lines.join("\n")));
    let ran = dir.cmd("verify base/1 --requests log.jsonl").run();
    let ran = ran.prints("different: 3 of 4 answers; 1 request not replayed\n");
    let ran = ran.prints("record 1, predict `serving_default`: `output_0` was recorded, and is not there any more\n");
    let ran = ran.prints("record 1, predict `serving_default`: `y` is there, and was not recorded\n");
    let ran = ran.prints("record 2, predict `serving_default`: `y` is float32 instead of string\n");
    let ran = ran.prints("record 3, predict `serving_default`: failed: signature `serving_default` has no input `z`");
    ran.prints("record 4, predict `other`: not replayed: `base/1` has no signature `other`").exits_with(1);

    // What is damaged is an error with its place.
    dir.write("log.jsonl", "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [[1], [1, 2]]}}\n");
    dir.cmd("verify base/1 --requests log.jsonl").run().fails().says("`log.jsonl`, line 1, output `y`: at [1][1]");
}

#[test]
fn requests_of_windows_may_have_a_byte_order_mark() {
    let dir = with_base();
    let requests = "\u{feff}{\"inputs\": {\"x\": [1]}}\r\n{\"inputs\": {\"x\": [3]}}\r\n";
    dir.write("requests.jsonl", requests);
    let answers = "{\"outputs\": {\"y\": [2.5]}}\n{\"outputs\": {\"y\": [3.5]}}\n";
    dir.cmd("run base/1 --requests requests.jsonl").run().ok().prints_only(answers);
    dir.cmd("run base/1 --requests -").stdin(requests).run().ok().prints_only(answers);
    dir.cmd("verify base/1 --record requests.jsonl").run().ok().prints("2 requests recorded");
    let one = dir.cmd("run base/1 --inputs - --format json").stdin("\u{feff}{\"inputs\": {\"x\": [1]}}").run().ok();
    one.check(one.json()["outputs"]["y"][0] == 2.5, "one request may have it too");
    // In another line it is none.
    dir.write("requests.jsonl", "{\"inputs\": {\"x\": [1]}}\n\u{feff}{\"inputs\": {\"x\": [1]}}\n");
    let ran = dir.cmd("verify base/1 --record requests.jsonl").run().fails();
    ran.says("`requests.jsonl`, line 2: it is not valid JSON at column 1: ");
}

#[test]
fn what_a_log_cannot_answer_is_not_different() {
    let dir = with_base();
    let lines = [
        "{\"inputs\": {\"x\": [1]}, \"outputs\": {\"y\": [2.5]}, \"status\": \"OK\"}",
        // The server takes any shape that the ops take.
        "{\"inputs\": {\"x\": 1}, \"outputs\": {\"y\": 2.5}}",
        "{\"inputs\": {\"x\": [[1], [3]]}, \"outputs\": {\"y\": [[2.5], [3.5]]}}",
        "{\"inputs\": {\"x\": [1]}, \"status\": \"DEADLINE_EXCEEDED\"}",
        "{\"inputs\": {}, \"outputs\": {\"y\": [2.5]}, \"redacted\": [\"x\"]}",
    ];
    dir.write("log.jsonl", lines.join("\n"));
    let ran = dir.cmd("verify base/1 --requests log.jsonl").run().ok();
    ran.check(ran.out().starts_with("same: 3 answers, bit for bit; 2 requests not replayed"), "two are skipped");
    let says = |text: &str| ran.check(ran.out().contains(text), text);
    says("not replayed: it failed when it was logged: DEADLINE_EXCEEDED");
    says("not replayed: its inputs were redacted: `x`");
}

#[test]
fn results_of_examples_are_compared() {
    let dir = Dir::new();
    let example = "ChsKGQoBeBIUEhIKEAAAgD8AAABAAABAQAAAgEA=";
    let line = |result: &str| {
        let inputs = format!("{{\"inputs\": [{{\"b64\": \"{example}\"}}]}}");
        format!(
            "{{\"api\": \"regress\", \"signature_name\": \"regress\", \"inputs\": {inputs}, \"results\": [{result}]}}"
        )
    };
    dir.write("log.jsonl", line("1.9999976"));
    let ran = dir.cmd("verify models/tf1_graph/model --requests log.jsonl").run().ok();
    ran.check(ran.out().starts_with("same: 1 answer"), "the result is compared");
    dir.write("log.jsonl", line("777.0"));
    let ran = dir.cmd("verify models/tf1_graph/model --requests log.jsonl").run();
    ran.check(ran.out().starts_with("different: 1 of 1 answer"), "another result differs");
    ran.exits_with(1);
}

#[test]
fn recorded_requests_of_a_model_are_answered() {
    let dir = with_base();
    dir.write("requests.jsonl", "{\"inputs\": {\"x\": [1]}}\n{\"inputs\": {\"x\": [3, 4]}}\n");
    dir.cmd("verify base/1 --record requests.jsonl").run().ok();
    fs::copy(dir.path("base/1/assets.extra/tf_serving_warmup_requests"), dir.path("w.tfrecord")).unwrap();
    let ran = dir.cmd("run base/1 --requests w.tfrecord").run().ok();
    assert_eq!(ran.out(), "{\"outputs\": {\"y\": [2.5]}}\n{\"outputs\": {\"y\": [3.5, 4.0]}}\n");
}

#[test]
fn a_full_disk_costs_the_log_alone() {
    let dir = with_base();
    dir.write("metrics", "prometheus_config { enable: true }");
    let server =
        Running::start_without_xfsz(&dir, &format!("{MODEL} --request_log=log --monitoring_config_file=metrics"));
    server.waits_for("ready: every model answers");
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}:");
        let done = Command::new("prlimit").args(["--pid", &server.id().to_string(), &limit]).status();
        done.is_ok_and(|status| status.success())
    };
    let counted = |line: &str| -> u64 {
        let page = server.ask("GET", "/monitoring/prometheus/metrics", "").1;
        page.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |count| count.trim().parse().unwrap())
    };
    let written = || counted("tf_persist_request_log_written_total{model=\"m\"}");
    let until = |holds: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < TIMEOUT, "{:?}", files(&dir));
            assert_eq!(server.ask("POST", "/v1/models/m:predict", ROWS).0, 200);
        }
    };
    until(&|| written() > 0);
    if !limit("100") {
        tf_persist_testing::skipped("a_full_disk_costs_the_log_alone", "prlimit does not work here");
        return;
    }
    until(&|| counted("tf_persist_request_log_dropped_total{model=\"m\",reason=\"disk\"}") > 0);
    server.waits_for("the request log cannot be written");
    let before = written();
    assert!(limit("unlimited"));
    until(&|| written() > before);
    server.waits_for("the request log is written again");
    stop(server);
    // Every file has whole records.
    for file in files(&dir) {
        let line = format!("verify base/1 --requests {}", file.display());
        dir.cmd(&line).run().ok();
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_at_the_start() {
    let dir = with_base();
    dir.write("file", "");
    let line = format!("serve-local {MODEL} --port=0 --rest_api_port=any --request_log=file/log");
    dir.cmd(&line).run().fails().says("cannot write the request log to `file/log`");
    for flag in
        ["--request_log_rate=1.5", "--request_log_rate=nan", "--request_log_format=csv", "--request_log_max_bytes=9"]
    {
        dir.cmd(&format!("serve-local {MODEL} {flag}")).without_tensorflow().run().misused();
    }
}
