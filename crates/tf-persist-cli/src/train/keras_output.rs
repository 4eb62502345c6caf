//! Keras files as the output of a training.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tf_persist_core::SavedModel;
use tf_persist_keras::{KerasModel, KerasSaveOptions, KerasVersion, OpenOptions, write_back};
use tf_persist_savedmodel::scratch::Scratch;
use tf_persist_savedmodel::{Error, Setting};

use super::args::TrainArgs;
use crate::common_args::is_keras_name;
use crate::error::{Hinted, UsageError};

/// A Keras file that training writes. Each checkpoint is a SavedModel in a hidden folder beside it, of which the file
/// is made, whole.
#[derive(Debug)]
pub(super) struct KerasOutput {
    scratch: Scratch,
    /// The model that is trained, if it is in a Keras file.
    like: Option<KerasModel>,
    options: KerasSaveOptions,
    /// The file that this training wrote last.
    written: Option<Written>,
}

/// What tells a file from another one at its path: device, inode, size and time of the last change.
type Written = (u64, u64, u64, (i64, i64));

impl KerasOutput {
    /// `None` if the output is not to be a Keras file.
    pub(super) fn new(args: &TrainArgs) -> anyhow::Result<Option<Self>> {
        if !is_keras_name(&args.output) {
            return Ok(None);
        }
        let shown = args.output.display();
        if args.resume {
            return Err(UsageError(format!(
                "`{shown}` is a Keras file, which cannot hold the place of a training: give a folder with --output, or \
                 train the file on without --resume"
            ))
            .into());
        }
        match args.output.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                anyhow::bail!("`{shown}` is a folder, and --output would be a Keras file by this name")
            }
            Ok(_) if !args.overwrite => return Err(Error::Exists { path: args.output.clone() }.into()),
            _ => {}
        }
        let like = args.keras.open_keras(&args.path, false)?;
        let mut options = KerasSaveOptions::default().custom_objects(args.keras.custom()?);
        if like.as_ref().and_then(KerasModel::keras_version).is_some_and(|version| version.starts_with("2.")) {
            options = options.keras(KerasVersion::Keras2);
        }
        let scratch =
            Scratch::beside(&args.output).with_context(|| format!("cannot create a folder beside `{shown}`"))?;
        Ok(Some(Self { scratch, like, options, written: None }))
    }

    /// Where the SavedModel of each checkpoint is.
    pub(super) fn folder(&self) -> PathBuf {
        self.scratch.path().join("model")
    }

    /// Writes the file of the untrained model where nobody sees it, so that errors show before hours of training.
    pub(super) fn rehearse(&self, args: &TrainArgs, model: &SavedModel) -> anyhow::Result<()> {
        match self.write_hidden(args, model) {
            Ok(file) => fs::remove_file(file).map_err(|error| Error::io("write", &args.output)(error).into()),
            Err(Error::Unsupported { path, reason, hint: Some(hint) })
                if hint.settings().contains(&Setting::Set("like")) =>
            {
                let (path, shown) = (path.display(), args.output.display());
                let error = anyhow::anyhow!("`{path}` cannot be written to `{shown}` when it is trained: {reason}");
                let hint = format!(
                    "give a folder with --output; if there is a Keras file of the same model, `tf-persist export FOLDER \
                     {shown} --like THAT_FILE` then writes the trained one"
                );
                Err(Hinted { error, hint }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a model's file to the hidden folder. Errors name the file that it is to become.
    fn write_hidden(&self, args: &TrainArgs, model: &SavedModel) -> Result<PathBuf, Error> {
        let file = self.scratch.path().join("next").with_extension(args.output.extension().unwrap_or_default());
        match write_back(model, self.like.as_ref(), &file, &self.options.clone().overwrite(true)) {
            Ok(_) => Ok(file),
            Err(Error::Io { action, path, source }) if path.starts_with(self.scratch.path()) => {
                Err(Error::Io { action, path: args.output.clone(), source })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the file of the last checkpoint. The first replaces a file only with --overwrite, each later one only the
    /// one before.
    pub(super) fn write(&mut self, args: &TrainArgs) -> anyhow::Result<()> {
        let model = SavedModel::open(self.folder())?;
        match self.written {
            None => {
                let options = self.options.clone().overwrite(args.overwrite);
                write_back(&model, self.like.as_ref(), &args.output, &options)?;
            }
            Some(before) => {
                let file = self.write_hidden(args, &model)?;
                // As late as possible: what another process wrote meanwhile stays.
                if written(&args.output)?.is_some_and(|found| found != before) {
                    let shown = args.output.display();
                    let error =
                        anyhow::anyhow!("`{shown}` is no longer what this training wrote, and is not overwritten");
                    return Err(Hinted { error, hint: "give each training its own output".into() }.into());
                }
                fs::rename(&file, &args.output).map_err(Error::io("write", &args.output))?;
            }
        }
        self.written = written(&args.output)?;
        Ok(())
    }
}

/// The file at a path, if there is one.
fn written(path: &Path) -> anyhow::Result<Option<Written>> {
    let of = |found: Metadata| (found.dev(), found.ino(), found.len(), (found.mtime(), found.mtime_nsec()));
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(of(found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error).into()),
    }
}

/// Checks that the written file can be trained on. Says whether it has the state of its optimizer.
pub(super) fn check_trainable(args: &TrainArgs) -> anyhow::Result<bool> {
    let model = OpenOptions::default().custom_objects(args.keras.custom()?).open(&args.output)?;
    match model.why_inference_only()? {
        Some(reason) => anyhow::bail!("it cannot be trained: {reason}"),
        None => Ok(model.has_optimizer_state()?),
    }
}
