//! `serve-local --traffic`: the file of the documentation, what is wrong with a file, and SIGHUP.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tf_persist_testing::wait_until;

use crate::serve::Running;
use crate::snippets::snippet_text;
use crate::support::Dir;

/// A store with three versions of `digits`, and these labels.
fn with_store(labels: &[(&str, u64)]) -> Dir {
    let dir = Dir::new();
    let store = |line: &str| dir.cmd(&format!("store {line}")).without_tensorflow().run().ok();
    store("init");
    (1..=3).for_each(|version| {
        store(&format!("publish models/digits/model digits --version {version}"));
    });
    labels.iter().for_each(|(label, version)| {
        store(&format!("label digits@{version} {label}"));
    });
    dir
}

/// The body of a request.
fn image() -> String {
    json!({"instances": [vec![vec![[0.0]; 8]; 8]]}).to_string()
}

/// The version that answers a request which names none.
fn answering(server: &Running, address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = image();
    let head = "POST /v1/models/digits:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply} of {}", server.id());
    let header = reply.lines().find_map(|line| line.strip_prefix("x-tf-persist-version: "));
    header.unwrap_or_else(|| panic!("{reply}")).parse().unwrap()
}

fn page(server: &Running) -> Value {
    serde_json::from_str(&server.ask("GET", "/models", "").1).unwrap()
}

fn serve(dir: &Dir, flags: &str) -> Running {
    let server = Running::start(dir, &format!("--store=models.store --traffic=traffic.toml {flags}"));
    server.waits_for("ready: every model answers");
    server
}

#[test]
fn the_file_of_the_documentation_splits_the_versions_of_a_store() {
    let dir = with_store(&[("production", 1), ("canary", 2), ("candidate", 3)]);
    dir.write("traffic.toml", snippet_text("docs/traffic.md", "[digits]"));
    dir.write("monitoring", "prometheus_config { enable: true }");
    let server = serve(&dir, "--monitoring_config_file=monitoring");
    let address = server.address().to_owned();
    let found: Vec<u64> = (0..200).map(|_| answering(&server, &address)).collect();
    // Fewer than 160 or all 200 of 95 % on average: once in 20,000 runs.
    let first = found.iter().filter(|version| **version == 1).count();
    assert!((160..200).contains(&first) && found.iter().all(|version| [1, 2].contains(version)), "{found:?}");
    let traffic = &page(&server)["models"][0]["traffic"];
    assert_eq!(traffic["weights"], json!({"production": 95, "canary": 5}));
    assert_eq!((&traffic["shadows"], &traffic["pending"]), (&json!(["candidate"]), &json!([])));
    assert_eq!(traffic["versions"], json!({"1": 0.95, "2": 0.05}));
    // All versions are the same model.
    let same = format!(
        "tf_persist_shadow_requests_total{{model=\"digits\",version=\"1\",shadow=\"3\",outcome=\"same\"}} {first}"
    );
    let metrics = || server.ask("GET", "/monitoring/prometheus/metrics", "").1;
    wait_until("the shadow has answered", || metrics().lines().any(|line| line == same));
    // Requests follow a label that moves.
    dir.cmd("store label digits@3 production").without_tensorflow().run().ok();
    wait_until("version 3 answers", || answering(&server, &address) == 3);
}

#[test]
fn a_changed_file_is_read_on_sighup() {
    let dir = with_store(&[("production", 1)]);
    dir.write("traffic.toml", "[digits]\nweights = { production = 100 }\n");
    // Nothing is looked at again without the signal.
    let server = serve(&dir, "--file_system_poll_wait_seconds=0");
    let address = server.address().to_owned();
    assert_eq!(answering(&server, &address), 1);
    fs::write(dir.path("traffic.toml"), "[digits]\nweights = { 3 = 100 }\n").unwrap();
    server.signal("-HUP");
    server.waits_for("new rules of the traffic file `traffic.toml` are in effect");
    assert_eq!(answering(&server, &address), 3);
    fs::write(dir.path("traffic.toml"), "[digits]\nweights = { 3 = 99 }\n").unwrap();
    server.signal("-HUP");
    let line = server.waits_for("the weights add up to 99, and not to 100; the rules before stay");
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(answering(&server, &address), 3);
    fs::write(dir.path("traffic.toml"), "[digits]\nweights = { gone = 100 }\n").unwrap();
    server.signal("-HUP");
    let line = server.waits_for("are not loaded");
    assert!(line.contains("gone") && line.contains("digits"), "{line}");
    assert_eq!((answering(&server, &address), &page(&server)["problem"]), (3, &Value::Null));
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let dir = with_store(&[]);
    let line = "serve-local --store=models.store --port=0 --rest_api_port=any --traffic";
    dir.cmd(&format!("{line}=nowhere.toml")).run().fails().says("the traffic file `nowhere.toml`: it cannot be read");
    dir.write("traffic.toml", "[digits]\nweights = { production = 95, canary = 15 }\n");
    let words = "cannot use the traffic file `traffic.toml`: [digits]: the weights add up to 110, and not to 100";
    dir.cmd(&format!("{line}=traffic.toml")).run().fails().says(words);
    let remote = dir.cmd(&format!("{line}=s3://bucket/traffic.toml")).without_tensorflow().run();
    remote.misused().says("--traffic is `s3://bucket/traffic.toml`, and it must be a file of this machine");
}
