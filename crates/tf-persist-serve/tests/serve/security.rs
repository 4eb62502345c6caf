//! TLS, API keys and limits over real connections, without models.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tf_persist_serve::{MetricsSettings, Pem, Tls};
use tf_persist_testing::http2_frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::TestServer;
use crate::common::grpc::{ACK, DATA, PING, SETTINGS, WINDOW_UPDATE, call_headers, connection_start, read_until};
use crate::common::http::{GET_HEALTHZ, ONE, closed, read};
use crate::common::server::{UNHURRIED, eventually, in_time};

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

/// A certificate and its key.
type Pair = (&'static [u8], &'static [u8]);

const SERVER: Pair = (include_bytes!("tls/server.pem"), include_bytes!("tls/server.key"));
const NEW_SERVER: Pair = (include_bytes!("tls/server_anew.pem"), include_bytes!("tls/server_anew.key"));
const CLIENT: Pair = (include_bytes!("tls/client.pem"), include_bytes!("tls/client.key"));
const STRANGER: Pair = (include_bytes!("tls/stranger.pem"), include_bytes!("tls/stranger.key"));

fn tls(pair: Pair, needs_client_certificate: bool) -> Tls {
    let client_ca = needs_client_certificate.then(|| Pem::new("authority.pem", AUTHORITY));
    Tls::new(Pem::new("server.pem", pair.0), Pem::new("server.key", pair.1)).client_ca(client_ca)
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// The status code of `GET /healthz`, and the server's certificate.
async fn healthz(address: SocketAddr, client: Option<Pair>) -> io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(AUTHORITY)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).unwrap();
            builder.with_client_auth_cert(vec![certificate(certificates)], key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let served = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await?;
    let mut response = String::new();
    in_time(stream.read_to_string(&mut response)).await?;
    Ok((response.split(' ').nth(1).unwrap_or_default().to_owned(), served))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_checks_client_certificates_and_can_be_replaced() {
    let server = TestServer::start(|settings, _| settings.security.tls = Some(tls(SERVER, true)));
    assert_eq!(healthz(server.http, Some(CLIENT)).await.unwrap(), ("200".to_owned(), certificate(SERVER.0)));
    healthz(server.http, None).await.unwrap_err();
    healthz(server.http, Some(STRANGER)).await.unwrap_err();

    // A key that does not fit its certificate changes nothing.
    server.state.reload(Some(&tls((NEW_SERVER.0, SERVER.1), true)));
    assert_eq!(healthz(server.http, Some(CLIENT)).await.unwrap().1, certificate(SERVER.0));
    server.state.reload(Some(&tls(NEW_SERVER, true)));
    assert_eq!(healthz(server.http, Some(CLIENT)).await.unwrap().1, certificate(NEW_SERVER.0));
    healthz(server.http, None).await.unwrap_err();
    // From now on clients need no certificate.
    server.state.reload(Some(&tls(SERVER, false)));
    assert_eq!(healthz(server.http, None).await.unwrap().0, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_handshakes_are_closed() {
    let server = TestServer::start(|settings, _| {
        settings.security.tls = Some(tls(SERVER, false));
        settings.security.limits.head_timeout = UNHURRIED;
    });
    let mut streams = Vec::new();
    for start in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n"] {
        for address in [server.http, server.grpc] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(start).await.unwrap();
            streams.push(stream);
        }
    }
    for mut stream in streams {
        closed(&mut stream).await;
    }
    assert_eq!(healthz(server.http, None).await.unwrap().0, "200");
}

#[tokio::test]
async fn api_keys_are_required_except_for_health() {
    let server = TestServer::start(|settings, folder| {
        let file = folder.join("keys");
        fs::write(&file, "secret\n").unwrap();
        settings.security.api_key_file = Some(file);
    });
    for path in ["/healthz", "/readyz"] {
        assert_ne!(server.get(path).await.code, 401);
    }
    for path in ["/v1/models/m", "/models", MetricsSettings::DEFAULT_PATH, "/none"] {
        server.get(path).await.is_error(401, "API key");
        server.request("GET", path, "X-Api-Key: wrong\r\n", "").await.is_error(401, "API key");
        assert_ne!(server.request("GET", path, "Authorization: Bearer secret\r\n", "").await.code, 401);
    }
    server.post("/v1/models/m:predict", ONE).await.is_error(401, "API key");
    server.stop().await;
}

#[tokio::test]
async fn concurrency_limit_refuses_before_work() {
    let server = TestServer::start(|settings, _| settings.security.limits.concurrent_requests = 0);
    server.post("/v1/models/none:predict", ONE).await.is_error(503, "Too many requests are under way: 0");
    assert_eq!(server.get("/healthz").await.code, 200);
    server.stop().await;
}

/// The idle connection is older than both timeouts when the others are closed.
#[tokio::test]
async fn slow_clients_are_closed_and_idle_ones_are_not() {
    let server = TestServer::start(|settings, _| {
        settings.security.limits.head_timeout = UNHURRIED;
        settings.security.limits.body_timeout = UNHURRIED;
    });
    let mut idle = server.connect().await;
    let mut half_head = server.connect().await;
    half_head.write_all(b"GET /v1/models/m HTTP/1.1\r\nHo").await.unwrap();
    let mut half_body = server.connect().await;
    half_body.write_all(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n{").await.unwrap();
    assert!(read(&mut half_head).await.is_none());
    read(&mut half_body).await.unwrap().is_error(408, "was not received in time");
    idle.write_all(GET_HEALTHZ.as_bytes()).await.unwrap();
    assert_eq!(read(&mut idle).await.unwrap().code, 200);
    server.stop().await;
}

/// The server gives back the window of a stream once it has read the data, so these calls are known to be under way.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_grpc_calls_hold_no_permits() {
    let server = TestServer::start(|settings, _| settings.security.limits.concurrent_requests = 2);
    let mut held = TcpStream::connect(server.grpc).await.unwrap();
    held.write_all(&connection_start()).await.unwrap();
    // The window of a stream is as large as the server says once the client has acknowledged that; that of the
    // connection grows later.
    read_until(&mut held, SETTINGS, 0, 0).await;
    held.write_all(&http2_frame(SETTINGS, ACK, 0, &[])).await.unwrap();
    read_until(&mut held, WINDOW_UPDATE, 0, 0).await;
    let path = "/tensorflow.serving.PredictionService/Predict";
    for stream in [1, 3, 5] {
        held.write_all(&call_headers(stream, path)).await.unwrap();
        // The prefix of a message of two gigabytes, and more than half of the stream's window.
        held.write_all(&http2_frame(DATA, 0, stream, &[0, 0x7f, 0xff, 0xff, 0xff])).await.unwrap();
        for _ in 0..40 {
            held.write_all(&http2_frame(DATA, 0, stream, &[1; 16 << 10])).await.unwrap();
        }
        read_until(&mut held, WINDOW_UPDATE, 0, stream).await;
    }
    for number in 0..50 {
        held.write_all(&call_headers(7 + 2 * number, path)).await.unwrap();
    }
    held.write_all(&http2_frame(PING, 0, 0, b"12345678")).await.unwrap();
    read_until(&mut held, PING, ACK, 0).await;
    assert_eq!(server.state.requests(), 0);
    server.post("/v1/models/m:predict", ONE).await.is_error(404, "Latest(m)");
}

/// The connection that has begun is older than the timeout when the others are closed.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_connections_that_do_not_begin_are_closed() {
    let server = TestServer::start(|settings, _| settings.security.limits.head_timeout = UNHURRIED);
    let mut open = TcpStream::connect(server.grpc).await.unwrap();
    open.write_all(&connection_start()).await.unwrap();
    let preface = tf_persist_testing::HTTP2_PREFACE;
    let mut streams = Vec::new();
    for start in [&b""[..], &preface[..10], preface] {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.write_all(start).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        closed(&mut stream).await;
    }
    open.write_all(&http2_frame(PING, 0, 0, b"12345678")).await.unwrap();
    read_until(&mut open, PING, ACK, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_blocks_nobody() {
    let server = TestServer::start(|_, _| ());
    let unread = server.connect().await;
    // The error for a missing model contains its name.
    let name = "n".repeat(4000);
    let requests = format!("GET /v1/models/{name} HTTP/1.1\r\nHost: h\r\n\r\n").repeat(64);
    let (mut sent, mut was_full) = (0, false);
    // Until the server reads no more: nothing can be sent although every thread of the server has served another client
    // meanwhile.
    loop {
        match unread.try_write(&requests.as_bytes()[sent % requests.len()..]) {
            Ok(count) => (sent, was_full) = (sent + count, false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && was_full => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                was_full = true;
                ask_every_thread(&server).await;
                // A write that failed is tried again only once the socket is known to be ready or known not to be.
                let _ = tokio::time::timeout(Duration::ZERO, unread.writable()).await;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "the server buffers responses that nobody reads");
    }
    ask_every_thread(&server).await;
    drop(unread);
    eventually("its connection is closed", async || server.state.connections() == 0).await;
}

/// More requests than the server has threads, each on a connection of its own.
async fn ask_every_thread(server: &TestServer) {
    for _ in 0..2 * std::thread::available_parallelism().unwrap().get() {
        assert_eq!(server.request("GET", "/healthz", "Connection: close\r\n", "").await.code, 200);
    }
}
