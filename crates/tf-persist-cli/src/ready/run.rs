//! Asks `/readyz`, over plain HTTP.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::ReadyArgs;
use crate::error::UsageError;

/// The path if the address has none.
const PATH: &str = "/readyz";

/// The most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// The most characters of an answer that an error shows.
const SHOWN: usize = 200;

pub(crate) fn run(args: &ReadyArgs) -> anyhow::Result<()> {
    let address = Address::parse(&args.url)?;
    let answer = ask(&address, args.timeout).with_context(|| format!("`{}` does not answer", args.url))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status {
        Some("200") => Ok(()),
        Some(status) => {
            let body: String = body.chars().take(SHOWN).collect();
            bail!("`{}` is not ready: {status} {}", args.url, body.trim())
        }
        None => bail!("`{}` does not answer over HTTP", args.url),
    }
}

/// Where the server is.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    /// As in a URL, with the port.
    host: String,
    path: String,
}

impl Address {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let invalid = |reason: &str| anyhow!(UsageError(format!("`{url}` {reason}")));
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(invalid("does not begin with `http://`"));
        };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if host.is_empty() || host.contains('@') || url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(invalid("is not an address, such as http://127.0.0.1:8501"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port { host.to_owned() } else { format!("{host}:80") };
        let path = if matches!(path, "" | "/") { PATH.to_owned() } else { path.to_owned() };
        Ok(Self { host, path })
    }
}

/// The beginning of the answer, all within this time.
fn ask(address: &Address, timeout: Duration) -> std::io::Result<String> {
    let end = Instant::now() + timeout;
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut failed = std::io::Error::from(std::io::ErrorKind::NotFound);
    for socket in address.host.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&socket, left()) {
            Ok(stream) => stream,
            Err(error) => {
                failed = error;
                continue;
            }
        };
        stream.set_write_timeout(Some(left()))?;
        let Address { host, path } = address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut block = [0; 4096];
        while (answer.len() as u64) < MAX_ANSWER {
            stream.set_read_timeout(Some(left()))?;
            match stream.read(&mut block)? {
                0 => break,
                read => answer.extend_from_slice(block.get(..read).unwrap_or_default()),
            }
            if Instant::now() >= end {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn address(url: &str) -> Option<(String, String)> {
        Address::parse(url).ok().map(|address| (address.host, address.path))
    }

    #[test]
    fn addresses() {
        let found = |host: &str, path: &str| Some((host.to_owned(), path.to_owned()));
        assert_eq!(address("http://127.0.0.1:8501"), found("127.0.0.1:8501", "/readyz"));
        assert_eq!(address("http://host/"), found("host:80", "/readyz"));
        assert_eq!(address("http://[::1]:1/v2/health/ready"), found("[::1]:1", "/v2/health/ready"));
        for url in ["https://host", "host:1", "http://", "http://a b", "http://user@host", "http://h/\r\nX: y"] {
            assert_eq!(address(url), None, "{url}");
        }
    }

    /// The error for a server that sends this answer and closes the connection.
    fn answered(answer: &'static str) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = run(&ReadyArgs { url, timeout: Duration::from_secs(5) }).err().map(|error| format!("{error:#}"));
        server.join().unwrap();
        error
    }

    #[test]
    fn answers() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\n\r\n{}"), None);
        let error = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\": false}").unwrap();
        assert!(error.ends_with("is not ready: 503 {\"ready\": false}"), "{error}");
        assert!(answered("SSH-2.0").unwrap().ends_with("does not answer over HTTP"));
    }

    #[test]
    fn silence_ends_with_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let begin = Instant::now();
        assert!(run(&ReadyArgs { url, timeout: Duration::from_millis(200) }).is_err());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
