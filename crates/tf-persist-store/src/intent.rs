//! Changes of several steps, which survive the death of their process.
//!
//! Before the first step, a file says what the change is going to do. Each step can be made twice, so that whoever
//! takes the lock next finishes the change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::files::is_safe;
use crate::labels::Labels;
use crate::layout::Layout;

/// The most bytes of the file.
const MAX_FILE: u64 = 512 << 20;

/// A change under way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    step: Step,
    /// The labels file when the change is done.
    labels: Labels,
}

/// What is done to the files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// A folder becomes a version. It is within the staging folder, or is the version's own where somebody put it.
    Publish { version: u64, staged: Option<PathBuf>, manifest: String },
    /// Versions are removed.
    Remove { versions: Vec<u64> },
}

impl Intent {
    /// The publication of a version. `staged` is relative to the staging folder; `None` adopts the folder in place.
    pub(crate) fn publish(version: u64, staged: Option<PathBuf>, manifest: String, labels: Labels) -> Self {
        Self { step: Step::Publish { version, staged, manifest }, labels }
    }

    /// The removal of versions.
    pub(crate) fn remove(versions: Vec<u64>, labels: Labels) -> Self {
        Self { step: Step::Remove { versions }, labels }
    }

    /// Makes the change. If this process dies from here on, whoever takes the lock next finishes it.
    ///
    /// # Errors
    /// If it cannot be made. Then nothing has changed, as far as it can be undone.
    pub(crate) fn carry_out(self, layout: &Layout) -> Result<()> {
        let path = layout.intent();
        let bytes = serde_json::to_vec(&self).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        durable::write(&path, &bytes)?;
        self.finish(layout).inspect_err(|_| self.undo(layout))
    }

    /// Finishes the change of a process that died. If that cannot be done, it is undone.
    pub(crate) fn recover(layout: &Layout) -> Result<()> {
        let path = layout.intent();
        let Some(bytes) = durable::read(&path, MAX_FILE)? else { return Ok(()) };
        let intent: Self =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(&path, error.to_string()))?;
        // A store may come from a stranger: no folder is moved from elsewhere.
        if let Step::Publish { staged: Some(staged), .. } = &intent.step
            && !staged.to_str().is_some_and(is_safe)
        {
            return Err(StoreError::damaged(&path, "it names a folder that is not in the staging folder"));
        }
        if let Err(error) = intent.finish(layout) {
            intent.undo(layout);
            // Where it could not be undone either, the user must know why.
            return if path.exists() { Err(error) } else { Ok(()) };
        }
        Ok(())
    }

    fn finish(&self, layout: &Layout) -> Result<()> {
        match &self.step {
            Step::Publish { version, staged, manifest } => {
                publish(layout, *version, staged.as_deref(), manifest.as_bytes())?;
            }
            Step::Remove { versions } => versions.iter().try_for_each(|version| remove(layout, *version))?,
        }
        if Labels::read(layout)?.counter < self.labels.counter {
            self.labels.write(layout)?;
        }
        let path = layout.intent();
        fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
        empty_trash(layout);
        Ok(())
    }

    /// Takes a change back that is not in the labels file, if every step of it can be taken back.
    fn undo(&self, layout: &Layout) {
        let is_done = Labels::read(layout).is_ok_and(|labels| labels.counter >= self.labels.counter);
        let undone = match &self.step {
            _ if is_done => false,
            Step::Publish { version, staged, .. } => unpublish(layout, *version, staged.as_deref()).is_ok(),
            Step::Remove { versions } => versions.iter().all(|version| layout.manifest(*version).exists()),
        };
        if undone {
            // If it stays, the next change tries again.
            let _ = fs::remove_file(layout.intent());
        }
    }
}

fn publish(layout: &Layout, version: u64, staged: Option<&Path>, manifest: &[u8]) -> Result<()> {
    let target = layout.version(version);
    if let Some(staged) = staged {
        let staged = layout.staging().join(staged);
        match fs::rename(&staged, &target) {
            // It was renamed before the process died.
            Err(error) if error.kind() == io::ErrorKind::NotFound && target.is_dir() => {}
            renamed => renamed.map_err(StoreError::io("move the version to", &target))?,
        }
        durable::sync_folder(layout.folder()).map_err(StoreError::io("sync", layout.folder()))?;
    }
    durable::write(&layout.manifest(version), manifest)
}

fn remove(layout: &Layout, version: u64) -> Result<()> {
    let gone = |result: io::Result<()>, path: &Path| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(StoreError::io("remove", path)),
    };
    // The version is gone as soon as its manifest is.
    let manifest = layout.manifest(version);
    gone(fs::remove_file(&manifest), &manifest)?;
    durable::sync_folder(&layout.hidden()).map_err(StoreError::io("sync", layout.hidden()))?;
    durable::create_folder(&layout.trash())?;
    let folder = layout.version(version);
    gone(fs::rename(&folder, layout.trash().join(version.to_string())), &folder)?;
    durable::sync_folder(layout.folder()).map_err(StoreError::io("sync", layout.folder()))
}

fn unpublish(layout: &Layout, version: u64, staged: Option<&Path>) -> io::Result<()> {
    let manifest = layout.manifest(version);
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let Some(staged) = staged.map(|staged| layout.staging().join(staged)) else { return Ok(()) };
    // Where the folder is still staged, or was deleted there, the one at the target is somebody else's.
    let is_moved = !staged.exists() && staged.parent().is_some_and(Path::exists);
    if is_moved { fs::rename(layout.version(version), staged) } else { Ok(()) }
}

/// Deletes what was removed, as far as possible; what remains is deleted the next time.
pub(crate) fn empty_trash(layout: &Layout) {
    let _ = fs::remove_dir_all(layout.trash());
}
