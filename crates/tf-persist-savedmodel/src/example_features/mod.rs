//! Features of `tf.Example`s: which features a signature's graph parses from a string input, and their types.
//!
//! A serialized `tf.Example` is fed as a string. The graph parses it with an op that names each feature and its type
//! (`tf.io.parse_example`), so the graph tells the kind of list that a feature needs.
//! [`read_examples`](crate::tensor::json::read_examples) uses this to make examples from JSON.

mod graph;

use std::collections::BTreeMap;

use crate::dtype::DType;
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};
pub use crate::tensor::json::FeatureKind;

/// A string input that the graph parses as `tf.Example`s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExampleInput {
    /// Its name in the signature.
    pub name: String,
    /// The features that are parsed, by name.
    pub features: BTreeMap<String, FeatureKind>,
    /// Whether these are all features: no unknown op, such as a custom op, parses the input.
    pub is_complete: bool,
    /// Whether the graph parses its strings as `tf.SequenceExample`s: then examples cannot be made of `features`.
    pub is_sequence: bool,
}

impl SavedModel {
    /// The inputs of a signature that take `tf.Example`s, in the signature's order, found in the graph without
    /// TensorFlow.
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
                // Two ops parse it as different kinds, so the values decide.
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
