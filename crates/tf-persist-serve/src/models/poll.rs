//! The thread that polls the file system. It may take long: folders may be on a network.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use tf_persist_proto::serving::ModelServerConfig;

use super::catalog::{Catalog, Listed, Prepare};
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
    /// A catalog.
    pub(super) catalog: Option<Arc<dyn Catalog>>,
    /// The configuration file.
    pub(super) config: Option<ModelSource>,
}

/// The result of a poll.
pub(super) struct PollResult {
    pub(super) found: HashMap<PathBuf, Result<FoundVersions, String>>,
    pub(super) stamps: HashMap<PathBuf, FileStamp>,
    pub(super) catalog: Option<Result<Listed, String>>,
    pub(super) config: Option<Result<ModelServerConfig, Status>>,
}

/// Starts the thread. It ends when the channel closes.
pub(super) fn start<T: Send + Sync + 'static>(
    requests: Receiver<PollRequest>,
    events: Sender<Event<T>>,
    prepare: Option<Arc<dyn Prepare>>,
) -> Result<(), Status> {
    spawn("poll", move || {
        for request in requests {
            let _ = events.send(Event::Polled(poll(request, prepare.as_deref())));
        }
    })
}

fn poll(request: PollRequest, prepare: Option<&dyn Prepare>) -> PollResult {
    let config = request.config.map(|source| config::read(Some(&source)));
    let found = request.base_paths.into_iter().map(|path| (path.clone(), folder::list_versions(&path))).collect();
    let stamps = request.failed.into_iter().map(|path| (path.clone(), stamp(&path, prepare))).collect();
    let catalog = request.catalog.map(|catalog| catalog.look());
    PollResult { found, stamps, catalog, config }
}

/// The stamp of a version's files and of those that decide on whether it is refused.
pub(super) fn stamp(path: &Path, prepare: Option<&dyn Prepare>) -> FileStamp {
    let deciding = prepare.map(|prepare| prepare.deciding_files(path)).unwrap_or_default();
    FileStamp::read(std::iter::once(path).chain(deciding.iter().map(PathBuf::as_path)))
}
