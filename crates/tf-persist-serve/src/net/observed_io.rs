//! A stream that reports what is read and written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An event of a stream.
#[derive(Clone, Copy)]
pub(crate) enum IoEvent {
    /// This many bytes were read.
    Read(usize),
    /// Bytes were written.
    Written,
    /// A read found no bytes.
    ReadPending,
}

/// A stream that calls `observe` for each event.
pub(crate) struct ObservedIo<S, F> {
    stream: S,
    observe: F,
}

impl<S, F: Fn(IoEvent)> ObservedIo<S, F> {
    pub(crate) fn new(stream: S, observe: F) -> Self {
        Self { stream, observe }
    }
}

impl<S: AsyncRead + Unpin, F: Fn(IoEvent) + Unpin> AsyncRead for ObservedIo<S, F> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Pending => {
                (self.observe)(IoEvent::ReadPending);
                return Poll::Pending;
            }
            Poll::Ready(read) => read?,
        }
        let count = into.filled().len() - before;
        if count > 0 {
            (self.observe)(IoEvent::Read(count));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, F: Fn(IoEvent) + Unpin> AsyncWrite for ObservedIo<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, from))?;
        (self.observe)(IoEvent::Written);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, from))?;
        (self.observe)(IoEvent::Written);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
