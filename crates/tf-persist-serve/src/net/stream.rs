//! Accepted connections: TCP, TLS and UNIX sockets.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The address of a client; `None` for a client of a UNIX socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(super) Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("the UNIX socket"),
        }
    }
}

/// A connection on its way to its worker. It is not registered with a runtime yet: a runtime reports events only of the
/// sockets that were registered within it.
pub(super) enum Accepted {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

impl Accepted {
    /// Registers the connection with the current runtime, and performs the TLS handshake if `tls` is given. Must be
    /// called in the worker that serves the connection.
    ///
    /// # Errors
    /// If the handshake fails or the client disconnects.
    pub(super) async fn into_stream(self, tls: Option<TlsAcceptor>) -> io::Result<Stream> {
        match (self, tls) {
            (Self::Tcp(stream), Some(tls)) => {
                Ok(Stream::Tls(Box::new(tls.accept(TcpStream::from_std(stream)?).await?)))
            }
            (Self::Tcp(stream), None) => Ok(Stream::Tcp(TcpStream::from_std(stream)?)),
            // Clients of the socket are on this machine, and its permissions let them in.
            (Self::Unix(stream), _) => Ok(Stream::Unix(UnixStream::from_std(stream)?)),
        }
    }
}

/// A connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Evaluates an expression for the inner stream, whatever its type.
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
