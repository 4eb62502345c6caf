//! How a model is saved.

use std::path::{Path, PathBuf};

use super::staging::{self, Staging};
use crate::checkpoint::restore::RestoreOptions;
use crate::error::Result;
use crate::rewrite::Rewrite;

/// How a model is saved.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    pub(super) overwrite: bool,
    pub(super) tags: Option<Vec<String>>,
    pub(super) rewrite: Rewrite,
    pub(super) checkpoint: Option<(PathBuf, RestoreOptions)>,
}

impl SaveOptions {
    /// Whether a model that stands at the target is replaced. The two change places in one step, once the new one is whole.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Writes the meta graph with these tags and no other. The order does not matter, and the set may be empty. Without it all
    /// meta graphs are written, unless the options change the graph: then the one that is loaded where no tags are given.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps these signatures and no others. Everything else stays as it is.
    #[must_use]
    pub fn signatures<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.rewrite.signatures = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Gives a signature another name.
    #[must_use]
    pub fn rename_signature(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.rewrite.renamed.push((old.into(), new.into()));
        self
    }

    /// Whether only what inference needs is written: every function, node, variable, table and asset that no kept signature
    /// reaches goes. Where [`SaveOptions::signatures`] names none, those are kept that neither are called after training nor write
    /// variables, and the default one.
    ///
    /// What Python's `tf.saved_model.load` makes of the object graph has the kept signatures, the functions they call and the
    /// variables they read.
    #[must_use]
    pub fn inference_only(mut self, inference_only: bool) -> Self {
        self.rewrite.inference_only = inference_only;
        self
    }

    /// Whether variables become constants of the graph, so that TensorFlow can compute with them ahead of time. The same signatures stay
    /// as with [`SaveOptions::inference_only`], but for those without outputs, which only the object graph could call; what no kept
    /// signature reaches goes. A variable that a kept one writes is refused, and so is one that the init op writes. The result has neither variables nor an object graph: Python's `tf.saved_model.load` takes it for a
    /// model of TensorFlow 1, and gives its signatures.
    #[must_use]
    pub fn frozen(mut self, frozen: bool) -> Self {
        self.rewrite.frozen = frozen;
        self
    }

    /// Takes the variables' values from a training checkpoint, instead of the model's own: `checkpoint` is a path as
    /// [`find_checkpoint`](crate::checkpoint::find_checkpoint) takes it, and [`restore`](crate::checkpoint::restore) says which
    /// variable of it is which of the model's.
    ///
    /// Not for a `LoadedModel`, whose variables are those of its session.
    #[must_use]
    pub fn from_checkpoint(mut self, checkpoint: impl Into<PathBuf>, how: RestoreOptions) -> Self {
        self.checkpoint = Some((checkpoint.into(), how));
        self
    }

    /// Checks, before anything is loaded, that a model may be saved at `target`: in a folder, or, if it ends in `.tfpack`, in a
    /// [pack](crate::pack).
    ///
    /// # Errors
    /// If it is there and not empty (unless [`SaveOptions::overwrite`]), or is no folder, or no pack.
    pub fn check_target(&self, target: impl AsRef<Path>) -> Result<()> {
        staging::check(target.as_ref(), self.overwrite)
    }

    /// As [`SaveOptions::check_target`], and that a folder can be made there.
    #[doc(hidden)]
    pub fn try_target(&self, target: &Path) -> Result<()> {
        Staging::begin(target, self.overwrite).map(drop)
    }
}
