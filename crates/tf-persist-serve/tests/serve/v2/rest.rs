//! REST.

use std::fs;
use std::io::{Read, Write};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{DATATYPES, echo};
use crate::common::TestServer;
use crate::common::http::read_bytes;

const INFER: &str = "/v2/models/echo/infer";

/// An answer whose body may have binary data after its JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The JSON, and the binary data after it.
    fn parts(&self) -> (Value, &[u8]) {
        let length = self.header("inference-header-content-length").map(|length| length.parse().unwrap());
        let (json, binary) = self.body.split_at(length.unwrap_or(self.body.len()));
        (serde_json::from_slice(json).unwrap(), binary)
    }

    fn json(&self) -> Value {
        let (json, binary) = self.parts();
        assert!(binary.is_empty(), "{self:?}");
        json
    }

    /// Checks that this is an error in the form that clients can print: an object with a text.
    #[track_caller]
    fn is_error(&self, code: u16, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let found: Value = serde_json::from_slice(&self.body).unwrap();
        let message = found["error"].as_str().unwrap_or_else(|| panic!("{found}"));
        assert!(message.contains(words), "{words}: {message}");
    }
}

pub(super) async fn post(server: &TestServer, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = server.connect().await;
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    let request = [request.as_bytes(), b"\r\n", body].concat();
    stream.write_all(&request).await.unwrap();
    let (code, head, body) = read_bytes(&mut stream).await.unwrap();
    Answer { code, head, body }
}

async fn get(server: &TestServer, path: &str) -> Answer {
    let mut stream = server.connect().await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
    let (code, head, body) = read_bytes(&mut stream).await.unwrap();
    Answer { code, head, body }
}

async fn infer(server: &TestServer, request: &Value) -> Answer {
    post(server, INFER, &[], request.to_string().as_bytes()).await
}

