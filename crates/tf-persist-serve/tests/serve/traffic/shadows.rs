//! Shadows: same, different, failed and slow ones.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tf_persist_core::scan::Trust;
use tf_persist_core::{GraphSignature, LoadOptions, ModelBuilder, Optimize, PartialShape};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_proto::text_format;
use tf_persist_serve::Settings;
use tf_persist_testing::{TIMEOUT, copy_folder, in_own_process, model};

use super::{HALF, PATH, Place, ask, ask_grpc, ask_often, metric, page};
use crate::common::grpc::GrpcServer;
use crate::common::server::eventually;

/// A model whose runs wait until a pipe has a writer, and fail then, since TensorFlow wants to seek. To read a file is
/// not to write state.
fn gated(pipe: &Path) -> Vec<u8> {
    let dtype = |key: &str, dtype: &str| format!("attr {{ key: '{key}' value {{ type: DT_{dtype} }} }} ");
    let node = |name: &str, op: &str, inputs: &[&str], attributes: &[String]| {
        let inputs: String = inputs.iter().map(|input| format!("input: '{input}' ")).collect();
        format!("node {{ name: '{name}' op: '{op}' {inputs} {} }}\n", attributes.concat())
    };
    let constant = |name: &str, kind: &str, value: &str| {
        let tensor = format!("attr {{ key: 'value' value {{ tensor {{ dtype: DT_{kind} {value} }} }} }}");
        node(name, "Const", &[], &[dtype("dtype", kind), tensor])
    };
    let shape = "attr { key: 'shape' value { shape { dim { size: -1 } } } }".to_owned();
    let (float, string, int) = ("FLOAT", "STRING", "INT32");
    let text = [
        node("x", "Placeholder", &[], &[dtype("dtype", float), shape]),
        constant("two", float, "tensor_shape {} float_val: 2"),
        constant("path", string, &format!("tensor_shape {{}} string_val: '{}'", pipe.display())),
        constant("scalar", int, "tensor_shape { dim { size: 0 } }"),
        // Of the input's shape, so that TensorFlow does not read before there is a request.
        node("rows", "Shape", &["x"], &[dtype("T", float), dtype("out_type", int)]),
        node("paths", "Fill", &["rows", "path"], &[dtype("T", string), dtype("index_type", int)]),
        node("pipe", "Reshape", &["paths", "scalar"], &[dtype("T", string), dtype("Tshape", int)]),
        node("read", "ReadFile", &["pipe"], &[]),
        node("length", "StringLength", &["read"], &[]),
        node("zero", "Cast", &["length"], &[dtype("SrcT", int), dtype("DstT", float)]),
        node("double", "Mul", &["x", "two"], &[dtype("T", float)]),
        node("y", "AddV2", &["double", "zero"], &[dtype("T", float)]),
    ];
    text_format::parse::<GraphDef>(text.concat()).unwrap().write_to_bytes().unwrap()
}

