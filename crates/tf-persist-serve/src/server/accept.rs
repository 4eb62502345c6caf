//! Connections: taken as long as there is room for them.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Service;
use super::stream::{Accepted, Stream};
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
    listener: Listener,
    kind: Kind,
    service: Service,
    /// Held by every connection, so that it is known when the last is gone.
    alive: mpsc::Sender<()>,
    /// Where its connections are served.
    threads: Arc<Threads>,
}

impl Port {
    pub(super) fn new(
        listener: Listener,
        kind: Kind,
        service: Service,
        alive: mpsc::Sender<()>,
        threads: Arc<Threads>,
    ) -> Self {
        Self { listener, kind, service, alive, threads }
    }

    /// Takes connections, each into a task of its own, until the server stops. More than are allowed wait to be taken.
    pub(super) async fn accept<S, F>(self, serve: S)
    where
        S: Fn(Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let limits = &self.service.settings().guard.limits;
        let (head_timeout, room) =
            (limits.head_timeout, Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))));
        let mut drain = self.service.drain();
        loop {
            let next = async {
                let place = Arc::clone(&room).acquire_owned().await;
                (place, self.next().await)
            };
            let (place, stream) = tokio::select! {
                biased;
                () = drain.begun() => return,
                next = next => next,
            };
            let stream = match stream {
                Ok(stream) => stream,
                // The client has left already.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (tls, serve, mut drain) = (self.tls(), serve.clone(), drain.clone());
            let held = (place, self.service.connected(), self.alive.clone());
            self.threads.spawn(async move {
                let encrypted = tokio::select! {
                    biased;
                    encrypted = timeout(head_timeout, stream.arrive(tls)) => encrypted,
                    // Nothing was asked yet.
                    () = drain.begun() => return,
                };
                match encrypted {
                    Ok(Ok(stream)) => serve(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS was not agreed on"),
                    Err(_) => tracing::debug!("TLS was not agreed on in time"),
                }
                drop(held);
            });
        }
    }

    async fn next(&self) -> io::Result<Accepted> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer goes out at once. What fails here has left already.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream.into_std()?))
            }
            Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
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
