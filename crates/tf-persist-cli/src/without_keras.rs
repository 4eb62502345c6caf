//! The arguments for Keras files, in a build that does not read them: a Keras file is refused with a hint.

use std::path::Path;

use clap::Args;
use tf_persist_savedmodel::SavedModel;

use crate::common_args::is_keras_name;
use crate::error::Hinted;

/// No arguments.
#[derive(Debug, Default, Args)]
pub(crate) struct KerasArgs {}

/// A Keras file that was opened, of which there is none.
#[derive(Debug)]
pub(crate) enum KerasModel {}

impl KerasModel {
    pub(crate) fn to_saved_model(&self) -> anyhow::Result<SavedModel> {
        match *self {}
    }
}

/// Whether there is a Keras file at a path: none that this build knows.
#[cfg(feature = "runtime")]
pub(crate) fn is_keras_file(_: &Path) -> bool {
    false
}

impl KerasArgs {
    /// Opens a SavedModel.
    pub(crate) fn open(&self, path: &Path) -> anyhow::Result<SavedModel> {
        refuse(path)?;
        Ok(SavedModel::open(path)?)
    }

    /// As [`KerasArgs::open`].
    #[cfg(feature = "runtime")]
    pub(crate) fn open_for_inference(&self, path: &Path) -> anyhow::Result<SavedModel> {
        self.open(path)
    }

    /// As [`KerasArgs::open`].
    #[cfg(feature = "train")]
    pub(crate) fn open_for_training(&self, path: &Path) -> anyhow::Result<SavedModel> {
        self.open(path)
    }

    /// `None` for what is not a Keras file.
    pub(crate) fn open_keras(&self, path: &Path, _: bool) -> anyhow::Result<Option<KerasModel>> {
        refuse(path).map(|()| None)
    }
}

/// Refuses a Keras file.
pub(crate) fn refuse(path: &Path) -> anyhow::Result<()> {
    if !is_keras_name(path) || path.is_dir() {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "`{}` is a Keras file, which this build of tf-persist neither reads nor writes",
        path.display()
    );
    let hint = "it needs the cargo feature `keras`: cargo install --locked --path crates/tf-persist-cli".to_owned();
    Err(Hinted { error, hint }.into())
}
