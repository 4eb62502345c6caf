//! Connections: taken as long as there is room for them.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Service;

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
}

impl Port {
    pub(super) fn new(listener: Listener, kind: Kind, service: Service, alive: mpsc::Sender<()>) -> Self {
        Self { listener, kind, service, alive }
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
            let (tls, serve, mut drain) = (self.tls(&stream), serve.clone(), drain.clone());
            let held = (place, self.service.connected(), self.alive.clone());
            tokio::spawn(async move {
                let encrypted = tokio::select! {
                    biased;
                    encrypted = timeout(head_timeout, encrypted(stream, tls)) => encrypted,
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

    async fn next(&self) -> io::Result<Stream> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer goes out at once. What fails here has left already.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    fn tls(&self, stream: &Stream) -> Option<TlsAcceptor> {
        let certificates = self.service.certificates()?;
        match (stream, self.kind) {
            // Whoever reaches the socket is on this machine, and let in by its permissions.
            (Stream::Unix(_), _) => None,
            (_, Kind::Rest) => certificates.rest(),
            (_, Kind::Grpc) => Some(certificates.grpc()),
        }
    }
}

async fn encrypted(stream: Stream, tls: Option<TlsAcceptor>) -> io::Result<Stream> {
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => Ok(Stream::Tls(Box::new(tls.accept(stream).await?))),
        (stream, _) => Ok(stream),
    }
}

/// A connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Does the same with whatever it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $do:expr) => {
        match $stream {
            Stream::Tcp($inner) => $do,
            Stream::Tls($inner) => $do,
            Stream::Unix($inner) => $do,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(context, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(context, from))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, from))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
}
