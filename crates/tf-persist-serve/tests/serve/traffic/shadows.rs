//! Shadows: same, different, failed and slow ones.

use std::time::{Duration, Instant};

use serde_json::json;
use tf_persist_core::{GraphSignature, ModelBuilder, PartialShape};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_proto::text_format;
use tf_persist_serve::Settings;

use super::{HALF, ONE, PATH, Place, ask, ask_grpc, ask_often, metric, page, version_of};
use crate::common::grpc::GrpcServer;
use crate::common::server::eventually;

/// A model that doubles its input. Each run of its default signature waits until the signature `open` is run.
fn gated() -> Vec<u8> {
    let float = |key: &str| format!("attr {{ key: '{key}' value {{ type: DT_FLOAT }} }} ");
    let constant = |name: &str, value: f32| {
        let tensor = format!("tensor {{ dtype: DT_FLOAT tensor_shape {{}} float_val: {value} }}");
        let dtype = float("dtype");
        format!("node {{ name: '{name}' op: 'Const' {dtype} attr {{ key: 'value' value {{ {tensor} }} }} }}\n")
    };
    let types = |key: &str| format!("attr {{ key: '{key}' value {{ list {{ type: DT_FLOAT }} }} }} ");
    let shape = "attr { key: 'shape' value { shape { dim { size: -1 } } } }";
    let text = [
        format!("node {{ name: 'x' op: 'Placeholder' {} {shape} }}\n", float("dtype")),
        constant("two", 2.0),
        constant("zero", 0.0),
        format!("node {{ name: 'gate' op: 'FIFOQueueV2' {} }}\n", types("component_types")),
        format!("node {{ name: 'pass' op: 'QueueDequeueV2' input: 'gate' {} }}\n", types("component_types")),
        format!("node {{ name: 'double' op: 'Mul' input: 'x' input: 'two' {} }}\n", float("T")),
        format!("node {{ name: 'y' op: 'AddV2' input: 'double' input: 'pass' {} }}\n", float("T")),
        format!("node {{ name: 'open' op: 'QueueEnqueueV2' input: 'gate' input: 'zero' {} }}\n", types("Tcomponents")),
        format!("node {{ name: 'opened' op: 'Identity' input: 'x' input: '^open' {} }}\n", float("T")),
    ];
    text_format::parse::<GraphDef>(text.concat()).unwrap().write_to_bytes().unwrap()
}

/// Adds a version with this default signature, from the input `input` to `y`.
fn put_gated(place: &Place, version: i64, input: &str) {
    let any = || PartialShape::new(vec![None]);
    ModelBuilder::new(gated())
        .unwrap()
        .signature(GraphSignature::new("serving_default").input(input, "x").output("y", "y").shape(any()))
        .signature(GraphSignature::new("open").input("x", "x").output("opened", "opened").shape(any()))
        .save(place.version(version))
        .unwrap();
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
    let Some(server) = place.serve(test, text, |_| {}).await else { return };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_is_stuck_delays_no_request() {
    /// The requests, and how many may wait for the shadow.
    const REQUESTS: usize = 40;
    const QUEUE: usize = 4;
    let place = Place::new(&[1], &[]);
    put_gated(&place, 2, "x");
    let text = "[m]\nweights = { 1 = 100 }\nshadows = [\"2\"]\n";
    let change = |settings: &mut Settings| settings.traffic = settings.traffic.clone().shadow_queue(QUEUE);
    let Some(server) = place.serve("a_shadow_that_is_stuck_delays_no_request", text, change).await else { return };
    let started = Instant::now();
    let versions = ask_often(&server.server, REQUESTS).await;
    // The shadow waits until it is let go below.
    assert!(versions.iter().all(|version| *version == 1) && started.elapsed() < Duration::from_secs(10));
    let [_, _, _, dropped] = counts(&server, 2).await;
    assert!(dropped >= (REQUESTS - QUEUE - 2) as f64 && dropped < REQUESTS as f64, "{dropped}");
    let body = ONE.replace('{', "{\"signature_name\": \"open\", ");
    eventually("the shadow has answered", async || {
        let opened = server.server.post("/v1/models/m/versions/2:predict", &body).await;
        assert_eq!((opened.code, version_of(&opened)), (200, Some(2)), "{opened:?}");
        counts(&server, 2).await == [0.0, REQUESTS as f64 - dropped, 0.0, dropped]
    })
    .await;
    server.stop().await;
}
