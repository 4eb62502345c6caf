//! The gRPC interface, called by tonic.

mod denormals;
mod examples;
mod metadata;
mod predict;
#[path = "../../../examples/bench_load/raw.rs"]
pub(crate) mod raw;
mod signatures;
mod slow_clients;

use bytes::Bytes;
use tf_persist_proto::serving as pb;
use tonic::codec::CompressionEncoding;

use crate::common::grpc::{GrpcServer, error};
use crate::common::models::base_path;
use raw::RawCodec;

pub(crate) const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";
const RELOAD: &str = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;

/// A server of the model `half`, the repository's `half_plus_two`, as version 7.
async fn half_plus_two(test: &str) -> Option<(GrpcServer, tempfile::TempDir)> {
    let folder = base_path("half_plus_two");
    let server = GrpcServer::start(test, &[("half", folder.path().to_owned())], |_| ()).await?;
    Some((server, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_malformed_messages_are_refused() {
    let Some((server, _folder)) = half_plus_two("unknown_methods_and_malformed_messages_are_refused").await else {
        return;
    };
    for path in [
        "/tensorflow.serving.PredictionService/NoSuchMethod",
        "/tensorflow.serving.SessionService/SessionRun",
        "/no.such.Service/X",
        "/",
    ] {
        assert_eq!(error(server.raw(path, Vec::new(), None).await).0, UNIMPLEMENTED, "{path}");
    }
    for path in [PREDICT, METADATA, STATUS, RELOAD] {
        assert_eq!(error(server.raw(path, vec![0xff; 4], None).await).0, INTERNAL, "{path}");
    }
    // A request for metadata that is far too long.
    let long = server.raw(STATUS, vec![0; 1 << 20], None).await;
    assert_eq!(error(long), (8, "Received message larger than max (1048576 vs. 65536)".to_owned()));
    let gzip = server.raw(PREDICT, vec![0; 100], Some(CompressionEncoding::Gzip)).await;
    assert_eq!(error(gzip).0, INTERNAL);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_without_a_list_is_refused() {
    let Some((server, _folder)) = half_plus_two("reload_without_a_list_is_refused").await else { return };
    let response = server.call::<_, pb::ReloadConfigResponse>(RELOAD, &pb::ReloadConfigRequest::new()).await;
    let (code, message) = error(response);
    assert_eq!(code, INVALID_ARGUMENT);
    assert!(message.contains("Only ModelConfigList is currently supported"), "{message}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_service_knows_the_servers_services() {
    let Some((server, _folder)) = half_plus_two("health_service_knows_the_servers_services").await else { return };
    for service in [
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.PredictionService",
        "inference.GRPCInferenceService",
    ] {
        let mut request = vec![1 << 3 | 2, u8::try_from(service.len()).unwrap()];
        request.extend_from_slice(service.as_bytes());
        assert_eq!(server.raw(CHECK, request, None).await.unwrap()[..], [8, 1], "{service}");
    }
    assert_eq!(server.raw(CHECK, Vec::new(), None).await.unwrap()[..], [8, 1]);
    assert_eq!(error(server.raw(CHECK, vec![1 << 3 | 2, 1, b'x'], None).await).0, NOT_FOUND);
    server.stop().await;
}

/// Only the server ends a watch: one that kept it open could not stop.
#[tokio::test(flavor = "multi_thread")]
async fn watch_ends_with_the_server() {
    let Some((server, _folder)) = half_plus_two("watch_ends_with_the_server").await else { return };
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
async fn reload_can_be_switched_off() {
    let folder = base_path("half_plus_two");
    let off = |settings: &mut tf_persist_serve::Settings| settings.grpc.reload_config = false;
    let models = [("half", folder.path().to_owned())];
    let Some(server) = GrpcServer::start("reload_can_be_switched_off", &models, off).await else { return };
    // A list of no models, in four bytes.
    let (code, message) = error(server.raw(RELOAD, vec![0x0a, 0x02, 0x0a, 0x00], None).await);
    assert_eq!((code, message.as_str()), (7, "HandleReloadConfigRequest is switched off on this server"));
    assert_eq!(server.raw(CHECK, Vec::new(), None).await.unwrap()[..], [8, 1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_models_is_not_serving() {
    let Some((server, _folder)) = half_plus_two("server_without_models_is_not_serving").await else { return };
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
