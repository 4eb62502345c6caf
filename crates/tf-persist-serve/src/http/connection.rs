//! Serves one connection, from its first request to its last.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{interval, interval_at, timeout};

use super::parse_errors::{self, ParseErrorBodies};
use super::{dispatch, reply};
use crate::net::{IoEvent, ObservedIo};
use crate::security::Limits;
use crate::shutdown::{GRACE, ShutdownSignal};
use crate::state::ServerState;

/// The longest pause between two checks of a connection's timeouts. Ten thousand idle connections then wake about 700
/// times a second.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// How long pipelined requests are still answered once the server is shutting down. After that the next response is the
/// last, even for a client that never stops sending.
const PIPELINE_GRACE: Duration = Duration::from_secs(5);

/// How long bytes that arrive after the last response are read and discarded. Closing earlier could discard the
/// response.
const LINGER: Duration = Duration::from_millis(500);

/// Answers the requests of a connection until the client leaves or the server shuts down. During shutdown the last
/// response announces the end: the one to a request that was sent before, or shortly after, unless more requests were
/// sent with it.
pub(crate) async fn serve<S>(mut stream: S, state: ServerState, shutdown: ShutdownSignal)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = serve_requests(&mut stream, state, shutdown).await;
    if end == End::NotAnswered && !matches!(timeout(LINGER, refuse(&mut stream)).await, Ok(Ok(()))) {
        return;
    }
    if end != End::Closed {
        let mut rest = vec![0; 4096];
        let read = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = timeout(LINGER, read).await;
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a response that announced the end, or with one to a request that is not HTTP.
    Answered,
    /// With bytes that are not HTTP/1 and that hyper did not answer: the preface of HTTP/2.
    NotAnswered,
    Closed,
}

/// Answers bytes that are not HTTP/1.
async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&parse_errors::bad_request()).await?;
    stream.flush().await
}

