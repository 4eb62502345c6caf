//! The server: its listeners, from the first request to the last.

mod accept;
mod busy_poll;
mod listener;
mod observed_io;
mod stream;
mod worker_pool;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tf_persist_core::release_free_memory;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

pub(crate) use observed_io::{IoEvent, ObservedIo};
pub(crate) use stream::Peer;

use crate::security::{ApiKeysError, TlsError};
use crate::settings::Settings;
use crate::state::ServerState;
use crate::status::Status;
use crate::{grpc, http};
use accept::{Kind, Listener, Port};
use worker_pool::WorkerPool;

/// How often memory that requests left behind is given back.
const MEMORY_RELEASE_INTERVAL: Duration = Duration::from_secs(5);

/// How long models are waited for at the end though the time for draining is over.
const MIN_UNLOAD_TIME: Duration = Duration::from_secs(1);

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The models could not be had.
    #[error("{0}")]
    Models(Status),
    /// A port could not be taken.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// "REST" or "gRPC".
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A UNIX socket could not be taken.
    #[error("cannot listen on the socket `{}` for gRPC: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Threads could not be had.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// There is nowhere to listen.
    #[error("there is neither a REST nor a gRPC port to listen on")]
    NoPort,
    /// The file of API keys cannot be used.
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysError),
    /// The certificates cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// A server that listens, and answers once it [runs](Server::run).
pub struct Server {
    state: ServerState,
    rest: Option<(TcpListener, SocketAddr)>,
    grpc: Option<(TcpListener, SocketAddr)>,
    socket: Option<UnixListener>,
}

impl Server {
    /// Takes the ports, and starts to load models. Clients may connect from here on. To be called in a runtime of tokio.
    ///
    /// # Errors
    /// If a port cannot be taken, keys or certificates cannot be used, or the models' configuration cannot be.
    pub fn bind(settings: Settings) -> Result<Self, ServerError> {
        if settings.http.address.is_none() && settings.grpc.address.is_none() && settings.grpc.socket.is_none() {
            return Err(ServerError::NoPort);
        }
        listener::raise_open_files(settings.security.limits.connections);
        let tcp = |address: Option<SocketAddr>, what| {
            let bound = address
                .map(|address| listener::tcp(address).map_err(|source| ServerError::Listen { address, what, source }));
            bound.transpose()
        };
        let rest = tcp(settings.http.address, "REST")?;
        let grpc = tcp(settings.grpc.address, "gRPC")?;
        let socket = settings
            .grpc
            .socket
            .as_ref()
            .map(|path| listener::unix(path).map_err(|source| ServerError::Socket { path: path.clone(), source }));
        let socket = socket.transpose()?;
        let state = ServerState::new(settings)?;
        state.log_security();
        Ok(Self { state, rest, grpc, socket })
    }

    /// What the interfaces speak to.
    #[must_use]
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// Where REST is, with the port that was found if it was to be any.
    #[must_use]
    pub fn rest_address(&self) -> Option<SocketAddr> {
        self.rest.as_ref().map(|(_, address)| *address)
    }

    /// Where gRPC is, with the port that was found if it was to be any.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|(_, address)| *address)
    }

    /// Answers until `stop` is done; then takes no more connections, answers what is under way, and unloads the models. If this is
    /// dropped before, it stops too, and gives up what is under way.
    ///
    /// # Errors
    /// If a model's only version could not be loaded, as TensorFlow Serving, which does not start then.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { state, rest, grpc, socket } = self;
        let _end = ShutdownOnDrop(state.clone());
        let limits = &state.settings().security.limits;
        let drain_timeout = limits.drain_timeout;
        let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
        let (close, closed) = tokio::sync::watch::channel(false);
        let mut accepting = JoinSet::new();
        // They go on until all connections are gone, whoever takes no more of them.
        let workers = Arc::new(WorkerPool::start().map_err(ServerError::Threads)?);
        let port = |listener, kind| Port {
            listener: Some(listener),
            kind,
            state: state.clone(),
            alive: alive.clone(),
            closed: closed.clone(),
            workers: Arc::clone(&workers),
        };
        if let Some((listener, _)) = rest {
            let (state, shutdown) = (state.clone(), state.shutdown_signal());
            let serve = move |stream, _| http::serve(stream, state.clone(), shutdown.clone());
            accepting.spawn(port(Listener::Tcp(listener), Kind::Rest).accept(serve));
        }
        let listeners = grpc.map(|(listener, _)| Listener::Tcp(listener)).into_iter();
        for listener in listeners.chain(socket.map(Listener::Unix)) {
            let (state, shutdown) = (state.clone(), state.shutdown_signal());
            let shared = Handle::current();
            let serve = move |stream, peer| grpc::serve(stream, peer, state.clone(), shutdown.clone(), shared.clone());
            accepting.spawn(port(listener, Kind::Grpc).accept(serve));
        }
        drop(alive);
        tokio::spawn(release_memory_when_idle(state.clone()));

        let outcome = tokio::select! {
            () = stop => Ok(()),
            // What other models have under way is answered all the same, and no session is torn down by the end of the process.
            status = never_ready(&state) => Err(ServerError::Models(status)),
        };
        // First no more connections are taken, and then those that there are hear of it: who is told that his connection ends may connect
        // anew at once, and is to be refused, not to be dropped from a queue.
        close.send_replace(true);
        while accepting.join_next().await.is_some() {}
        state.begin_shutdown();
        tracing::info!(requests = state.concurrency_limit().in_flight(), "stopping: no more connections are taken");
        let began = Instant::now();
        if timeout(drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!(requests = state.concurrency_limit().in_flight(), "stopping: requests are given up");
        }
        // With what they were at, which keeps models loaded.
        drop(workers);
        let models = state.models().clone();
        let unloading = tokio::task::spawn_blocking(move || models.stop());
        // Runs that nobody waits for any more keep their models loaded; the process ends without waiting for them much longer.
        if timeout(drain_timeout.saturating_sub(began.elapsed()).max(MIN_UNLOAD_TIME), unloading).await.is_err() {
            tracing::warn!("stopping: models are not unloaded in time");
        }
        outcome
    }
}

/// The end of a server, however it comes: ports are let go, connections and their threads with them.
struct ShutdownOnDrop(ServerState);

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        self.0.begin_shutdown();
    }
}

/// Gives memory that large requests took back to the operating system, when nothing is under way. The allocator keeps it else, many
/// times over where many came at once.
async fn release_memory_when_idle(state: ServerState) {
    let (mut shutdown, mut look) = (state.shutdown_signal(), interval(MEMORY_RELEASE_INTERVAL));
    loop {
        tokio::select! {
            () = shutdown.started() => return,
            _ = look.tick() => {}
        }
        if state.should_release_memory() {
            // If it fails, there is nothing to be done about it.
            let _ = tokio::task::spawn_blocking(release_free_memory).await;
        }
    }
}

/// Says when all models are ready; returns only if that cannot be any more.
async fn never_ready(state: &ServerState) -> Status {
    match state.models().ready().await {
        Ok(()) if state.models().list().is_empty() => {
            tracing::warn!("the configuration names no models: nothing is answered until one is served that does");
        }
        Ok(()) => tracing::info!("ready: every model answers"),
        Err(status) => return status,
    }
    std::future::pending().await
}
