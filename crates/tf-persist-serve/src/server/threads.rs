//! Threads that each serve some of the connections, from the first byte to the last.
//!
//! In a runtime whose threads share their work, each request of a small model wakes a second thread up only to find nothing to do, and
//! the first sleeps until the next request comes. Here a thread has connections of its own, and looks for more from them for a moment
//! before it sleeps: to be woken takes longer than to answer.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::vigil::Vigil;

/// How many threads all of these may have at once for work that would keep a connection's thread: as many as one runtime has by
/// itself.
const HELPERS: usize = 512;

/// Threads that connections are dealt out to in turn. They end when this is dropped, with what they have under way.
pub(super) struct Threads {
    threads: Vec<Thread>,
    next: AtomicUsize,
}

struct Thread {
    runtime: Handle,
    vigil: Arc<Vigil>,
    /// Dropping it ends the thread.
    _over: oneshot::Sender<()>,
}

impl Threads {
    /// One a core.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let helpers = HELPERS.div_ceil(cores);
        let threads = (0..cores).map(|number| Thread::start(number, helpers)).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: AtomicUsize::new(0) })
    }

    /// Serves a connection in the next of them.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let thread = &self.threads[self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len()];
        let vigil = Arc::clone(&thread.vigil);
        thread.runtime.spawn(async move {
            let mut connection = pin!(connection);
            std::future::poll_fn(|context| {
                vigil.noted();
                connection.as_mut().poll(context)
            })
            .await;
        });
    }
}

impl Thread {
    fn start(number: usize, helpers: usize) -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(helpers).build()?;
        let (handle, vigil) = (runtime.handle().clone(), Arc::new(Vigil::default()));
        let (over, is_over) = oneshot::channel();
        let keep = Arc::clone(&vigil);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = is_over => {}
                    () = keep.keep() => {}
                }
            });
            // What was given up is not waited for.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(format!("serve-{number}")).spawn(serve)?;
        Ok(Self { runtime: handle, vigil, _over: over })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn helpers_are_limited() {
        let threads = Threads { threads: vec![Thread::start(0, 2).unwrap()], next: AtomicUsize::new(0) };
        let (say, heard) = mpsc::channel();
        threads.spawn(async move {
            let help = |_| {
                let say = say.clone();
                tokio::task::spawn_blocking(move || {
                    thread::sleep(Duration::from_millis(5));
                    say.send(thread::current().id()).unwrap();
                })
            };
            for help in (0..10).map(help).collect::<Vec<_>>() {
                help.await.unwrap();
            }
        });
        let ids: std::collections::HashSet<_> = heard.iter().collect();
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn connections_go_round_and_end_with_the_threads() {
        let threads = Threads::start().unwrap();
        let count = threads.threads.len();
        let (say, heard) = mpsc::channel();
        for _ in 0..count * 2 {
            let say = say.clone();
            threads.spawn(async move {
                say.send(thread::current().name().unwrap_or_default().to_owned()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(say);
        let mut names: Vec<String> = heard.iter().take(count * 2).collect();
        names.sort();
        let mut expected: Vec<String> = (0..count).flat_map(|number| vec![format!("serve-{number}"); 2]).collect();
        expected.sort();
        assert_eq!(names, expected);
        assert!(heard.try_recv().is_err_and(|error| error == mpsc::TryRecvError::Empty));
        drop(threads);
        // What they held is dropped with them.
        let over = heard.recv_timeout(Duration::from_secs(20));
        assert_eq!(over, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
