//! Serves one connection: HTTP/2, with limits that leave room for large tensors and stop hostile clients.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::TaskTracker;

use super::dispatch::GrpcService;
use crate::net::{IoEvent, ObservedIo, Peer};
use crate::shutdown::{GRACE, ShutdownSignal};
use crate::state::ServerState;

/// Concurrent calls on one connection. gRPC clients share one connection among all their threads.
const MAX_STREAMS: u32 = 1024;

/// The size of a request's headers, in bytes: gRPC's own hard limit.
const MAX_HEADERS: u32 = 16 << 10;

/// How many bytes of one call a client may send before they are read: enough that large tensors arrive at the speed of
/// memory.
const STREAM_WINDOW: u32 = 1 << 20;

/// How many bytes a client may send on a connection before they are read.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The largest frame, in bytes. Large frames cost less per byte.
const MAX_FRAME: u32 = 64 << 10;

/// How many bytes of responses are buffered for a client that does not read them.
const SEND_BUFFER: usize = 1 << 20;

/// Streams that a client may open and reset before they are accepted. More of them close the connection
/// (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 64;

/// A silent connection gets a ping after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A connection that does not answer the ping within this time is closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The length of the preface that every client of HTTP/2 sends first (RFC 9113, section 3.4). Its settings follow.
const PREFACE_BYTES: usize = 24;

/// Decides where the calls of a connection run. One call at a time runs in the thread of the connection, which is
/// fastest; further concurrent calls run in the shared runtime, so that a client with one connection can use all cores.
/// A `Watch` of the health service is a call too: while it lasts, all others run in the shared runtime.
#[derive(Clone)]
struct CallExecutor {
    inline: Arc<Semaphore>,
    /// All calls, including those whose responses are still being sent.
    active: TaskTracker,
    shared: Handle,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for CallExecutor {
    fn execute(&self, call: F) {
        let call = self.active.track_future(call);
        let Ok(permit) = Arc::clone(&self.inline).try_acquire_owned() else {
            self.shared.spawn(call);
            return;
        };
        tokio::spawn(async move {
            let _permit = permit;
            call.await;
        });
    }
}

/// HTTP/2 with the limits above.
fn http2(calls: CallExecutor) -> http2::Builder<CallExecutor> {
    let mut builder = http2::Builder::new(calls);
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

/// Answers the calls of a connection until the client leaves, or the server shuts down and all calls are answered.
pub(crate) async fn serve<S>(stream: S, peer: Peer, state: ServerState, shutdown: ShutdownSignal, shared: Handle)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_timeout = state.settings().security.limits.head_timeout;
    let (bytes_read, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stream = {
        let (bytes_read, sent) = (Arc::clone(&bytes_read), Arc::clone(&sent));
        ObservedIo::new(stream, move |moved| match moved {
            IoEvent::Read(count) => drop(bytes_read.fetch_add(count, Ordering::Relaxed)),
            IoEvent::Written => drop(sent.fetch_add(1, Ordering::Relaxed)),
            IoEvent::ReadPending => {}
        })
    };
    let calls = CallExecutor { inline: Arc::new(Semaphore::new(1)), active: TaskTracker::new(), shared };
    let mut connection =
        pin!(http2(calls.clone()).serve_connection(TokioIo::new(stream), GrpcService::new(state, peer)));
    let has_begun = || bytes_read.load(Ordering::Relaxed) > PREFACE_BYTES;
    // A client that never sends the preface gets no keep-alive ping.
    let mut silence = pin!(sleep(head_timeout));
    let (mut draining, mut was_shut, mut was_looked_at) = (false, false, false);
    // The end of a connection needs the client's agreement. A client without calls that does not answer is not waited
    // for.
    let traffic = || (bytes_read.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
    let (mut look, mut traffic_before) = (interval(2 * GRACE), None);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut soon = pin!(shutdown.grace_over());
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "gRPC connection failed");
                }
                return;
            }
            () = shutdown.started(), if !draining => {
                draining = true;
                // A client that has not begun may be about to.
                if has_begun() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = soon.as_mut(), if !was_shut => {
                was_shut = true;
                // A client that has not begun by now has made no call.
                if !has_begun() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick(), if was_shut => {
                if traffic_before.replace(traffic()) == Some(traffic()) && calls.active.is_empty() {
                    tracing::debug!("gRPC client did not answer the shutdown of its connection");
                    return;
                }
            }
            () = silence.as_mut(), if !was_looked_at => {
                was_looked_at = true;
                if !has_begun() {
                    tracing::debug!("gRPC client did not send the preface in time");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn first_concurrent_call_runs_inline() {
        let shared = Builder::new_multi_thread().worker_threads(1).thread_name("shared").build().unwrap();
        let here = Builder::new_current_thread().build().unwrap();
        let (inline, active) = (Arc::new(Semaphore::new(1)), TaskTracker::new());
        let calls = CallExecutor { inline, active, shared: shared.handle().clone() };
        let where_it_is = || std::thread::current().name().unwrap_or_default().to_owned();
        let call = |calls: &CallExecutor, end: oneshot::Receiver<()>| {
            let (send_name, name) = oneshot::channel();
            calls.execute(async move {
                let _ = end.await;
                let _ = send_name.send(where_it_is());
            });
            name
        };
        here.block_on(async {
            let ((end_first, first), (end_second, second)) = (oneshot::channel(), oneshot::channel());
            let (first, second) = (call(&calls, first), call(&calls, second));
            drop(end_second);
            assert_eq!(second.await.unwrap(), "shared");
            drop(end_first);
            assert_eq!(first.await.unwrap(), where_it_is());
            tokio::task::yield_now().await;
            // The inline call has ended, so the next one runs inline.
            let (end_third, third) = oneshot::channel();
            drop(end_third);
            assert_eq!(call(&calls, third).await.unwrap(), where_it_is());
        });
    }
}
