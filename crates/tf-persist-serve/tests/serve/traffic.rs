//! Traffic that is split between versions by a file, and shadows, over real connections.

mod shadows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tf_persist_core::Tensor;
use tf_persist_core::tensor::proto::to_proto;
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::InferInputTensor;
use tf_persist_proto::serving as pb;
use tf_persist_proto::{open_inference, text_format};
use tf_persist_serve::{
    ModelSource, Platform, RequestLogFormat, RequestLogSettings, SageMaker, Server, Settings, TrafficFile,
    TrafficSource, Vertex,
};
use tf_persist_testing::copy_folder;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::common::TestServer;
use crate::common::grpc::{GrpcServer, spec};
use crate::common::http::{Response, read};
use crate::common::models::{half_plus, has_tensorflow, load_options, testdata};
use crate::common::server::eventually;
use crate::grpc::PREDICT;

const PATH: &str = "/v1/models/m:predict";
const ONE: &str = "{\"instances\": [2.0]}";
const HALF: &str = "[m]\nweights = { production = 50, canary = 50 }\n";

/// A folder with versions of `m`, their configuration and the traffic file.
struct Place(TempDir);

impl Place {
    /// Versions of `half_plus_two`: version N adds N to half of its input. `labels` are those of the configuration.
    fn new(versions: &[i64], labels: &[(&str, i64)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        versions.iter().for_each(|version| place.put(*version, *version as f32));
        place.label(labels);
        place
    }

    fn version(&self, version: i64) -> PathBuf {
        self.0.path().join("m").join(version.to_string())
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("models.config")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("traffic.toml")
    }

    /// Adds a version that adds this number to half of its input.
    fn put(&self, version: i64, plus: f32) {
        let path = self.0.path().join("new");
        half_plus(&path, plus);
        fs::create_dir_all(self.0.path().join("m")).unwrap();
        fs::rename(path, self.version(version)).unwrap();
    }

    /// Writes the configuration: all versions, with these labels.
    fn label(&self, labels: &[(&str, i64)]) {
        let labels =
            labels.iter().map(|(label, version)| format!("version_labels {{ key: '{label}' value: {version} }} "));
        let (path, labels) = (self.0.path().join("m"), labels.collect::<String>());
        let config = format!(
            "model_config_list {{ config {{ name: 'm' base_path: {path:?} model_platform: 'tensorflow'
             model_version_policy {{ all {{}} }} {labels} }} }}"
        );
        fs::write(self.config(), config).unwrap();
    }

    /// Replaces the traffic file.
    fn write(&self, text: &str) {
        let new = self.0.path().join("traffic.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn settings(&self, settings: &mut Settings) {
        settings.models.source = Some(ModelSource::ConfigFile { path: self.config(), poll: None });
        settings.models.load.options = load_options();
        settings.traffic = settings.traffic.clone().source(source(&self.file()));
    }

    /// A server with this traffic file, once all versions of the folder are available. `None` without libtensorflow.
    async fn serve(&self, test: &str, traffic: &str, change: impl FnOnce(&mut Settings)) -> Option<GrpcServer> {
        if !has_tensorflow(test) {
            return None;
        }
        self.write(traffic);
        let server = TestServer::start(|settings, _| {
            self.settings(settings);
            change(settings);
        });
        server.state.ready().await.unwrap();
        let count = fs::read_dir(self.0.path().join("m")).unwrap().count();
        eventually("all versions are available", async || {
            server.get("/v1/models/m").await.body.matches("\"AVAILABLE\"").count() == count
        })
        .await;
        Some(GrpcServer::connect(server).await)
    }
}

fn source(path: &Path) -> Arc<dyn TrafficSource> {
    Arc::new(TrafficFile::new(path))
}

/// The version in the header of a response.
fn version_of(response: &Response) -> Option<i64> {
    response.head.lines().find_map(|line| line.strip_prefix("x-tf-persist-version: ")?.parse().ok())
}

/// Asks over REST, and checks that the answer is that of the version in its header.
async fn ask(server: &TestServer, path: &str) -> i64 {
    let response = server.post(path, ONE).await;
    assert_eq!(response.code, 200, "{response:?}");
    answered_by(&response)
}

