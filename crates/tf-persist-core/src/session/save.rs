//! Saves a loaded model with the current values of its variables.

use std::path::Path;

use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_savedmodel::internals::Staging;
use tf_persist_savedmodel::saved_model::{SavedModel, parse_tensor_name};
use tf_persist_savedmodel::scratch::Scratch;
use tf_persist_savedmodel::tensor::Tensor;
use tf_persist_savedmodel::{SaveOptions, SaveReport, VariableSource};

use super::LoadedModel;
use crate::error::{Error, ModelError, Result};

impl LoadedModel {
    /// Saves the model as a SavedModel folder or a pack, as [`SavedModel::save`], with the current values of the
    /// variables and a new identifier in the fingerprint.
    ///
    /// Other threads may run signatures meanwhile; their writes may or may not be saved.
    ///
    /// # Errors
    /// As [`SavedModel::save`], and if other meta graphs of the file have variables that this session lacks, unless
    /// [`SaveOptions::tags`] selects this meta graph alone.
    pub fn save(&self, target: impl AsRef<Path>, options: SaveOptions) -> Result<SaveReport> {
        self.save_with(target.as_ref(), &options, |_| Ok(()))
    }

    /// As [`LoadedModel::save`]; `finish` may read and extend the folder before it is published.
    pub(crate) fn save_with(
        &self,
        target: &Path,
        options: &SaveOptions,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<SaveReport> {
        let (staging, saved) = self.stage(target, options)?;
        finish(staging.path())?;
        staging.publish()?;
        Ok(saved)
    }

    /// Saves the model without publishing it, which shows errors early. `inspect` is called with the folder before it
    /// is deleted.
    pub(crate) fn dry_run_save<T>(
        &self,
        target: &Path,
        options: &SaveOptions,
        inspect: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let (staging, _) = self.stage(target, options)?;
        inspect(staging.path())
    }

    fn stage(&self, target: &Path, options: &SaveOptions) -> Result<(Staging, SaveReport)> {
        Ok(self.saved_model().stage_values(self.meta_graph(), self, target, options)?)
    }

    /// The model with the current values of its variables, as the bytes of a [pack](crate::pack).
    ///
    /// TensorFlow writes variables to files only, so they pass through a private temporary folder.
    ///
    /// # Errors
    /// As [`LoadedModel::save`] and [`SavedModel::to_bytes`].
    pub fn to_bytes(&self, options: SaveOptions) -> Result<Vec<u8>> {
        let parent = std::env::temp_dir();
        let work = Scratch::within(&parent, "tf-persist")
            .map_err(|error| Error::io("create a folder in", parent)(error.kind().into()))?;
        let folder = work.path().join("model");
        self.save(&folder, options)?;
        Ok(SavedModel::open(&folder)?.to_bytes()?)
    }
}

impl VariableSource for LoadedModel {
    fn has_values(&self) -> bool {
        // Variables that became constants are not in the session, nor those that no saver restores. Their values are
        // those of the model's checkpoint.
        let are_constants = self.optimization().is_some_and(|optimization| optimization.constants);
        !are_constants && (self.meta_graph().saver().is_some() || self.has_unsaved())
    }

    /// Writes the variables of the saver, and those that were restored without it.
    fn write_checkpoint(&self, prefix: &Path) -> Result<(), ModelError> {
        if !self.has_unsaved() {
            return Ok(run_saver(self, prefix)?);
        }
        let parent = prefix.parent().unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new().prefix("values-").tempdir_in(parent);
        let folder = folder.map_err(Error::io("create a folder in", parent))?;
        let base = match (self.meta_graph().saver(), &self.saved_model().variables()?.index) {
            (None, Some(index)) => CheckpointReader::new(index.clone()),
            _ => {
                let saved = folder.path().join("variables");
                run_saver(self, &saved)?;
                CheckpointReader::open(saved)?
            }
        };
        let mut writer = CheckpointWriter::create(prefix)?;
        self.overlay_unsaved(&base, &mut writer)?;
        writer.finish().map(drop)
    }
}

/// Runs the saver of the meta graph.
fn run_saver(model: &LoadedModel, prefix: &Path) -> Result<()> {
    let Some(saver) = model.meta_graph().saver() else { return Ok(()) };
    let session = model.session();
    let port = |name: &str| {
        let (op, index) = parse_tensor_name(name)?;
        let missing = || {
            let reason = format!("its saver names the tensor `{name}`, which the graph lacks");
            Error::flawed(model.saved_model().path(), reason)
        };
        session.port(op, index).ok_or_else(missing)
    };
    let (filename, save) = (port(&saver.filename_tensor)?, port(&saver.save_tensor)?);
    let feed = Tensor::from_strings(&[], [prefix.as_os_str().as_encoded_bytes()])?;
    let action = || format!("save the variables of `{}`", model.saved_model().path().display());
    session.run(action, None, &[(filename, &feed)], &[save], &[]).map(drop)
}
