//! Shutdown of the server: requests in flight are answered, and no client can prevent it from ending.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tf_persist_testing::TIMEOUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::common::TestServer;
use crate::common::http::{GET_HEALTHZ, ONE, closed, read, refuses_connections, send_head};
use crate::common::server::in_time;

/// A server that stops closes a connection that was silent for about this long without an announcement.
const SILENCE: Duration = Duration::from_millis(900);

#[tokio::test]
async fn idle_and_half_sent_connections_block_nobody() {
    let server = TestServer::start(|settings, _| settings.security.limits.drain_timeout = Duration::from_millis(300));
    let mut held = Vec::new();
    for number in 0..500 {
        let mut stream = server.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 20\r\n\r\n{").await.unwrap();
        }
        held.push(stream);
    }
    server.post("/v1/models/none:predict", ONE).await.is_error(404, "Latest(none)");
    server.stop().await;
}

#[tokio::test]
async fn requests_under_way_are_answered_and_new_connections_refused() {
    let server = TestServer::start(|settings, _| settings.security.limits.drain_timeout = TIMEOUT);
    let address = server.http;
    let mut idle = server.connect().await;
    idle.write_all(GET_HEALTHZ.as_bytes()).await.unwrap();
    read(&mut idle).await.unwrap();
    let mut under_way = server.connect().await;
    send_head(&mut under_way, "/v1/models/none:predict").await;
    under_way.write_all(&ONE.as_bytes()[..5]).await.unwrap();

    let running = server.begin_stop();
    // The idle connection is closed, and new connections are refused.
    assert!(read(&mut idle).await.is_none());
    assert!(TcpStream::connect(address).await.is_err());
    under_way.write_all(&ONE.as_bytes()[5..]).await.unwrap();
    let response = read(&mut under_way).await.unwrap();
    response.is_error(404, "Latest(none)");
    assert!(response.closes(), "{response:?}");
    running.finished().await;
}

/// Sends requests on one connection until it closes: the number of responses, and whether the last one announced the
/// end.
async fn request_until_closed(address: SocketAddr, total: watch::Sender<usize>) -> (usize, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{ONE}", ONE.len());
    let (mut responses, mut last) = (0, Instant::now());
    while stream.write_all(request.as_bytes()).await.is_ok() {
        let was_silent = last.elapsed() > SILENCE;
        let Some(response) = read(&mut stream).await else { return (responses, was_silent) };
        response.is_error(404, "Latest(m)");
        (responses, last) = (responses + 1, Instant::now());
        total.send_modify(|total| *total += 1);
        if response.closes() {
            return (responses, true);
        }
    }
    (responses, last.elapsed() > SILENCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_connections_lose_no_request() {
    for _ in 0..5 {
        let server = TestServer::start(|_, _| ());
        let (total, mut seen) = watch::channel(0);
        let client = || tokio::spawn(request_until_closed(server.http, total.clone()));
        let clients: Vec<_> = (0..16).map(|_| client()).collect();
        in_time(seen.wait_for(|total| *total > 500)).await.unwrap();
        let running = server.begin_stop();
        for client in clients {
            let (responses, was_announced) = in_time(client).await.unwrap();
            assert!(was_announced, "a request was lost after {responses} responses");
        }
        running.finished().await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let server = TestServer::start(|_, _| ());
    let (mut probe, mut stream) = (server.connect().await, server.connect().await);
    send_head(&mut stream, "/v1/models/none:predict").await;
    let running = server.begin_stop();
    let mut last = Instant::now();
    let is_stopping = async {
        loop {
            let sent = probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let was_silent = last.elapsed() > SILENCE;
            let ready = if sent.is_ok() { read(&mut probe).await } else { None };
            let Some(ready) = ready else {
                assert!(was_silent, "the connection was closed without an announcement");
                return;
            };
            last = Instant::now();
            // A response from just before the stop may still be the last of its connection.
            let is_announced = ready.body.contains("\"stopping\":true");
            assert!(!is_announced || ready.closes(), "{ready:?}");
            if ready.closes() {
                return;
            }
        }
    };
    in_time(is_stopping).await;
    let together = ONE.to_owned() + &GET_HEALTHZ.repeat(3);
    stream.write_all(together.as_bytes()).await.unwrap();
    let mut all = String::new();
    in_time(stream.read_to_string(&mut all)).await.unwrap();
    let responses: Vec<&str> = all.split("HTTP/1.1 ").skip(1).collect();
    let codes = responses.iter().map(|response| &response[..3]);
    assert_eq!(codes.collect::<Vec<_>>(), ["404", "200", "200", "200"], "{all}");
    let closes = responses.iter().map(|response| response.contains("connection: close"));
    assert_eq!(closes.collect::<Vec<_>>(), [false, false, false, true], "{all}");
    running.finished().await;
}

/// Only the limit of the shutdown can end this: the server would wait for the body for an hour.
#[tokio::test]
async fn client_that_never_finishes_delays_shutdown_only_up_to_the_limit() {
    let server = TestServer::start(|settings, _| {
        settings.security.limits.body_timeout = Duration::from_secs(3600);
        settings.security.limits.drain_timeout = Duration::from_millis(300);
    });
    let mut stuck = server.connect().await;
    send_head(&mut stuck, "/v1/models/m:predict").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_server_closes_its_connections_and_ports() {
    let server = TestServer::start(|_, _| ());
    let (address, mut idle) = (server.http, server.connect().await);
    assert_eq!(server.get("/healthz").await.code, 200);
    server.abort().await;
    closed(&mut idle).await;
    refuses_connections(address).await;
}
