//! Connections of any kind.

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

use crate::grpc::UdsAuthorityRewriter;

/// Where a client is; nothing of one that came over a UNIX socket.
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

/// A connection on its way to the thread that will serve it: a thread hears only of those that it was told of.
pub(super) enum Accepted {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

impl Accepted {
    /// The connection in the thread that this is called in, encrypted if it is to be.
    ///
    /// # Errors
    /// If the client does not agree on that, or leaves.
    pub(super) async fn arrive(self, tls: Option<TlsAcceptor>) -> io::Result<Stream> {
        match (self, tls) {
            (Self::Tcp(stream), Some(tls)) => {
                Ok(Stream::Tls(Box::new(tls.accept(TcpStream::from_std(stream)?).await?)))
            }
            (Self::Tcp(stream), None) => Ok(Stream::Tcp(TcpStream::from_std(stream)?)),
            // Whoever reaches the socket is on this machine, and let in by its permissions.
            (Self::Unix(stream), _) => {
                let stream = UnixStream::from_std(stream)?;
                Ok(Stream::Unix(Box::new(UdsStream { stream, rewriter: UdsAuthorityRewriter::new() })))
            }
        }
    }
}

/// A connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(Box<UdsStream>),
}

/// A connection over a UNIX socket, on which gRPC alone is spoken.
pub(crate) struct UdsStream {
    stream: UnixStream,
    rewriter: UdsAuthorityRewriter,
}

/// Does the same with whatever it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $do:expr) => {
        match $stream {
            Stream::Tcp($inner) => $do,
            Stream::Tls($inner) => $do,
            Stream::Unix(uds) => {
                let $inner = &mut uds.stream;
                $do
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Unix(uds) => {
                let before = into.filled().len();
                let read = Pin::new(&mut uds.stream).poll_read(context, into);
                uds.rewriter.rewrite(&mut into.filled_mut()[before..]);
                read
            }
        }
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
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(uds) => uds.stream.is_write_vectored(),
        }
    }
}
