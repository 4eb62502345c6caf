//! Options of saving.

use std::path::{Path, PathBuf};

use super::staging::{self, Staging};
use crate::checkpoint::restore::RestoreOptions;
use crate::error::Result;
use crate::rewrite::{Asserts, Rewrite};
use crate::saved_model::MetaGraph;

/// Options of saving.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    pub(super) overwrite: bool,
    pub(super) tags: Option<Vec<String>>,
    pub(super) rewrite: Rewrite,
    pub(super) plain: bool,
    pub(super) optimized: bool,
    asserts: Asserts,
    pub(super) checkpoint: Option<(PathBuf, RestoreOptions)>,
}

impl SaveOptions {
    /// Whether a model at the target is replaced, atomically. Default: false.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Writes only the meta graph with these tags, in any order; the set may be empty. Default: all meta graphs, or the
    /// default one if other options change the graph.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps only these signatures. Everything else stays.
    #[must_use]
    pub fn signatures<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.rewrite.signatures = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Renames a signature.
    #[must_use]
    pub fn rename_signature(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.rewrite.renamed.push((old.into(), new.into()));
        self
    }

    /// Whether to write only what inference needs: functions, nodes, variables, tables and assets that no kept
    /// signature reaches are removed. Without [`SaveOptions::signatures`], the default signature is kept, and all that
    /// are not named after training and write no variables.
    ///
    /// In Python's `tf.saved_model.load`, the object has the kept signatures, their functions and their variables.
    #[must_use]
    pub fn inference_only(mut self, inference_only: bool) -> Self {
        self.rewrite.inference_only = inference_only;
        self
    }

    /// Whether variables become constants of the graph, which TensorFlow can fold ahead of time. As with
    /// [`SaveOptions::inference_only`], only what the kept signatures need is written; signatures without outputs are
    /// removed, because only the object graph can call them. Variables that a kept signature writes are refused, and
    /// variables that the init op changes. A variable that the init op alone decides stays a variable. The result has
    /// no checkpoint and no object graph: Python's `tf.saved_model.load` treats it as a model of TensorFlow 1, and
    /// provides its signatures.
    #[must_use]
    pub fn frozen(mut self, frozen: bool) -> Self {
        self.rewrite.frozen = frozen;
        self
    }

    /// Whether to write what the fast path makes of the model when it is loaded, so that the next load need not: the
    /// variables become constants as with [`SaveOptions::frozen`], calls of functions and loops of known length become
    /// nodes, multiplications and additions after convolutions and matrix products become a part of their weights, and
    /// all signatures with outputs are kept unless others are chosen. A file in `assets.extra` says so, and of which
    /// model it was made: [`SavedModel::optimized`].
    ///
    /// [`SavedModel::optimized`]: crate::SavedModel::optimized
    #[must_use]
    pub fn optimized(mut self, optimized: bool) -> Self {
        self.optimized = optimized;
        self.rewrite.frozen |= optimized;
        self
    }

    /// Whether an [optimised](SaveOptions::optimized) model keeps its assertions. Default: [`Asserts::Keep`]. Has no
    /// effect on others.
    #[must_use]
    pub fn asserts(mut self, asserts: Asserts) -> Self {
        self.asserts = asserts;
        self
    }

    /// What is changed in the graph of a meta graph.
    pub(super) fn rewrite_of(&self, meta_graph: &MetaGraph) -> Rewrite {
        let mut rewrite = self.rewrite.clone();
        rewrite.simplified = self.optimized.then_some(self.asserts);
        if self.optimized && !rewrite.inference_only {
            rewrite.signatures.get_or_insert_with(|| meta_graph.signatures_with_outputs());
        }
        rewrite
    }

    /// Whether tensors of the checkpoint that are equal are written as often as they were. By default, the bytes of
    /// equal tensors are written once, which TensorFlow reads: Keras's `model.export` stores every weight twice. Packs
    /// are always written as they are.
    #[must_use]
    pub fn plain(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// Takes the values of variables from a training checkpoint. `checkpoint` is a path as for
    /// [`find_checkpoint`](crate::checkpoint::find_checkpoint), and [`restore`](crate::checkpoint::restore) describes
    /// how variables are matched.
    ///
    /// Not for a `LoadedModel`, whose variables are those of its session.
    #[must_use]
    pub fn from_checkpoint(mut self, checkpoint: impl Into<PathBuf>, how: RestoreOptions) -> Self {
        self.checkpoint = Some((checkpoint.into(), how));
        self
    }

    /// Checks that a model may be saved at `target`: as a folder, or as a [pack](crate::pack) if it ends in `.tfpack`.
    ///
    /// # Errors
    /// If it exists and is not empty (unless [`SaveOptions::overwrite`]), or is not a folder or pack.
    pub fn check_target(&self, target: impl AsRef<Path>) -> Result<()> {
        staging::check(target.as_ref(), self.overwrite)
    }

    /// As [`SaveOptions::check_target`], and checks that a folder can be created there.
    #[doc(hidden)]
    pub fn try_target(&self, target: &Path) -> Result<()> {
        Staging::begin(target, self.overwrite).map(drop)
    }
}
