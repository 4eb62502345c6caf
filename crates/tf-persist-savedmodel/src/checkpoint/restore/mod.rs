//! The variables of a training checkpoint, for a model: which is which, and the model's checkpoint with the new values.
//!
//! The two need not have been written in the same way. These rules are tried, in this order, and the first by which every
//! variable of the model is found, with its dtype and its shape, is taken:
//!
//! 1. **Keys.** The checkpoint has the model's keys: TensorFlow 1's names, or `tf.train.Checkpoint` of the object that the model
//!    was saved from.
//! 2. **Objects.** The object graphs are gone through side by side, along attributes of the same names, as TensorFlow does when
//!    it restores: from both roots; else from the model's root and an object of the checkpoint's (`tf.train.Checkpoint(model=m)`),
//!    or the other way round. If several objects fit, and differ, that is an error that names them.
//! 3. **Names.** The variables' names in Python, where they are unique on both sides: what TensorFlow's `Saver` goes by when it
//!    restores a checkpoint of objects. The first part of a name may differ in the number that Keras appends to it
//!    (`sequential_1/dense/kernel` for `sequential/dense/kernel`), if only one fits; and all names of one side may have a scope in
//!    front that those of the other lack (`dense/kernel`), if only one scope fits.
//!
//! Nothing is guessed: what fits twice is refused.
//!
//! A table is found as a variable is; its tensors are `NAME-keys` and `NAME-values`, which go together.

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

/// The end of the keys under which Keras 2 keeps a layer's settings: of the object, and no variable.
const SETTINGS: &str = "/.ATTRIBUTES/OBJECT_CONFIG_JSON";

/// How a checkpoint's variables are matched to a model's.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Variables of the model that the checkpoint does not have keep the values that they have in the model. Without, they are
    /// an error.
    pub keep_missing: bool,
    /// The object of the checkpoint that is the model, by its way from the root: `generator` of
    /// `tf.train.Checkpoint(generator=…, discriminator=…)`, or `gan.generator`. Rule 1 is left out then, and nothing outside of
    /// this object is looked at. Where there is no such object, it is the scope that the names of the model's variables begin with in the
    /// checkpoint: `generator` for `generator/dense/kernel`.
    pub object: Option<String>,
    /// A variable that has a moving average in the checkpoint takes it: one under its name and `/ExponentialMovingAverage`, as
    /// `tf.train.ExponentialMovingAverage` keeps them, or one that a Keras optimizer with `use_ema` keeps. A variable that has none takes its
    /// own value; that no variable has one, or one has several, is an error.
    pub moving_averages: bool,
}

/// Where the values of a model's variables are in another checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mapping {
    /// The model's variables that the checkpoint has, sorted by key.
    pub pairs: Vec<Pair>,
    /// The keys of the model's variables that keep their values: the checkpoint does not have them.
    pub kept: Vec<String>,
    /// The keys of the checkpoint that nothing of the model stands for: optimizer state, say.
    pub unused: Vec<String>,
    /// By which rule they were found.
    pub matched: Matched,
}

/// A variable of a model and what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pair {
    /// Its key in the model.
    pub key: String,
    /// The key in the checkpoint.
    pub source: String,
    /// Whether what is under that key is the variable's moving average.
    pub is_average: bool,
}

/// The rule by which variables were found; see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matched {
    /// The keys are the same.
    Keys,
    /// By their places in the object graphs, from these objects on; an empty way is the root.
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
    /// Reads the object graphs and none of the variables. Without the model's graph, dtypes and shapes have to be those that the model was
    /// saved with: [`SaveOptions::from_checkpoint`](crate::SaveOptions::from_checkpoint) knows what the graph declares. Settings of layers (`OBJECT_CONFIG_JSON`) stay the model's.
    ///
    /// # Errors
    /// - [`CheckpointError::Mismatch`](crate::CheckpointError::Mismatch) with what is missing, and what has another dtype or shape;
    /// - [`Error::Unsupported`] if several variables fit one, or there is no such object;
    /// - [`Error::Damaged`] if an object graph is damaged.
    pub fn find(model: &CheckpointReader, checkpoint: &CheckpointReader, options: &RestoreOptions) -> Result<Self> {
        Self::find_with(model, checkpoint, options, &|_| None)
    }

    /// As [`Mapping::find`], for a model whose graph declares these shapes.
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

    /// How many variables take their moving average.
    #[must_use]
    pub fn averages(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_average).count()
    }
}

/// What a checkpoint has besides its object graph and settings of objects.
fn variables(checkpoint: &CheckpointReader) -> impl Iterator<Item = &Entry> {
    let entries = checkpoint.index().entries.iter();
    entries.filter(|entry| entry.key != OBJECT_GRAPH_KEY && !entry.key.ends_with(SETTINGS))
}

#[cfg(test)]
mod tests;
