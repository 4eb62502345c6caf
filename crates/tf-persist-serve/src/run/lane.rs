//! The place where requests for one signature wait for each other, and are run.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tf_persist_core::Signature;
use tokio::sync::oneshot;

use super::execute::{execute, panicked, run_alone};
use super::rules::Rules;
use super::runners::Runners;
use super::task::{Facts, Task, late};
use super::{Answer, Call};
use crate::metrics::{Api, Metrics};
use crate::status::Status;

/// A run that is expected to take less is run where the request was decoded. To hand it to another thread and back costs some ten
/// microseconds, and up to a hundred where that thread has to be woken on a busy machine; a connection's thread that runs it is
/// away from its other connections for that long.
const SHORT: Duration = Duration::from_micros(200);

/// A short run that takes less is not worth waiting for others: to lay requests together and to hand out the answers costs some
/// microseconds for each.
const WORTH_GATHERING: Duration = Duration::from_micros(8);

/// If the last looks for others found nobody, only each so-manieth request looks.
const LOOKS: u32 = 16;

/// So many requests may join one that gathers; what comes then runs by itself. The thread that gathers is away from its other
/// connections until all of them have run.
const MAX_JOINED: usize = 256;

thread_local! {
    /// Whether requests are run in this thread, whatever they take.
    static STAYS: Cell<bool> = const { Cell::new(false) };
}

/// Runs all requests in this thread meanwhile. Runners that a thread of low priority starts would have that priority for as long as
/// they live.
pub(crate) fn stay_in_this_thread<T>(work: impl FnOnce() -> T) -> T {
    STAYS.set(true);
    let done = work();
    STAYS.set(false);
    done
}

/// The place where requests for one signature of one version wait for each other, and are run.
pub struct Lane {
    facts: Arc<Facts>,
    runners: Arc<Runners>,
    gathering: Mutex<Gathering>,
}

/// Short requests of other connections that join one which is about to run.
#[derive(Default)]
struct Gathering {
    /// Whether a request waits for others to join.
    is_open: bool,
    joined: Vec<Task>,
    /// Requests to come that need not look for others.
    passes: u32,
}

impl Lane {
    pub(crate) fn new(model: &str, signature: &Signature, shared: &Shared, metrics: &Metrics) -> Self {
        let facts = Arc::new(Facts::new(model, signature, shared.rules.clone(), metrics));
        Self { facts, runners: shared.runners.clone(), gathering: Mutex::default() }
    }

    /// Runs a request, alone or with others that wait.
    ///
    /// # Errors
    /// What TensorFlow says; `DEADLINE_EXCEEDED` if it takes too long; `UNAVAILABLE` if too many wait; `INVALID_ARGUMENT` if it has
    /// more rows than the batching parameters allow.
    pub async fn run(&self, signature: &Signature, mut call: Call) -> Result<Answer, Status> {
        if call.is_late() {
            return Err(late());
        }
        // So that requests that give the same inputs in another order can be run together.
        call.inputs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let facts = &self.facts;
        if facts.rules.asked && facts.batchable.rejected().is_none() {
            facts.check_sizes(&call)?;
        }
        let rows = facts.rows(&call);
        let _under_way = UnderWay::enter(&facts.under_way);
        if facts.under_way.load(Ordering::Relaxed) > 1 {
            facts.batchable.note_overlap(facts, signature, &call);
        }
        if let (Some(most), Some(rows)) = (facts.rules.max_rows, rows)
            && rows > most
        {
            let text = format!("Task size {rows} is larger than maximum input batch size {most}");
            return Err(Status::invalid_argument(text));
        }
        if STAYS.get() {
            return self.run_here(signature, &call, rows);
        }
        let expected = facts.recent.expect(call.bytes());
        match expected {
            Some(expected) if expected < SHORT && facts.rules.timeout.is_zero() && !facts.recent.is_wary() => {
                let gathers = rows.is_some() && expected >= WORTH_GATHERING;
                if gathers && (facts.rules.asked || facts.gain.is_expected(&facts.recent)) {
                    return self.gather(signature, call, rows).await;
                }
                self.run_here(signature, &call, rows)
            }
            _ => self.wait(signature, call, rows).await,
        }
    }

    /// Whether its requests share runs now, and why or why not, in words.
    #[must_use]
    pub fn batching(&self) -> (bool, String) {
        self.facts.batchable.describe()
    }

    /// A request's run took so long, as the request sees it.
    pub(crate) fn ran(&self, api: Api, took: Duration) {
        self.facts.of_model.runtime(api, took);
    }

    /// Runs a request by itself, in this thread.
    fn run_here(&self, signature: &Signature, call: &Call, rows: Option<usize>) -> Result<Answer, Status> {
        if self.facts.rules.asked && rows.is_some() {
            self.facts.metrics.batch_queue(Duration::ZERO);
        }
        run_alone(&self.facts, signature, call, rows)
    }

