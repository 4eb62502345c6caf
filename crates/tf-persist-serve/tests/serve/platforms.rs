//! The routes of SageMaker and Vertex AI, and models that are unloaded to save memory, over real connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tf_persist_proto::open_inference::{ModelMetadataRequest, ModelMetadataResponse};
use tf_persist_proto::serving as pb;
use tf_persist_serve::{Catalog, ModelSource, ModelsBelow, Platform, SageMaker, SageMakerModels, Settings, Vertex};
use tf_persist_testing::{copy_folder, model};

use crate::common::TestServer;
use crate::common::grpc::{GrpcServer, spec};
use crate::common::http::Response;
use crate::common::models::{has_tensorflow, load_options};
use crate::common::server::eventually;

/// A server on a platform with the models of a catalog.
fn start(platform: Platform, catalog: Arc<dyn Catalog>, change: impl FnOnce(&mut Settings)) -> TestServer {
    TestServer::start(|settings, _| {
        settings.models.source = Some(ModelSource::Catalog(catalog));
        settings.models.load.options = load_options();
        settings.models.load.retries = 0;
        settings.http.platform = Some(platform);
        change(settings);
    })
}

/// Puts versions of `half_plus_two` into a folder.
fn put(folder: &Path, versions: &[&str]) {
    versions.iter().for_each(|version| copy_folder(&model("half_plus_two"), &folder.join(version)));
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap()
}

#[track_caller]
fn answers(response: &Response, expected: &Value) {
    assert_eq!((response.code, &json_of(response)), (200, expected), "{response:?}");
}

