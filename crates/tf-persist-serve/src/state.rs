//! The state that both interfaces share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use tf_persist_core::Code;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::api::Protocol;
use crate::error::ServerError;
use crate::http::has_own_models;
use crate::inference::warm_up;
use crate::metrics::Metrics;
use crate::models::{Models, Servable, Version};
use crate::request_log::RequestLog;
use crate::request_scope::RequestScope;
use crate::security::{ApiKeys, Certificates, ConcurrencyLimit, Tls};
use crate::settings::Settings;
use crate::shutdown::ShutdownSignal;
use crate::status::Status;
use crate::traffic::{FirstRules, Traffic};

/// Requests and responses of more bytes leave memory behind that is worth returning to the operating system.
const LARGE_MESSAGE: usize = 1 << 20;

/// The state that both interfaces share: models, metrics, limits and keys. Cloning shares it.
#[derive(Clone)]
pub struct ServerState(Arc<Inner>);

struct Inner {
    settings: Settings,
    models: Models,
    metrics: Metrics,
    request_log: RequestLog,
    traffic: Option<Traffic>,
    concurrency_limit: ConcurrencyLimit,
    api_keys: ApiKeys,
    certificates: Option<Certificates>,
    shutdown: ShutdownSignal,
    connections: TaskTracker,
    had_large_message: AtomicBool,
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerState").finish_non_exhaustive()
    }
}

