//! gRPC, called by tonic.

use bytes::Bytes;
use tf_persist_proto::open_inference as pb;
use tf_persist_proto::open_inference::grpc_service::infer_parameter::Parameter_choice as Choice;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::InferInputTensor;
use tf_persist_proto::protobuf::{Message, MessageField};
use tonic::codec::CompressionEncoding;

use super::{DATATYPES, echo};
use crate::common::grpc::{GrpcServer, error};

pub(crate) const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

macro_rules! path {
    ($method:literal) => {
        concat!("/inference.GRPCInferenceService/", $method)
    };
}

fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor { name: "x".into(), datatype: datatype.into(), shape: shape.into(), ..Default::default() }
}

fn request(datatype: &str, shape: &[i64], raw: &[u8]) -> pb::ModelInferRequest {
    let mut request = pb::ModelInferRequest {
        model_name: "echo".into(),
        inputs: vec![input(datatype, shape)],
        raw_input_contents: vec![Bytes::copy_from_slice(raw)],
        ..Default::default()
    };
    let parameter =
        pb::InferParameter { parameter_choice: Some(Choice::StringParam(datatype.into())), ..Default::default() };
    request.parameters.insert("signature_name".into(), parameter);
    request
}

async fn infer(server: &GrpcServer, request: &pb::ModelInferRequest) -> Result<pb::ModelInferResponse, tonic::Status> {
    server.call(INFER, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_come_back_as_they_were() {
    let Some((server, _folder)) = echo("tensors_come_back_as_they_were", |_| ()).await else { return };
    for (name, _, size) in DATATYPES {
        let raw: &[u8] = match name {
            "BOOL" => &[1, 0, 0, 1, 1, 1, 0, 0],
            "BYTES" => &[0, 0, 0, 0, 2, 0, 0, 0, 0xff, 0],
            _ => &[0x7f, 0xc0, 0x12, 0xff, 1, 2, 3, 0x80],
        };
        let count = raw.len().checked_div(size).unwrap_or(2);
        let request = pb::ModelInferRequest { id: "an id".into(), ..request(name, &[count as i64], raw) };
        let answer = infer(&server, &request).await.unwrap();
        assert_eq!(answer.raw_output_contents, [Bytes::copy_from_slice(raw)], "{name}");
        let output = &answer.outputs[0];
        assert_eq!(
            (output.name.as_str(), output.datatype.as_str(), &output.shape[..]),
            ("y", name, &[count as i64][..])
        );
        let named = (answer.model_name.as_str(), answer.model_version.as_str(), answer.id.as_str());
        assert_eq!(named, ("echo", "7", "an id"));
    }
    let typed = pb::InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
    let typed = pb::ModelInferRequest {
        inputs: vec![InferInputTensor { contents: MessageField::some(typed), ..input("FP32", &[1]) }],
        raw_input_contents: vec![],
        model_version: "7".into(),
        ..request("FP32", &[], &[])
    };
    assert_eq!(infer(&server, &typed).await.unwrap().raw_output_contents[0][..], 1.0_f32.to_le_bytes());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_compressed_requests() {
    let Some((server, _folder)) = echo("large_and_compressed_requests", |_| ()).await else { return };
    let raw = vec![1; 4 << 20];
    let message = request("UINT8", &[4 << 20], &raw).write_to_bytes().unwrap();
    for compressed in [None, Some(CompressionEncoding::Gzip)] {
        let answer = server.raw(INFER, message.clone(), compressed).await.unwrap();
        let answer: pb::ModelInferResponse = tf_persist_proto::parse(&answer).unwrap();
        assert!(answer.raw_output_contents[0] == raw);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods() {
    let Some((server, _folder)) = echo("other_methods", |_| ()).await else { return };
    let live: pb::ServerLiveResponse = server.call(path!("ServerLive"), &pb::ServerLiveRequest::new()).await.unwrap();
    let ready: pb::ServerReadyResponse =
        server.call(path!("ServerReady"), &pb::ServerReadyRequest::new()).await.unwrap();
    assert!(live.live && ready.ready);
    for (name, version, expected) in
        [("echo", "", true), ("echo", "7", true), ("echo", "8", false), ("none", "", false)]
    {
        let request = pb::ModelReadyRequest { name: name.into(), version: version.into(), ..Default::default() };
        let found: pb::ModelReadyResponse = server.call(path!("ModelReady"), &request).await.unwrap();
        assert_eq!(found.ready, expected, "{name} {version}");
    }
    let found: pb::ServerMetadataResponse =
        server.call(path!("ServerMetadata"), &pb::ServerMetadataRequest::new()).await.unwrap();
    assert_eq!(found.name, "tf-persist");
    let request = pb::ModelMetadataRequest { name: "echo".into(), ..Default::default() };
    let found: pb::ModelMetadataResponse = server.call(path!("ModelMetadata"), &request).await.unwrap();
    assert_eq!((found.name.as_str(), &found.versions[..]), ("echo", &["7".to_owned()][..]));
    let x = &found.inputs[0];
    assert_eq!((x.name.as_str(), x.datatype.as_str(), &x.shape[..]), ("x", "FP32", &[-1][..]));
    let request = pb::ModelConfigRequest { name: "echo".into(), ..Default::default() };
    let found: pb::ModelConfigResponse = server.call(path!("ModelConfig"), &request).await.unwrap();
    assert_eq!(found.config.input[0].data_type.enum_value(), Ok(pb::DataType::TYPE_FP32));
    let found: pb::RepositoryIndexResponse =
        server.call(path!("RepositoryIndex"), &pb::RepositoryIndexRequest::new()).await.unwrap();
    assert_eq!((found.models[0].name.as_str(), found.models[0].state.as_str()), ("echo", "READY"));
    let request = pb::RepositoryModelLoadRequest { model_name: "echo".into(), ..Default::default() };
    let _: pb::RepositoryModelLoadResponse = server.call(path!("RepositoryModelLoad"), &request).await.unwrap();
    let request = pb::RepositoryModelUnloadRequest { model_name: "echo".into(), ..Default::default() };
    let refused = server.call::<_, pb::RepositoryModelUnloadResponse>(path!("RepositoryModelUnload"), &request).await;
    assert_eq!(error(refused).0, 9);
    infer(&server, &request_of_one()).await.unwrap();
    let request = pb::ModelStatisticsRequest::new();
    let found: pb::ModelStatisticsResponse = server.call(path!("ModelStatistics"), &request).await.unwrap();
    assert_eq!((found.model_stats[0].inference_count, found.model_stats[0].version.as_str()), (1, "7"));
    server.stop().await;
}

fn request_of_one() -> pb::ModelInferRequest {
    request("FP32", &[1], &[0; 4])
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit_are_refused() {
    let Some((server, _folder)) = echo("requests_that_do_not_fit_are_refused", |_| ()).await else { return };
    let check = async |request: pb::ModelInferRequest, code: i32, words: &'static str| {
        let (found, message) = error(infer(&server, &request).await);
        assert!(found == code && message.contains(words), "{found}: {message}");
    };
    check(pb::ModelInferRequest::new(), 3, "the request names no model").await;
    check(pb::ModelInferRequest { model_name: "none".into(), ..request_of_one() }, 5, "Servable not found").await;
    check(pb::ModelInferRequest { model_version: "9".into(), ..request_of_one() }, 5, "Specific(echo, 9)").await;
    check(pb::ModelInferRequest { model_version: "x".into(), ..request_of_one() }, 3, "version label: x").await;
    check(request("FP32", &[2], &[0; 4]), 3, "takes 8 bytes, 4 were sent").await;
    check(request("FP99", &[1], &[0; 4]), 5, "no signature `FP99`").await;
    let wrong = pb::ModelInferRequest { inputs: vec![input("INT32", &[1])], ..request_of_one() };
    check(wrong, 3, "input `x` is INT32, and the signature expects FP32").await;
    let mut shared = request_of_one();
    let region = pb::InferParameter { parameter_choice: Some(Choice::StringParam("r".into())), ..Default::default() };
    shared.inputs[0].parameters.insert("shared_memory_region".into(), region);
    shared.raw_input_contents.clear();
    check(shared, 3, "shared memory is not supported").await;

    let unimplemented = async |path: &'static str, words: &'static str| {
        let (code, message) = error(server.raw(path, Vec::new(), None).await);
        assert!(code == 12 && message.contains(words), "{code}: {message}");
    };
    unimplemented(path!("ModelStreamInfer"), "streams are not supported").await;
    unimplemented(path!("SystemSharedMemoryRegister"), "shared memory is not supported").await;
    unimplemented(path!("CudaSharedMemoryStatus"), "shared memory is not supported").await;
    unimplemented(path!("TraceSetting"), "TraceSetting is not supported").await;
    assert_eq!(error(server.raw(INFER, vec![0xff; 4], None).await).0, 13);
    assert_eq!(error(server.raw(path!("ModelMetadata"), vec![0xff; 4], None).await).0, 13);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_health_needs_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "secret\n").unwrap();
    let change = |settings: &mut tf_persist_serve::Settings| settings.security.api_key_file = Some(keys);
    let Some((server, _folder)) = echo("everything_but_health_needs_a_key", change).await else { return };
    for path in [path!("ServerLive"), path!("ServerReady")] {
        assert_eq!(server.raw(path, Vec::new(), None).await.unwrap()[..], [1 << 3, 1], "{path}");
    }
    for path in [path!("ModelReady"), path!("ServerMetadata"), INFER, path!("ModelStreamInfer")] {
        assert_eq!(error(server.raw(path, Vec::new(), None).await).0, 16, "{path}");
    }
    server.stop().await;
}
