//! Keras files as the output of a training.

use std::path::PathBuf;

use anyhow::Context;
use tf_persist_core::SavedModel;
use tf_persist_keras::{KerasSaveOptions, KerasVersion, write_back};
use tf_persist_savedmodel::scratch::Scratch;

use super::args::TrainArgs;
use crate::common_args::is_keras_name;
use crate::error::UsageError;

/// A Keras file that training writes: first a SavedModel in a hidden folder beside it, then the file, whole.
#[derive(Debug)]
pub(super) struct KerasOutput(Scratch);

impl KerasOutput {
    /// `None` if the output is not to be a Keras file.
    pub(super) fn new(args: &TrainArgs) -> anyhow::Result<Option<Self>> {
        if !is_keras_name(&args.output) {
            return Ok(None);
        }
        let shown = args.output.display();
        if args.resume {
            return Err(UsageError(format!(
                "`{shown}` is a Keras file, which --resume cannot continue: train it on instead"
            ))
            .into());
        }
        if args.output.exists() && !args.overwrite {
            return Err(tf_persist_savedmodel::Error::Exists { path: args.output.clone() }.into());
        }
        let scratch =
            Scratch::beside(&args.output).with_context(|| format!("cannot create a folder beside `{shown}`"))?;
        Ok(Some(Self(scratch)))
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.0.path().join("model")
    }

    pub(super) fn write(&self, args: &TrainArgs) -> anyhow::Result<()> {
        let like = args.keras.open_keras(&args.path, false)?;
        let mut options = KerasSaveOptions::default().overwrite(args.overwrite);
        if like.as_ref().and_then(|like| like.keras_version()).is_some_and(|version| version.starts_with("2.")) {
            options = options.keras(KerasVersion::Keras2);
        }
        write_back(&SavedModel::open(self.folder())?, like.as_ref(), &args.output, &options)?;
        Ok(())
    }
}