fn answered_by(response: &Response) -> i64 {
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let version = version_of(response).unwrap_or_else(|| panic!("{response:?}"));
    assert_eq!(body["predictions"][0].as_f64(), Some(1.0 + version as f64), "{response:?}");
    version
}

/// The versions that this many requests on one connection go to.
async fn ask_often(server: &TestServer, count: usize) -> Vec<i64> {
    let mut stream = server.connect().await;
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{ONE}", ONE.len());
    let mut versions = Vec::with_capacity(count);
    for _ in 0..count {
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read(&mut stream).await.unwrap();
        assert_eq!(response.code, 200, "{response:?}");
        versions.push(answered_by(&response));
    }
    versions
}

fn share(versions: &[i64], version: i64) -> f64 {
    versions.iter().filter(|found| **found == version).count() as f64 / versions.len() as f64
}

fn predict_request(named: impl FnOnce(&mut pb::ModelSpec)) -> pb::PredictRequest {
    let mut model_spec = spec("m", "");
    named(model_spec.mut_or_insert_default());
    let inputs = [("x".to_owned(), to_proto(&Tensor::from_slice(&[1], &[2.0_f32]).unwrap()))].into();
    pb::PredictRequest { model_spec, inputs, ..Default::default() }
}

/// Asks over gRPC, and checks that the answer is that of the version in it.
async fn ask_grpc(server: &GrpcServer, named: impl FnOnce(&mut pb::ModelSpec)) -> i64 {
    let answer: pb::PredictResponse = server.call(PREDICT, &predict_request(named)).await.unwrap();
    let (sum, version) = (answer.outputs["y"].float_val[0], answer.model_spec.version().value);
    assert_eq!(sum, 1.0 + version as f32);
    version
}

/// The model in `/models`, and the problem of the page.
async fn page(server: &TestServer) -> (Value, Value) {
    let page: Value = serde_json::from_str(&server.get("/models").await.body).unwrap();
    (page["models"][0]["traffic"].clone(), page["problem"].clone())
}

