//! Short requests of several connections that run together in one of their threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::InferenceResponse;
use super::task::BatchTask;
use super::workers::RunWorkers;
use crate::status::Status;

/// After a probe that found no companions, probe only every 16th request.
const PROBE_EVERY: u32 = 16;

/// Followers of one leader; further requests run by themselves. The leader's thread does not serve its other
/// connections until all of them have run.
const MAX_FOLLOWERS: usize = 256;

/// What a request receives that another one runs.
pub(super) type Receiver = oneshot::Receiver<Result<InferenceResponse, Status>>;

/// A batch that short requests of other connections can join until its leader runs it.
#[derive(Default)]
pub(super) struct OpenBatch(Mutex<State>);

#[derive(Default)]
struct State {
    has_leader: bool,
    followers: Vec<BatchTask>,
    /// Requests to come that do not probe for companions.
    skip: u32,
}

/// What a short request does. A follower's request is in the leader's batch; the others keep theirs.
pub(super) enum Role<'b, R> {
    /// It waits for the leader.
    Follower(Receiver),
    /// It runs by itself.
    Solo(R),
    /// It lets others join, then runs them with itself.
    Leader(Leader<'b>, R),
}

/// The request that opened a batch. If it is dropped, the workers run its followers.
pub(super) struct Leader<'b> {
    batch: &'b OpenBatch,
    workers: &'b RunWorkers,
}

impl OpenBatch {
    /// The role of a request that arrives now. `into_task` makes the task of a follower.
    pub(super) fn join_or_lead<'b, R>(
        &'b self,
        workers: &'b RunWorkers,
        request: R,
        into_task: impl FnOnce(R) -> (BatchTask, Receiver),
    ) -> Role<'b, R> {
        let mut state = self.lock();
        if state.has_leader {
            if state.followers.len() >= MAX_FOLLOWERS {
                return Role::Solo(request);
            }
            let (task, response) = into_task(request);
            state.followers.push(task);
            return Role::Follower(response);
        }
        if state.skip > 0 {
            state.skip -= 1;
            return Role::Solo(request);
        }
        state.has_leader = true;
        Role::Leader(Leader { batch: self, workers }, request)
    }

    fn close(&self) -> Vec<BatchTask> {
        let mut state = self.lock();
        state.has_leader = false;
        state.skip = if state.followers.is_empty() { PROBE_EVERY - 1 } else { 0 };
        std::mem::take(&mut state.followers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader<'_> {
    /// Closes the batch and returns its followers.
    pub(super) fn close(self) -> Vec<BatchTask> {
        let followers = self.batch.close();
        std::mem::forget(self);
        followers
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        for task in self.batch.close() {
            self.workers.push(task);
        }
    }
}

/// Groups tasks that fit each other, up to the rows that one run may have.
pub(super) fn group_compatible(tasks: Vec<BatchTask>) -> Vec<Vec<BatchTask>> {
    let mut groups: Vec<(usize, Vec<BatchTask>)> = Vec::new();
    for task in tasks {
        let rows = task.rows.unwrap_or(0);
        let max_rows = task.state.batchable.max_rows(&task.state.policy);
        let runs_alone = task.rows.is_none() || task.state.batchable.rejected().is_some();
        let has_room =
            |(taken, group): &&mut (usize, Vec<BatchTask>)| *taken + rows <= max_rows && group[0].fits(&task);
        match groups.iter_mut().find(has_room).filter(|_| !runs_alone) {
            Some((taken, group)) => {
                *taken += rows;
                group.push(task);
            }
            None => groups.push((rows, vec![task])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