async fn serve_requests<S>(stream: &mut S, state: ServerState, shutdown: ShutdownSignal) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = state.settings().security.limits.clone();
    let clock = Arc::new(Clock::new());
    let answer = {
        let (state, clock) = (state.clone(), Arc::clone(&clock));
        service_fn(move |request: Request<Incoming>| {
            let (state, clock) = (state.clone(), Arc::clone(&clock));
            async move {
                // This request arrived together with the one before. Yielding keeps a client that sends thousands at
                // once from blocking the other connections of this thread.
                let is_one_of_many = clock.is_idle();
                clock.set(BUSY);
                if is_one_of_many {
                    tokio::task::yield_now().await;
                }
                let reply = dispatch::respond(&state, request).await;
                // The loop below may not have seen the signal yet.
                let is_last = match state.shutting_down_for() {
                    None => false,
                    Some(draining) => draining > PIPELINE_GRACE || clock.has_no_more_input().await,
                };
                clock.set(IDLE);
                Ok::<_, Infallible>(if is_last { reply::closing(reply) } else { reply })
            }
        })
    };
    // hyper's own timeout is off: it does not distinguish a client that sends slowly from one that is idle between
    // requests.
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).half_close(false);
    let stream = {
        let clock = Arc::clone(&clock);
        ParseErrorBodies::new(ObservedIo::new(stream, move |moved| clock.observe(moved)))
    };
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let check_interval = (limits.head_timeout / 2).clamp(Duration::from_millis(50), MAX_CHECK_INTERVAL);
    let mut check = interval_at(tokio::time::Instant::now() + check_interval, check_interval);
    let (mut stopping, mut is_shutting_down) = (pin!(shutdown.started()), false);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = &result {
                    tracing::debug!(%error, "connection failed");
                }
                return match result {
                    Err(error) if !error.is_parse() => End::Closed,
                    Err(_) if !clock.has_written.load(Ordering::Relaxed) => End::NotAnswered,
                    _ => End::Answered,
                };
            }
            () = stopping.as_mut(), if !is_shutting_down => {
                is_shutting_down = true;
                // From now on silence is measured more often.
                check = interval(GRACE / 10);
            }
            _ = check.tick() => {
                if let Some(why) = clock.overdue(&limits) {
                    tracing::debug!(why, "connection closed");
                    return End::Closed;
                }
                if state.shutting_down_for().is_some_and(|draining| draining > GRACE && clock.is_silent_for(GRACE)) {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Between two requests.
const IDLE: u64 = 0;
/// The head of a request is arriving.
const HEAD: u64 = 1;
/// A request is being answered.
const BUSY: u64 = 2;

/// The state of a connection and when it began: milliseconds since the start of the connection, times four, plus the
/// state.
struct Clock {
    began: Instant,
    state: AtomicU64,
    /// Whether a read found no data.
    read_was_pending: AtomicBool,
    /// Whether anything was sent on this connection.
    has_written: AtomicBool,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            state: AtomicU64::new(IDLE),
            read_was_pending: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
        }
    }

    fn set(&self, state: u64) {
        self.state.store((self.now() << 2) | state, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) & 3 == IDLE
    }

    /// Notes that bytes were read or written. A client that reads a long response slowly is not silent, even if its
    /// next request has begun to arrive.
    fn observe(&self, moved: IoEvent) {
        let state = self.state.load(Ordering::Relaxed) & 3;
        if matches!(moved, IoEvent::Written) {
            self.has_written.store(true, Ordering::Relaxed);
        }
        match moved {
            IoEvent::Read(_) if state == IDLE => self.set(HEAD),
            IoEvent::Written if state != BUSY => self.set(state),
            IoEvent::ReadPending => self.read_was_pending.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Whether no byte of another request has arrived while one is being answered. hyper reads ahead, in order to
    /// notice that a client leaves, unless it already has bytes; and it does so each time the connection is polled.
    async fn has_no_more_input(&self) -> bool {
        self.read_was_pending.store(false, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.read_was_pending.load(Ordering::Relaxed)
    }

    /// Whether no request is being answered, and nothing was read or written for this long.
    fn is_silent_for(&self, time: Duration) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        state & 3 != BUSY && self.now().saturating_sub(state >> 2) > time.as_millis() as u64
    }

    /// Why the connection must be closed, if it must. Timeouts of bodies and of runs are checked elsewhere.
    fn overdue(&self, limits: &Limits) -> Option<&'static str> {
        let state = self.state.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.now().saturating_sub(state >> 2));
        match state & 3 {
            HEAD if since > limits.head_timeout => Some("the head of a request was not received in time"),
            IDLE if since > limits.idle_timeout => Some("idle for too long"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ModelSource;

    /// How often other tasks of the thread had a turn while this many requests, sent in this many pieces, were
    /// answered.
    async fn yields_during(requests: usize, pieces: usize) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = crate::Settings::default();
        settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: folder.path().to_owned() });
        let state = ServerState::start(settings).unwrap();
        let (mut client, stream) = tokio::io::duplex(1 << 20);
        let shutdown = state.shutdown_signal();
        let served = tokio::spawn(serve(stream, state, shutdown));
        let asking = tokio::spawn(async move {
            let mut read = Vec::new();
            for piece in 1..=pieces {
                client
                    .write_all("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".repeat(requests / pieces).as_bytes())
                    .await
                    .unwrap();
                let count = |read: &[u8]| read.windows(12).filter(|found| found == b"HTTP/1.1 200").count();
                while count(&read) < piece * requests / pieces {
                    assert!(client.read_buf(&mut read).await.unwrap() > 0);
                }
            }
        });
        let mut yields = 0;
        while !asking.is_finished() {
            yields += 1;
            tokio::task::yield_now().await;
        }
        asking.await.unwrap();
        served.await.unwrap();
        yields
    }

    #[tokio::test]
    async fn pipelined_requests_yield_to_other_tasks() {
        assert!(yields_during(200, 1).await >= 200);
        // A request that arrives alone is answered at once.
        assert!(yields_during(200, 200).await < 100);
    }
}
