//! Connections: taken as long as there is room for them.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Service;
use super::stream::{Accepted, Peer, Stream};
use super::threads::Threads;

/// How long is waited after a connection could not be taken, as where no more files may be opened.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Which protocol is spoken.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Rest,
    Grpc,
}

/// A listener with what its connections need.
pub(super) struct Port {
    /// Taken away when it is closed.
    pub(super) listener: Option<Listener>,
    pub(super) kind: Kind,
    pub(super) service: Service,
    /// Held by every connection, so that it is known when the last is gone.
    pub(super) alive: mpsc::Sender<()>,
    /// Whether no more connections are to be taken.
    pub(super) closed: watch::Receiver<bool>,
    /// Where its connections are served.
    pub(super) threads: Arc<Threads>,
}

impl Port {
    /// Takes connections, each into a task of its own, until no more are to be taken. More than are allowed wait. When this returns,
    /// nobody listens any more.
    pub(super) async fn accept<S, F>(mut self, serve: S)
    where
        S: Fn(Stream, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let limit = self.service.settings().guard.limits.connections;
        let room = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let mut closed = self.closed.clone();
        loop {
            let next = async {
                let place = Arc::clone(&room).acquire_owned().await;
                (place, self.next().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                // If nobody can say so any more, the server is gone.
                _ = closed.wait_for(|closed| *closed) => break,
                next = next => next,
            };
            let Ok(place) = place else { break };
            match accepted {
                Ok((accepted, peer)) => self.serve(place, accepted, peer, &serve),
                // The client has left already.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                }
            }
        }
        // Who is connected already is answered: a listener that is closed resets those that it has not handed out.
        let Some(listener) = self.listener.take() else { return };
        let listener = match listener {
            Listener::Tcp(listener) => listener.into_std().map(Waiting::Tcp),
            Listener::Unix(listener) => listener.into_std().map(Waiting::Unix),
        };
        while let (Ok(place), Ok((accepted, peer))) =
            (Arc::clone(&room).try_acquire_owned(), listener.as_ref().map_err(drop).and_then(Waiting::next))
        {
            self.serve(place, accepted, peer, &serve);
        }
    }

    /// Serves a connection in a task of its own.
    fn serve<S, F>(&self, place: OwnedSemaphorePermit, accepted: Accepted, peer: Peer, serve: &S)
    where
        S: Fn(Stream, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (tls, serve, mut drain) = (self.tls(), serve.clone(), self.service.drain());
        let head_timeout = self.service.settings().guard.limits.head_timeout;
        let held = (place, self.service.connected(), self.alive.clone());
        self.threads.spawn(async move {
            let encrypted = tokio::select! {
                biased;
                encrypted = timeout(head_timeout, accepted.arrive(tls)) => encrypted,
                // Nothing was asked yet.
                () = drain.begun_a_moment_ago() => return,
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
        let certificates = self.service.certificates()?;
        match self.kind {
            Kind::Rest => certificates.rest(),
            Kind::Grpc => Some(certificates.grpc()),
        }
    }
}

/// A listener that is about to be closed.
enum Waiting {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Waiting {
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
