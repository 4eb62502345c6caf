//! Opens models, Keras files among them.

use std::path::{Path, PathBuf};

use clap::Args;
use tf_persist_keras::{CustomObjects, KerasModel, OpenOptions, find_keras_file};
use tf_persist_savedmodel::SavedModel;
#[cfg(feature = "train")]
use tf_persist_savedmodel::printable;

/// How Keras files are read.
#[derive(Debug, Default, Args)]
pub(crate) struct KerasArgs {
    /// The model as JSON (`model.to_json()`), for a Keras file that has only weights
    #[arg(long, value_name = "FILE.json", help_heading = "Keras files")]
    pub(crate) architecture: Option<PathBuf>,
    /// Recipes for custom layers and functions in Keras files; repeatable
    #[arg(long, value_name = "FILE.toml", help_heading = "Keras files")]
    pub(crate) custom_objects: Vec<PathBuf>,
}

/// Whether there is a Keras file at a path.
#[cfg(feature = "runtime")]
pub(crate) fn is_keras_file(path: &Path) -> bool {
    find_keras_file(path).is_some()
}

impl KerasArgs {
    /// Opens a SavedModel, or a Keras file as one.
    pub(crate) fn open(&self, path: &Path) -> anyhow::Result<SavedModel> {
        match self.open_keras(path, false)? {
            Some(model) => Ok(model.to_saved_model()?),
            None => Ok(SavedModel::open(path)?),
        }
    }

    /// As [`KerasArgs::open`], of a Keras file without what training needs.
    #[cfg(feature = "runtime")]
    pub(crate) fn open_for_inference(&self, path: &Path) -> anyhow::Result<SavedModel> {
        match self.open_keras(path, true)? {
            Some(model) => Ok(model.to_saved_model()?),
            None => Ok(SavedModel::open(path)?),
        }
    }

    /// Opens a model to train it. If a Keras file cannot be trained, the error says why.
    #[cfg(feature = "train")]
    pub(crate) fn open_for_training(&self, path: &Path) -> anyhow::Result<SavedModel> {
        let Some(model) = self.open_keras(path, false)? else { return Ok(SavedModel::open(path)?) };
        if let Some(reason) = model.why_inference_only()? {
            anyhow::bail!("`{}` cannot be trained: {}", path.display(), printable(&reason));
        }
        Ok(model.to_saved_model()?)
    }

    /// Opens a Keras file, perhaps without what training needs; `None` if it is none.
    pub(crate) fn open_keras(&self, path: &Path, inference_only: bool) -> anyhow::Result<Option<KerasModel>> {
        let Some(path) = find_keras_file(path) else { return Ok(None) };
        let mut options = OpenOptions::default().inference_only(inference_only);
        if let Some(architecture) = &self.architecture {
            options = options.architecture(architecture);
        }
        Ok(Some(options.custom_objects(self.custom()?).open(path)?))
    }

    /// The recipes for custom layers and functions.
    pub(crate) fn custom(&self) -> anyhow::Result<CustomObjects> {
        let mut custom = CustomObjects::new();
        self.custom_objects.iter().try_for_each(|file| custom.add_file(file))?;
        Ok(custom)
    }
}
