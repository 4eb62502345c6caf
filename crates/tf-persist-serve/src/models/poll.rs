//! The thread that polls the file system. It may take long: folders may be on a network.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};

use tf_persist_proto::serving::ModelServerConfig;

use super::folder::{self, FileStamp, FoundVersions};
use super::load::spawn;
use super::manager::Event;
use super::{ModelSource, config};
use crate::status::Status;

/// What to poll.
#[derive(Default)]
pub(super) struct PollRequest {
    /// Folders of versions.
    pub(super) base_paths: BTreeSet<PathBuf>,
    /// Versions that failed.
    pub(super) failed: BTreeSet<PathBuf>,
    /// The configuration file.
    pub(super) config: Option<ModelSource>,
}

/// The result of a poll.
pub(super) struct PollResult {
    pub(super) found: HashMap<PathBuf, Result<FoundVersions, String>>,
    pub(super) stamps: HashMap<PathBuf, FileStamp>,
    pub(super) config: Option<Result<ModelServerConfig, Status>>,
}

/// Starts the thread. It ends when the channel closes.
pub(super) fn start<T: Send + Sync + 'static>(
    requests: Receiver<PollRequest>,
    events: Sender<Event<T>>,
) -> Result<(), Status> {
    spawn("poll", move || {
        for request in requests {
            let _ = events.send(Event::Polled(poll(request)));
        }
    })
}

fn poll(request: PollRequest) -> PollResult {
    let config = request.config.map(|source| config::read(Some(&source)));
    let found = request.base_paths.into_iter().map(|path| (path.clone(), folder::list_versions(&path))).collect();
    let stamps = request.failed.into_iter().map(|path| (path.clone(), FileStamp::read(&path))).collect();
    PollResult { found, stamps, config }
}
