//! The threads in which a model's requests run that are not known to be short.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tf_persist_core::Code;

use super::execute::execute;
use super::rules::Rules;
use super::task::Task;
use crate::status::Status;

/// How long a thread waits for more to do before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// How far behind the first request that waits others are looked for that can be run with it.
const LOOK_AHEAD: usize = 256;

/// How long requests run together may take, by what each takes alone. Those that come meanwhile wait, and of runs that are long
/// already there is little to be gained.
const LONGEST_BATCH: Duration = Duration::from_millis(100);

/// The threads of a model and what waits for them. Dropping it ends them, after what waits has been run.
pub(super) struct Runners(Arc<Inner>);

struct Inner {
    name: String,
    rules: Arc<Rules>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// What a runner does next.
enum Next {
    Run(Vec<Task>),
    /// What waits may become more.
    Wait(Duration),
    Nothing,
}

impl Runners {
    pub(super) fn new(model: &str, rules: Arc<Rules>) -> Self {
        let (state, wake) = (Mutex::default(), Condvar::new());
        // A thread's name holds no NUL.
        let name = format!("run {model}").replace('\0', "");
        Self(Arc::new(Inner { name, rules, state, wake }))
    }

    /// Puts a request where it is run as soon as a thread is free. Who waits for it is told `UNAVAILABLE` if too many wait already, or
    /// there can be no thread.
    pub(super) fn push(&self, task: Task) {
        let inner = &self.0;
        let mut state = inner.lock();
        if let Err(full) = inner.check_room(&state, &task) {
            return task.finish(Err(full));
        }
        task.facts.waiting_rows.fetch_add(task.rows.unwrap_or(0), Ordering::Relaxed);
        state.waiting.push_back(task);
        if state.idle >= state.waiting.len() {
            inner.wake.notify_one();
        } else if state.threads < inner.rules.runs_at_once {
            let runner = inner.clone();
            let spawned = std::thread::Builder::new().name(inner.name.clone()).spawn(move || runner.serve());
            match spawned {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    if let Some(task) = state.waiting.pop_back() {
                        task.facts.waiting_rows.fetch_sub(task.rows.unwrap_or(0), Ordering::Relaxed);
                        let text = format!("there is no thread to run the request: {error}");
                        task.finish(Err(Status::new(Code::Unavailable, text)));
                    }
                }
            }
        } else if !inner.rules.timeout.is_zero() {
            // Whoever waits for the batch to become full looks again.
            inner.wake.notify_all();
        }
    }

    /// Whether a request is being run or waits, though perhaps nobody waits for its answer any more. Each keeps the model loaded.
    pub(super) fn are_busy(&self) -> bool {
        let state = self.0.lock();
        !state.waiting.is_empty() || state.threads > state.idle
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and a queue is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_room(&self, state: &State, task: &Task) -> Result<(), Status> {
        const FULL: &str = "The batch scheduling queue to which this task was submitted is full; currently";
        let (rules, waiting) = (&self.rules, state.waiting.len());
        if waiting >= rules.max_waiting {
            let text = format!("{FULL} {waiting} requests wait and at most {} may", rules.max_waiting);
            return Err(Status::new(Code::Unavailable, text));
        }
        if let (Some(most), Some(rows)) = (rules.max_batches, task.rows) {
            let waiting = task.facts.waiting_rows.load(Ordering::Relaxed);
            let (batches, open) = (waiting.div_ceil(rules.run_rows).max(1), waiting % rules.run_rows);
            let is_open_full = open + rows > rules.run_rows || open == 0 && waiting > 0;
            if is_open_full && batches >= most {
                let text = format!("{FULL} {batches} batches enqueued and max_enqueued_batches is {most}");
                return Err(Status::new(Code::Unavailable, text));
            }
        }
        Ok(())
    }

    /// The life of a thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            let idle = match state.next(&self.rules) {
                Next::Run(tasks) => {
                    drop(state);
                    // Whoever waits for a task that is dropped on the way is told so.
                    if catch_unwind(AssertUnwindSafe(|| execute(tasks))).is_err() {
                        tracing::error!(thread = self.name, "a run panicked");
                    }
                    state = self.lock();
                    continue;
                }
                Next::Wait(time) => time,
                Next::Nothing if state.closed => break,
                Next::Nothing => IDLE,
            };
            state.idle += 1;
            let (woken, waited) = self.wake.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl State {
    /// The request that has waited longest, with those that can be run with it.
    fn next(&mut self, rules: &Rules) -> Next {
        // Without a time to wait the first is always ripe.
        let mut wait = rules.timeout;
        let mut ripe = None;
        for place in 0..if wait.is_zero() { 1 } else { self.waiting.len().min(LOOK_AHEAD) } {
            let Some(task) = self.waiting.get(place) else { return Next::Nothing };
            let left = rules.timeout.saturating_sub(task.since.elapsed());
            let is_full = || self.with(place, rules).1;
            if left.is_zero() || task.rows.is_none() || self.closed || is_full() {
                ripe = Some(place);
                break;
            }
            wait = wait.min(left);
        }
        let Some(place) = ripe else {
            return if self.waiting.is_empty() { Next::Nothing } else { Next::Wait(wait) };
        };
        let (places, _) = self.with(place, rules);
        let mut tasks = Vec::with_capacity(places.len());
        // From the back, so that the places before stay where they are.
        for place in places.into_iter().rev() {
            tasks.extend(self.waiting.remove(place));
        }
        tasks.reverse();
        for task in &tasks {
            task.facts.waiting_rows.fetch_sub(task.rows.unwrap_or(0), Ordering::Relaxed);
        }
        Next::Run(tasks)
    }

    /// The places of the request at `first` and of those behind it that can be run with it, and whether no more can.
    fn with(&self, first: usize, rules: &Rules) -> (Vec<usize>, bool) {
        let mut places = vec![first];
        let Some(task) = self.waiting.get(first) else { return (places, true) };
        let most = task.most_rows();
        let Some(mut rows) = task.rows.filter(|rows| *rows < most) else { return (places, true) };
        for (place, other) in self.waiting.iter().enumerate().skip(first + 1).take(LOOK_AHEAD) {
            let more = other.rows.unwrap_or(0);
            if !task.fits(other) {
                continue;
            }
            if rows + more > most {
                return (places, true);
            }
            rows += more;
            places.push(place);
        }
        (places, rows >= rules.run_rows.min(most))
    }
}

impl Task {
    /// The most rows of a run that this request begins.
    fn most_rows(&self) -> usize {
        let rules = &self.facts.rules;
        let most = self.facts.batchable.most_rows(rules);
        let expected = self.facts.recent.expect(self.call.bytes());
        match (expected, self.rows) {
            (Some(expected), Some(rows)) if !rules.asked && !expected.is_zero() => {
                let times = LONGEST_BATCH.as_nanos() / expected.as_nanos();
                most.min(usize::try_from(times).unwrap_or(usize::MAX).saturating_mul(rows).max(1))
            }
            _ => most,
        }
    }
}
