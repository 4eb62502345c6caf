//! Clients that send slowly, or nothing. No model is needed, and so no TensorFlow.

use std::net::SocketAddr;
use std::time::Duration;

use tf_persist_serve::{ModelSource, Server, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::{PREDICT, STATUS};
use crate::raw::RawCodec;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server without models: where it is.
async fn start(change: impl FnOnce(&mut Settings)) -> (Server, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: folder.path().to_owned() });
    settings.grpc.address = Some(([127, 0, 0, 1], 0).into());
    change(&mut settings);
    let server = Server::bind(settings).unwrap();
    let address = server.grpc_address().unwrap();
    (server, address, folder)
}

/// A frame of HTTP/2 on the stream 1, or 0 for settings.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = u8::from(kind != 4);
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The beginning of a connection, and the head of a call whose message does not come.
fn head_of_a_call(path: &str) -> Vec<u8> {
    let short = |bytes: &str| [&[u8::try_from(bytes.len()).unwrap()], bytes.as_bytes()].concat();
    // `:method: POST`, `:scheme: http`, `:authority`, `:path` and `content-type`, of HPACK's static table.
    let head = [&[0x83, 0x86, 0x01][..], &short("h"), &[0x04], &short(path), &[0x0f, 0x10], &short("application/grpc")];
    let end_of_headers = 4;
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, &[]), frame(1, end_of_headers, &head.concat())].concat()
}

/// Returns once the server says that it has taken in the client's settings; the head of the call came with them.
async fn settings_are_taken(stream: &mut TcpStream) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let [_, high, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut payload).await.unwrap();
        if (kind, flags) == (4, 1) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_shut_nobody_out() {
    let (server, address, _folder) = start(|settings| settings.security.limits.concurrent_requests = 1).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&head_of_a_call(PREDICT)).await.unwrap();
    timeout(PATIENCE, settings_are_taken(&mut slow)).await.unwrap();

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    for _ in 0..20 {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(STATUS);
        // `model_spec { name: "x" }`
        let answer = client.unary(tonic::Request::new(vec![10, 3, 10, 1, b'x'].into()), path, RawCodec).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound);
    }
    drop((channel, slow));
    stop.send(()).unwrap();
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_let_go() {
    let quick = Duration::from_millis(200);
    let (server, address, _folder) = start(|settings| settings.security.limits.head_timeout = quick).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    }
    // One that began stays, however long it says nothing.
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(STATUS);
    let answer = client.unary(tonic::Request::new(vec![10, 3, 10, 1, b'x'].into()), path, RawCodec).await;
    assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound);
    drop(client);
    stop.send(()).unwrap();
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_begun_does_not_hold_up_the_end() {
    let (server, address, _folder) = start(|_| ()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    // Server's settings are the first that is sent: the connections are served.
    for stream in [&mut silent, &mut half] {
        timeout(PATIENCE, stream.read_exact(&mut [0; 9])).await.unwrap().unwrap();
    }
    stop.send(()).unwrap();
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_connected_may_still_ask() {
    let (server, address, _folder) = start(|_| ()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    drop(stop);
    // Nobody else is let in any more.
    while TcpStream::connect(address).await.is_ok() {}
    let end_of_stream = 1;
    let call = [head_of_a_call(STATUS), frame(0, end_of_stream, &[0; 5])].concat();
    stream.write_all(&call).await.unwrap();
    let mut seen = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut seen)).await.unwrap().unwrap();
    let mut kinds = Vec::new();
    let mut rest = &seen[..];
    while let [a, b, c, kind, ..] = rest {
        kinds.push(*kind);
        rest = &rest[9 + u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    assert!(kinds.contains(&1), "no headers of an answer: {kinds:?}");
    timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
}
