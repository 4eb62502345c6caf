//! Compares two models without TensorFlow: signatures, ops, functions, graphs, variables, assets.
//!
//! Graphs are compared by what they compute. Two exports of one model differ in generated names
//! (`__inference_train_123`), in the order of nodes and functions, and in the part of the graph that saves and restores
//! the variables. These do not count; [`GraphDiff`] says what does.
//!
//! ```no_run
//! use tf_persist_savedmodel::SavedModel;
//! use tf_persist_savedmodel::diff::{DiffOptions, diff};
//!
//! # fn main() -> tf_persist_savedmodel::Result<()> {
//! let (a, b) = (SavedModel::open("before")?, SavedModel::open("after")?);
//! let diff = diff(&a, &b, &DiffOptions::default())?;
//! println!("{}", if diff.is_same() { "same" } else { "different" });
//! # Ok(())
//! # }
//! ```

mod assets;
mod canonical;
mod functions;
mod graph;
mod signatures;
mod variables;

pub use assets::{AssetDiff, AssetsDiff};
pub use graph::{FunctionsDiff, GraphDiff, NodesDiff, OpDiff};
pub use signatures::SignatureDiff;
pub use variables::{TableDiff, VariableChange, VariableDiff, VariablesDiff};

use crate::error::Result;
use crate::saved_model::{MetaGraph, SavedModel};
use crate::tensor::Tolerance;

/// The parts to compare, and the tolerance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DiffOptions {
    tags: Option<Vec<String>>,
    tolerance: Tolerance,
    only_variables: bool,
}

impl Default for DiffOptions {
    /// Compares all meta graphs, without tolerance for variables.
    fn default() -> Self {
        Self { tags: None, tolerance: Tolerance::EXACT, only_variables: false }
    }
}

impl DiffOptions {
    /// Compares only the meta graphs with these tags.
    #[must_use]
    pub fn tags(mut self, tags: Option<Vec<String>>) -> Self {
        self.tags = tags;
        self
    }

    /// The tolerance for floats of variables.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Whether only the variables are compared.
    #[must_use]
    pub fn only_variables(mut self, only: bool) -> Self {
        self.only_variables = only;
        self
    }
}

/// The differences between two models, the first `a` and the second `b`. Things that only `b` has were added.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// Tag sets that only `b` has.
    pub added_tags: Vec<Vec<String>>,
    /// Tag sets that only `a` has.
    pub removed_tags: Vec<Vec<String>>,
    /// Meta graphs that both have.
    pub meta_graphs: Vec<MetaGraphDiff>,
    /// The variables, which all meta graphs share.
    pub variables: VariablesDiff,
    /// The files in `assets` and `assets.extra`.
    pub assets: AssetsDiff,
    /// Notes that are not differences, as sentences: versions and fingerprints.
    pub notes: Vec<String>,
}

/// The differences between two meta graphs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MetaGraphDiff {
    /// The tags, in the order of `a`.
    pub tags: Vec<String>,
    /// Signatures that differ, sorted by name.
    pub signatures: Vec<SignatureDiff>,
    /// The differences in the graph.
    pub graph: GraphDiff,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.added_tags.is_empty()
            && self.removed_tags.is_empty()
            && self.meta_graphs.iter().all(MetaGraphDiff::is_same)
            && self.variables.is_same()
            && self.assets.is_same()
    }

    /// The names of the parts that differ: `tags`, `signatures`, `ops`, `functions`, `graph`, `variables`, `assets`.
    #[must_use]
    pub fn parts(&self) -> Vec<&'static str> {
        let any = |differs: fn(&MetaGraphDiff) -> bool| self.meta_graphs.iter().any(differs);
        let parts = [
            ("tags", !self.added_tags.is_empty() || !self.removed_tags.is_empty()),
            ("signatures", any(|it| !it.signatures.is_empty())),
            ("ops", any(|it| !it.graph.ops.is_empty())),
            ("functions", any(|it| !it.graph.functions.is_same())),
            ("graph", any(|it| !it.graph.nodes.is_same())),
            ("variables", !self.variables.is_same()),
            ("assets", !self.assets.is_same()),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
    }
}

