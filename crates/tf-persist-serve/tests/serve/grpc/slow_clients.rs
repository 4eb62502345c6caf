//! Clients that send slowly, or nothing. No model is needed, and so no TensorFlow.

use tf_persist_testing::{HTTP2_PREFACE, http2_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{NOT_FOUND, PREDICT, STATUS};
use crate::common::TestServer;
use crate::common::grpc::{
    ACK, DATA, END_STREAM, GrpcServer, HEADERS, SETTINGS, call_headers, connection_start, error, read_until,
};
use crate::common::http::{closed, refuses_connections};
use crate::common::server::{UNHURRIED, in_time};

/// Asks for the status of a model that does not exist: `model_spec { name: "x" }`.
async fn ask_for_status(server: &GrpcServer) {
    assert_eq!(error(server.raw(STATUS, vec![10, 3, 10, 1, b'x'], None).await).0, NOT_FOUND);
}

/// Two connections that send nothing, and half of what a client sends first.
async fn silent_connections(server: &TestServer) -> [TcpStream; 2] {
    let silent = TcpStream::connect(server.grpc).await.unwrap();
    let mut half = TcpStream::connect(server.grpc).await.unwrap();
    half.write_all(&HTTP2_PREFACE[..14]).await.unwrap();
    [silent, half]
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_call_does_not_use_up_the_concurrency_limit() {
    let server = TestServer::start(|settings, _| settings.security.limits.concurrent_requests = 1);
    let mut slow = TcpStream::connect(server.grpc).await.unwrap();
    slow.write_all(&[connection_start(), call_headers(1, PREDICT)].concat()).await.unwrap();
    // The headers of the call came with the settings.
    read_until(&mut slow, SETTINGS, ACK, 0).await;
    let server = GrpcServer::connect(server).await;
    for _ in 0..20 {
        ask_for_status(&server).await;
    }
    drop(slow);
    server.stop().await;
}

/// The connection that has begun is older than the timeout when the others are closed.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_begin_are_closed() {
    let server = TestServer::start(|settings, _| settings.security.limits.head_timeout = UNHURRIED);
    let server = GrpcServer::connect(server).await;
    for mut stream in silent_connections(&server.server).await {
        closed(&mut stream).await;
    }
    ask_for_status(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_have_not_begun_do_not_delay_shutdown() {
    let server = TestServer::start(|_, _| ());
    // The server's settings come first: the connections are being served.
    let mut connections = silent_connections(&server).await;
    for stream in &mut connections {
        in_time(stream.read_exact(&mut [0; 9])).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_on_an_open_connection_is_answered_during_shutdown() {
    let server = TestServer::start(|_, _| ());
    let address = server.grpc;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let running = server.begin_stop();
    refuses_connections(address).await;
    let call = [connection_start(), call_headers(1, STATUS), http2_frame(DATA, END_STREAM, 1, &[0; 5])].concat();
    stream.write_all(&call).await.unwrap();
    let mut seen = Vec::new();
    in_time(stream.read_to_end(&mut seen)).await.unwrap();
    let mut kinds = Vec::new();
    let mut rest = &seen[..];
    while let [a, b, c, kind, ..] = rest {
        kinds.push(*kind);
        rest = &rest[9 + u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    assert!(kinds.contains(&HEADERS), "no headers of a response: {kinds:?}");
    running.finished().await;
}
