//! Base paths that are not folders of this machine, such as `s3://bucket/models/digits`, and the thread that polls
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

use super::config::Policy;
use super::folder::{FoundVersions, number};
use super::load::spawn;
use super::manager::Event;
use crate::status::Status;

/// How many base paths are polled at once.
const PARALLEL: usize = 16;

/// The most versions that a policy may choose under one remote base path: each is asked for.
const MAX_VERSIONS: usize = 1000;

/// How many incomplete versions are passed over in search of the newest complete ones.
const MAX_INCOMPLETE: usize = 16;

/// Where versions under base paths with a scheme are found. The calls may take long.
///
/// A version is fetched to its path by [`Prepare`](super::Prepare), before it is loaded. A loaded version stays as it
/// is, whatever happens to its files there.
pub trait RemotePaths: fmt::Debug + Send + Sync {
    /// Checks a base path without a request.
    ///
    /// # Errors
    /// Why no versions can be found there.
    fn check(&self, base_path: &str) -> Result<(), String>;

    /// The names of the folders under a base path. Those with numbers are versions. `in_use` are the paths of versions
    /// that are loaded, or being loaded.
    ///
    /// # Errors
    /// Why they cannot be listed, such as a base path without anything under it. Then loaded versions stay.
    fn folders(&self, base_path: &str, in_use: &BTreeSet<PathBuf>) -> Result<Vec<String>, String>;

    /// The version in one of the folders.
    ///
    /// # Errors
    /// Why it cannot be looked at now. Then loaded versions stay.
    fn version(&self, base_path: &str, folder: &str) -> Result<RemoteVersion, String>;
}

/// A version under a remote base path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteVersion {
    /// All of its files are there. This is the path on this machine where they will be; other files have another path.
    Complete(PathBuf),
    /// Files are missing or too short, for this reason: it is being uploaded.
    Incomplete(String),
}

/// What to poll for a model.
#[derive(Debug, Clone)]
pub(super) struct RemoteModel {
    pub(super) name: String,
    pub(super) base_path: String,
    pub(super) policy: Policy,
    /// The versions that are loaded, with their paths.
    pub(super) loaded: BTreeMap<i64, PathBuf>,
    /// The paths of all versions that are loaded or may become so.
    pub(super) in_use: BTreeSet<PathBuf>,
}

/// The versions of a model that were found.
pub(super) struct RemoteFound {
    pub(super) name: String,
    pub(super) base_path: String,
    pub(super) found: Result<FoundVersions, String>,
}

/// Starts the thread. It ends when the channel closes. A server that does not answer does not delay polls of folders.
pub(super) fn start<T: Send + Sync + 'static>(
    paths: Arc<dyn RemotePaths>,
    requests: Receiver<Vec<RemoteModel>>,
    events: Sender<Event<T>>,
) -> Result<(), Status> {
    spawn("poll-remote", move || {
        for models in requests {
            let _ = events.send(Event::RemotePolled(poll(&*paths, models)));
        }
    })
}

/// Polls base paths, several at once: one that does not answer delays the others no longer than that.
pub(super) fn poll(paths: &dyn RemotePaths, models: Vec<RemoteModel>) -> Vec<RemoteFound> {
    let mut by_path: BTreeMap<String, Vec<RemoteModel>> = BTreeMap::new();
    for model in models {
        by_path.entry(model.base_path.clone()).or_default().push(model);
    }
    let groups: Vec<Vec<RemoteModel>> = by_path.into_values().collect();
    let poll_some = |groups: &[Vec<RemoteModel>]| {
        thread::scope(|scope| {
            let running: Vec<_> = groups.iter().map(|models| scope.spawn(|| poll_path(paths, models))).collect();
            let found = running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            found.flatten().collect::<Vec<_>>()
        })
    };
    groups.chunks(PARALLEL).flat_map(poll_some).collect()
}

/// Polls one base path for all models that it has.
fn poll_path(paths: &dyn RemotePaths, models: &[RemoteModel]) -> Vec<RemoteFound> {
    let Some(RemoteModel { base_path, .. }) = models.first() else { return Vec::new() };
    let in_use = models.iter().flat_map(|model| &model.in_use).cloned().collect();
    let folders = paths.folders(base_path, &in_use);
    let found = |model: &RemoteModel| {
        let folders = folders.as_ref().map_err(Clone::clone)?;
        find(paths, model, folders)
    };
    let found = models.iter().map(|model| RemoteFound {
        name: model.name.clone(),
        base_path: base_path.clone(),
        found: found(model),
    });
    found.collect()
}

/// The versions that the policy of a model chooses among the complete ones.
fn find(paths: &dyn RemotePaths, model: &RemoteModel, folders: &[String]) -> Result<FoundVersions, String> {
    let base_path = &model.base_path;
    let mut warning = None;
    let mut sorted: Vec<&String> = folders.iter().collect();
    sorted.sort_unstable();
    let mut numbers: BTreeMap<i64, &String> = BTreeMap::new();
    for folder in sorted {
        let Some(version) = number(folder) else { continue };
        if let Some(before) = numbers.insert(version, folder) {
            warning = Some(format!("version {version} is loaded from `{folder}`; `{before}` is ignored"));
        }
    }
    if numbers.is_empty() {
        warning = Some(format!(
            "no versions under the base path `{base_path}`: their folders are named by numbers, such as `{base_path}/1`"
        ));
    }
    let most = match &model.policy {
        Policy::Latest(count) => *count,
        Policy::All | Policy::Specific(_) => usize::MAX,
    };
    let is_named = |version: &i64| match &model.policy {
        Policy::Specific(versions) => versions.contains(version),
        Policy::Latest(_) | Policy::All => true,
    };
    let (mut versions, mut incomplete) = (BTreeMap::new(), 0);
    for (version, folder) in numbers.into_iter().rev().filter(|(version, _)| is_named(version)) {
        if versions.len() >= most || incomplete > MAX_INCOMPLETE {
            break;
        }
        if versions.len() == MAX_VERSIONS {
            return Err(format!("more than {MAX_VERSIONS} versions under `{base_path}` are to be served"));
        }
        // As in TensorFlow Serving, a loaded version is not loaded again when its files change.
        if let Some(path) = model.loaded.get(&version) {
            versions.insert(version, path.clone());
            continue;
        }
        match paths.version(base_path, folder)? {
            RemoteVersion::Complete(path) => {
                versions.insert(version, path);
            }
            RemoteVersion::Incomplete(reason) => {
                incomplete += 1;
                // The newest one that is incomplete.
                if incomplete == 1 {
                    warning = Some(format!("version {version} under `{base_path}` is not complete: {reason}"));
                }
            }
        }
    }
    Ok(FoundVersions { versions, warning })
}
