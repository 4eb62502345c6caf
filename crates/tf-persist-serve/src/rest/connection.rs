//! A connection, from its first request to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::interval_at;

use super::{reply, service};
use crate::guard::Limits;
use crate::server::{Drain, Moved, Service, Watched};

/// How seldom a connection is looked at, at the most: ten thousand that are idle wake up some hundred times a second.
const LOOK: Duration = Duration::from_secs(15);

/// Answers the requests of a connection until the client leaves, or the server stops.
pub(crate) async fn serve<S>(stream: S, service: Service, mut drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = service.settings().guard.limits.clone();
    let clock = Arc::new(Clock::new());
    let answer = {
        let (service, clock) = (service, Arc::clone(&clock));
        service_fn(move |request: Request<Incoming>| {
            let (service, clock) = (service.clone(), Arc::clone(&clock));
            async move {
                // It came together with the one before. A client that sends thousands at once leaves room for others in its thread.
                let is_one_of_many = clock.is_idle();
                clock.set(BUSY);
                if is_one_of_many {
                    tokio::task::yield_now().await;
                }
                let reply = service::answer(&service, request).await;
                clock.set(IDLE);
                // Though this connection has not heard of it yet.
                Ok::<_, Infallible>(if service.is_draining() { reply::last(reply) } else { reply })
            }
        })
    };
    // Heads are timed here and not by hyper, which does not tell a client that sends slowly from one that is silent between requests.
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).half_close(false);
    let stream = {
        let clock = Arc::clone(&clock);
        Watched::new(stream, move |moved| clock.moved(moved))
    };
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let often = (limits.head_timeout / 2).clamp(Duration::from_millis(50), LOOK);
    let mut look = interval_at(tokio::time::Instant::now() + often, often);
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            () = drain.begun(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if let Some(why) = clock.overdue(&limits) {
                    tracing::debug!(why, "connection closed");
                    return;
                }
            }
        }
    }
}

/// Nothing is under way.
const IDLE: u64 = 0;
/// The head of a request has begun to come.
const HEAD: u64 = 1;
/// A request is being answered.
const BUSY: u64 = 2;

/// What a connection does, and since when: milliseconds since its beginning, times four, and the state.
struct Clock {
    began: Instant,
    state: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { began: Instant::now(), state: AtomicU64::new(IDLE) }
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

    /// Bytes came or went. An answer that takes long to be read is no silence, though the next request has begun to come meanwhile.
    fn moved(&self, moved: Moved) {
        let state = self.state.load(Ordering::Relaxed) & 3;
        match moved {
            Moved::Came(_) if state == IDLE => self.set(HEAD),
            Moved::Went if state != BUSY => self.set(state),
            _ => {}
        }
    }

    /// Why the connection is to be closed. Bodies are timed where they are read, and requests where they are run.
    fn overdue(&self, limits: &Limits) -> Option<&'static str> {
        let state = self.state.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.now().saturating_sub(state >> 2));
        match state & 3 {
            HEAD if since > limits.head_timeout => Some("the head of a request did not come in time"),
            IDLE if since > limits.idle_timeout => Some("nothing came"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::models::ModelSource;

    /// How often a thread looked at all else while requests were answered that come in so many pieces.
    async fn looks_during(requests: usize, pieces: usize) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = crate::Settings::default();
        settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: folder.path().to_owned() });
        let service = Service::start(settings).unwrap();
        let (mut client, stream) = tokio::io::duplex(1 << 20);
        let drain = service.drain();
        let served = tokio::spawn(serve(stream, service, drain));
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
        let mut looks = 0;
        while !asking.is_finished() {
            looks += 1;
            tokio::task::yield_now().await;
        }
        asking.await.unwrap();
        served.await.unwrap();
        looks
    }

    #[tokio::test]
    async fn requests_that_come_at_once_leave_room_for_others() {
        assert!(looks_during(200, 1).await >= 200);
        // One that comes by itself is answered at once.
        assert!(looks_during(200, 200).await < 100);
    }
}