impl MetaGraphDiff {
    fn is_same(&self) -> bool {
        self.signatures.is_empty() && self.graph.is_same()
    }
}

/// Compares two models. Variables are read one after the other, and every checksum is checked.
///
/// # Errors
/// [`SavedModelError::UnknownTags`](crate::SavedModelError::UnknownTags) if neither has the requested tags. Also if a
/// variable or an asset cannot be read.
pub fn diff(a: &SavedModel, b: &SavedModel, options: &DiffOptions) -> Result<Diff> {
    let mut all = Diff {
        added_tags: Vec::new(),
        removed_tags: Vec::new(),
        meta_graphs: Vec::new(),
        variables: VariablesDiff::default(),
        assets: AssetsDiff::default(),
        notes: Vec::new(),
    };
    if let Some(tags) = &options.tags {
        // Otherwise there is nothing to compare.
        all.compare_meta_graphs(a, a.meta_graph(Some(tags))?, b, b.meta_graph(Some(tags))?, options);
    } else {
        for meta_graph in a.meta_graphs() {
            match b.meta_graphs().iter().find(|other| other.has_tags(meta_graph.tags())) {
                Some(other) => all.compare_meta_graphs(a, meta_graph, b, other, options),
                None => all.removed_tags.push(meta_graph.tags().to_vec()),
            }
        }
        let of_a = |other: &MetaGraph| a.meta_graphs().iter().any(|it| it.has_tags(other.tags()));
        all.added_tags.extend(b.meta_graphs().iter().filter(|it| !of_a(it)).map(|it| it.tags().to_vec()));
        if options.only_variables {
            all.added_tags.clear();
            all.removed_tags.clear();
        }
    }
    all.variables = variables::diff(a.variables()?, b.variables()?, options.tolerance)?;
    if !options.only_variables {
        all.assets = assets::diff(a, b)?;
        all.note_fingerprints(a, b)?;
    }
    Ok(all)
}

impl Diff {
    fn compare_meta_graphs(
        &mut self,
        a: &SavedModel,
        of_a: &MetaGraph,
        b: &SavedModel,
        of_b: &MetaGraph,
        options: &DiffOptions,
    ) {
        if options.only_variables {
            return;
        }
        let (mut signatures, notes) = signatures::diff(of_a, of_b);
        self.notes.extend(notes);
        let graph = graph::diff((a, of_a), (b, of_b), &mut signatures);
        self.meta_graphs.push(MetaGraphDiff { tags: of_a.tags().to_vec(), signatures, graph });
        let versions = [of_a, of_b].map(MetaGraph::tensorflow_version);
        if versions[0] != versions[1] {
            self.notes.push(format!("written by TensorFlow {} and {}", known(versions[0]), known(versions[1])));
        }
    }

    fn note_fingerprints(&mut self, a: &SavedModel, b: &SavedModel) -> Result<()> {
        let note = match (a.fingerprint()?, b.fingerprint()?) {
            (Some(a), Some(b)) if a.uuid == b.uuid && a.saved_model_checksum == b.saved_model_checksum => return Ok(()),
            (Some(a), Some(b)) => {
                let parts = [
                    ("model's file", a.saved_model_checksum == b.saved_model_checksum),
                    ("graph", a.graph_def_program_hash == b.graph_def_program_hash),
                    ("signatures", a.signature_def_hash == b.signature_def_hash),
                    ("object graph", a.saved_object_graph_hash == b.saved_object_graph_hash),
                    ("checkpoint", a.checkpoint_hash == b.checkpoint_hash),
                ];
                let differ: Vec<&str> = parts.iter().filter(|(_, same)| !same).map(|(part, _)| *part).collect();
                match differ.as_slice() {
                    [] => "fingerprints differ in their random numbers alone".to_owned(),
                    parts => format!("fingerprints differ in the hashes of: {}", parts.join(", ")),
                }
            }
            (None, None) => return Ok(()),
            (of_a, _) => format!("only {} has a fingerprint", if of_a.is_some() { "the first" } else { "the second" }),
        };
        self.notes.push(note);
        Ok(())
    }
}

fn known(version: &str) -> String {
    if version.is_empty() { "of an unknown version".into() } else { crate::saved_model::printable(version) }
}

#[cfg(test)]
mod tests;
