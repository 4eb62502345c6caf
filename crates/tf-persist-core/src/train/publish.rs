//! Checkpoints: the whole model with the state of its training, published atomically.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tf_persist_savedmodel::checkpoint::{CheckpointReader, index_path};
use tf_persist_savedmodel::saved_model::Variables;
use tf_persist_savedmodel::tensor::Stats;
use tf_persist_savedmodel::{SaveOptions, SaveReport};

use super::{STATE_FILE, TrainingState};
use crate::error::{Error, ModelError, Result};
use crate::session::LoadedModel;

/// Without an interval, a checkpoint is published after this many times the duration of the last one.
const MIN_INTERVAL_FACTOR: u32 = 10;

/// Publishes checkpoints.
pub(super) struct Publisher {
    target: PathBuf,
    /// What hints call it.
    shown: PathBuf,
    options: SaveOptions,
    /// The bytes of the state file that this run published last.
    published: Option<Vec<u8>>,
    /// The variables that were not finite before the training.
    not_finite_before: BTreeSet<String>,
    /// The duration of the last checkpoint.
    took: Duration,
}

/// The result of publishing a checkpoint.
pub(super) enum Published {
    Saved(SaveReport),
    /// The variable of this name became NaN or infinite, so nothing was published.
    NotFinite(String),
}

impl Publisher {
    /// Saves once without publishing, so that errors show before hours of training.
    pub(super) fn begin(
        model: &LoadedModel,
        target: PathBuf,
        shown: Option<PathBuf>,
        options: SaveOptions,
    ) -> Result<Self> {
        let not_finite_before = model.dry_run_save(&target, &options, not_finite)?;
        let shown = shown.unwrap_or_else(|| target.clone());
        Ok(Self { target, shown, options, published: None, not_finite_before, took: Duration::ZERO })
    }

    /// Describes the saved state if the training ends here; `steps` are those of the last checkpoint.
    pub(super) fn kept(&self, steps: u64) -> String {
        let target = self.shown.display();
        match &self.published {
            Some(_) => format!("`{target}` is the model after step {steps}"),
            // An empty folder is not a model.
            None if self.shown.is_file() || fs::read_dir(&self.shown).is_ok_and(|mut all| all.next().is_some()) => {
                format!("nothing was published; `{target}` is as it was")
            }
            None => "nothing was published".into(),
        }
    }

    /// Whether enough time has passed since the last checkpoint for another one. The first one is always due.
    pub(super) fn is_due(&self, since: Duration) -> bool {
        self.published.is_none() || since >= self.took.saturating_mul(MIN_INTERVAL_FACTOR)
    }

    /// Counts what the observer did with a checkpoint as a part of saving it.
    pub(super) fn took_longer(&mut self, duration: Duration) {
        self.took = self.took.saturating_add(duration);
    }

    /// Checks that the target may still be replaced and that a folder can be created beside it. Steps after a failure
    /// would be lost.
    pub(super) fn check(&self) -> Result<()> {
        match &self.published {
            Some(published) => {
                self.check_own(published)?;
                Ok(self.options.clone().overwrite(true).try_target(&self.target)?)
            }
            None => Ok(self.options.try_target(&self.target)?),
        }
    }

    /// Publishes the model as it is. The first checkpoint replaces the target only if the options allow it, later ones
    /// only what this run published.
    pub(super) fn publish(&mut self, model: &LoadedModel, state: &mut TrainingState) -> Result<Published> {
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
                // Any error keeps the folder from being published.
                return Err(Error::data("variables", "not finite"));
            }
            let reader = checkpoint(folder)?;
            state.variables = reader.map(|reader| reader.index().fingerprint());
            bytes = state.to_json()?;
            let (file, shown) = (folder.join(STATE_FILE), self.target.join(STATE_FILE));
            fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(Error::io("create", &shown))?;
            // The copy of the source's file may be read-only.
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

    /// Checks that the target is what this run published, or nothing.
    fn check_own(&self, published: &[u8]) -> Result<()> {
        let found = TrainingState::bytes_at(&self.target);
        if !self.target.exists() || found.is_some_and(|found| found == published) {
            return Ok(());
        }
        Err(Error::Model(ModelError::Unsupported {
            path: self.target.clone(),
            reason: "it is no longer what this training published, and is not overwritten".into(),
            hint: Some("give each training its own output".into()),
        }))
    }
}

/// The variables of a model's folder, if it has any.
fn checkpoint(folder: &Path) -> Result<Option<CheckpointReader>> {
    let prefix = folder.join("variables").join("variables");
    Ok(if index_path(&prefix).exists() { Some(CheckpointReader::open(&prefix)?) } else { None })
}

/// The variables that have a NaN or an infinity. A step with a finite loss can leave such variables behind.
fn not_finite(folder: &Path) -> Result<BTreeSet<String>> {
    let Some(reader) = checkpoint(folder)? else { return Ok(BTreeSet::new()) };
    let mut names = BTreeSet::new();
    for variable in Variables::new(reader.index().clone(), Vec::new()).all {
        let is_float = variable.entry.dtype.is_float();
        if is_float
            && Stats::from_tensor(&reader.read(&variable.entry.key)?).is_some_and(|it| it.nans + it.infinities > 0)
        {
            names.insert(variable.name);
        }
    }
    Ok(names)
}
