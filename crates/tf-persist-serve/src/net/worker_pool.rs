//! Threads that each serve some of the connections, from the first byte to the last.
//!
//! In a work-stealing runtime each request of a small model wakes a second thread that finds nothing to do, and the
//! first thread sleeps until the next request arrives. Here each thread has a runtime and connections of its own, and
//! polls them for a moment before it sleeps (`busy_poll.rs`), because waking it takes longer than a response.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::busy_poll::BusyPoller;

/// Threads for blocking work, over all workers: the default of one Tokio runtime.
const BLOCKING_THREADS: usize = 512;

/// The threads that serve connections. Dropping the pool ends them and aborts their connections.
pub(crate) struct WorkerPool {
    threads: Vec<Worker>,
    next: AtomicUsize,
}

struct Worker {
    /// Its connections.
    connections: TaskTracker,
    runtime: Handle,
    poller: Arc<BusyPoller>,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl WorkerPool {
    /// Starts one thread a core.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let blocking_threads = BLOCKING_THREADS.div_ceil(cores);
        let threads = (0..cores).map(|number| Worker::start(number, blocking_threads)).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: AtomicUsize::new(0) })
    }

    /// Serves a connection in the thread with the fewest connections; in turn among several.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let (count, turn) = (self.threads.len(), self.next.fetch_add(1, Ordering::Relaxed));
        let in_turn = (0..count).map(|offset| &self.threads[(turn + offset) % count]);
        let Some(thread) = in_turn.min_by_key(|thread| thread.connections.len()) else { return };
        let poller = Arc::clone(&thread.poller);
        let connection = async move {
            let mut connection = pin!(connection);
            std::future::poll_fn(|context| {
                poller.wake();
                connection.as_mut().poll(context)
            })
            .await;
        };
        thread.connections.spawn_on(connection, &thread.runtime);
    }
}

impl Worker {
    fn start(number: usize, blocking_threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(blocking_threads).build()?;
        let (handle, poller) = (runtime.handle().clone(), Arc::new(BusyPoller::default()));
        let (stop, stopped) = oneshot::channel();
        let poller_in_thread = Arc::clone(&poller);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = poller_in_thread.run() => {}
                }
            });
            // Blocking work that was abandoned is not awaited.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(format!("serve-{number}")).spawn(serve)?;
        Ok(Self { connections: TaskTracker::new(), runtime: handle, poller, _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};
    use std::time::{Duration, Instant};

    use super::*;

    /// Time limit of anything in these tests.
    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Opens a connection that lasts until the sender is dropped. Returns the name of its thread, and the sender.
    fn connect(threads: &WorkerPool) -> (String, oneshot::Sender<()>) {
        let (say, heard) = mpsc::channel();
        let (end, stopped) = oneshot::channel::<()>();
        threads.spawn(async move {
            say.send(thread::current().name().unwrap_or_default().to_owned()).unwrap();
            let _ = stopped.await;
        });
        (heard.recv_timeout(TIMEOUT).unwrap(), end)
    }

    fn counts(threads: &WorkerPool) -> Vec<usize> {
        threads.threads.iter().map(|thread| thread.connections.len()).collect()
    }

    #[test]
    fn blocking_threads_are_limited() {
        let threads = WorkerPool { threads: vec![Worker::start(0, 2).unwrap()], next: AtomicUsize::new(0) };
        let (say, heard) = mpsc::channel();
        let both = Arc::new(Barrier::new(2));
        threads.spawn(async move {
            let help = |number| {
                let (say, both) = (say.clone(), both.clone());
                tokio::task::spawn_blocking(move || {
                    // The first two tasks need a thread each.
                    if number < 2 {
                        both.wait();
                    }
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
    fn thread_with_fewest_connections_gets_the_next() {
        let threads = WorkerPool::start().unwrap();
        let count = threads.threads.len();
        let mut connections: Vec<_> = (0..count * 2).map(|_| connect(&threads)).collect();
        let mut names: Vec<&String> = connections.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), counts(&threads)), (count, vec![2; count]));
        let (name, end) = connections.remove(count / 2);
        drop(end);
        let start = Instant::now();
        while !counts(&threads).contains(&1) {
            assert!(start.elapsed() < TIMEOUT);
            thread::yield_now();
        }
        assert_eq!(connect(&threads).0, name);
    }

    #[test]
    fn dropping_the_pool_drops_connections() {
        let threads = WorkerPool::start().unwrap();
        let (held, heard) = mpsc::channel::<()>();
        threads.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(threads);
        assert_eq!(heard.recv_timeout(TIMEOUT), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
