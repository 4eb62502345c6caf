//! Loads by request.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tf_persist_proto::open_inference as pb;
use tf_persist_testing::{copy_folder, model};

use crate::common::grpc::{GrpcServer, error};
use crate::common::http::Response;

const LOAD: &str = "/v2/repository/models/m/load";

/// Copies a version as a user does: file by file, into its final place.
fn put(base: &Path, version: &str) {
    copy_folder(&model("half_plus_two"), &base.join(version));
}

async fn load(server: &GrpcServer) -> Response {
    server.server.post(LOAD, "{}").await
}

async fn versions(server: &GrpcServer) -> Value {
    let found: Value = serde_json::from_str(&server.server.get("/v2/models/m").await.body).unwrap();
    found["versions"].clone()
}

/// Only requests look for versions.
#[tokio::test(flavor = "multi_thread")]
async fn load_waits_for_new_versions_and_reports_their_failure() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "1");
    let models = [("m", folder.path().to_owned())];
    let test = "load_waits_for_new_versions_and_reports_their_failure";
    let Some(server) = GrpcServer::start(test, &models, |settings| settings.models.poll = None).await else { return };
    assert_eq!(load(&server).await.code, 200);
    put(folder.path(), "5");
    let loaded = load(&server).await;
    assert_eq!((loaded.code, loaded.body.as_str()), (200, "{}"));
    assert_eq!(versions(&server).await.as_array().unwrap().last().unwrap(), "5");

    // Failed loads are retried after a minute, for which nobody waits.
    put(folder.path(), "6");
    let graph = folder.path().join("6/saved_model.pb");
    let bytes = fs::read(&graph).unwrap();
    fs::write(&graph, b"\xff\xff this is no model").unwrap();
    for _ in 0..2 {
        let refused = load(&server).await;
        assert!(refused.code >= 400, "{refused:?}");
        refused.is_error(refused.code, "version 6 of the model `m` could not be loaded: ");
        refused.is_error(refused.code, "; version 5 goes on answering");
    }
    let request = pb::RepositoryModelLoadRequest { model_name: "m".into(), ..Default::default() };
    let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
    let (_, message) = error(server.call::<_, pb::RepositoryModelLoadResponse>(path, &request).await);
    assert!(message.contains("version 5 goes on answering"), "{message}");
    assert_eq!(server.server.post("/v1/models/m:predict", "{\"instances\": [2.0]}").await.code, 200);

    // Repaired.
    fs::write(&graph, bytes).unwrap();
    let _: pb::RepositoryModelLoadResponse = server.call(path, &request).await.unwrap();
    assert_eq!(versions(&server).await.as_array().unwrap().last().unwrap(), "6");

    // A damaged version that is gone keeps no load from succeeding.
    fs::create_dir(folder.path().join("7")).unwrap();
    load(&server).await.is_error(404, "version 6 goes on answering");
    fs::remove_dir(folder.path().join("7")).unwrap();
    let loaded = load(&server).await;
    assert_eq!(loaded.code, 200, "{loaded:?}");
    for version in ["1", "5", "6"] {
        fs::remove_dir_all(folder.path().join(version)).unwrap();
    }
    load(&server).await.is_error(404, "");
    server.stop().await;
}
