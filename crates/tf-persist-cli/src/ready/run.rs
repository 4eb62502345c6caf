//! Asks `/readyz`, over plain HTTP.

use anyhow::{Context, anyhow, bail};
use ureq::http::Uri;
use ureq::http::uri::PathAndQuery;

use super::ReadyArgs;
use crate::error::UsageError;

/// The path if the address has none.
const PATH: &str = "/readyz";

/// The most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// The most characters of an answer that an error shows.
const SHOWN: usize = 200;

pub(crate) fn run(args: &ReadyArgs) -> anyhow::Result<()> {
    let address = parse(&args.url)?;
    // A health check is about this machine: no proxy of the environment is asked, and no other page.
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(args.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    let agent = config.build().new_agent();
    let mut answer = agent.get(address).call().with_context(|| format!("`{}` does not answer", args.url))?;
    if answer.status() == 200 {
        return Ok(());
    }
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().unwrap_or_default();
    let body: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
    bail!("`{}` is not ready: {} {}", args.url, answer.status().as_u16(), body.trim())
}

/// The address to ask.
fn parse(url: &str) -> anyhow::Result<Uri> {
    let invalid = |reason: &str| anyhow!(UsageError(format!("`{url}` {reason}")));
    let odd = || invalid("is not an address, such as http://127.0.0.1:8501");
    let address: Uri = url.parse().map_err(|_| odd())?;
    if address.scheme_str() != Some("http") {
        return Err(invalid("does not begin with `http://`"));
    }
    if address.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(odd());
    }
    if address.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return Ok(address);
    }
    let mut parts = address.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(PATH));
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn addresses() {
        for (url, expected) in [
            ("http://127.0.0.1:8501", "http://127.0.0.1:8501/readyz"),
            ("http://host/", "http://host/readyz"),
            ("http://[::1]:1/v2/health/ready", "http://[::1]:1/v2/health/ready"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), expected);
        }
        for url in ["https://host", "host:1", "http://", "http://a b", "http://user@host", "http://h/\r\nX: y"] {
            assert!(parse(url).is_err(), "{url}");
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
        assert!(answered("SSH-2.0").unwrap().contains("does not answer: "));
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
