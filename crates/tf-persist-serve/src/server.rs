//! The server: from its first connection to its last.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tf_persist_core::{release_free_memory, release_library_pages};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::Protocol;
use crate::error::ServerError;
use crate::net::{self, Listener, Port, WorkerPool};
use crate::settings::Settings;
use crate::state::ServerState;
use crate::status::Status;
use crate::{grpc, http};

/// How often memory that large requests left behind is returned to the operating system.
const MEMORY_RELEASE_INTERVAL: Duration = Duration::from_secs(5);

/// The least time for unloading models on shutdown, even if requests used up the drain timeout.
const MIN_UNLOAD_TIME: Duration = Duration::from_secs(1);

/// The longest time for the last records of the request log.
const LOG_CLOSE_TIME: Duration = Duration::from_secs(5);

/// A server that is bound to its ports. It answers once it [runs](Server::run).
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use tf_persist_serve::{HttpSettings, ModelSettings, Server, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::default()
///     .models(ModelSettings::default().base_path("digits", "/models/digits"))
///     .http(HttpSettings::default().address(SocketAddr::from(([127, 0, 0, 1], 8501))));
/// let server = Server::bind(settings)?;
/// println!("REST: {:?}", server.rest_address());
/// server.run(async { drop(tokio::signal::ctrl_c().await) }).await?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    state: ServerState,
    rest: Option<(TcpListener, SocketAddr)>,
    grpc: Option<(TcpListener, SocketAddr)>,
    socket: Option<UnixListener>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("rest", &self.rest.as_ref().map(|(_, address)| address))
            .field("grpc", &self.grpc.as_ref().map(|(_, address)| address))
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the ports and starts to load the models. Clients can connect from here on. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If a port cannot be bound, API keys or certificates cannot be used, or the models' configuration is invalid.
    pub fn bind(settings: Settings) -> Result<Self, ServerError> {
        if settings.http.address.is_none() && settings.grpc.address.is_none() && settings.grpc.socket.is_none() {
            return Err(ServerError::NoPort);
        }
        net::raise_open_files(settings.security.limits.connections);
        let rest = settings.http.address.map(|address| bind(address, "REST")).transpose()?;
        let grpc = settings.grpc.address.map(|address| bind(address, "gRPC")).transpose()?;
        let socket = settings
            .grpc
            .socket
            .as_ref()
            .map(|path| net::bind_unix(path).map_err(|source| ServerError::Socket { path: path.clone(), source }));
        let socket = socket.transpose()?;
        let state = ServerState::start(settings)?;
        state.log_security();
        Ok(Self { state, rest, grpc, socket })
    }

    /// The state that both interfaces share.
    #[must_use]
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// The address of the REST interface. Its port is the one that was bound, also where the settings have port 0.
    #[must_use]
    pub fn rest_address(&self) -> Option<SocketAddr> {
        self.rest.as_ref().map(|(_, address)| *address)
    }

    /// The address of the gRPC interface. Its port is the one that was bound, also where the settings have port 0.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|(_, address)| *address)
    }

    /// Answers requests until `stop` completes. Then it accepts no more connections, answers the requests in flight,
    /// and unloads the models. Dropping the future stops the server too, and aborts the requests in flight.
    ///
    /// # Errors
    /// If no version of a configured model can be loaded. TensorFlow Serving does not start in that case.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { state, rest, grpc, socket } = self;
        let _shutdown_on_drop = ShutdownOnDrop(state.clone());
        // The workers outlive the listeners: they serve until the last connection is closed.
        let workers = Arc::new(WorkerPool::start().map_err(ServerError::Threads)?);
        let stop_accepting = CancellationToken::new();
        let mut accepting = JoinSet::new();
        let port = |listener, protocol| Port {
            listener: Some(listener),
            protocol,
            state: state.clone(),
            closed: stop_accepting.clone(),
            workers: Arc::clone(&workers),
        };
        let shutdown = state.shutdown_signal();
        if let Some((listener, _)) = rest {
            let (state, shutdown) = (state.clone(), shutdown.clone());
            let serve = move |stream, _| http::serve(stream, state.clone(), shutdown.clone());
            accepting.spawn(port(Listener::Tcp(listener), Protocol::Rest).accept(serve));
        }
        if let Some((listener, _)) = grpc {
            let (state, shutdown, shared) = (state.clone(), shutdown.clone(), Handle::current());
            let serve = move |stream, peer| grpc::serve(stream, peer, state.clone(), shutdown.clone(), shared.clone());
            accepting.spawn(port(Listener::Tcp(listener), Protocol::Grpc).accept(serve));
        }
        if let Some(listener) = socket {
            let (state, shutdown, shared) = (state.clone(), shutdown.clone(), Handle::current());
            let serve = move |stream, peer| {
                grpc::serve(grpc::UdsStream::new(stream), peer, state.clone(), shutdown.clone(), shared.clone())
            };
            accepting.spawn(port(Listener::Unix(listener), Protocol::Grpc).accept(serve));
        }
        tokio::spawn(release_memory_when_idle(state.clone()));

        let outcome = tokio::select! {
            () = stop => Ok(()),
            // Requests to other models are answered all the same, and every session is torn down before the process
            // ends.
            status = first_failure(&state) => Err(ServerError::Models(status)),
        };
        // First no more connections are accepted, then clients hear of the shutdown. A client whose connection ends may
        // connect again at once: it must be refused, not dropped from a queue.
        stop_accepting.cancel();
        while accepting.join_next().await.is_some() {}
        shut_down(&state, workers).await;
        outcome
    }
}

