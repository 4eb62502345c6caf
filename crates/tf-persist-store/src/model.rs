//! The folder of a model: it is made under the lock of the first change, and goes if that fails.

use std::fs;
use std::io;
use std::ops::Deref;

use rustix::fs::FlockOperation;

use crate::error::{Result, StoreError};
use crate::layout::Layout;
use crate::lock::lock_file;
use crate::name::ModelName;
use crate::store::{Store, manifests, numbered};

/// The paths of a model that is being changed. Dropped, it deletes the folder if nothing was published in it.
#[derive(Debug)]
pub(crate) struct Changing {
    layout: Layout,
}

impl Deref for Changing {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        discard_unused(&self.layout);
    }
}

impl Store {
    /// The names of all models, sorted. A folder in which nothing was published is not a model.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn models(&self) -> Result<Vec<ModelName>> {
        let mut models = self.model_folders()?;
        models.retain(|model| is_used(&self.layout(model)));
        Ok(models)
    }

    /// The names of models and of folders that may become models, sorted.
    pub(crate) fn model_folders(&self) -> Result<Vec<ModelName>> {
        let reading = || StoreError::io("read", self.path());
        let mut models = Vec::new();
        for entry in fs::read_dir(self.path()).map_err(reading())? {
            let entry = entry.map_err(reading())?;
            let name = entry.file_name().to_str().and_then(|name| name.parse::<ModelName>().ok());
            models.extend(name.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())));
        }
        models.sort();
        Ok(models)
    }

    /// The paths of a model, which need not exist.
    pub(crate) fn layout(&self, model: &ModelName) -> Layout {
        Layout::new(self.path().join(model.as_str()))
    }

    /// The paths of a model that exists.
    pub(crate) fn model_layout(&self, model: &ModelName) -> Result<Layout> {
        let layout = self.layout(model);
        if !layout.folder().is_dir() || !is_used(&layout) {
            let known_models = self.models()?.iter().map(ToString::to_string).collect();
            return Err(StoreError::UnknownModel {
                store: self.path().to_path_buf(),
                model: model.clone(),
                known_models,
            });
        }
        Ok(layout)
    }

    /// The paths of a model that is going to be changed, and may be new.
    pub(crate) fn change_model(&self, model: &ModelName) -> Result<Changing> {
        let layout = self.layout(model);
        if !is_used(&layout) {
            self.check_new(model)?;
        }
        Ok(Changing { layout })
    }

    /// Refuses the name of a new model if another one differs from it in case only.
    pub(crate) fn check_new(&self, model: &ModelName) -> Result<()> {
        let similar = |known: &ModelName| known != model && known.as_str().eq_ignore_ascii_case(model.as_str());
        for known in self.model_folders()?.iter().filter(|known| similar(known)) {
            let layout = self.layout(known);
            // A killed process may have left it.
            discard_unused(&layout);
            if is_used(&layout) {
                return Err(StoreError::SimilarModel { model: model.clone(), known: known.to_string() });
            }
        }
        Ok(())
    }
}

/// Whether anything was published in the folder of a model, or somebody put a version there.
fn is_used(layout: &Layout) -> bool {
    let has = |found: Result<bool>| found.unwrap_or(true);
    layout.labels().exists()
        || has(numbered(layout).map(|found| !found.is_empty()))
        || has(manifests(layout).map(|found| !found.is_empty()))
        || fs::metadata(layout.log()).is_ok_and(|log| log.len() > 0)
}

/// Deletes the folder of a model in which nothing was published, unless another process is at it or a pull can be gone
/// on with.
fn discard_unused(layout: &Layout) {
    let is_needed = || is_used(layout) || layout.intent().exists();
    if is_needed() || !layout.folder().exists() {
        return;
    }
    if layout.hidden().exists() {
        let Ok(Some(_lock)) = lock_file(&layout.lock(), FlockOperation::NonBlockingLockExclusive) else { return };
        // Another process may have had it until now.
        if is_needed() {
            return;
        }
        let is_gone = |removed: io::Result<()>| match removed {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        if [layout.staging(), layout.trash()].iter().all(|folder| is_gone(fs::remove_dir(folder))) {
            // Whoever waits for the lock finds that its file is gone, and makes another.
            let _ = fs::remove_file(layout.log());
            let _ = fs::remove_file(layout.lock());
            let _ = fs::remove_dir(layout.hidden());
        }
    }
    let _ = fs::remove_dir(layout.folder());
}
