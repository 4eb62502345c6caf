//! The gRPC interface, called by tonic.
//!
//! Needs libtensorflow (`TF_PERSIST_LIBTENSORFLOW`, or the repository's `.venv`), and for the models of TensorFlow Serving's own
//! tests `TF_PERSIST_CORPUS`; without them, says so and passes.

mod client;
mod denormals;
mod examples;
mod guard;
mod predict;
#[path = "../../examples/bench_load/raw.rs"]
mod raw;
mod signatures;

use bytes::Bytes;
use tf_persist_proto::serving as pb;
use tonic::codec::CompressionEncoding;

use client::{Server, refused, root, spec};
use raw::RawCodec;

const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";
const RELOAD: &str = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;

/// A folder with one of the repository's models as its version 7.
fn versions(model: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("models").join(model).join("model"), folder.path().join("7")).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_from_first_to_last() {
    let folder = versions("half_plus_two");
    let Some(server) = Server::start(&[("half", folder.path().to_owned())], |_| ()).await else { return };
    predict::round_trip(&server).await;
    predict::refusals(&server).await;
    predict::compressed_and_large(&server).await;
    what_models_are(&server).await;
    what_is_no_call(&server).await;
    reloads_that_are_none(&server).await;
    health(&server).await;
    watch_ends_with_the_server(server).await;
}