impl ServerState {
    /// Reads API keys and certificates, and starts to load the models.
    ///
    /// # Errors
    /// As [`Models::start`], or if API keys or certificates cannot be used.
    pub(crate) fn start(mut settings: Settings) -> Result<Self, ServerError> {
        settings.http.page &= !has_own_models(&settings.http);
        let api_keys = ApiKeys::open(settings.security.api_key_file.as_deref())?;
        let certificates = settings.security.tls.as_ref().map(Certificates::new).transpose()?;
        let concurrency_limit = ConcurrencyLimit::new(settings.security.limits.concurrent_requests);
        let metrics = Metrics::new();
        let request_log = RequestLog::new(settings.request_log.clone(), metrics.clone());
        request_log.open()?;
        let first_rules = FirstRules::read(&settings.traffic).map_err(ServerError::Traffic)?;
        let mut model_settings = settings.models.clone();
        model_settings.request_log = request_log.clone();
        let models = Models::start(model_settings, settings.run.clone(), metrics.clone(), warm_up);
        let models = models.map_err(ServerError::Models)?;
        let traffic =
            first_rules.map(|first| Traffic::start(first, &settings.traffic, models.clone(), metrics.clone()));
        let traffic = traffic.transpose().map_err(ServerError::Traffic)?;
        let (shutdown, connections, had_large_message) =
            (ShutdownSignal::default(), TaskTracker::new(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner {
            settings,
            models,
            metrics,
            request_log,
            traffic,
            concurrency_limit,
            api_keys,
            certificates,
            shutdown,
            connections,
            had_large_message,
        })))
    }

    /// The settings of the server. The [page](crate::HttpSettings::page) is off where a platform has the path of the
    /// list that it reads.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.models
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn request_log(&self) -> &RequestLog {
        &self.0.request_log
    }

    /// The scope of a request that has just arrived; `None` if nothing observes requests.
    pub(crate) fn request_scope<B>(&self, protocol: Protocol, request: &Request<B>) -> Option<Arc<RequestScope>> {
        let tracer = self.0.settings.tracer.as_deref();
        let head = (request.method(), request.uri().path(), request.headers());
        RequestScope::begin(&self.0.request_log, tracer, self.traffic(), protocol, head)
    }

    /// The rules of the traffic, if there are any.
    pub(crate) fn traffic(&self) -> Option<&Traffic> {
        self.0.traffic.as_ref()
    }

    /// The version for a request to run: that which it names, or else that which the rules of the traffic choose.
    pub(crate) fn choose_version<'v>(&self, model: &str, version: &'v Version) -> Cow<'v, Version> {
        match self.traffic() {
            Some(traffic) if *version == Version::Latest => {
                traffic.choose(model).map_or(Cow::Borrowed(version), Cow::Owned)
            }
            _ => Cow::Borrowed(version),
        }
    }

    /// Notes the version that answers the request of this task, where requests are counted by version.
    pub(crate) fn note_version(&self, servable: &Servable) {
        if self.traffic().is_some()
            && let Some(scope) = RequestScope::current()
        {
            scope.set_version(servable.name(), servable.version());
        }
    }

    /// Counts the request of this task for the version that answered, where requests are counted by version.
    pub(crate) fn count_for_version(&self, refused: Option<Code>, elapsed: Duration) {
        if self.traffic().is_some()
            && let Some(scope) = RequestScope::current()
        {
            scope.count_for_version(refused, elapsed);
        }
    }

    pub(crate) fn concurrency_limit(&self) -> &ConcurrencyLimit {
        &self.0.concurrency_limit
    }

    pub(crate) fn api_keys(&self) -> &ApiKeys {
        &self.0.api_keys
    }

    /// Completes once every configured model has had an available version.
    ///
    /// # Errors
    /// If that is no longer possible because no version of a model can be loaded.
    pub async fn ready(&self) -> Result<(), Status> {
        self.0.models.ready().await
    }

    /// The number of requests in flight, over both interfaces.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.concurrency_limit.in_flight()
    }

    /// Whether the server is stopping. It then answers only the requests in flight.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.0.shutdown.started_at().is_some()
    }

    /// How long the server has been stopping; `None` if it is not.
    pub(crate) fn shutting_down_for(&self) -> Option<Duration> {
        self.0.shutdown.started_at().map(|start| start.elapsed())
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.len()
    }

    /// Reads the API keys, the models' configuration and the rules of the traffic again, searches for new versions, and
    /// uses `tls` for new connections. If a file cannot be used, the previous state stays. The log has the result.
    pub fn reload(&self, tls: Option<&Tls>) {
        if let Err(error) = self.0.api_keys.reload() {
            tracing::error!(%error, "the API keys are unchanged");
        }
        if let (Some(certificates), Some(tls)) = (&self.0.certificates, tls)
            && let Err(error) = certificates.replace(tls)
        {
            tracing::error!(%error, "the certificates are unchanged");
        }
        self.log_security();
        self.0.models.refresh();
        if let Some(traffic) = self.traffic() {
            traffic.refresh();
        }
    }

    /// Logs the API keys and certificates that are in effect.
    pub(crate) fn log_security(&self) {
        self.0.api_keys.log_active();
        if let Some(certificates) = &self.0.certificates {
            certificates.log_active();
        }
    }

    /// Notes the size of a request or response.
    pub(crate) fn note_bytes(&self, bytes: usize) {
        if bytes > LARGE_MESSAGE {
            self.0.had_large_message.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there was a large message since the last call, and no request is in flight that may need the memory
    /// again.
    pub(crate) fn should_release_memory(&self) -> bool {
        self.concurrency_limit().in_flight() == 0 && self.0.had_large_message.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn shutdown_signal(&self) -> ShutdownSignal {
        self.0.shutdown.clone()
    }

    pub(crate) fn begin_shutdown(&self) {
        self.0.shutdown.begin();
        self.0.models.begin_to_stop();
        if let Some(traffic) = self.traffic() {
            traffic.stop();
        }
    }

    pub(crate) fn certificates(&self) -> Option<&Certificates> {
        self.0.certificates.as_ref()
    }

    /// Counts a connection until the token is dropped.
    pub(crate) fn count_connection(&self) -> TaskTrackerToken {
        self.0.connections.token()
    }

    /// Completes when the last connection is closed. To be called after the last one was accepted.
    pub(crate) async fn all_connections_closed(&self) {
        self.0.connections.close();
        self.0.connections.wait().await;
    }
}
