//! The variables of a training checkpoint for a model: matching them, and writing the model's checkpoint with the new
//! values.
//!
//! The two checkpoints may have been written in different ways. These rules are tried in order. The first rule that
//! finds every variable of the model, with its dtype and its shape, applies:
//!
//! 1. **Keys.** The checkpoint has the model's keys: TensorFlow 1's names, or `tf.train.Checkpoint` of the object that
//!    the model was saved from.
//! 2. **Objects.** The object graphs are walked side by side, along attributes of the same names, as TensorFlow does
//!    when it restores: from both roots; else from the model's root and an object of the checkpoint
//!    (`tf.train.Checkpoint(model=m)`), or the other way round. Several objects that match differently are an error
//!    that names them.
//! 3. **Names.** The variables' names in Python, if they are unique in both checkpoints: TensorFlow's `Saver` uses them
//!    to restore a checkpoint of objects. The first part of a name may differ in the number that Keras appends to it
//!    (`sequential_1/dense/kernel` for `sequential/dense/kernel`), if only one matches; and all names of one checkpoint
//!    may begin with a scope that those of the other lack (`dense/kernel`), if only one scope matches.
//!
//! Nothing is guessed: an ambiguous match is refused.
//!
//! Tables are matched like variables. Their tensors are `NAME-keys` and `NAME-values`, which belong together.

mod averages;
mod graph;
mod names;
mod rules;
mod scopes;
mod write;

use std::collections::BTreeSet;

use super::{CheckpointReader, Entry, OBJECT_GRAPH_KEY};
use crate::error::Result;

pub use crate::error::{CheckpointMismatch, CheckpointVariable, VariableMismatch};
pub(crate) use graph::tracked_objects;
pub(crate) use names::tells as names_a_variable;
pub(crate) use rules::DeclaredShape;

/// The suffix of the keys under which Keras 2 keeps the settings of a layer, which are not a variable.
const SETTINGS: &str = "/.ATTRIBUTES/OBJECT_CONFIG_JSON";

/// How a checkpoint's variables are matched to a model's.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Variables of the model that the checkpoint lacks keep the model's values. Otherwise they are an error.
    pub keep_missing: bool,
    /// The object of the checkpoint that is the model, by its path from the root: `generator` of
    /// `tf.train.Checkpoint(generator=…, discriminator=…)`, or `gan.generator`. Rule 1 does not apply then, and
    /// everything outside of this object is ignored. If the checkpoint has no such object, it is the scope at the
    /// beginning of the names of the model's variables in the checkpoint: `generator` for `generator/dense/kernel`.
    pub object: Option<String>,
    /// A variable with a moving average in the checkpoint gets the average: one of `tf.train.ExponentialMovingAverage`,
    /// under its name and `/ExponentialMovingAverage`, or one of a Keras optimizer with `use_ema`. A variable without
    /// one gets its own value. It is an error if no variable has an average, or one has several.
    pub moving_averages: bool,
}

/// The variables of a model matched to those of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mapping {
    /// The model's variables that the checkpoint has, sorted by key.
    pub pairs: Vec<Pair>,
    /// The keys of the model's variables that keep their values, because the checkpoint lacks them.
    pub kept: Vec<String>,
    /// The keys of the checkpoint that the model lacks, such as optimizer state.
    pub unused: Vec<String>,
    /// The rule that found them.
    pub matched: Matched,
}

/// A variable of a model and its counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pair {
    /// Its key in the model.
    pub key: String,
    /// The key in the checkpoint.
    pub source: String,
    /// Whether that key has the variable's moving average.
    pub is_average: bool,
}

/// The rule by which variables were found; see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matched {
    /// The keys are the same.
    Keys,
    /// By their paths in the object graphs, from these objects on; an empty path is the root.
    Objects {
        /// The model's object.
        model: String,
        /// The checkpoint's.
        checkpoint: String,
    },
    /// By their names in Python.
    Names,
}

impl Mapping {
    /// Finds the variables of a model in a checkpoint. `model` is the model's own checkpoint, `variables/variables`.
    ///
    /// Reads the object graphs and no variables. Dtypes and shapes must be those that the model was saved with;
    /// [`SaveOptions::from_checkpoint`](crate::SaveOptions::from_checkpoint) accepts those that the graph declares.
    /// Settings of layers (`OBJECT_CONFIG_JSON`) stay the model's.
    ///
    /// # Errors
    /// - [`CheckpointError::Mismatch`](crate::CheckpointError::Mismatch) with the variables that are missing or have
    ///   another dtype or shape;
    /// - [`Error::Unsupported`](crate::Error::Unsupported) if several variables match one, or the named object does not
    ///   exist;
    /// - [`Error::Damaged`](crate::Error::Damaged) if an object graph is damaged.
    pub fn find(model: &CheckpointReader, checkpoint: &CheckpointReader, options: &RestoreOptions) -> Result<Self> {
        Self::find_with(model, checkpoint, options, &|_| None)
    }

    /// As [`Mapping::find`], with the shapes that the model's graph declares.
    pub(crate) fn find_with(
        model: &CheckpointReader,
        checkpoint: &CheckpointReader,
        options: &RestoreOptions,
        declared: DeclaredShape<'_>,
    ) -> Result<Self> {
        let wanted: Vec<&Entry> = variables(model).collect();
        let (pairs, matched) = rules::find(model, checkpoint, &wanted, options, declared)?;
        let has: BTreeSet<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        let used: BTreeSet<&str> = pairs.iter().map(|pair| pair.source.as_str()).collect();
        let keys = |entry: &Entry| entry.key.clone();
        let kept = wanted.iter().filter(|entry| !has.contains(entry.key.as_str())).map(|entry| keys(entry)).collect();
        let unused = variables(checkpoint).filter(|entry| !used.contains(entry.key.as_str())).map(keys).collect();
        Ok(Self { pairs, kept, unused, matched })
    }

    /// The number of variables that get their moving average.
    #[must_use]
    pub fn averages(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_average).count()
    }
}

/// The entries of a checkpoint without its object graph and the settings of objects.
fn variables(checkpoint: &CheckpointReader) -> impl Iterator<Item = &Entry> {
    let entries = checkpoint.index().entries.iter();
    entries.filter(|entry| entry.key != OBJECT_GRAPH_KEY && !entry.key.ends_with(SETTINGS))
}

#[cfg(test)]
mod tests;
