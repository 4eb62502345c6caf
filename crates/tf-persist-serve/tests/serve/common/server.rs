//! A server in this process, on ports that are free.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tf_persist_core::LoadOptions;
use tf_persist_serve::{MetricsSettings, ModelSource, Server, ServerError, ServerState, Settings};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::models::{has_tensorflow, search};

/// A timeout of a server that a client of a test does not exceed, though it may be kept waiting.
pub(crate) const UNHURRIED: Duration = Duration::from_secs(2);

/// A server that runs until it is stopped or its runtime ends.
pub(crate) struct TestServer {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) state: ServerState,
    stop: oneshot::Sender<()>,
    running: Running,
    _folder: TempDir,
}

/// A server that was told to stop.
pub(crate) struct Running(JoinHandle<Result<(), ServerError>>);

impl TestServer {
    /// A server of one model, `m`, that has no version. `change` gets a folder for files of the test.
    pub(crate) fn start(change: impl FnOnce(&mut Settings, &Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&folder);
        change(&mut settings, folder.path());
        Self::bind(settings, folder)
    }

    /// A server of these models (names and base paths), once all of them are available. `None` without libtensorflow.
    pub(crate) async fn with_models(
        test: &str,
        models: &[(&str, PathBuf)],
        change: impl FnOnce(&mut Settings),
    ) -> Option<Self> {
        if !has_tensorflow(test) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("models.config");
        let entries = models.iter().map(|(name, path)| {
            format!("config {{ name: {name:?} base_path: {path:?} model_platform: \"tensorflow\" }}\n")
        });
        fs::write(&config, format!("model_config_list {{\n{}}}\n", entries.collect::<String>())).unwrap();
        let mut settings = settings(&folder);
        settings.models.source = Some(ModelSource::ConfigFile { path: config, poll: None });
        settings.models.load.options = LoadOptions::default().search(search());
        change(&mut settings);
        let server = Self::bind(settings, folder);
        server.state.ready().await.unwrap();
        Some(server)
    }

    fn bind(settings: Settings, folder: TempDir) -> Self {
        let server = Server::bind(settings).unwrap();
        let (http, grpc) = (server.rest_address().unwrap(), server.grpc_address().unwrap());
        let state = server.state().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = Running(tokio::spawn(server.run(async { drop(stopped.await) })));
        Self { http, grpc, state, stop, running, _folder: folder }
    }

    /// Tells the server to stop.
    pub(crate) fn begin_stop(self) -> Running {
        self.stop.send(()).unwrap();
        self.running
    }

    /// Stops the server, and waits for its end.
    pub(crate) async fn stop(self) {
        self.begin_stop().finished().await;
    }

    /// Drops the server while it runs.
    pub(crate) async fn abort(self) {
        self.running.0.abort();
        assert!(in_time(self.running.0).await.unwrap_err().is_cancelled());
    }
}

impl Running {
    /// Waits for the end of the server.
    pub(crate) async fn finished(self) {
        in_time(self.0).await.unwrap().unwrap();
    }
}

/// Settings of a server of one model, `m`, without versions. Both interfaces and the page of metrics are on.
pub(crate) fn settings(folder: &TempDir) -> Settings {
    let base_path = folder.path().join("m");
    fs::create_dir(&base_path).unwrap();
    let mut settings = Settings::default();
    settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: base_path });
    settings.http.address = Some(([127, 0, 0, 1], 0).into());
    settings.grpc.address = Some(([127, 0, 0, 1], 0).into());
    settings.metrics = MetricsSettings::default().prometheus_path(MetricsSettings::DEFAULT_PATH.to_owned());
    settings
}

/// Waits for something that must happen.
#[track_caller]
pub(crate) fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let done = timeout(tf_persist_testing::TIMEOUT, future).await;
        done.unwrap_or_else(|_| panic!("gave up waiting at {caller}"))
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(tf_persist_testing::TIMEOUT, poll).await.unwrap_or_else(|_| panic!("gave up waiting until {what}"));
}
