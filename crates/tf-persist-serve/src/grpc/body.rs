//! The body of a response: messages, then trailers with the status code.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::status::GRPC_STATUS;

/// The body of a response.
pub(super) struct ResponseBody(Remaining);

/// What remains to be sent.
enum Remaining {
    /// A message with its prefix, then the trailers.
    Message(Bytes),
    /// Messages as they arrive, then the trailers.
    Messages(mpsc::Receiver<Bytes>),
    /// The trailers.
    Trailers,
    Nothing,
}

impl ResponseBody {
    /// A body of one message with its prefix.
    pub(super) fn message(framed: Bytes) -> Self {
        Self(Remaining::Message(framed))
    }

    /// A body of messages with their prefixes, until the channel closes.
    pub(super) fn messages(framed: mpsc::Receiver<Bytes>) -> Self {
        Self(Remaining::Messages(framed))
    }

    /// An empty body: the status is in the headers.
    pub(super) fn empty() -> Self {
        Self(Remaining::Nothing)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Remaining::Messages(messages) = &mut self.0 {
            return match messages.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(message)) => Poll::Ready(Some(Ok(Frame::data(message)))),
                Poll::Ready(None) => {
                    self.0 = Remaining::Nothing;
                    Poll::Ready(Some(Ok(Frame::trailers(ok_trailers()))))
                }
            };
        }
        let (frame, next) = match std::mem::replace(&mut self.0, Remaining::Nothing) {
            Remaining::Message(message) => (Frame::data(message), Remaining::Trailers),
            Remaining::Trailers => (Frame::trailers(ok_trailers()), Remaining::Nothing),
            Remaining::Messages(_) | Remaining::Nothing => return Poll::Ready(None),
        };
        self.0 = next;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Remaining::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Remaining::Message(message) => SizeHint::with_exact(message.len() as u64),
            Remaining::Messages(_) => SizeHint::default(),
            Remaining::Trailers | Remaining::Nothing => SizeHint::with_exact(0),
        }
    }
}

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}
