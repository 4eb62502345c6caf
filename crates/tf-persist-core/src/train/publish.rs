//! Checkpoints: the whole model with its place in the data, published where it appears whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::place::{PLACE_FILE, Place};
use crate::checkpoint::{CheckpointReader, index_path};
use crate::error::{Error, Result};
use crate::export::{SaveOptions, Saved};
use crate::saved_model::Variables;
use crate::session::LoadedModel;
use crate::tensor::Stats;

/// Where checkpoints go.
pub(super) struct Publisher {
    target: PathBuf,
    options: SaveOptions,
    /// The place that this run published last, as its file's bytes.
    published: Option<Vec<u8>>,
    /// The variables that were not finite before the training.
    not_finite_before: BTreeSet<String>,
}

/// What a checkpoint has come to.
pub(super) enum Published {
    Saved(Saved),
    /// The variable of this name has become NaN or infinite: nothing was published.
    NotFinite(String),
}

impl Publisher {
    /// Tries all of it out, but for the last step, so that what will not work is known before hours of training.
    pub(super) fn begin(model: &LoadedModel, target: PathBuf, options: SaveOptions) -> Result<Self> {
        let not_finite_before = model.rehearse_save(&target, &options, not_finite)?;
        Ok(Self { target, options, published: None, not_finite_before })
    }

    /// Whether there is a checkpoint of this run, and where.
    pub(super) fn last(&self) -> Option<&Path> {
        self.published.as_ref().map(|_| self.target.as_path())
    }

    /// Publishes the model as it is. The first time, what stands at the target is only replaced if that was allowed; later, it is
    /// if it is what this run put there.
    pub(super) fn publish(&mut self, model: &LoadedModel, place: &mut Place) -> Result<Published> {
        let mut options = self.options.clone();
        if let Some(published) = &self.published {
            self.check_own(published)?;
            options = options.overwrite(true);
        }
        let mut bytes = Vec::new();
        let mut diverged = None;
        let finish = |folder: &Path| {
            diverged = not_finite(folder)?.into_iter().find(|name| !self.not_finite_before.contains(name));
            if diverged.is_some() {
                // Any error will do: it keeps the folder from appearing.
                return Err(Error::data("variables", "not finite"));
            }
            let reader = checkpoint(folder)?;
            place.variables = reader.map(|reader| reader.index().fingerprint());
            bytes = place.to_json()?;
            let (file, shown) = (folder.join(PLACE_FILE), self.target.join(PLACE_FILE));
            fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(Error::io("create", &shown))?;
            // That of the source was copied with its permissions, which may forbid to write to it.
            let _ = fs::remove_file(&file);
            fs::write(&file, &bytes).map_err(Error::io("write", &shown))
        };
        let saved = model.save_with(&self.target, &options, finish);
        if let Some(name) = diverged {
            return Ok(Published::NotFinite(name));
        }
        let saved = saved?;
        self.published = Some(bytes);
        Ok(Published::Saved(saved))
    }

    /// What stands at the target must be what this run published, or nothing.
    fn check_own(&self, published: &[u8]) -> Result<()> {
        let found = fs::read(self.target.join(PLACE_FILE)).ok();
        if !self.target.exists() || found.is_some_and(|found| found == published) {
            return Ok(());
        }
        Err(Error::Unsupported {
            path: self.target.clone(),
            reason: "what stands there is no longer what this training put there, and is not overwritten".into(),
            hint: Some("let each training have an output of its own".into()),
        })
    }
}

/// The variables of a model's folder, if it has any.
fn checkpoint(folder: &Path) -> Result<Option<CheckpointReader>> {
    let prefix = folder.join("variables").join("variables");
    if index_path(&prefix).exists() { CheckpointReader::open(&prefix).map(Some) } else { Ok(None) }
}

/// The variables that have a NaN or an infinity. A step whose loss is a number can leave such ones behind, and only later losses
/// show it, or none does.
fn not_finite(folder: &Path) -> Result<BTreeSet<String>> {
    let Some(reader) = checkpoint(folder)? else { return Ok(BTreeSet::new()) };
    let mut names = BTreeSet::new();
    for variable in Variables::of(reader.index().clone()).all {
        let is_float = variable.entry.dtype.is_float();
        if is_float && Stats::of(&reader.read(&variable.entry.key)?).is_some_and(|it| it.nans + it.infinities > 0) {
            names.insert(variable.name);
        }
    }
    Ok(names)
}
