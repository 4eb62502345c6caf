//! Connections: HTTP/2 with limits that neither large tensors nor hostile clients run into.

use std::io;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::greeting::{Greeted, Greeting};
use super::service::Grpc;

/// Calls at once on one connection. gRPC clients share one connection among all their threads.
const MAX_STREAMS: u32 = 1024;

/// Headers of one request: gRPC's own hard limit.
const MAX_HEADERS: u32 = 16 << 10;

/// What a client may send of one call before it is read: enough that large tensors come at the speed of memory.
const STREAM_WINDOW: u32 = 1 << 20;

/// What a client may send on a connection before it is read.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Pieces of that are larger cost fewer looks at them.
const MAX_FRAME: u32 = 64 << 10;

/// What of an answer waits for a client that does not read it, besides the answer itself.
const SEND_BUFFER: usize = 1 << 20;

/// Streams that a client opened and reset before they were looked at: more of them close the connection (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 64;

/// A connection of which nothing was heard for so long is asked whether it is there,
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// and closed if it does not say so within this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The HTTP/2 that gRPC is spoken over.
#[must_use]
pub fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// Serves one connection until the client closes it, or until `stop` is done and what was begun is answered. One that does not begin to
/// speak HTTP/2 in the time for a request's head is closed: nothing else would ever end it.
///
/// # Errors
/// If the connection breaks, or the client does not speak HTTP/2.
pub async fn serve_connection<I>(stream: I, grpc: Grpc, stop: impl Future<Output = ()>) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_timeout = grpc.head_timeout();
    let greeting = Greeting::default();
    let stream = Greeted { stream, greeting: greeting.clone() };
    let mut connection = std::pin::pin!(http2().serve_connection(TokioIo::new(stream), grpc));
    let silent = async {
        tokio::time::sleep(head_timeout).await;
        if greeting.came() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        done = connection.as_mut() => return done,
        () = silent => {
            tracing::debug!("a gRPC connection did not begin in time");
            return Ok(());
        }
        () = stop => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Serves a listener until `stop` is done and what was begun is answered.
///
/// # Errors
/// If no connection can be accepted any more.
pub async fn serve(listener: TcpListener, grpc: Grpc, stop: impl Future<Output = ()>) -> io::Result<()> {
    /// After a failure to accept, such as too many open files, the next attempt waits.
    const BACK_OFF: Duration = Duration::from_millis(50);
    let stopping = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.as_mut() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a gRPC connection could not be accepted");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        // A small answer must not wait for more to be sent with it.
        let _ = stream.set_nodelay(true);
        let grpc = grpc.clone();
        let mut stopping = stopping.subscribe();
        connections.spawn(async move {
            let stop = async move {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            if let Err(error) = serve_connection(stream, grpc, stop).await {
                tracing::debug!(%error, "a gRPC connection broke");
            }
        });
    }
    drop(listener);
    grpc.drain();
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}
