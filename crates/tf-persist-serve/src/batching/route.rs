//! Where a request runs: in the thread of its connection, alone or with others, or in a worker.

use std::cell::Cell;
use std::time::Duration;

use super::InferenceRequest;
use super::policy::BatchPolicy;
use super::signature_state::SignatureState;

/// Runs that are expected to take less stay in the thread that decoded the request. Handing a request to another thread
/// and back costs some ten microseconds, and up to a hundred where that thread must be woken on a busy machine.
/// Meanwhile the thread does not serve its other connections.
const INLINE_MAX: Duration = Duration::from_micros(200);

/// Inline runs that are expected to take less do not wait for others: combining requests and distributing the outputs
/// costs some microseconds a request.
const MIN_BATCHABLE_RUN: Duration = Duration::from_micros(8);

thread_local! {
    /// Whether this thread runs all its requests itself, however long they take.
    static FORCE_INLINE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work` with all its requests run in this thread. A worker that a low-priority thread starts would keep that
/// priority as long as it lives.
pub(crate) fn run_inline<T>(work: impl FnOnce() -> T) -> T {
    FORCE_INLINE.set(true);
    let done = work();
    FORCE_INLINE.set(false);
    done
}

/// Where a request runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// In this thread, alone.
    Inline,
    /// In this thread, with the requests of other connections that arrive at the same moment.
    Coalesce,
    /// In a worker of the version.
    Worker,
}

impl BatchPolicy {
    /// Where a request runs, by the run time that is expected of it. Called once a request.
    pub(super) fn route(&self, state: &SignatureState, request: &InferenceRequest, rows: Option<usize>) -> Route {
        if FORCE_INLINE.get() {
            return Route::Inline;
        }
        let Some(expected) = state.latency.estimate(request.bytes()).filter(|expected| *expected < INLINE_MAX) else {
            return Route::Worker;
        };
        if !self.timeout.is_zero() || state.latency.in_cooldown() {
            return Route::Worker;
        }
        let is_batchable = rows.is_some() && expected >= MIN_BATCHABLE_RUN;
        if is_batchable && (self.explicit || state.benefit.is_expected(&state.latency)) {
            Route::Coalesce
        } else {
            Route::Inline
        }
    }
}