fn fp32(data: Value) -> Value {
    json!({"name": "x", "shape": [2], "datatype": "FP32", "data": data})
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_model() {
    let server = TestServer::start(|_, _| ());
    assert_eq!(get(&server, "/v2/health/live").await.json(), json!({"live": true}));
    let ready = get(&server, "/v2/health/ready").await;
    ready.is_error(503, "models are still being loaded");
    assert_eq!((&ready.json()["ready"], &ready.json()["live"]), (&json!(false), &json!(true)));
    let server_metadata = get(&server, "/v2").await.json();
    assert_eq!(server_metadata["name"], "tf-persist");
    assert!(server_metadata["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    let model = get(&server, "/v2/models/m/ready").await;
    model.is_error(503, "Servable not found");
    assert_eq!(model.json()["ready"], false);
    get(&server, "/v2/models/m").await.is_error(404, "Servable not found for request: Latest(m)");
    get(&server, "/v2/models/m/versions/3").await.is_error(404, "Specific(m, 3)");
    get(&server, "/v2/models/m/versions/x").await.is_error(400, "Unrecognized servable version label: x");
    get(&server, "/v2/models/m/versions/99999999999999999999").await.is_error(400, "too large");
    get(&server, "/v2/nothing").await.is_error(404, "there is nothing at /v2/nothing");
    let refused = get(&server, "/v2/models/m/infer").await;
    refused.is_error(405, "GET is not allowed");
    assert!(refused.head.to_ascii_lowercase().contains("allow: post"), "{}", refused.head);
    for path in ["/v2/trace/setting", "/v2/models/m/trace/setting"] {
        get(&server, path).await.is_error(501, "the trace extension is not supported");
    }
    post(&server, "/v2", &[], b"").await.is_error(405, "POST is not allowed");
    post(&server, "/v2/systemsharedmemory/region/r/register", &[], b"{}").await.is_error(400, "shared memory");
    get(&server, "/v2/cudasharedmemory/status").await.is_error(400, "shared memory is not supported");
    post(&server, "/v2/models/m/infer", &[], b"{").await.is_error(404, "Servable not found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_health_needs_a_key() {
    let server = TestServer::start(|settings, folder| {
        let file = folder.join("keys");
        fs::write(&file, "secret\n").unwrap();
        settings.security.api_key_file = Some(file);
    });
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_ne!(get(&server, path).await.code, 401, "{path}");
    }
    for path in ["/v2", "/v2/models/m", "/v2/models/m/ready", "/v2/models/stats", "/v2/models/m/infer"] {
        get(&server, path).await.is_error(401, "");
    }
    post(&server, "/v2/models/m/infer", &[], b"{}").await.is_error(401, "");
    let key = [("Authorization", "Bearer secret")];
    post(&server, "/v2/models/m/infer", &key, b"{}").await.is_error(404, "Servable not found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_repository() {
    let Some((grpc, _folder)) = echo("metadata_and_repository", |_| ()).await else { return };
    let server = &grpc.server;
    let ready = json!({"ready": true, "live": true});
    assert_eq!(get(server, "/v2/health/ready").await.json(), ready);
    for path in ["/v2/models/echo/ready", "/v2/models/echo/versions/7/ready"] {
        assert_eq!(get(server, path).await.json(), json!({"name": "echo", "ready": true}));
    }
    let tensor = |name: &str, datatype: &str| json!({"name": name, "datatype": datatype, "shape": [-1]});
    let metadata = json!({
        "name": "echo", "versions": ["7"], "platform": "tensorflow_savedmodel",
        "inputs": [tensor("x", "FP32")], "outputs": [tensor("y", "FP32")],
    });
    assert_eq!(get(server, "/v2/models/echo").await.json(), metadata);
    let pair = get(server, "/v2/models/echo/versions/7?signature_name=pair").await.json();
    assert_eq!(pair["inputs"], json!([tensor("s", "BYTES"), tensor("x", "FP32")]));
    get(server, "/v2/models/echo?signature_name=none").await.is_error(404, "no signature `none`, but ");
    let config = get(server, "/v2/models/echo/config").await.json();
    assert_eq!(config["input"], json!([{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]));
    assert_eq!((&config["max_batch_size"], &config["backend"]), (&json!(0), &json!("tensorflow")));

    let index = json!([{"name": "echo", "version": "7", "state": "READY", "reason": ""}]);
    assert_eq!(post(server, "/v2/repository/index", &[], b"").await.json(), index);
    assert_eq!(post(server, "/v2/repository/index", &[], b"{\"ready\": true}").await.json(), index);
    post(server, "/v2/repository/index", &[], b"[").await.is_error(400, "the body is not JSON");
    post(server, "/v2/repository/index", &[], &[b' '; 70_000]).await.is_error(413, "longer than 65536 bytes");
    assert_eq!(post(server, "/v2/repository/models/echo/load", &[], b"").await.json(), json!({}));
    post(server, "/v2/repository/models/none/load", &[], b"").await.is_error(404, "`none` is not configured");
    let parameters = b"{\"parameters\": {\"config\": \"{}\"}}";
    post(server, "/v2/repository/models/echo/load", &[], parameters)
        .await
        .is_error(501, "parameters are not supported");
    post(server, "/v2/repository/models/echo/unload", &[], b"{}").await.is_error(400, "cannot be unloaded by clients");
    post(server, "/v2/repository/models/none/unload", &[], b"{}").await.is_error(404, "`none` is not configured");

    assert_eq!(infer(server, &json!({"inputs": [fp32(json!([1, 2]))]})).await.code, 200);
    for path in ["/v2/models/stats", "/v2/models/echo/stats", "/v2/models/echo/versions/7/stats"] {
        let found = get(server, path).await.json();
        let found = &found["model_stats"][0];
        assert_eq!(
            (&found["name"], &found["version"], &found["inference_count"]),
            (&json!("echo"), &json!("7"), &json!(1))
        );
        let stats = &found["inference_stats"];
        assert_eq!((&stats["success"]["count"], &stats["compute_infer"]["count"]), (&json!(1), &json!(1)));
        assert!(stats["success"]["ns"].as_u64().unwrap() > 0);
    }
    grpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_as_json() {
    let Some((grpc, _folder)) = echo("requests_and_answers_as_json", |_| ()).await else { return };
    let server = &grpc.server;
    let answer = infer(server, &json!({"id": "an id", "inputs": [fp32(json!([1.5, -2]))]})).await;
    let expected = json!({
        "model_name": "echo", "model_version": "7", "id": "an id",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.5, -2.0]}],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for path in ["/v2/models/echo/versions/7/infer", "/v2/models/e%63ho/infer"] {
        let body = json!({"inputs": [fp32(json!([1.5, -2]))]}).to_string();
        assert_eq!(post(server, path, &[], body.as_bytes()).await.json()["outputs"], expected["outputs"]);
    }
    // Numbers that are not finite are words, both ways.
    let words =
        r#"{"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [NaN, null, -Infinity, "NaN"]}]}"#;
    let answer = post(server, INFER, &[], words.as_bytes()).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("\"data\":[NaN,NaN,-Infinity,NaN]"), "{answer:?}");
    for (name, _, size) in DATATYPES {
        let data = match name {
            "BOOL" => json!([true, false]),
            "BYTES" => json!(["ä", ""]),
            "FP16" | "BF16" | "FP32" | "FP64" => json!([0.5, -3.0]),
            _ => json!([3, 100]),
        };
        let input = json!({"name": "x", "shape": [2, 1], "datatype": name, "data": data});
        let request = json!({"parameters": {"signature_name": name}, "inputs": [input]});
        let output = json!([{"name": "y", "datatype": name, "shape": [2, 1], "data": data}]);
        assert_eq!(infer(server, &request).await.json()["outputs"], output, "{size}");
    }
    let pair = json!({
        "parameters": {"signature_name": "pair", "sequence_id": 0, "own": 1.5},
        "inputs": [{"name": "s", "shape": [], "datatype": "BYTES", "data": ["a"]}, fp32(json!([1, 2]))],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    });
    let outputs = json!([{"name": "y", "datatype": "BYTES", "shape": [1], "data": ["2.000000:1"]}]);
    assert_eq!(infer(server, &pair).await.json()["outputs"], outputs);
    grpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_in_binary() {
    let Some((grpc, _folder)) = echo("requests_and_answers_in_binary", |_| ()).await else { return };
    let server = &grpc.server;
    // The values of a tensor come back bit by bit, whatever they are.
    let bytes = [0x7f, 0xc0, 0x12, 0xff, 1, 2, 3, 0x80];
    for (name, _, size) in DATATYPES {
        let data: Vec<u8> = match name {
            "BOOL" => vec![1, 0, 0, 1, 1, 1, 0, 0],
            "BYTES" => vec![0, 0, 0, 0, 2, 0, 0, 0, 0xff, 0],
            _ => bytes.to_vec(),
        };
        let count = data.len().checked_div(size).unwrap_or(2);
        let request = json!({
            "inputs": [{"name": "x", "shape": [count], "datatype": name, "parameters": {"binary_data_size": data.len()}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
            "parameters": {"signature_name": name},
        });
        let json = request.to_string();
        let length = json.len().to_string();
        let answer =
            post(server, INFER, &[("inference-header-content-length", &length)], &[json.as_bytes(), &data].concat())
                .await;
        let (head, binary) = answer.parts();
        assert_eq!(binary, data, "{name}");
        let parameters = json!({"binary_data_size": data.len()});
        let output = json!([{"name": "y", "datatype": name, "shape": [count], "parameters": parameters}]);
        assert_eq!(head["outputs"], output);
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
    // All outputs are in binary if the request says so at its top.
    let all = json!({"inputs": [fp32(json!([1, 2]))], "parameters": {"binary_data_output": true}});
    assert_eq!(infer(server, &all).await.parts().1, [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    // Bytes that are no text need binary.
    let json = json!({
        "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}],
        "parameters": {"signature_name": "BYTES"},
    });
    let json = json.to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), &[1, 0, 0, 0, 0xff]].concat();
    let header = "Inference-Header-Content-Length";
    post(server, INFER, &[(header, &length)], &body).await.is_error(400, "is not UTF-8; request the output in binary");
    for (value, words) in [
        ("-1", "must be a number of bytes"),
        ("x", "must be a number of bytes"),
        ("99999999999999999999", "must be a number of bytes"),
        ("1000", "is 1000, and the body has"),
        ("0", "the request has no JSON"),
        ("10", "JSON Parse error"),
    ] {
        post(server, INFER, &[(header, value)], &body).await.is_error(400, words);
    }
    grpc.stop().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_both_ways() {
    let Some((grpc, _folder)) = echo("compressed_both_ways", |_| ()).await else { return };
    let server = &grpc.server;
    let data = vec![1_u8; 400_000];
    let json = json!({
        "inputs": [{"name": "x", "shape": [100_000], "datatype": "FP32", "parameters": {"binary_data_size": data.len()}}],
        "parameters": {"binary_data_output": true},
    });
    let json = json.to_string();
    // The length is that before compression.
    let length = json.len().to_string();
    let body = [json.as_bytes(), &data].concat();
    for (name, compressed) in [("gzip", gzip(&body)), ("deflate", deflate(&body))] {
        let headers = [
            ("Inference-Header-Content-Length", length.as_str()),
            ("Content-Encoding", name),
            ("Accept-Encoding", name),
        ];
        let mut answer = post(server, INFER, &headers, &compressed).await;
        assert_eq!((answer.code, answer.header("content-encoding")), (200, Some(name)));
        let mut inflated = Vec::new();
        if name == "gzip" {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut inflated).unwrap();
        } else {
            flate2::read::ZlibDecoder::new(&answer.body[..]).read_to_end(&mut inflated).unwrap();
        }
        answer.body = inflated;
        assert_eq!(answer.parts().1, data);
        let cut = &compressed[..compressed.len() / 2];
        post(server, INFER, &headers, cut).await.is_error(400, "cannot be inflated");
    }
    post(server, INFER, &[("Content-Encoding", "br")], b"{}").await.is_error(400, "`br` is not supported");
    // Short answers are left as they are.
    let small = json!({"inputs": [fp32(json!([1, 2]))]}).to_string();
    let answer = post(server, INFER, &[("Accept-Encoding", "gzip, deflate, br")], small.as_bytes()).await;
    assert_eq!((answer.code, answer.header("content-encoding")), (200, None));
    grpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit_are_refused() {
    let Some((grpc, _folder)) = echo("requests_that_do_not_fit_are_refused", |settings| {
        settings.security.limits.tensors = 2;
        settings.security.limits.body_bytes = 10_000;
    })
    .await
    else {
        return;
    };
    let server = &grpc.server;
    let x = || fp32(json!([1, 2]));
    for (request, code, words) in [
        (json!({"inputs": []}), 400, "input `x` of the signature `serving_default` is missing"),
        (json!({"inputs": [x(), x()]}), 400, "input `x` is there twice"),
        (json!({"inputs": [x(), x(), x()]}), 400, "more than 2 inputs"),
        (
            json!({"inputs": [{"name": "z", "shape": [1], "datatype": "FP32", "data": [1]}]}),
            400,
            "has no input `z`, but `x`",
        ),
        (
            json!({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}),
            400,
            "input `x` is FP64, and the signature expects FP32",
        ),
        (json!({"inputs": [x()], "outputs": [{"name": "z"}]}), 400, "has no output `z`, but `y`"),
        (json!({"inputs": [x()], "outputs": [{"name": "y"}, {"name": "y"}]}), 400, "output `y` is requested twice"),
        (json!({"inputs": [x()], "parameters": {"signature_name": "none"}}), 404, "no signature `none`, but "),
        (json!({"inputs": [x()], "parameters": {"sequence_id": "a"}}), 501, "sequences are not supported"),
        (
            json!({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}]}),
            400,
            "shared memory is not supported",
        ),
    ] {
        infer(server, &request).await.is_error(code, words);
    }
    post(server, INFER, &[], &[b' '; 10_001]).await.is_error(413, "longer than 10000 bytes");
    let page = get(server, tf_persist_serve::MetricsSettings::DEFAULT_PATH).await;
    let page = String::from_utf8(page.body).unwrap();
    let line = ":tensorflow:serving:request_count{model_name=\"echo\",status=\"INVALID_ARGUMENT\"} 8";
    assert!(page.lines().any(|found| found == line), "{page}");
    grpc.stop().await;
}
