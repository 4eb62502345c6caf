//! Accepts connections, up to a limit.

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

/// The pause after a connection could not be accepted, for example because too many files are open.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A bound port or socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener, and everything its connections need.
pub(crate) struct Port {
    /// `None` once it is closed.
    pub(crate) listener: Option<Listener>,
    pub(crate) protocol: Protocol,
    pub(crate) state: ServerState,
    /// Cancelled when no more connections are to be accepted.
    pub(crate) closed: CancellationToken,
    /// The threads that serve its connections.
    pub(crate) workers: Arc<WorkerPool>,
}

impl Port {
    /// Accepts connections until `closed` is cancelled, and serves each in a task of its own. Connections beyond the
    /// limit wait. The listener is closed when this returns.
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
                // The client has disconnected already.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
        // Clients that are connected already are answered: closing the listener would reset the connections in its
        // backlog.
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
                // There is no request yet.
                () = shutdown.grace_over() => return,
            };
            match encrypted {
                Ok(Ok(stream)) => serve(stream, peer).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake timed out"),
            }
            drop(held);
        });
    }

    async fn next(&self) -> io::Result<(Accepted, Peer)> {
        match &self.listener {
            Some(Listener::Tcp(listener)) => {
                let (stream, peer) = listener.accept().await?;
                // Responses are sent at once. This fails only if the client has disconnected.
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

/// The connections that a listener has not handed out yet.
enum Backlog {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Backlog {
    /// The next connection, without waiting for one.
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
