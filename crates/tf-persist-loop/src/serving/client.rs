//! A client for two pages of a server on the same network, over plain HTTP/1.1.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Page;
use crate::error::{LoopError, Result};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;

/// The time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// As in a URL, with the port.
    host: String,
}

impl Server {
    /// The server at a URL. The error is a clause.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let invalid = |reason: &str| format!("the server `{url}` {reason}");
        let rest = url.strip_prefix("http://").ok_or_else(|| invalid("does not begin with `http://`"))?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let is_odd = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'/' || byte == b'@';
        if host.is_empty() || host.bytes().any(is_odd) {
            return Err(invalid("is not an address, such as http://127.0.0.1:8501"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self { host: if has_port { host.to_owned() } else { format!("{host}:80") } })
    }

    /// What `GET /models` says of a model.
    pub(crate) fn model(&self, name: &str) -> Result<Value> {
        let text = self.get("/models")?;
        let page: Value = serde_json::from_slice(&text)
            .map_err(|error| self.failed(&format!("answers `/models` with what is no JSON: {error}")))?;
        let models = page.get("models").and_then(Value::as_array).into_iter().flatten();
        let found = models.into_iter().find(|model| model.get("name").and_then(Value::as_str) == Some(name));
        found.cloned().ok_or_else(|| self.failed(&format!("does not serve the model `{name}`")))
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self, path: &str) -> Result<Page> {
        let text = self.get(path)?;
        Ok(Page::parse(&String::from_utf8_lossy(&text)))
    }

    fn failed(&self, what: &str) -> LoopError {
        LoopError::Other(format!("the server `http://{}` {what}", self.host))
    }

    /// The body of a page.
    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.ask(path).map_err(|error| self.failed(&format!("does not answer: {error}")))?;
        let mut head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
        let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).into_owned();
        head = (head + 4).min(answer.len());
        let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        match status {
            Some("200") => {}
            Some(status) => return Err(self.failed(&format!("answers `{path}` with {status}"))),
            None => return Err(self.failed("does not answer over HTTP")),
        }
        let body = answer.get(head..).unwrap_or_default();
        let is_chunked =
            text.to_ascii_lowercase().lines().any(|line| line.replace(' ', "") == "transfer-encoding:chunked");
        match is_chunked {
            true => unchunked(body).ok_or_else(|| self.failed("sent half an answer")),
            false => Ok(body.to_vec()),
        }
    }

    fn ask(&self, path: &str) -> io::Result<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for socket in self.host.to_socket_addrs()? {
            let mut stream = match TcpStream::connect_timeout(&socket, left()) {
                Ok(stream) => stream,
                Err(error) => {
                    failed = error;
                    continue;
                }
            };
            stream.set_write_timeout(Some(left()))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host)?;
            let mut answer = Vec::new();
            let mut block = [0; 16384];
            loop {
                stream.set_read_timeout(Some(left()))?;
                match stream.read(&mut block)? {
                    0 => return Ok(answer),
                    read => answer.extend_from_slice(block.get(..read).unwrap_or_default()),
                }
                if answer.len() > MAX_ANSWER {
                    return Err(io::Error::other(format!("it sent more than {MAX_ANSWER} bytes")));
                }
                if Instant::now() >= end {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        Err(failed)
    }
}

/// The contents of chunks.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(body.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        body = body.get(line + 2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(body.get(..size)?);
        body = body.get(size.checked_add(2)?..)?;
    }
}
