//! The guard over real connections: TLS with certificates of clients, and clients of the gRPC port that never end what they begin.
//! Nothing is served.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tf_persist_serve::{ModelSource, Pem, Server, ServerState, Settings, Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

/// A certificate and its key.
type Pair = (&'static [u8], &'static [u8]);

const SERVER: Pair = (include_bytes!("tls/server.pem"), include_bytes!("tls/server.key"));
const SERVER_ANEW: Pair = (include_bytes!("tls/server_anew.pem"), include_bytes!("tls/server_anew.key"));
const CLIENT: Pair = (include_bytes!("tls/client.pem"), include_bytes!("tls/client.key"));
const STRANGER: Pair = (include_bytes!("tls/stranger.pem"), include_bytes!("tls/stranger.key"));

/// A server whose model never comes; it ends with the test.
struct Running {
    rest: SocketAddr,
    grpc: SocketAddr,
    state: ServerState,
    _folder: TempDir,
}

fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: folder.path().to_owned() });
    settings.http.address = Some(([127, 0, 0, 1], 0).into());
    settings.grpc.address = Some(([127, 0, 0, 1], 0).into());
    change(&mut settings);
    let server = Server::bind(settings).unwrap();
    let (rest, grpc) = (server.rest_address().unwrap(), server.grpc_address().unwrap());
    let state = server.state().clone();
    tokio::spawn(server.run(pending()));
    Running { rest, grpc, state, _folder: folder }
}

fn tls(pair: Pair, is_client_asked: bool) -> Tls {
    let client_ca = is_client_asked.then(|| Pem::new("authority.pem", AUTHORITY));
    Tls::new(Pem::new("server.pem", pair.0), Pem::new("server.key", pair.1)).client_ca(client_ca)
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// The code of `GET /healthz` and the server's certificate.
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
    let mut reply = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut reply)).await.unwrap()?;
    Ok((reply.split(' ').nth(1).unwrap_or_default().to_owned(), served))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_asks_for_certificates_and_takes_new_ones() {
    let server = start(|settings| settings.security.tls = Some(tls(SERVER, true)));
    assert_eq!(healthz(server.rest, Some(CLIENT)).await.unwrap(), ("200".to_owned(), certificate(SERVER.0)));
    healthz(server.rest, None).await.unwrap_err();
    healthz(server.rest, Some(STRANGER)).await.unwrap_err();

    // What does not fit leaves what there was.
    server.state.reload(Some(&tls((SERVER_ANEW.0, SERVER.1), true)));
    assert_eq!(healthz(server.rest, Some(CLIENT)).await.unwrap().1, certificate(SERVER.0));
    server.state.reload(Some(&tls(SERVER_ANEW, true)));
    assert_eq!(healthz(server.rest, Some(CLIENT)).await.unwrap().1, certificate(SERVER_ANEW.0));
    healthz(server.rest, None).await.unwrap_err();
    // Clients need no certificates any more.
    server.state.reload(Some(&tls(SERVER, false)));
    assert_eq!(healthz(server.rest, None).await.unwrap().0, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stop_half_way_are_let_go() {
    let server = start(|settings| {
        settings.security.tls = Some(tls(SERVER, false));
        settings.security.limits.head_timeout = Duration::from_millis(300);
    });
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n"] {
        for address in [server.rest, server.grpc] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun).await.unwrap();
            is_closed(&mut stream).await;
        }
    }
    assert_eq!(healthz(server.rest, None).await.unwrap().0, "200");
}

/// What is answered to a request, over a connection of its own that is closed then.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut reply)).await.unwrap().unwrap();
    reply
}

/// Waits until the server closes a connection.
async fn is_closed(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut rest = Vec::new();
    // A reset is as good an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is not closed");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a call of gRPC, and the first bytes of a message that is to have two gigabytes.
fn begun_call(stream: u32) -> Vec<u8> {
    let mut head = vec![0x83, 0x86]; // POST, http
    let path = "/tensorflow.serving.PredictionService/Predict";
    for (name, value) in [(":path", path), (":authority", "h"), ("content-type", "application/grpc")] {
        for text in [name, value] {
            head.extend(if text == name { &[0][..] } else { &[] });
            head.push(text.len() as u8);
            head.extend(text.as_bytes());
        }
    }
    [frame(1, 4, stream, &head), frame(0, 0, stream, &[0, 0x7f, 0xff, 0xff, 0xff, 1])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_never_end_shut_nobody_out() {
    let server = start(|settings| settings.security.limits.concurrent_requests = 2);
    let mut held = TcpStream::connect(server.grpc).await.unwrap();
    held.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    for number in 0..50 {
        held.write_all(&begun_call(2 * number + 1)).await.unwrap();
    }
    // The server has read them all once it answers what came after them.
    held.write_all(&frame(6, 0, 0, b"12345678")).await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(17).any(|found| found == frame(6, 1, 0, b"12345678")) {
        let count = timeout(PATIENCE, held.read_buf(&mut seen)).await.unwrap().unwrap();
        assert_ne!(count, 0, "{seen:?}");
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.state.requests(), 0);
    let body = "{\"instances\": [1.0]}";
    let head = "POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 20\r\n\r\n";
    let reply = ask(server.rest, &(head.to_owned() + body)).await;
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_begin_to_speak_is_let_go() {
    let quick = Duration::from_millis(300);
    let server = start(|settings| settings.security.limits.head_timeout = quick);
    let began = Instant::now();
    let mut open = TcpStream::connect(server.grpc).await.unwrap();
    open.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    for begun in [&b""[..], &PREFACE[..10], PREFACE] {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.write_all(begun).await.unwrap();
        is_closed(&mut stream).await;
    }
    assert!(began.elapsed() < PATIENCE / 2);
    // Who has begun may be silent.
    let mut seen = Vec::new();
    let waited = timeout(3 * quick, async { while open.read_buf(&mut seen).await.unwrap() > 0 {} }).await;
    assert!(waited.is_err(), "it was closed: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_does_not_read_holds_up_nobody() {
    let server = start(|_| ());
    let mut deaf = TcpStream::connect(server.rest).await.unwrap();
    // What is said of a model that is not there has its name in it.
    let name = "n".repeat(4000);
    let questions = format!("GET /v1/models/{name} HTTP/1.1\r\nHost: h\r\n\r\n").repeat(64);
    let mut asked = 0;
    // As long as there is room on the way; then the server asks for no more.
    while let Ok(sent) = timeout(Duration::from_millis(500), deaf.write_all(questions.as_bytes())).await {
        sent.unwrap();
        asked += questions.len();
        assert!(asked < 256 << 20, "the server keeps answers that nobody reads");
    }
    // Whichever thread it is that serves them.
    for _ in 0..2 * std::thread::available_parallelism().unwrap().get() {
        let reply = ask(server.rest, "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }
    drop(deaf);
    let gone = async {
        while server.state.connections() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("its connection is never closed");
}
