//! The thread that unloads versions, each after its last request. Connections never unload one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::load::{Loader, spawn};
use super::manager::Event;
use crate::status::Status;

/// The first and the longest pause between two checks for remaining requests.
const POLL_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];

/// A version that only requests under way still use.
pub(super) struct UnloadJob<T> {
    pub(super) id: u64,
    pub(super) model: String,
    pub(super) servable: Arc<T>,
}

/// Starts the thread. It ends when the channel is closed and everything is unloaded.
pub(super) fn start<L: Loader>(
    loader: Arc<L>,
    jobs: Receiver<UnloadJob<L::Loaded>>,
    events: Sender<Event<L::Loaded>>,
) -> Result<(), Status> {
    spawn("unload", move || run(&*loader, &jobs, &events))
}

fn run<L: Loader>(loader: &L, jobs: &Receiver<UnloadJob<L::Loaded>>, events: &Sender<Event<L::Loaded>>) {
    let mut waiting: Vec<UnloadJob<L::Loaded>> = Vec::new();
    let mut pause = POLL_PAUSES[0];
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        let job = if waiting.is_empty() {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            jobs.recv_timeout(pause)
        };
        match job {
            Ok(job) => {
                waiting.push(job);
                pause = POLL_PAUSES[0];
            }
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(POLL_PAUSES[1]),
            Err(RecvTimeoutError::Disconnected) => {
                // A closed channel returns at once, so this would spin.
                if is_open {
                    is_open = false;
                } else {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(POLL_PAUSES[1]);
                }
            }
        }
        let mut done = Vec::new();
        let mut still = Vec::new();
        for job in waiting {
            let UnloadJob { id, model, servable } = job;
            // The view no longer has it, so no new request can get it.
            match Arc::try_unwrap(servable) {
                // An abandoned run holds the session too: dropped now, the session would close in that run's thread.
                Ok(servable) if loader.is_busy(&servable) => {
                    still.push(UnloadJob { id, model, servable: Arc::new(servable) });
                }
                Ok(servable) => {
                    drop(servable);
                    done.push((id, model));
                }
                Err(servable) => still.push(UnloadJob { id, model, servable }),
            }
        }
        waiting = still;
        if !done.is_empty() {
            loader.released();
        }
        for (id, model) in done {
            let _ = events.send(Event::Unloaded { model, id });
        }
    }
}
