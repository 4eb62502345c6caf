//! Checkpoints: the whole model with its place in the data, published where it appears whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tf_persist_savedmodel::checkpoint::{CheckpointReader, index_path};
use tf_persist_savedmodel::saved_model::Variables;
use tf_persist_savedmodel::tensor::Stats;
use tf_persist_savedmodel::{SaveOptions, Saved};

use super::{STATE_FILE, TrainingState};
use crate::error::{Error, ModelError, Result};
use crate::session::LoadedModel;

/// Without being asked for one, a checkpoint is published when so many times as long has passed as the last one took.
const WORTH: u32 = 10;

/// Where checkpoints go.
pub(super) struct Publisher {
    target: PathBuf,
    options: SaveOptions,
    /// The place that this run published last, as its file's bytes.
    published: Option<Vec<u8>>,
    /// The variables that were not finite before the training.
    not_finite_before: BTreeSet<String>,
    /// How long it took to publish, the last time.
    took: Duration,
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
        let not_finite_before = model.dry_run_save(&target, &options, not_finite)?;
        Ok(Self { target, options, published: None, not_finite_before, took: Duration::ZERO })
    }

    /// What is left of the training if it ends here; `steps` are those of the last checkpoint.
    pub(super) fn kept(&self, steps: u64) -> String {
        let target = self.target.display();
        match &self.published {
            Some(_) => format!("`{target}` is the model after step {steps}"),
            // With a model in it, that is: an empty folder is no loss.
            None if self.target.is_file() || fs::read_dir(&self.target).is_ok_and(|mut all| all.next().is_some()) => {
                format!("nothing was published; `{target}` is as it was")
            }
            None => "nothing was published".into(),
        }
    }

    /// Whether so much time has passed since the last checkpoint that another one takes only a small part of it. The first one
    /// always does.
    pub(super) fn is_worth_it(&self, since: Duration) -> bool {
        self.published.is_none() || since >= self.took.saturating_mul(WORTH)
    }

    /// Whether what is at the target may still be replaced, and a folder made beside it: told as soon as it may not, since what
    /// is trained from then on would be lost.
    pub(super) fn check(&self) -> Result<()> {
        match &self.published {
            Some(published) => {
                self.check_own(published)?;
                Ok(self.options.clone().overwrite(true).try_target(&self.target)?)
            }
            None => Ok(self.options.try_target(&self.target)?),
        }
    }

    /// Publishes the model as it is. The first time, what stands at the target is only replaced if that was allowed; later, it is
    /// if it is what this run put there.
    pub(super) fn publish(&mut self, model: &LoadedModel, place: &mut TrainingState) -> Result<Published> {
        let begun = Instant::now();
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
            let (file, shown) = (folder.join(STATE_FILE), self.target.join(STATE_FILE));
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
        self.took = begun.elapsed();
        Ok(Published::Saved(saved))
    }

    /// What stands at the target must be what this run published, or nothing.
    fn check_own(&self, published: &[u8]) -> Result<()> {
        let found = TrainingState::bytes_at(&self.target);
        if !self.target.exists() || found.is_some_and(|found| found == published) {
            return Ok(());
        }
        Err(Error::Model(ModelError::Unsupported {
            path: self.target.clone(),
            reason: "what stands there is no longer what this training put there, and is not overwritten".into(),
            hint: Some("let each training have an output of its own".into()),
        }))
    }
}

/// The variables of a model's folder, if it has any.
fn checkpoint(folder: &Path) -> Result<Option<CheckpointReader>> {
    let prefix = folder.join("variables").join("variables");
    Ok(if index_path(&prefix).exists() { Some(CheckpointReader::open(&prefix)?) } else { None })
}

/// The variables that have a NaN or an infinity. A step whose loss is a number can leave such ones behind, and only later losses
/// show it, or none does.
fn not_finite(folder: &Path) -> Result<BTreeSet<String>> {
    let Some(reader) = checkpoint(folder)? else { return Ok(BTreeSet::new()) };
    let mut names = BTreeSet::new();
    for variable in Variables::of(reader.index().clone(), Vec::new()).all {
        let is_float = variable.entry.dtype.is_float();
        if is_float && Stats::of(&reader.read(&variable.entry.key)?).is_some_and(|it| it.nans + it.infinities > 0) {
            names.insert(variable.name);
        }
    }
    Ok(names)
}
