//! The request log of a running server.

use std::fs;
use std::path::{Path, PathBuf};

use tf_persist_core::warmup::tfrecord;
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::open_inference;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::InferInputTensor;
use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::serving as pb;
use tf_persist_serve::{ModelSource, RequestLogFormat, RequestLogSettings};

use crate::common::grpc::{GrpcServer, error, spec};
use crate::common::models::{base_path, testdata};

const RELOAD: &str = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn logs(path: &Path) -> Vec<pb::PredictionLog> {
    let mut reader = tfrecord::Reader::open(path).unwrap();
    let records = std::iter::from_fn(|| reader.next_record().unwrap());
    records.map(|record| tf_persist_proto::parse(&Bytes::from(record)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_protocols_are_logged_alike() {
    let test = "all_protocols_are_logged_alike";
    let (base, folder) = (base_path("half_plus_two"), tempfile::tempdir().unwrap());
    let models = [("m", base.path().to_path_buf())];
    let log = RequestLogSettings::default().folder(folder.path().to_path_buf());
    let Some(server) = GrpcServer::start(test, &models, |settings| settings.request_log = log).await else { return };
    let answer = server.server.post("/v1/models/m:predict", "{\"instances\": [1.0, 2.0]}").await;
    assert_eq!(answer.code, 200, "{answer:?}");
    // The status and an unknown model are not logged.
    server.server.get("/v1/models/m").await;
    server.server.post("/v1/models/none:predict", "{\"instances\": [1.0]}").await;
    let mut request = pb::PredictRequest { model_spec: spec("m", ""), ..Default::default() };
    let tensor = tf_persist_core::Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
    request.inputs.insert("x".into(), tf_persist_core::tensor::proto::to_proto(&tensor));
    let answer: pb::PredictResponse = server.call(super::grpc::PREDICT, &request).await.unwrap();
    let body = r#"{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}"#;
    let inferred = server.server.post("/v2/models/m/infer", body).await;
    assert_eq!(inferred.code, 200, "{inferred:?}");
    let input = InferInputTensor { name: "x".into(), datatype: "FP32".into(), shape: vec![2], ..Default::default() };
    let raw: Bytes = [1.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let infer = open_inference::ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![input],
        raw_input_contents: vec![raw],
        ..Default::default()
    };
    let _: open_inference::ModelInferResponse = server.call(super::v2::grpc::INFER, &infer).await.unwrap();
    server.stop().await;
    let [file] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    let mut logs = logs(file);
    assert_eq!(logs.len(), 4);
    for log in &mut logs {
        log.log_metadata.mut_or_insert_default().timestamp_secs = 0;
    }
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
    let log = logs[0].predict_log();
    assert_eq!(log.request.model_spec.signature_name, "serving_default");
    let decode = |tensor| tf_persist_core::tensor::proto::from_proto(tensor, 0).unwrap();
    assert_eq!(decode(&log.request.inputs["x"]), tensor);
    assert_eq!(decode(&log.response.outputs["y"]), decode(&answer.outputs["y"]));
    assert_eq!(log.response.model_spec, answer.model_spec);
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_logged_and_inputs_redacted() {
    let test = "examples_are_logged_and_inputs_redacted";
    let Some(testdata) = testdata(test) else { return };
    let models = [("half", testdata.join("saved_model_half_plus_two_cpu"))];
    for redacts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let redact = if redacts { vec!["inputs".to_owned()] } else { Vec::new() };
        let log = RequestLogSettings::default().folder(folder.path().to_path_buf()).redact(redact);
        let log = log.format(RequestLogFormat::JsonLines);
        let Some(server) = GrpcServer::start(test, &models, |settings| settings.request_log = log).await else {
            return;
        };
        let body = "{\"signature_name\": \"regress_x_to_y\", \"examples\": [{\"x\": 2.0}]}";
        let headers = "X-Request-Id: abc\r\n";
        let answer = server.server.request("POST", "/v1/models/half:regress", headers, body).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        let body = body.replace("regress_x_to_y", "classify_x_to_y");
        assert_eq!(server.server.post("/v1/models/half:classify", &body).await.code, 200);
        // Fails in TensorFlow: the examples lack the feature.
        let body = "{\"signature_name\": \"regress_x_to_y\", \"examples\": [{\"x\": \"text\"}]}";
        assert_eq!(server.server.post("/v1/models/half:regress", body).await.code, 400);
        server.stop().await;
        let text = fs::read_to_string(&files(folder.path())[0]).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let apis: Vec<&str> = lines.iter().map(|line| line["api"].as_str().unwrap()).collect();
        assert_eq!(apis, ["regress", "classify", "regress"]);
        assert_eq!((&lines[0]["id"], &lines[0]["results"]), (&"abc".into(), &serde_json::json!([3.0])));
        assert_eq!(lines[1]["results"][0][0][1], 3.0);
        assert_eq!((&lines[2]["status"], lines[2].get("results")), (&"INVALID_ARGUMENT".into(), None));
        for line in &lines {
            let has_inputs = line["inputs"].get("inputs").is_some();
            assert_eq!((has_inputs, line.get("redacted").is_some()), (!redacts, redacts), "{line}");
            assert!(line["latency_ms"].as_f64().unwrap() > 0.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_are_logged() {
    let test = "refused_requests_are_logged";
    let (base, folder) = (base_path("tf1_graph"), tempfile::tempdir().unwrap());
    let models = [("m", base.path().to_path_buf())];
    let log = RequestLogSettings::default().folder(folder.path().to_path_buf()).format(RequestLogFormat::JsonLines);
    let Some(server) = GrpcServer::start(test, &models, |settings| settings.request_log = log).await else { return };
    let input = |name: &str, datatype: &str| {
        format!(r#"{{"name": "{name}", "shape": [1, 4], "datatype": "{datatype}", "data": [1, 2, 3, 4]}}"#)
    };
    let labels = r#", "outputs": [{"name": "species", "parameters": {"classification": 1}}]"#;
    for (inputs, outputs) in [
        (String::new(), ""),
        (input("x", "INT32"), ""),
        (input("z", "FP32"), ""),
        (input("x", "FP32"), r#", "outputs": [{"name": "z"}]"#),
        // It runs, and no classes can be made of text.
        (input("x", "FP32"), labels),
        (input("x", "FP32"), ""),
    ] {
        let body = format!(r#"{{"inputs": [{inputs}] {outputs}}}"#);
        server.server.post("/v2/models/m/infer", &body).await;
    }
    server.stop().await;
    let text = fs::read_to_string(&files(folder.path())[0]).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, [["INVALID_ARGUMENT"; 5].as_slice(), &["OK"]].concat(), "{text}");
    let errors: Vec<&str> = lines.iter().filter_map(|line| line["error"].as_str()).collect();
    let words =
        ["`x` of the signature", "is INT32", "no input `z`", "no output `z`", "no classes can be made of string"];
    assert!(errors.iter().zip(words).all(|(error, words)| error.contains(words)), "{errors:?}");
    assert!(lines[2]["inputs"].get("z").is_none(), "it could be a redacted input under a wrong name");
    assert!(lines[4].get("outputs").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_config_of_a_model_is_followed_and_clients_may_not_write_elsewhere() {
    let test = "logging_config_of_a_model_is_followed_and_clients_may_not_write_elsewhere";
    let (base, folder) = (base_path("half_plus_two"), tempfile::tempdir().unwrap());
    let config = folder.path().join("models.config");
    let collector = |prefix: &Path| format!("log_collector_config {{ type: 'jsonl' filename_prefix: {prefix:?} }}");
    let model = |name: &str, logging: &str| {
        let base = base.path();
        format!("config {{ name: {name:?} base_path: {base:?} model_platform: 'tensorflow' {logging} }}")
    };
    let rate = "sampling_config { sampling_rate: 1 }";
    let own = format!("logging_config {{ {} {rate} }}", collector(&folder.path().join("own/prefix")));
    let text = format!("model_config_list {{ {} {} }}", model("logged", &own), model("silent", ""));
    fs::write(&config, text).unwrap();
    let source = ModelSource::ConfigFile { path: config, poll: None };
    let Some(server) = GrpcServer::start(test, &[], |settings| settings.models.source = Some(source)).await else {
        return;
    };
    for name in ["logged", "silent"] {
        let answer = server.server.post(&format!("/v1/models/{name}:predict"), "{\"instances\": [1.0]}").await;
        assert_eq!(answer.code, 200, "{answer:?}");
    }
    let elsewhere = format!("logging_config {{ {} {rate} }}", collector(&folder.path().join("else/where")));
    let list = format!("model_config_list {{ {} }}", model("logged", &elsewhere));
    let config = tf_persist_proto::text_format::parse(list).unwrap();
    let request = pb::ReloadConfigRequest { config: MessageField::some(config), ..Default::default() };
    let (_, words) = error(server.call::<_, pb::ReloadConfigResponse>(RELOAD, &request).await);
    assert!(words.contains("comes from a client"), "{words}");
    server.stop().await;
    let files = files(&folder.path().join("own"));
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("prefix-2"), "{files:?}");
    assert_eq!(fs::read_to_string(&files[0]).unwrap().lines().count(), 1);
    assert!(!folder.path().join("else").exists());
}