    /// Has a request run by a runner.
    async fn wait(&self, signature: &Signature, call: Call, rows: Option<usize>) -> Result<Answer, Status> {
        let deadline = call.deadline;
        let (task, answer) = self.task(signature, call, rows);
        self.runners.push(task);
        let answer = match deadline {
            None => answer.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), answer).await.map_err(|_| late())?,
        };
        answer.unwrap_or_else(|_| Err(panicked()))
    }

    /// Runs a short request here, with those of other connections that are ready at this moment.
    async fn gather(&self, signature: &Signature, call: Call, rows: Option<usize>) -> Result<Answer, Status> {
        let (open, call) = match self.enter(signature, call, rows) {
            Entered::Joins(answer) => return answer.await.unwrap_or_else(|_| Err(panicked())),
            Entered::Passes(call) => return self.run_here(signature, &call, rows),
            Entered::Opens(open, call) => (open, call),
        };
        // All that can go on does, before this does.
        tokio::task::yield_now().await;
        let mut joined = open.close();
        if joined.is_empty() {
            return self.run_here(signature, &call, rows);
        }
        let (task, mut answer) = self.task(signature, call, rows);
        joined.insert(0, task);
        for tasks in in_groups(joined) {
            execute(tasks);
        }
        answer.try_recv().unwrap_or_else(|_| Err(panicked()))
    }

    /// What a short request does: join one that waits for others, wait for others itself, or neither.
    fn enter(&self, signature: &Signature, call: Call, rows: Option<usize>) -> Entered<'_> {
        let mut gathering = self.lock();
        if gathering.is_open {
            if gathering.joined.len() >= MAX_JOINED {
                return Entered::Passes(call);
            }
            let (task, answer) = self.task(signature, call, rows);
            gathering.joined.push(task);
            return Entered::Joins(answer);
        }
        if gathering.passes > 0 {
            gathering.passes -= 1;
            return Entered::Passes(call);
        }
        gathering.is_open = true;
        Entered::Opens(Open { lane: self }, call)
    }

    fn task(
        &self,
        signature: &Signature,
        call: Call,
        rows: Option<usize>,
    ) -> (Task, oneshot::Receiver<Result<Answer, Status>>) {
        let (answer, receiver) = oneshot::channel();
        let (facts, signature) = (self.facts.clone(), signature.clone());
        (Task { facts, signature, call, rows, since: Instant::now(), answer }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Gathering> {
        // Nothing panics while it is held.
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks, of those that fit each other at most as many together as a run may have rows.
fn in_groups(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut groups: Vec<(usize, Vec<Task>)> = Vec::new();
    for task in tasks {
        let rows = task.rows.unwrap_or(0);
        let most = task.facts.batchable.most_rows(&task.facts.rules);
        let is_apart = task.rows.is_none() || task.facts.batchable.rejected().is_some();
        let has_room = |(had, group): &&mut (usize, Vec<Task>)| *had + rows <= most && group[0].fits(&task);
        match groups.iter_mut().find(has_room).filter(|_| !is_apart) {
            Some((had, group)) => {
                *had += rows;
                group.push(task);
            }
            None => groups.push((rows, vec![task])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Counts a request so long as it runs or waits.
struct UnderWay<'c>(&'c AtomicUsize);

impl<'c> UnderWay<'c> {
    fn enter(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a short request does.
enum Entered<'l> {
    Joins(oneshot::Receiver<Result<Answer, Status>>),
    Passes(Call),
    Opens(Open<'l>, Call),
}

/// A gathering that is open. If the request that opened it goes away, runners take over what has joined.
struct Open<'l> {
    lane: &'l Lane,
}

impl Open<'_> {
    /// Closes it: those who joined.
    fn close(self) -> Vec<Task> {
        let joined = self.take();
        std::mem::forget(self);
        joined
    }

    fn take(&self) -> Vec<Task> {
        let mut gathering = self.lane.lock();
        gathering.is_open = false;
        gathering.passes = if gathering.joined.is_empty() { LOOKS - 1 } else { 0 };
        std::mem::take(&mut gathering.joined)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for task in self.take() {
            self.lane.runners.push(task);
        }
    }
}

/// What the lanes of one version of a model share.
pub(crate) struct Shared {
    rules: Arc<Rules>,
    runners: Arc<Runners>,
}

impl Shared {
    /// # Errors
    /// If the batching parameters cannot be.
    pub(crate) fn new(model: &str, folder: &std::path::Path, settings: &super::Settings) -> Result<Self, Status> {
        let rules = Arc::new(Rules::of(settings, folder)?);
        let runners = Arc::new(Runners::new(model, rules.clone()));
        Ok(Self { rules, runners })
    }

    /// Whether something of the version is still run, or waits to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.runners.are_busy()
    }
}
