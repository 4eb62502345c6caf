//! Where a loop is: one file, which is replaced as a whole.

mod file;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tf_persist_store::Decision;

pub(crate) use file::{Folder, sync};

/// What a loop has to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) format: u64,
    pub(crate) step: Step,
    /// The attempt under way.
    pub(crate) attempt: Option<Attempt>,
    /// The attempts that were begun.
    pub(crate) attempts: u64,
    /// The attempts that failed since the last one that did not.
    pub(crate) failures: u32,
    /// Requests before are not looked at.
    pub(crate) since: Timestamp,
    /// The end of the last attempt.
    pub(crate) ended: Option<Timestamp>,
    /// A person asked for an attempt that has not begun.
    pub(crate) is_asked: bool,
    /// The last decision, which the store may not have yet.
    pub(crate) decision: Option<Decision>,
}

/// Where the loop is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at", deny_unknown_fields)]
pub(crate) enum Step {
    /// It looks at requests.
    Watching,
    /// A model is trained.
    Training,
    /// The trained model is measured.
    Gating,
    /// It becomes a version.
    Publishing {
        /// When the server was first asked to take rules.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// Its answers are compared and dropped.
    Shadow {
        /// When the step began.
        since: Timestamp,
        /// The counts of the server when its rules were in force; `None` before.
        counted: Option<Counts>,
    },
    /// It answers a share of the requests.
    Canary {
        /// Which step of the configuration.
        index: usize,
        /// When the step began.
        since: Timestamp,
        /// The counts of the server when its rules were in force; `None` before.
        counted: Option<Counts>,
    },
    /// The label moves to it.
    Promoting {
        /// When the server was first asked for it.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// It is in production and watched.
    Guarding {
        /// When it came into production.
        since: Timestamp,
    },
    /// The label moves back.
    RollingBack,
    /// Traffic, labels and files of the attempt are tidied up.
    Ending {
        /// Whether it succeeded.
        succeeded: bool,
    },
}

impl Step {
    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Training => "training",
            Self::Gating => "gating",
            Self::Publishing { .. } => "publishing",
            Self::Shadow { .. } => "shadow",
            Self::Canary { .. } => "canary",
            Self::Promoting { .. } => "promoting",
            Self::Guarding { .. } => "guarding",
            Self::RollingBack => "rolling back",
            Self::Ending { .. } => "ending",
        }
    }
}

/// An attempt at a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempt {
    /// Unique among all attempts at a model; the metadata of its version has it.
    pub(crate) id: String,
    /// The version in production when it began.
    pub(crate) production: u64,
    /// The version that was published.
    pub(crate) version: Option<u64>,
    /// The metric of the gates over the held-out rows.
    pub(crate) metric: Option<f64>,
    /// How often its training was begun.
    pub(crate) tries: u32,
    /// How often the trained model was begun to be measured.
    #[serde(default)]
    pub(crate) measured: u32,
    /// Whether the version in production before has a label that keeps it from being deleted.
    #[serde(default)]
    pub(crate) is_held: bool,
}

/// Counts of a server, of which later counts are subtracted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// Of the new version.
    pub(crate) candidate: Traffic,
    /// Of the version in production.
    pub(crate) production: Traffic,
    /// Requests that both answered.
    pub(crate) shadow: Shadowed,
}

/// Requests that a version answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    pub(crate) requests: f64,
    pub(crate) failures: f64,
    /// By mistakes of clients, which are not among the requests.
    #[serde(default)]
    pub(crate) refused: f64,
    /// Of all requests, and their number as the histogram has it.
    pub(crate) seconds: f64,
    pub(crate) timed: f64,
}

/// Requests that a shadow was asked, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shadowed {
    pub(crate) same: f64,
    pub(crate) differs: f64,
    pub(crate) failed: f64,
    pub(crate) dropped: f64,
    /// The largest difference since the server started.
    pub(crate) largest_difference: f64,
}

impl State {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            format: 1,
            step: Step::Watching,
            attempt: None,
            attempts: 0,
            failures: 0,
            since: now,
            ended: None,
            is_asked: false,
            decision: None,
        }
    }

    /// The number of the next decision.
    pub(crate) fn next_decision(&self) -> u64 {
        self.decision.as_ref().map_or(1, |last| last.number.saturating_add(1))
    }
}

/// The time that has passed. A clock that was set back gives 0 rather than a time before its beginning.
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(since).max(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests;