#[tokio::test]
async fn sagemaker_asks_one_model_in_several_ways() {
    if !has_tensorflow("sagemaker_asks_one_model_in_several_ways") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("half"), &["1", "2"]);
    put(&folder.path().join("other"), &["5"]);
    let platform = Platform::SageMaker(SageMaker::default().default_model("half".to_owned()));
    let catalog = Arc::new(ModelsBelow::new(folder.path(), "unused"));
    let server = start(platform, catalog, |_| {});
    eventually("it is healthy", async || server.get("/ping").await.code == 200).await;
    // Healthy and ready with the newest version; the others follow.
    eventually("it is ready", async || server.get("/readyz").await.code == 200).await;
    let oldest = async || server.get("/v1/models/half/versions/1").await.body.contains("\"AVAILABLE\"");
    eventually("version 1 is available", oldest).await;
    let both = json!({"predictions": [2.5, 3.0]});
    for (headers, body) in [
        ("Content-Type: application/json\r\n", "{\"instances\": [1, 2]}"),
        ("", "1 2"),
        ("Content-Type: application/jsonlines; charset=utf-8\r\n", "1\n2\n"),
        ("Content-Type: text/csv\r\nX-Amzn-SageMaker-Custom-Attributes: tfs-model-version=1\r\n", "1\n2"),
        ("X-Amzn-SageMaker-Custom-Attributes: tfs-model-name=other,tfs-method=predict\r\n", "1\n2"),
    ] {
        answers(&server.request("POST", "/invocations", headers, body).await, &both);
    }
    let line = server.request("POST", "/invocations", "Accept: application/jsonlines\r\n", "1").await;
    assert!(line.head.contains("content-type: application/jsonlines") && !line.body.contains('\n'), "{line:?}");
    server.request("POST", "/invocations", "Content-Type: image/png\r\n", "1").await.is_error(415, "image/png");
    server.post("/invocations", "").await.is_error(400, "no instances");
    let absent = "X-Amzn-SageMaker-Custom-Attributes: tfs-model-name=absent\r\n";
    server.request("POST", "/invocations", absent, "1").await.is_error(404, "absent");
    let wrong = server.get("/invocations").await;
    wrong.is_error(405, "POST");
    assert!(wrong.head.contains("allow: post"), "{wrong:?}");
    // TensorFlow Serving's routes and our pages stay.
    answers(&server.post("/v1/models/half:predict", "{\"instances\": [1, 2]}").await, &both);
    assert_eq!(json_of(&server.get("/models").await)["models"].as_array().unwrap().len(), 2);
    assert_eq!(server.post("/models/half/invoke", "1").await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn routes_of_platforms_need_keys_except_health() {
    if !has_tensorflow("routes_of_platforms_need_keys_except_health") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["1"]);
    let keys = folder.path().join("keys");
    fs::write(&keys, "a-long-enough-key\n").unwrap();
    for (platform, health, predict) in [
        (Platform::SageMaker(SageMaker::default()), "/ping", "/invocations"),
        (Platform::Vertex(Vertex::default()), "/health", "/predict"),
    ] {
        let catalog = Arc::new(ModelsBelow::new(folder.path(), "m"));
        let server = start(platform, catalog, |settings| {
            settings.security.api_key_file = Some(keys.clone());
        });
        assert_ne!(server.get(health).await.code, 401);
        server.post(predict, "1").await.is_error(401, "");
        let known = server.request("POST", predict, "X-Api-Key: a-long-enough-key\r\n", "{").await;
        assert_eq!(known.code, 400, "{known:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn vertex_takes_a_signature_as_parameter() {
    if !has_tensorflow("vertex_takes_a_signature_as_parameter") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A model itself.
    copy_folder(&model("half_plus_two"), &folder.path().join("model"));
    let route = "/v1/endpoints/1/deployedModels/2";
    let platform = Platform::Vertex(Vertex::default().health_route(route).predict_route(format!("{route}:predict")));
    let catalog = Arc::new(ModelsBelow::new(folder.path().join("model"), "m"));
    let server = start(platform, catalog, |_| {});
    eventually("it is healthy", async || server.get(route).await.code == 200).await;
    let predict = async |body: &str| server.post(&format!("{route}:predict"), body).await;
    let one = json!({"predictions": [2.5]});
    answers(&predict("{\"instances\": [1]}").await, &one);
    answers(&predict("{\"instances\": [1], \"parameters\": {\"signature_name\": \"serving_default\"}}").await, &one);
    predict("{\"instances\": [1], \"parameters\": {\"signature_name\": \"absent\"}}").await.is_error(400, "absent");
    predict("{\"instances\": [1], \"parameters\": {\"confidence\": 0.5}}").await.is_error(400, "\"confidence\"");
    answers(&server.post("/v1/models/m:predict", "{\"instances\": [1]}").await, &one);
    server.stop().await;
}

/// The body of a request to load a model.
fn load_body(name: &str, url: &Path) -> String {
    json!({"model_name": name, "url": url}).to_string()
}

#[tokio::test]
async fn sagemaker_loads_and_unloads_models() {
    if !has_tensorflow("sagemaker_loads_and_unloads_models") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).join("model");
    ["a", "b", "c"].iter().for_each(|name| put(&place(name).join("any"), &["1"]));
    fs::create_dir_all(place("broken").join("1")).unwrap();
    fs::write(place("broken").join("1/saved_model.pb"), "no graph").unwrap();
    fs::create_dir_all(place("none")).unwrap();
    put(&place("two").join("x"), &["1"]);
    put(&place("two").join("y"), &["1"]);
    let models = Arc::new(SageMakerModels::default());
    let platform = Platform::SageMaker(SageMaker::default().multi_model(Arc::clone(&models)));
    let server = start(platform, models, |settings| {
        // Room for two: a version is estimated at a little more than a megabyte.
        settings.models.load.max_resident_bytes = Some(5 << 19);
        settings.models.load.unload_least_used = false;
        settings.http.page = true;
    });
    assert_eq!(server.get("/ping").await.code, 200);
    assert_eq!(json_of(&server.get("/models").await), json!({"models": []}));
    // The page reads `/models`, which is SageMaker's here. The log does not promise it either.
    assert_eq!(server.get("/").await.code, 404);
    assert!(!server.state.settings().http.page);
    let load = async |name: &str| server.post("/models", &load_body(name, &place(name))).await;
    for name in ["a", "b"] {
        let loaded = load(name).await;
        assert_eq!(loaded.code, 200, "{loaded:?}");
    }
    load("a").await.is_error(409, "already loaded");
    load("c").await.is_error(507, "no memory");
    load("none").await.is_error(404, "no model is below");
    load("two").await.is_error(404, "several models");
    server.post("/models", &load_body("x", Path::new("relative"))).await.is_error(404, "absolute");
    server.post("/models", "{\"model_name\": \"x\"}").await.is_error(400, "url");
    server.post("/models", &load_body("", &place("c"))).await.is_error(400, "has 0 bytes");
    server.post("/models", &load_body(&"x".repeat(2000), &place("c"))).await.is_error(400, "has 2000 bytes");
    let shown = |name: &str| json!({"modelName": name, "modelUrl": place(name)});
    assert_eq!(json_of(&server.get("/models").await), json!({"models": [shown("a"), shown("b")]}));
    assert_eq!(json_of(&server.get("/models/a").await), shown("a"));
    answers(&server.post("/models/a/invoke", "1").await, &json!({"predictions": [2.5]}));
    server.post("/models/c/invoke", "1").await.is_error(404, "c is not loaded");
    let unload = async |name: &str| server.request("DELETE", &format!("/models/{name}"), "", "").await;
    assert_eq!(unload("a").await.code, 200);
    unload("a").await.is_error(404, "a is not loaded");
    load("broken").await.is_error(500, "");
    server.get("/models/broken").await.is_error(404, "not loaded");
    // Its memory is free again.
    assert_eq!(load("c").await.code, 200);
    assert_eq!(unload("c").await.code, 200);
    fs::write(place("broken").join("1/saved_model.pb"), fs::read(place("a").join("any/1/saved_model.pb")).unwrap())
        .unwrap();
    copy_folder(&place("a").join("any/1/variables"), &place("broken").join("1/variables"));
    let repaired = load("broken").await;
    assert_eq!(repaired.code, 200, "{repaired:?}");
    server.request("PATCH", "/models/b", "", "").await.is_error(405, "DELETE");
    server.stop().await;
}

#[tokio::test]
async fn requests_load_what_was_unloaded_to_save_memory() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d"];
    let models: Vec<(&str, PathBuf)> = names.iter().map(|name| (*name, folder.path().join(name))).collect();
    models.iter().for_each(|(_, path)| put(path, &["1"]));
    let limit = |settings: &mut Settings| settings.models.load.max_resident_bytes = Some(5 << 19);
    let started = TestServer::with_models("requests_load_what_was_unloaded_to_save_memory", &models, limit).await;
    let Some(server) = started else { return };
    let states = async || -> Vec<String> {
        let page = json_of(&server.get("/models").await);
        let models = page["models"].as_array().unwrap().iter();
        models.map(|model| model["versions"][0]["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states().await, ["AVAILABLE", "AVAILABLE", "UNLOADED", "UNLOADED"]);
    assert_eq!(server.get("/readyz").await.code, 200);
    // TensorFlow Serving's clients know no such state.
    let status = json_of(&server.get("/v1/models/d").await);
    assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
    let infer = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#;
    let asks = (0..8).map(|client: usize| {
        let server = &server;
        async move {
            for step in 0..6 {
                let name = names[(client + step * 3) % names.len()];
                let path = format!("/v1/models/{name}:predict");
                answers(&server.post(&path, "{\"instances\": [1]}").await, &json!({"predictions": [2.5]}));
                assert_eq!(server.get(&format!("/v1/models/{name}/metadata")).await.code, 200);
                let name = names[(client + step * 3 + 1) % names.len()];
                let answer = server.post(&format!("/v2/models/{name}/infer"), infer).await;
                assert_eq!(json_of(&answer)["outputs"][0]["data"], json!([2.5]), "{answer:?}");
                assert_eq!(server.get(&format!("/v2/models/{name}")).await.code, 200);
                assert_eq!(server.get(&format!("/v2/models/{name}/ready")).await.code, 200);
                let status = json_of(&server.get(&format!("/v1/models/{name}")).await);
                assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
            }
        }
    });
    futures_util::future::join_all(asks).await;
    let resident = states().await.iter().filter(|state| *state == "AVAILABLE").count();
    assert!(resident <= 2, "{resident}");
    // The same over gRPC.
    let grpc = GrpcServer::connect(server).await;
    for name in names {
        let request = pb::GetModelMetadataRequest {
            model_spec: spec(name, ""),
            metadata_field: vec!["signature_def".into()],
            ..Default::default()
        };
        let path = "/tensorflow.serving.PredictionService/GetModelMetadata";
        let answer: pb::GetModelMetadataResponse = grpc.call(path, &request).await.unwrap();
        assert_eq!(answer.model_spec.name, name);
        let request = ModelMetadataRequest { name: name.to_owned(), ..Default::default() };
        let path = "/inference.GRPCInferenceService/ModelMetadata";
        let answer: ModelMetadataResponse = grpc.call(path, &request).await.unwrap();
        assert_eq!(answer.inputs[0].name, "x", "{answer:?}");
    }
    grpc.stop().await;
}
