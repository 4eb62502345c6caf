//! Ten thousand hostile requests, made from a grammar with a fixed seed. Each gets an answer or a clear error, and the
//! server goes on.

use tf_persist_proto::open_inference as pb;
use tf_persist_proto::open_inference::grpc_service::infer_parameter::Parameter_choice as Choice;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::InferInputTensor;
use tf_persist_proto::protobuf::Message;
use tokio::io::AsyncWriteExt;

use super::grammar::{HttpRequest, Random, damage, http_request};
use super::grpc::INFER;
use super::{DATATYPES, echo};
use crate::common::http::read_bytes;

const SEED: u64 = 16;
const REST_REQUESTS: usize = 8000;
const GRPC_REQUESTS: usize = 2000;

/// gRPC's codes of errors of a client: its request is invalid, or names what is not there.
const CLEAR: [i32; 8] = [3, 5, 8, 9, 11, 12, 4, 13];

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_requests() {
    let Some((grpc, _folder)) = echo("ten_thousand_hostile_requests", |_| ()).await else { return };
    let mut random = Random::new(SEED);
    let mut stream = grpc.server.connect().await;
    let (mut answered, mut refused) = (0, 0);
    for index in 0..REST_REQUESTS {
        let request = http_request(&mut random);
        stream.write_all(&bytes(&request)).await.unwrap();
        let Some((code, head, body)) = read_bytes(&mut stream).await else {
            panic!("request {index} has no answer: {:?}", String::from_utf8_lossy(&bytes(&request)));
        };
        let text = String::from_utf8_lossy(&body);
        let shown = || format!("request {index}: {:?}\n{code}: {text}", String::from_utf8_lossy(&bytes(&request)));
        if code == 200 {
            let is_compressed = head.contains("content-encoding: ");
            let is_answer = text.starts_with("{\"model_name\":\"echo\"") || text.starts_with("[{\"name\":\"echo\"");
            assert!(is_answer || is_compressed, "{}", shown());
            answered += 1;
        } else {
            assert!((400..500).contains(&code) || matches!(code, 501 | 504), "{}", shown());
            let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", shown()));
            assert!(error["error"].as_str().is_some_and(|error| !error.is_empty()), "{}", shown());
            refused += 1;
        }
        if head.contains("connection: close") {
            stream = grpc.server.connect().await;
        }
    }
    for index in 0..GRPC_REQUESTS {
        let mut message = grpc_request(&mut random).write_to_bytes().unwrap();
        damage(&mut random, &mut message);
        match grpc.raw(INFER, message, None).await {
            Ok(_) => answered += 1,
            Err(status) => {
                let code = status.code() as i32;
                // 13 is gRPC's code of a message that cannot be parsed.
                let is_clear = CLEAR.contains(&code) && (code != 13 || status.message().contains("the request"));
                assert!(is_clear && !status.message().is_empty(), "gRPC request {index}: {status:?}");
                refused += 1;
            }
        }
    }
    // A grammar that only made valid or only invalid requests would show little.
    assert!(answered > 1500 && refused > 4000, "{answered} answered, {refused} refused");
    let health = grpc.server.get("/v2/health/ready").await;
    assert_eq!((health.code, health.body.as_str()), (200, "{\"ready\":true,\"live\":true}"));
    grpc.stop().await;
}

fn bytes(request: &HttpRequest) -> Vec<u8> {
    let mut head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n", request.path, request.body.len());
    request.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    [head.as_bytes(), b"\r\n", &request.body].concat()
}

fn grpc_request(random: &mut Random) -> pb::ModelInferRequest {
    let (datatype, _, size) = DATATYPES[random.below(DATATYPES.len())];
    let count = random.below(4);
    let shape = match random.below(10) {
        0 => vec![-1],
        1 => vec![i64::MAX, i64::MAX],
        2 => vec![1; random.below(300)],
        _ => vec![count as i64],
    };
    let text = |value: &str| pb::InferParameter {
        parameter_choice: Some(Choice::StringParam(value.to_owned())),
        ..Default::default()
    };
    let declared = if random.once_in(12) { random.pick(&["FP31", "", "BYTES", "FP32"]) } else { datatype };
    let mut input = InferInputTensor { name: "x".into(), datatype: declared.into(), shape, ..Default::default() };
    if random.once_in(15) {
        input.name = random.pick(&["", "z"]).to_owned();
    }
    if random.once_in(15) {
        input.parameters.insert("shared_memory_region".into(), text("r"));
    }
    if random.once_in(4) {
        let contents = pb::InferTensorContents {
            fp32_contents: vec![0.5; random.below(4)],
            int_contents: vec![-1; if random.once_in(2) { random.below(4) } else { 0 }],
            bytes_contents: vec![b"a"[..].into(); if random.once_in(2) { random.below(4) } else { 0 }],
            ..Default::default()
        };
        input.contents = Some(contents).into();
    }
    let mut request = pb::ModelInferRequest { model_name: "echo".into(), inputs: vec![input], ..Default::default() };
    request.parameters.insert("signature_name".into(), text(datatype));
    if !random.once_in(6) {
        let mut raw = vec![1; if size == 0 { 5 * count } else { size * count }];
        if size == 0 {
            raw.chunks_mut(5).for_each(|string| string[1..4].fill(0));
        }
        if random.once_in(10) {
            raw.push(0xff);
        }
        request.raw_input_contents.push(raw.into());
    }
    if random.once_in(15) {
        request.raw_input_contents.push(Default::default());
    }
    if random.once_in(15) {
        request.model_version = random.pick(&["8", "x", "99999999999999999999"]).to_owned();
    }
    if random.once_in(15) {
        request.parameters.insert("sequence_id".into(), text("s"));
    }
    request
}
