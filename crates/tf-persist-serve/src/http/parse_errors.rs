//! Adds a JSON body to the responses with which hyper itself refuses requests that are not valid HTTP. hyper sends them
//! without one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::json::error_body;

/// A stream that adds a body to hyper's own error responses.
pub(super) struct ParseErrorBodies<S> {
    stream: S,
    /// The response that replaces one of hyper's, and how many bytes of it are written.
    response: Vec<u8>,
    written: usize,
}

impl<S> ParseErrorBodies<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, response: Vec::new(), written: 0 }
    }
}

/// The response to a request that is not valid HTTP, for one that hyper does not answer at all.
pub(super) fn bad_request() -> Vec<u8> {
    const HEAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    with_body(HEAD).unwrap_or_else(|| HEAD.to_vec())
}

/// The response that replaces this one, if this is one of hyper's own: those have no content type, and those of the
/// server do.
fn with_body(head: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    if !head.starts_with(b"HTTP/1.") || head.get(9) != Some(&b'4') || !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = std::str::from_utf8(head).ok()?;
    if head.contains("\r\ncontent-type:") || head.find("\r\n\r\n")? + 4 != head.len() {
        return None;
    }
    let why = match head.get(9..12)? {
        "400" => "The request is not valid HTTP",
        "414" => "The URI of the request is too long",
        "431" => "The head of the request is too large",
        _ => return None,
    };
    let at = head.find(EMPTY)?;
    let body = error_body(why);
    let kind = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let mut response = [&head[..at], &kind, &head[at + EMPTY.len()..]].concat().into_bytes();
    response.extend(body);
    Some(response)
}

impl<S: AsyncWrite + Unpin> ParseErrorBodies<S> {
    fn poll_write_response(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.response.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.response[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ParseErrorBodies<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ParseErrorBodies<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_response(context))?;
        if let Some(response) = with_body(from) {
            (self.response, self.written) = (response, 0);
            return Poll::Ready(Ok(from.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_response(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_response(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_response(context))?;
        if let [head] = from
            && let Some(response) = with_body(head)
        {
            (self.response, self.written) = (response, 0);
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_empty_errors_get_a_body() {
        let date = "date: Sat, 28 Nov 2026 05:01:26 GMT\r\n\r\n";
        let head =
            format!("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n{date}");
        let answer = String::from_utf8(with_body(head.as_bytes()).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let parsed: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(parsed, serde_json::json!({"error": "The head of the request is too large"}));
        let length = format!("\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
        assert!(head.contains(&length) && head.contains("connection: close"), "{head}");
        for other in [
            format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{date}"),
            format!("HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 0\r\n{date}"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 5\r\n{date}12345"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n{date}"),
            "HTTP/1.1 400 Bad".to_owned(),
        ] {
            assert_eq!(with_body(other.as_bytes()), None, "{other}");
        }
    }
}