fn bind(address: SocketAddr, what: &'static str) -> Result<(TcpListener, SocketAddr), ServerError> {
    net::bind_tcp(address).map_err(|source| ServerError::Listen { address, what, source })
}

/// Waits for the requests in flight, then unloads the models; both within the drain timeout.
async fn shut_down(state: &ServerState, workers: Arc<WorkerPool>) {
    let drain_timeout = state.settings().security.limits.drain_timeout;
    state.begin_shutdown();
    tracing::info!(requests = state.concurrency_limit().in_flight(), "stopping: no more connections are taken");
    let start = Instant::now();
    if timeout(drain_timeout, state.all_connections_closed()).await.is_err() {
        tracing::warn!(requests = state.concurrency_limit().in_flight(), "stopping: requests are given up");
    }
    // Their remaining tasks hold models; dropping the workers drops them.
    drop(workers);
    let models = state.models().clone();
    let unloading = tokio::task::spawn_blocking(move || models.stop());
    // Abandoned runs keep their models loaded. The process ends without waiting for them much longer.
    if timeout(drain_timeout.saturating_sub(start.elapsed()).max(MIN_UNLOAD_TIME), unloading).await.is_err() {
        tracing::warn!("stopping: models are not unloaded in time");
    }
    let log = state.request_log().clone();
    if timeout(LOG_CLOSE_TIME, tokio::task::spawn_blocking(move || log.close())).await.is_err() {
        tracing::warn!("stopping: the request log is not written in time");
    }
}

/// Begins the shutdown however the server ends, so that ports, connections and threads are released.
struct ShutdownOnDrop(ServerState);

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        self.0.begin_shutdown();
    }
}

/// Returns the memory of large requests to the operating system while no request is in flight. The allocator would keep
/// it, many times over where many large requests came at once.
async fn release_memory_when_idle(state: ServerState) {
    let (shutdown, mut ticks) = (state.shutdown_signal(), interval(MEMORY_RELEASE_INTERVAL));
    loop {
        tokio::select! {
            () = shutdown.started() => return,
            _ = ticks.tick() => {}
        }
        if state.should_release_memory() {
            // A failure has no remedy.
            let _ = tokio::task::spawn_blocking(release_memory).await;
        }
    }
}

fn release_memory() {
    release_free_memory();
    release_library_pages();
}

/// Logs when all models are ready. Returns only if one of them can never be.
async fn first_failure(state: &ServerState) -> Status {
    match state.models().ready().await {
        Ok(()) if state.models().list().is_empty() => {
            tracing::warn!("the configuration names no models: nothing is answered until one is served that does");
        }
        Ok(()) => tracing::info!("ready: every model answers"),
        Err(status) => return status,
    }
    std::future::pending().await
}
