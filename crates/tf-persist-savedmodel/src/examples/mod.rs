//! `tf.Example`s: which features a signature's graph parses out of its string input, and of which types.
//!
//! A serialized `tf.Example` is fed as a string; the graph takes it apart with an op that knows each feature by name and type
//! (`tf.io.parse_example`). So what kind of list a number has to stand in can be read off the graph.
//! [`read_examples`](crate::tensor::json::read_examples) makes examples of JSON with it.

mod graph;

use std::collections::BTreeMap;

use crate::dtype::DType;
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};
pub use crate::tensor::json::FeatureKind;

/// A string input whose strings the graph parses as `tf.Example`s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExampleInput {
    /// The signature's name of it.
    pub name: String,
    /// The features that are parsed out of it, by name.
    pub features: BTreeMap<String, FeatureKind>,
    /// Whether these are all: nothing else parses it that cannot be read here, such as a custom op.
    pub is_complete: bool,
    /// Whether the graph parses its strings as `tf.SequenceExample`s: then examples cannot be made of `features`.
    pub is_sequence: bool,
}

impl SavedModel {
    /// The inputs of a signature that take `tf.Example`s, in the signature's order, read off the graph without TensorFlow.
    #[must_use]
    pub fn example_inputs(&self, meta_graph: &MetaGraph, signature: &SignatureDef) -> Vec<ExampleInput> {
        let parsed = graph::parsed(self.meta_graph_bytes(meta_graph), signature);
        let strings: Vec<String> = signature
            .input_tensors()
            .into_iter()
            .filter(|(_, dtype)| *dtype == DType::String)
            .map(|(name, _)| name)
            .collect();
        let all = signature.input_tensors().into_iter().map(|(name, _)| name);
        all.filter_map(|name| {
            let is_only = strings == [name.clone()];
            let is_own = |input: &Option<String>| input.as_ref().map_or(is_only, |input| *input == name);
            let own: Vec<_> = parsed.iter().filter(|parsed| is_own(&parsed.input)).collect();
            if own.is_empty() {
                return None;
            }
            let elsewhere = parsed.iter().any(|parsed| parsed.input.is_none() && !is_only);
            let is_complete = !elsewhere && own.iter().all(|parsed| parsed.features.is_some());
            let mut features = BTreeMap::new();
            let mut doubtful = Vec::new();
            for (feature, kind) in own.iter().filter_map(|parsed| parsed.features.as_ref()).flatten() {
                // What two ops parse as two kinds is no use to either: the values say what they are.
                if features.insert(feature.clone(), *kind).is_some_and(|before| before != *kind) {
                    doubtful.push(feature.clone());
                }
            }
            features.retain(|feature, _| !doubtful.contains(feature));
            let is_sequence = own.iter().any(|parsed| parsed.is_sequence);
            Some(ExampleInput { name, features, is_complete: is_complete && doubtful.is_empty(), is_sequence })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