/// Adds a version with this default signature, from the input `input` to `y`. Returns the path of its pipe.
fn put_gated(place: &Place, version: i64, input: &str) -> PathBuf {
    let pipe = place.0.path().join(format!("pipe{version}"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let any = || PartialShape::new(vec![None]);
    ModelBuilder::new(gated(&pipe))
        .unwrap()
        .signature(GraphSignature::new("serving_default").input(input, "x").output("y", "y").shape(any()))
        .save(place.version(version))
        .unwrap();
    pipe
}

/// Lets models read from a pipe. A trial of the fast path would wait for it, too.
fn with_pipes(settings: &mut Settings) {
    settings.models.load.options = LoadOptions::default().trust(Trust::Everything).optimize(Optimize::Off);
}

/// The counts of a shadow of version 1: same, differs, failed, dropped.
async fn counts(server: &GrpcServer, shadow: i64) -> [f64; 4] {
    let count = async |outcome: &str| {
        let labels = format!("model=\"m\",version=\"1\",shadow=\"{shadow}\",outcome=\"{outcome}\"");
        metric(&server.server, &format!("tf_persist_shadow_requests_total{{{labels}}}")).await
    };
    [count("same").await, count("differs").await, count("failed").await, count("dropped").await]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_shadows_are_compared_and_counted() {
    let place = Place::new(&[1, 2], &[("production", 1), ("candidate", 2)]);
    place.put(3, 1.0);
    put_gated(&place, 4, "other");
    // Without weights, the newest version would answer.
    let text = "[m]\nweights = { production = 100 }\nshadows = [\"candidate\", \"3\", \"4\", \"gone\"]\n";
    let test = "answers_of_shadows_are_compared_and_counted";
    let Some(server) = place.serve(test, text, with_pipes).await else { return };
    assert!(ask_often(&server.server, 10).await.iter().all(|version| *version == 1));
    for _ in 0..5 {
        assert_eq!(ask_grpc(&server, |_| {}).await, 1);
        // Named versions have shadows, too; an error has none, and a version none that is itself.
        assert_eq!(ask(&server.server, "/v1/models/m/versions/1:predict").await, 1);
        assert_eq!(server.server.post(PATH, "{\"instances\": [\"text\"]}").await.code, 400);
        assert_eq!(ask(&server.server, "/v1/models/m/labels/candidate:predict").await, 2);
    }
    let all = [(2, [0.0, 20.0, 0.0, 0.0]), (3, [20.0, 0.0, 0.0, 0.0]), (4, [0.0, 0.0, 20.0, 0.0])];
    for (shadow, expected) in all {
        eventually(&format!("shadow {shadow} has answered"), async || counts(&server, shadow).await == expected).await;
    }
    let largest = |version: i64, shadow: i64| {
        let labels = format!("model=\"m\",version=\"{version}\",shadow=\"{shadow}\"");
        format!("tf_persist_shadow_largest_difference{{{labels}}}")
    };
    assert_eq!(metric(&server.server, &largest(1, 2)).await, 1.0);
    let metrics = server.server.get("/monitoring/prometheus/metrics").await.body;
    assert!(metrics.contains(&format!("{} 0\n", largest(1, 3))), "{metrics}");
    assert!(!metrics.contains(&largest(1, 4)) && !metrics.contains("version=\"2\",shadow=\"2\""), "{metrics}");
    // Runs of shadows are no requests.
    let runs = "tf_persist_request_phase_seconds_count{model=\"m\",phase=\"run\"}";
    assert_eq!(metric(&server.server, runs).await, 25.0);
    let asked = "tf_persist_version_requests_total{model=\"m\",version=\"3\",status=\"OK\"}";
    assert_eq!(metric(&server.server, asked).await, 0.0);
    let traffic = page(&server.server).await.0;
    assert_eq!(traffic["shadows"], json!(["candidate", "3", "4", "gone"]));
    assert_eq!(traffic["pending"], json!(["gone"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_with_shadows_alone_leave_requests_where_they_went() {
    let place = Place::new(&[1, 2], &[("production", 1)]);
    let test = "rules_with_shadows_alone_leave_requests_where_they_went";
    let Some(server) = place.serve(test, "[m]\nshadows = [\"production\"]\n", |_| {}).await else { return };
    assert!(ask_often(&server.server, 10).await.iter().all(|version| *version == 2));
    let name = "tf_persist_shadow_requests_total{model=\"m\",version=\"2\",shadow=\"1\",outcome=\"differs\"}";
    eventually("the shadow has answered", async || metric(&server.server, name).await == 10.0).await;
    let traffic = page(&server.server).await.0;
    assert_eq!((&traffic["weights"], &traffic["versions"]), (&json!({}), &json!({"2": 1.0})));
    // The shadow is dropped from the rules while the server runs.
    place.write(HALF);
    server.server.state.reload(None);
    eventually("the rules are new", async || page(&server.server).await.0["shadows"] == json!([])).await;
    ask_often(&server.server, 10).await;
    assert_eq!(metric(&server.server, name).await, 10.0);
    server.stop().await;
}

#[test]
fn a_shadow_that_is_stuck_delays_no_request() {
    // The run that waits has a thread of TensorFlow's pool, which other tests would miss.
    in_own_process("traffic::shadows::a_shadow_that_is_stuck_delays_no_request", || {
        tokio::runtime::Runtime::new().unwrap().block_on(ask_beside_a_shadow_that_is_stuck());
    });
}

async fn ask_beside_a_shadow_that_is_stuck() {
    /// The requests, and how many may wait for the shadow.
    const REQUESTS: usize = 40;
    const QUEUE: usize = 4;
    let place = Place::new(&[1], &[]);
    let pipe = put_gated(&place, 2, "x");
    let text = "[m]\nweights = { 1 = 100 }\nshadows = [\"2\"]\n";
    let change = |settings: &mut Settings| {
        with_pipes(settings);
        settings.traffic = settings.traffic.clone().shadow_queue(QUEUE);
    };
    let Some(server) = place.serve("a_shadow_that_is_stuck_delays_no_request", text, change).await else { return };
    let started = Instant::now();
    let versions = ask_often(&server.server, REQUESTS).await;
    // The shadow waits until it is let go below.
    assert!(versions.iter().all(|version| *version == 1) && started.elapsed() < TIMEOUT);
    let [_, _, _, dropped] = counts(&server, 2).await;
    assert!(dropped >= (REQUESTS - QUEUE - 2) as f64 && dropped < REQUESTS as f64, "{dropped}");
    let _writer = File::options().read(true).write(true).open(pipe).unwrap();
    let expected = [0.0, 0.0, REQUESTS as f64 - dropped, dropped];
    eventually("the shadow has failed", async || counts(&server, 2).await == expected).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shadows_are_not_asked_what_would_change_them() {
    let place = Place::new(&[], &[]);
    copy_folder(&model("counter"), &place.version(1));
    copy_folder(&model("counter"), &place.version(2));
    let text = "[m]\nweights = { 1 = 100 }\nshadows = [\"2\"]\n";
    let Some(server) = place.serve("shadows_are_not_asked_what_would_change_them", text, |_| {}).await else { return };
    let count = async |path: &str, by: i64| {
        let body = json!({ "signature_name": "increment", "inputs": { "delta": by } }).to_string();
        let answer = server.server.post(path, &body).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()["outputs"]["total"].clone()
    };
    let before = count("/v1/models/m/versions/2:predict", 0).await;
    for _ in 0..3 {
        count(PATH, 5).await;
    }
    eventually("the shadow was left out", async || counts(&server, 2).await[3] == 3.0).await;
    assert_eq!(count("/v1/models/m/versions/2:predict", 0).await, before);
    assert_ne!(count(PATH, 0).await, before);
    server.stop().await;
}
