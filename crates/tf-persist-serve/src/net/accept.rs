//! Connections: taken as long as there is room for them.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::stream::{Accepted, Peer, Stream};
use super::worker_pool::WorkerPool;
use crate::api::Protocol;
use crate::state::ServerState;

/// How long is waited after a connection could not be taken, as where no more files may be opened.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener with what its connections need.
pub(crate) struct Port {
    /// Taken away when it is closed.
    pub(crate) listener: Option<Listener>,
    pub(crate) protocol: Protocol,
    pub(crate) state: ServerState,
    /// Cancelled when no more connections are to be accepted.
    pub(crate) closed: CancellationToken,
    /// Where its connections are served.
    pub(crate) workers: Arc<WorkerPool>,
}

impl Port {
    /// Takes connections, each into a task of its own, until no more are to be taken. More than are allowed wait. When this returns,
    /// nobody listens any more.
    pub(crate) async fn accept<S, F>(mut self, serve: S)
    where
        S: Fn(Stream, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let limit = self.state.settings().security.limits.connections;
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, self.next().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = self.closed.cancelled() => break,
                next = next => next,
            };
            let Ok(permit) = permit else { break };
            match accepted {
                Ok((accepted, peer)) => self.serve(permit, accepted, peer, &serve),
                // The client has left already.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
        // Who is connected already is answered: a listener that is closed resets those that it has not handed out.
        let Some(listener) = self.listener.take() else { return };
        let listener = match listener {
            Listener::Tcp(listener) => listener.into_std().map(Backlog::Tcp),
            Listener::Unix(listener) => listener.into_std().map(Backlog::Unix),
        };
        while let (Ok(permit), Ok((accepted, peer))) =
            (Arc::clone(&permits).try_acquire_owned(), listener.as_ref().map_err(drop).and_then(Backlog::next))
        {
            self.serve(permit, accepted, peer, &serve);
        }
    }

    /// Serves a connection in a task of its own.
    fn serve<S, F>(&self, permit: OwnedSemaphorePermit, accepted: Accepted, peer: Peer, serve: &S)
    where
        S: Fn(Stream, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (tls, serve, shutdown) = (self.tls(), serve.clone(), self.state.shutdown_signal());
        let head_timeout = self.state.settings().security.limits.head_timeout;
        let held = (permit, self.state.count_connection());
        self.workers.spawn(async move {
            let encrypted = tokio::select! {
                biased;
                encrypted = timeout(head_timeout, accepted.into_stream(tls)) => encrypted,
                // Nothing was asked yet.
                () = shutdown.grace_over() => return,
            };
            match encrypted {
                Ok(Ok(stream)) => serve(stream, peer).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS was not agreed on"),
                Err(_) => tracing::debug!("TLS was not agreed on in time"),
            }
            drop(held);
        });
    }

    async fn next(&self) -> io::Result<(Accepted, Peer)> {
        match &self.listener {
            Some(Listener::Tcp(listener)) => {
                let (stream, peer) = listener.accept().await?;
                // An answer goes out at once. What fails here has left already.
                let _ = stream.set_nodelay(true);
                Ok((Accepted::Tcp(stream.into_std()?), Peer(Some(peer))))
            }
            Some(Listener::Unix(listener)) => Ok((Accepted::Unix(listener.accept().await?.0.into_std()?), Peer(None))),
            None => std::future::pending().await,
        }
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        let certificates = self.state.certificates()?;
        match self.protocol {
            Protocol::Rest => certificates.rest(),
            Protocol::Grpc => Some(certificates.grpc()),
        }
    }
}

/// A listener that is about to be closed.
enum Backlog {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Backlog {
    /// A connection that was made already; it is not waited for one.
    fn next(&self) -> Result<(Accepted, Peer), ()> {
        let taken: io::Result<_> = match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, peer)| {
                let _ = stream.set_nodelay(true);
                stream.set_nonblocking(true)?;
                Ok((Accepted::Tcp(stream), Peer(Some(peer))))
            }),
            Self::Unix(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                Ok((Accepted::Unix(stream), Peer(None)))
            }),
        };
        taken.map_err(drop)
    }
}