/// The value of a line of the metrics page; 0 without it.
async fn metric(server: &TestServer, name: &str) -> f64 {
    let page = server.get("/monitoring/prometheus/metrics").await.body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_split_by_weight_and_named_versions_are_not() {
    let place = Place::new(&[1, 2, 3], &[("production", 1), ("canary", 2)]);
    let text = "[m]\nweights = { production = 80, canary = 20 }\n";
    let test = "requests_are_split_by_weight_and_named_versions_are_not";
    let Some(server) = place.serve(test, text, |_| {}).await else { return };
    let versions = ask_often(&server.server, 2_000).await;
    // Beyond these bounds once in ten million runs (5.3 standard deviations of 0.0089).
    let second = share(&versions, 2);
    assert!((0.152..0.248).contains(&second), "{second}");
    assert_eq!(share(&versions, 1) + second, 1.0, "the newest version has no weight");
    for _ in 0..20 {
        for (path, version) in [("/versions/3", 3), ("/versions/1", 1), ("/labels/canary", 2)] {
            assert_eq!(ask(&server.server, &format!("/v1/models/m{path}:predict")).await, version);
        }
        assert_eq!(ask_grpc(&server, |spec| spec.mut_version().value = 3).await, 3);
        assert_eq!(ask_grpc(&server, |spec| spec.set_version_label("production".into())).await, 1);
    }
    let expected = json!({
        "weights": {"production": 80, "canary": 20}, "shadows": [], "versions": {"1": 0.8, "2": 0.2}, "pending": [],
    });
    assert_eq!(page(&server.server).await, (expected, Value::Null));
    let requests = metric(&server.server, "tf_persist_version_requests_total{model=\"m\",version=\"3\",status=\"OK\"}");
    assert_eq!(requests.await, 40.0);
    let count = |version: i64| format!("tf_persist_version_latency_seconds_count{{model=\"m\",version=\"{version}\"}}");
    let all = metric(&server.server, &count(1)).await + metric(&server.server, &count(2)).await;
    assert_eq!(all, 2_060.0);
    assert_eq!(metric(&server.server, "tf_persist_traffic_share{model=\"m\",version=\"2\"}").await, 0.2);
    // An error is that of its version.
    let wrong = server.server.post("/v1/models/m/versions/2:predict", "{\"instances\": [\"text\"]}").await;
    assert_eq!((wrong.code, version_of(&wrong)), (400, Some(2)), "{wrong:?}");
    let status = "tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"INVALID_ARGUMENT\"}";
    assert_eq!(metric(&server.server, status).await, 1.0);
    assert_eq!(version_of(&server.server.get("/v1/models/m/metadata").await), None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_nothing_is_said_of_versions() {
    let place = Place::new(&[1, 2], &[]);
    if !has_tensorflow("without_rules_nothing_is_said_of_versions") {
        return;
    }
    let server = TestServer::start(|settings, _| {
        place.write(HALF);
        place.settings(settings);
        settings.traffic = Default::default();
    });
    server.state.ready().await.unwrap();
    let response = server.post(PATH, ONE).await;
    assert_eq!((response.code, version_of(&response)), (200, None), "{response:?}");
    assert_eq!(page(&server).await, (Value::Null, Value::Null));
    let metrics = server.get("/monitoring/prometheus/metrics").await.body;
    assert!(!metrics.contains("tf_persist_version_requests") && !metrics.contains("shadow"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rules_change_under_load_without_a_failed_request() {
    let place = Place::new(&[1, 2], &[("production", 1), ("canary", 2)]);
    let test = "rules_change_under_load_without_a_failed_request";
    let Some(server) = place.serve(test, "[m]\nweights = { production = 100 }\n", |_| {}).await else { return };
    let server = Arc::new(server);
    assert_eq!(share(&ask_often(&server.server, 50).await, 1), 1.0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        clients.spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                if client % 2 == 0 {
                    count += ask_often(&server.server, 10).await.len();
                } else {
                    ask_grpc(&server, |_| {}).await;
                    count += 1;
                }
            }
            count
        });
    }
    for (text, second) in [
        ("[m]\nweights = { production = 0, canary = 100 }\n", 1.0),
        ("[m]\nweights = { 1 = 100 }\n", 0.0),
        // One that does not answer leaves its weight to the others.
        ("[m]\nweights = { canary = 10, gone = 90 }\n", 1.0),
        ("[m]\nweights = { production = 100 }\n", 0.0),
        // None answers: the newest does.
        ("[m]\nweights = { gone = 60, 7 = 40 }\n", 1.0),
    ] {
        place.write(text);
        // As SIGHUP does.
        server.server.state.reload(None);
        let is_second = async || share(&ask_often(&server.server, 20).await, 2) == second;
        eventually(text, is_second).await;
    }
    let (traffic, problem) = page(&server.server).await;
    assert_eq!((&traffic["pending"], &traffic["versions"]), (&json!(["7", "gone"]), &json!({"2": 1.0})));
    assert_eq!(problem, Value::Null);
    // A file that is wrong, half written or deleted leaves the rules as they were.
    place.write("[m]\nweights = { production = 100 }\n");
    eventually("the poll finds the change", async || page(&server.server).await.0["pending"] == json!([])).await;
    for (text, words) in [
        (Some("[m]\nweights = { production = 50, canary = 49 }\n"), "[m]: the weights add up to 99, and not to 100"),
        (Some("[m]\nshares = { canary = 100 }\n"), "unknown field `shares`"),
        (Some("[m]\nweights = { can"), "line 2: "),
        (Some(""), "it has no table"),
        (None, "cannot be read: No such file"),
    ] {
        match text {
            Some(text) => place.write(text),
            None => fs::remove_file(place.file()).unwrap(),
        }
        server.server.state.reload(None);
        let says = async || page(&server.server).await.1.as_str().is_some_and(|problem| problem.contains(words));
        eventually(words, says).await;
        let problem = page(&server.server).await.1;
        assert!(problem.as_str().unwrap().ends_with("; the rules before stay"), "{problem}");
        assert_eq!(share(&ask_often(&server.server, 50).await, 1), 1.0, "{words}");
    }
    place.write(HALF);
    eventually("the problem is gone", async || page(&server.server).await.1.is_null()).await;
    stop.store(true, Ordering::Relaxed);
    let answers: usize = clients.join_all().await.iter().sum();
    assert!(answers > 100, "{answers}");
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_comes_gets_its_weight() {
    let place = Place::new(&[1], &[("production", 1)]);
    let text = "[m]\nweights = { production = 50, 2 = 50 }\n";
    let Some(server) = place.serve("a_version_that_comes_gets_its_weight", text, |_| {}).await else { return };
    assert_eq!(share(&ask_often(&server.server, 50).await, 1), 1.0);
    assert_eq!(page(&server.server).await.0["pending"], json!(["2"]));
    place.put(2, 2.0);
    eventually("version 2 is asked", async || share(&ask_often(&server.server, 50).await, 2) > 0.0).await;
    let traffic = page(&server.server).await.0;
    assert_eq!((&traffic["pending"], &traffic["versions"]), (&json!([]), &json!({"1": 0.5, "2": 0.5})));
    fs::remove_dir_all(place.version(2)).unwrap();
    eventually("version 2 is gone", async || page(&server.server).await.0["pending"] == json!(["2"])).await;
    assert_eq!(share(&ask_often(&server.server, 50).await, 1), 1.0);
    server.stop().await;
}

#[tokio::test]
async fn rules_that_cannot_be_read_end_the_start() {
    let place = Place::new(&[], &[]);
    let mut settings = Settings::default();
    place.settings(&mut settings);
    settings.http.address = Some(([127, 0, 0, 1], 0).into());
    let refused = Server::bind(settings.clone()).unwrap_err().to_string();
    assert!(refused.contains("traffic.toml`: it cannot be read"), "{refused}");
    place.write("[m]\nweights = { a = 1 }");
    settings.traffic.source = Some(source(&place.file()));
    let refused = Server::bind(settings).unwrap_err().to_string();
    let path = place.file();
    let expected = "[m]: the weights add up to 1, and not to 100";
    assert_eq!(refused, format!("cannot use the traffic file `{}`: {expected}", path.display()));
}

/// A request of the Open Inference Protocol.
fn infer_request() -> open_inference::ModelInferRequest {
    let input = InferInputTensor { name: "x".into(), datatype: "FP32".into(), shape: vec![1], ..Default::default() };
    let raw: Bytes = 2.0_f32.to_le_bytes().to_vec().into();
    open_inference::ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![input],
        raw_input_contents: vec![raw],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_of_inference_are_split_and_logged() {
    let place = Place::new(&[1, 2], &[("production", 1), ("canary", 2)]);
    let logs = tempfile::tempdir().unwrap();
    let log = RequestLogSettings::default().folder(logs.path().to_path_buf()).format(RequestLogFormat::JsonLines);
    let change = |settings: &mut Settings| settings.request_log = log;
    let Some(server) = place.serve("both_protocols_of_inference_are_split_and_logged", HALF, change).await else {
        return;
    };
    let body = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2]}]}"#;
    // Each kind of request misses one of the versions once in 10^12 runs.
    let mut expected = Vec::new();
    for _ in 0..40 {
        let response = server.server.post("/v2/models/m/infer", body).await;
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        let version = version_of(&response).unwrap();
        assert_eq!(
            (&answer["model_version"], &answer["outputs"][0]["data"][0]),
            (&json!(version.to_string()), &json!(1.0 + version as f64))
        );
        expected.push(version);
        let answer: open_inference::ModelInferResponse =
            server.call(crate::v2::grpc::INFER, &infer_request()).await.unwrap();
        expected.push(answer.model_version.parse().unwrap());
        expected.push(ask_grpc(&server, |_| {}).await);
        expected.push(ask(&server.server, PATH).await);
    }
    for kind in 0..4 {
        let versions: Vec<i64> = expected.iter().skip(kind).step_by(4).copied().collect();
        let second = share(&versions, 2);
        assert!(second > 0.0 && second < 1.0, "{kind}: {versions:?}");
    }
    server.stop().await;
    let file = fs::read_dir(logs.path()).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let version = |line: &Value| line["version"].as_i64().or_else(|| line["version"].as_str()?.parse().ok()).unwrap();
    let logged: Vec<i64> = lines.map(|line| version(&line)).collect();
    assert_eq!(logged, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_split() {
    let test = "examples_are_split";
    let Some(testdata) = testdata(test) else { return };
    let place = Place::new(&[], &[]);
    for version in [1, 2] {
        let from = testdata.join("saved_model_half_plus_two_cpu");
        let from = fs::read_dir(from).unwrap().next().unwrap().unwrap().path();
        copy_folder(&from, &place.version(version));
    }
    let text = "[m]\nweights = { 1 = 50, 2 = 50 }\n";
    let Some(server) = place.serve(test, text, |_| {}).await else { return };
    let example = |signature: &str| format!("{{\"signature_name\": \"{signature}\", \"examples\": [{{\"x\": 2.0}}]}}");
    let input = "example_list { examples { features { feature { key: 'x' value { float_list { value: 2 } } } } } }";
    let input = || tf_persist_proto::protobuf::MessageField::some(text_format::parse::<pb::Input>(input).unwrap());
    let mut found = vec![Vec::new(); 5];
    for _ in 0..40 {
        for (at, (method, signature)) in
            [("classify", "classify_x_to_y"), ("regress", "regress_x_to_y")].into_iter().enumerate()
        {
            let response = server.server.post(&format!("/v1/models/m:{method}"), &example(signature)).await;
            assert_eq!(response.code, 200, "{response:?}");
            found[at].push(version_of(&response).unwrap());
        }
        let request = pb::ClassificationRequest {
            model_spec: spec("m", "classify_x_to_y"),
            input: input(),
            ..Default::default()
        };
        let path = "/tensorflow.serving.PredictionService/Classify";
        let answer: pb::ClassificationResponse = server.call(path, &request).await.unwrap();
        found[2].push(answer.model_spec.version().value);
        let request =
            pb::RegressionRequest { model_spec: spec("m", "regress_x_to_y"), input: input(), ..Default::default() };
        let path = "/tensorflow.serving.PredictionService/Regress";
        let answer: pb::RegressionResponse = server.call(path, &request).await.unwrap();
        found[3].push(answer.model_spec.version().value);
        let task = |signature: &str, method: &str| pb::InferenceTask {
            model_spec: spec("m", signature),
            method_name: format!("tensorflow/serving/{method}"),
            ..Default::default()
        };
        let tasks = vec![task("classify_x_to_y", "classify"), task("regress_x_to_y", "regress")];
        let request = pb::MultiInferenceRequest { tasks, input: input(), ..Default::default() };
        let path = "/tensorflow.serving.PredictionService/MultiInference";
        let answer: pb::MultiInferenceResponse = server.call(path, &request).await.unwrap();
        let versions: Vec<i64> = answer.results.iter().map(|result| result.model_spec.version().value).collect();
        assert_eq!(versions[0], versions[1]);
        found[4].push(versions[0]);
    }
    for (kind, versions) in found.iter().enumerate() {
        let second = share(versions, 2);
        assert!(second > 0.0 && second < 1.0, "{kind}: {versions:?}");
    }
    let count =
        |version: i64| format!("tf_persist_version_requests_total{{model=\"m\",version=\"{version}\",status=\"OK\"}}");
    assert_eq!(metric(&server.server, &count(1)).await + metric(&server.server, &count(2)).await, 200.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_platforms_are_split() {
    let place = Place::new(&[1, 2], &[("production", 1), ("canary", 2)]);
    for (platform, path) in
        [(Platform::Vertex(Vertex::default()), "/predict"), (Platform::SageMaker(SageMaker::default()), "/invocations")]
    {
        let change = |settings: &mut Settings| settings.http.platform = Some(platform);
        let Some(server) = place.serve("routes_of_platforms_are_split", HALF, change).await else { return };
        let mut versions = Vec::new();
        for _ in 0..40 {
            versions.push(ask(&server.server, path).await);
        }
        let second = share(&versions, 2);
        assert!(second > 0.0 && second < 1.0, "{path}: {versions:?}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_split_where_memory_is_limited() {
    let place = Place::new(&[1, 2], &[("production", 1), ("canary", 2)]);
    let limit = |settings: &mut Settings| settings.models.load.max_resident_bytes = Some(1 << 30);
    let Some(server) = place.serve("traffic_is_split_where_memory_is_limited", HALF, limit).await else { return };
    let second = share(&ask_often(&server.server, 60).await, 2);
    assert!(second > 0.0 && second < 1.0, "{second}");
    server.stop().await;
}
