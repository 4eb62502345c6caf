//! The output of a training, in a build that writes no Keras files.

use std::path::PathBuf;

use tf_persist_core::SavedModel;

use super::args::TrainArgs;
use crate::keras_args;

/// A Keras file that training writes, of which there is none.
#[derive(Debug)]
pub(super) enum KerasOutput {}

impl KerasOutput {
    /// Refuses a Keras file.
    pub(super) fn new(args: &TrainArgs) -> anyhow::Result<Option<Self>> {
        keras_args::refuse(&args.output).map(|()| None)
    }

    pub(super) fn folder(&self) -> PathBuf {
        match *self {}
    }

    pub(super) fn rehearse(&self, _: &TrainArgs, _: &SavedModel) -> anyhow::Result<()> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &TrainArgs) -> anyhow::Result<()> {
        match *self {}
    }
}

/// There is no file that could be trained on.
pub(super) fn check_trainable(_: &TrainArgs) -> anyhow::Result<bool> {
    Ok(false)
}
