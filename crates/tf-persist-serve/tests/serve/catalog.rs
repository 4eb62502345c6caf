//! Labels of a catalog move under load, over both protocols.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tf_persist_core::Tensor;
use tf_persist_core::tensor::proto::to_proto;
use tf_persist_proto::serving as pb;
use tf_persist_serve::{Catalog, CatalogModel, ModelSource};

use crate::common::TestServer;
use crate::common::grpc::{GrpcServer, spec};
use crate::common::models::{half_plus, has_tensorflow, load_options};
use crate::common::server::eventually;
use crate::grpc::PREDICT;

/// The clients of each protocol.
const CLIENTS: usize = 8;

/// Versions of the model `m` in a folder; the test moves its label `stable`.
#[derive(Debug)]
struct Versions {
    folder: TempDir,
    stable: Mutex<i64>,
}

impl Versions {
    /// Adds a version that adds this number to half of its input.
    fn put(&self, version: i64, plus: f32) -> PathBuf {
        let path = self.folder.path().join(version.to_string());
        half_plus(&path, plus);
        path
    }

    fn point(&self, version: i64) {
        *self.stable.lock().unwrap() = version;
    }
}

impl Catalog for Versions {
    fn name(&self) -> String {
        "the test's versions".to_owned()
    }

    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String> {
        let stable = *self.stable.lock().unwrap();
        let versions = [(stable, self.folder.path().join(stable.to_string()))].into();
        let labels = [("stable".to_owned(), stable)].into();
        Ok([("m".to_owned(), Ok(CatalogModel { versions, labels }))].into())
    }
}

/// A request for half of 2 plus something, by label.
fn request() -> pb::PredictRequest {
    let mut model_spec = spec("m", "");
    model_spec.mut_or_insert_default().set_version_label("stable".into());
    let inputs = [("x".to_owned(), to_proto(&Tensor::from_slice(&[1], &[2.0_f32]).unwrap()))].into();
    pb::PredictRequest { model_spec, inputs, ..Default::default() }
}

async fn ask_rest(server: &TestServer) -> f64 {
    let response = server.post("/v1/models/m/labels/stable:predict", "{\"instances\": [2.0]}").await;
    assert_eq!(response.code, 200, "{response:?}");
    let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    body["predictions"][0].as_f64().unwrap()
}

async fn ask_grpc(server: &GrpcServer) -> f64 {
    let answer: pb::PredictResponse = server.call(PREDICT, &request()).await.unwrap();
    let (sum, version) = (answer.outputs["y"].float_val[0], answer.model_spec.version().value);
    assert_eq!(sum, 1.0 + version as f32, "an answer is that of the version that it names");
    f64::from(sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_label_moves_back_and_forth_under_load() {
    if !has_tensorflow("a_label_moves_back_and_forth_under_load") {
        return;
    }
    let versions = Arc::new(Versions { folder: tempfile::tempdir().unwrap(), stable: Mutex::new(1) });
    (1..=2).for_each(|version| drop(versions.put(version, version as f32)));
    let broken = versions.put(3, 3.0);
    damage(&broken);
    let server = TestServer::start(|settings, _| {
        settings.models.source = Some(ModelSource::Catalog(versions.clone()));
        settings.models.poll = Some(Duration::from_millis(20));
        settings.models.load.options = load_options();
        settings.models.load.retries = 0;
    });
    server.state.ready().await.unwrap();
    let server = Arc::new(GrpcServer::connect(server).await);
    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..2 * CLIENTS)
        .map(|number| {
            let (server, done, answers) = (server.clone(), done.clone(), answers.clone());
            tokio::spawn(async move {
                let mut seen = [0_usize; 2];
                while !done.load(Ordering::Relaxed) {
                    let answer = match number % 2 {
                        0 => ask_rest(&server.server).await,
                        _ => ask_grpc(&server).await,
                    };
                    let version = [2.0, 3.0].iter().position(|known| *known == answer);
                    seen[version.unwrap_or_else(|| panic!("{answer} is no version's answer"))] += 1;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        })
        .collect();
    for round in 0..4 {
        // Promoted, rolled back, and promoted to a version that cannot be loaded.
        for version in [2, 1] {
            versions.point(version);
            eventually("the label has moved", async || ask_rest(&server.server).await == 1.0 + version as f64).await;
            let so_far = answers.load(Ordering::Relaxed);
            eventually("clients go on", async || answers.load(Ordering::Relaxed) > so_far + 4 * CLIENTS).await;
        }
        versions.point(3);
        eventually("version 3 has failed", async || {
            let model = page(&server.server).await;
            model["pending_labels"]["stable"] == "3" && model["versions"][0]["state"] == "END"
        })
        .await;
        assert_eq!(ask_rest(&server.server).await, 2.0, "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = [0, 0];
    for client in clients {
        let [first, second] = client.await.unwrap();
        seen = [seen[0] + first, seen[1] + second];
    }
    assert!(seen.iter().all(|count| *count > 8 * CLIENTS), "{seen:?}");
    let model = page(&server.server).await;
    assert_eq!(model["labels"]["stable"], "1");
    assert!(!model["versions"][0]["error"]["message"].as_str().unwrap().is_empty());
    Arc::into_inner(server).unwrap().stop().await;
}

/// The model on the page of all models.
async fn page(server: &TestServer) -> serde_json::Value {
    let mut page: serde_json::Value = serde_json::from_str(&server.get("/models").await.body).unwrap();
    page["models"][0].take()
}

/// Halves a version's variables.
fn damage(version: &Path) {
    let shard = version.join("variables/variables.data-00000-of-00001");
    let length = fs::metadata(&shard).unwrap().len();
    fs::File::options().write(true).open(shard).unwrap().set_len(length / 2).unwrap();
}
