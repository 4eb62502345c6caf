//! A version of a model as the state machine knows it, and the messages about its loads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::catalog::Refusal;
use super::folder::FileStamp;
use super::later_trials::LaterTrial;
use super::{State, VersionStatus};
use crate::status::Status;

/// Why a version failed to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadError {
    /// The error.
    pub(super) status: Status,
    /// How to fix it.
    pub(super) hint: Option<String>,
    /// Whether another attempt would fail too, unless the files change.
    pub(super) is_final: bool,
    /// The pause after which a final error is retried nevertheless.
    pub(super) retry_after: Option<Duration>,
}

impl LoadError {
    pub(super) fn new(status: Status, is_final: bool) -> Self {
        Self { status, hint: None, is_final, retry_after: None }
    }
}

impl From<Refusal> for LoadError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, hint, retry_after } = refusal;
        Self { status, hint, is_final: true, retry_after }
    }
}

/// The outcome of a load.
pub(super) enum LoadOutcome<T> {
    Loaded(T),
    /// Loaded without a trial of the fast path, which may make it faster.
    Untried(T),
    Failed(LoadError, FileStamp),
    /// Too little memory is left for it.
    NoRoom(LoadError, FileStamp),
    /// Cancelled before it began.
    Cancelled,
}

/// A version to load.
#[derive(Debug, Clone)]
pub(super) struct LoadJob {
    pub(super) id: u64,
    pub(super) model: String,
    pub(super) version: i64,
    pub(super) path: PathBuf,
    /// Whether a trial of the fast path may delay it.
    pub(super) with_trial: bool,
    /// Whether other models may be unloaded to make room for it.
    pub(super) evicts: bool,
    /// Set when the version is no longer aspired.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// How failed loads are retried.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPolicy {
    pub(super) max: u32,
    pub(super) interval: Duration,
}

/// A version at a path.
pub(super) struct VersionEntry<T> {
    pub(super) id: u64,
    pub(super) version: i64,
    pub(super) path: PathBuf,
    pub(super) is_aspired: bool,
    pub(super) phase: Phase<T>,
    pub(super) attempts: u32,
    pub(super) error: Option<Status>,
    pub(super) hint: Option<String>,
    pub(super) later_trial: LaterTrial,
    /// Whether it is loaded again after it was unloaded to save memory.
    pub(super) is_reload: bool,
    /// How much memory it takes, if that matters.
    pub(super) bytes: u64,
    pub(super) cancelled: Arc<AtomicBool>,
}

pub(super) enum Phase<T> {
    /// Found.
    New,
    /// In the queue of the loading threads.
    Queued,
    Loading,
    /// Failed; retried at this time, or when the files change.
    Waiting {
        until: Instant,
        stamps: FileStamps,
    },
    Ready(Arc<T>),
    /// Unloaded to save memory, until a request needs it.
    Evicted,
    Unloading,
    /// Failed; retried when the files change, and at this time if there is one.
    Failed {
        stamps: FileStamps,
        retry_at: Option<Instant>,
    },
}

/// The stamps of a failed version's files: when it failed, and at the last poll.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileStamps {
    pub(super) failed: FileStamp,
    pub(super) seen: FileStamp,
}

impl<T> VersionEntry<T> {
    pub(super) fn new(id: u64, version: i64, path: PathBuf) -> Self {
        Self {
            id,
            version,
            path,
            is_aspired: true,
            phase: Phase::New,
            attempts: 0,
            error: None,
            hint: None,
            later_trial: LaterTrial::No,
            is_reload: false,
            bytes: 0,
            cancelled: Arc::default(),
        }
    }

    /// A version that is being unloaded is not kept, but loaded again.
    pub(super) fn can_be_aspired(&self) -> bool {
        !matches!(self.phase, Phase::Unloading)
    }

    pub(super) fn job(&self, model: &str) -> LoadJob {
        let (path, cancelled) = (self.path.clone(), self.cancelled.clone());
        let (id, version, evicts) = (self.id, self.version, self.is_reload);
        LoadJob { id, model: model.to_owned(), version, path, with_trial: true, evicts, cancelled }
    }

    pub(super) fn status(&self) -> VersionStatus {
        let state = match self.phase {
            // Requests are answered all the while.
            Phase::New | Phase::Queued | Phase::Loading if self.is_reload => State::Unloaded,
            // After the first attempt it counts as loading until it succeeds or fails for good, as in TensorFlow
            // Serving.
            Phase::New | Phase::Queued if self.attempts == 0 => State::Start,
            Phase::New | Phase::Queued | Phase::Loading | Phase::Waiting { .. } => State::Loading,
            Phase::Ready(_) => State::Available,
            Phase::Evicted => State::Unloaded,
            Phase::Unloading => State::Unloading,
            Phase::Failed { .. } => State::End,
        };
        VersionStatus { version: self.version, state, error: self.error.clone(), hint: self.hint.clone() }
    }
}