async fn what_models_are(server: &Server) {
    let request = |name: &str, fields: &[&str]| pb::GetModelMetadataRequest {
        model_spec: spec(name, ""),
        metadata_field: fields.iter().map(|&field| field.to_owned()).collect(),
        ..Default::default()
    };
    let answer: pb::GetModelMetadataResponse =
        server.call(METADATA, &request("half", &["signature_def"])).await.unwrap();
    assert_eq!((answer.model_spec.name.as_str(), answer.model_spec.version().value), ("half", 7));
    let any = &answer.metadata["signature_def"];
    assert_eq!(any.type_url, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    let signatures: pb::SignatureDefMap = tf_persist_proto::parse(&any.value.clone().into()).unwrap();
    let names: Vec<_> = signatures.signature_def.keys().map(String::as_str).collect();
    assert_eq!(names, ["__saved_model_init_op", "serving_default"]);

    let refusal = |request: pb::GetModelMetadataRequest| async move {
        refused(server.call::<_, pb::GetModelMetadataResponse>(METADATA, &request).await)
    };
    let missing = (INVALID_ARGUMENT, "Missing ModelSpec".to_owned());
    assert_eq!(refusal(pb::GetModelMetadataRequest::default()).await, missing);
    let none = "GetModelMetadataRequest must specify at least one metadata_field".to_owned();
    assert_eq!(refusal(request("half", &[])).await, (INVALID_ARGUMENT, none));
    let other = "Metadata field stuff is not supported".to_owned();
    assert_eq!(refusal(request("half", &["signature_def", "stuff"])).await, (INVALID_ARGUMENT, other));
    let unknown = "Servable not found for request: Latest(m)".to_owned();
    assert_eq!(refusal(request("m", &["signature_def"])).await, (NOT_FOUND, unknown));

    let status = |name: &str| pb::GetModelStatusRequest { model_spec: spec(name, ""), ..Default::default() };
    let answer: pb::GetModelStatusResponse = server.call(STATUS, &status("half")).await.unwrap();
    let [version] = &answer.model_version_status[..] else { panic!("{answer}") };
    assert_eq!((version.version, version.state.value(), version.status.error_code.value()), (7, 30, 0));
    let answer = server.call::<_, pb::GetModelStatusResponse>(STATUS, &status("m")).await;
    assert_eq!(refused(answer), (NOT_FOUND, "Could not find any versions of model m".to_owned()));
    let answer = server.call::<_, pb::GetModelStatusResponse>(STATUS, &pb::GetModelStatusRequest::new()).await;
    assert_eq!(refused(answer), missing);
}

async fn what_is_no_call(server: &Server) {
    for path in [
        "/tensorflow.serving.PredictionService/NoSuchMethod",
        "/tensorflow.serving.SessionService/SessionRun",
        "/no.such.Service/X",
        "/",
    ] {
        assert_eq!(refused(server.raw(path, Vec::new(), None).await).0, UNIMPLEMENTED, "{path}");
    }
    for path in [PREDICT, METADATA, STATUS, RELOAD] {
        assert_eq!(refused(server.raw(path, vec![0xff; 4], None).await).0, INTERNAL, "{path}");
    }
    // A question that is far too long.
    let long = server.raw(STATUS, vec![0; 1 << 20], None).await;
    assert_eq!(refused(long), (8, "Received message larger than max (1048576 vs. 65536)".to_owned()));
    let gzip = server.raw(PREDICT, vec![0; 100], Some(CompressionEncoding::Gzip)).await;
    assert_eq!(refused(gzip).0, INTERNAL);
}

async fn reloads_that_are_none(server: &Server) {
    let answer = server.call::<_, pb::ReloadConfigResponse>(RELOAD, &pb::ReloadConfigRequest::new()).await;
    let (code, message) = refused(answer);
    assert_eq!(code, INVALID_ARGUMENT);
    assert!(message.contains("Only ModelConfigList is currently supported"), "{message}");
}

async fn health(server: &Server) {
    for service in ["", "ModelService", "PredictionService", "tensorflow.serving.PredictionService"] {
        let mut request = vec![1 << 3 | 2, u8::try_from(service.len()).unwrap()];
        request.extend_from_slice(service.as_bytes());
        assert_eq!(server.raw(CHECK, request, None).await.unwrap()[..], [8, 1], "{service}");
    }
    assert_eq!(server.raw(CHECK, Vec::new(), None).await.unwrap()[..], [8, 1]);
    assert_eq!(refused(server.raw(CHECK, vec![1 << 3 | 2, 1, b'x'], None).await).0, NOT_FOUND);
}

/// Nothing else ends a watch: a server that did not let go of it could not stop.
async fn watch_ends_with_the_server(server: Server) {
    let mut client = tonic::client::Grpc::new(server.channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(WATCH);
    let mut known =
        client.server_streaming(tonic::Request::new(Bytes::new()), path.clone(), RawCodec).await.unwrap().into_inner();
    client.ready().await.unwrap();
    let unknown = tonic::Request::new(vec![1 << 3 | 2, 1, b'x'].into());
    let mut unknown = client.server_streaming(unknown, path, RawCodec).await.unwrap().into_inner();
    assert_eq!(known.message().await.unwrap().unwrap()[..], [8, 1]);
    assert_eq!(unknown.message().await.unwrap().unwrap()[..], [8, 3]);
    let watching = tokio::spawn(async move {
        assert_eq!(known.message().await.unwrap().unwrap()[..], [8, 2]);
        assert_eq!(known.message().await.unwrap(), None);
    });
    drop(unknown);
    drop(client);
    server.stop().await;
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_can_be_switched_off() {
    let folder = versions("half_plus_two");
    let off = |settings: &mut tf_persist_serve::Settings| settings.grpc.reload_config = false;
    let Some(server) = Server::start(&[("half", folder.path().to_owned())], off).await else { return };
    // A list of no models, in four bytes.
    let (code, message) = refused(server.raw(RELOAD, vec![0x0a, 0x02, 0x0a, 0x00], None).await);
    assert_eq!((code, message.as_str()), (7, "HandleReloadConfigRequest is switched off on this server"));
    assert_eq!(server.raw(CHECK, Vec::new(), None).await.unwrap()[..], [8, 1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_models_is_not_healthy() {
    let folder = versions("half_plus_two");
    let Some(server) = Server::start(&[("half", folder.path().to_owned())], |_| ()).await else { return };
    let mut client = tonic::client::Grpc::new(server.channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(WATCH);
    let mut watched =
        client.server_streaming(tonic::Request::new(Bytes::new()), path, RawCodec).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap()[..], [8, 1]);
    server.raw(RELOAD, vec![0x0a, 0x02, 0x0a, 0x00], None).await.unwrap();
    assert_eq!(watched.message().await.unwrap().unwrap()[..], [8, 2]);
    assert_eq!(server.raw(CHECK, Vec::new(), None).await.unwrap()[..], [8, 2]);
    drop((watched, client));
    server.stop().await;
}
