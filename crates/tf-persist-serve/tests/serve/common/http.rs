//! A client of HTTP/1.1, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestServer;
use super::server::in_time;

/// A body with one instance.
pub(crate) const ONE: &str = "{\"instances\": [2.0]}";

pub(crate) const GET_HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

/// A response: its status code, its head in lower case, its body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// Checks that this is an error with this code, and that its message contains `words`.
    #[track_caller]
    pub(crate) fn is_error(&self, code: u16, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["error"].as_str().unwrap().contains(words), "{words}: {self:?}");
    }

    /// Whether this is the last response of its connection.
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

impl TestServer {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    /// Sends these bytes on a connection of their own, and reads one response.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read(&mut stream).await.unwrap()
    }

    pub(crate) async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.send(request.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request("GET", path, "", "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, "", body).await
    }
}

/// Reads one response, by its length; `None` if the server closed the connection before.
pub(crate) async fn read(stream: &mut TcpStream) -> Option<Response> {
    let (code, head, body) = read_bytes(stream).await?;
    Some(Response { code, head, body: String::from_utf8(body).unwrap() })
}

/// Reads one response whose body need not be text: its status code, its head in lower case, its body.
pub(crate) async fn read_bytes(stream: &mut TcpStream) -> Option<(u16, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|found| found == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let code = head.split(' ').nth(1).unwrap().parse().unwrap();
            if code == 100 {
                bytes.drain(..end + 4);
                continue;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if bytes.len() >= whole {
                return Some((code, head, bytes[end + 4..whole].to_vec()));
            }
        }
        let mut chunk = [0; 4096];
        match in_time(stream.read(&mut chunk)).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

/// Sends the head of a request with the body [`ONE`], and waits until the server asks for the body.
pub(crate) async fn send_head(stream: &mut TcpStream, path: &str) {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", ONE.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    in_time(stream.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Waits until the server closes a connection.
pub(crate) async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset closes it too.
    let _ = in_time(stream.read_to_end(&mut rest)).await;
}

/// Waits until a port takes no connections.
pub(crate) async fn refuses_connections(address: SocketAddr) {
    super::server::eventually("the port is closed", async || TcpStream::connect(address).await.is_err()).await;
}
