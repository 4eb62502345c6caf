//! Which features are watched: numbers and categories that each row of an exchange has.

mod extract;
mod infer;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub(crate) use extract::{Cell, Views, argmax};
pub(crate) use infer::Inference;

/// The most elements a row of a tensor whose elements are each a feature.
pub(crate) const MAX_ELEMENTS: usize = 32;

/// The projections of a larger tensor.
pub(crate) const PROJECTIONS: usize = 8;

/// The most features: their sketches and counts must fit memory.
const MAX_FEATURES: usize = 10_000;

/// Whether a tensor is asked or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Of the request.
    Input,
    /// Of the answer.
    Output,
}

/// Which features a tensor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layout {
    /// Each element of a row.
    Elements,
    /// Mean, deviation, minimum, maximum and projections of a row.
    Summary,
}

/// A tensor that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TensorPlan {
    pub(crate) name: String,
    pub(crate) side: Side,
    /// The elements of a row; none if rows differ.
    pub(crate) elements: Option<usize>,
    pub(crate) layout: Layout,
    /// Whether its elements are categories: texts, bools, or few integers.
    pub(crate) is_category: bool,
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) side: Side,
    pub(crate) is_category: bool,
}

/// All tensors with their features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether the first dimension of the inputs is rows.
    pub(crate) is_batched: bool,
    pub(crate) tensors: Vec<TensorPlan>,
    /// Those of each tensor in order.
    pub(crate) features: Vec<Feature>,
}

impl TensorPlan {
    /// Whether an answer is a vector, whose largest element is what most models mean.
    fn is_vector_output(&self) -> bool {
        self.side == Side::Output && !self.is_category && self.elements.is_some_and(|elements| elements > 1)
    }

    fn features(&self) -> Vec<Feature> {
        let name = &self.name;
        let feature = |name: String, is_category| Feature { name, side: self.side, is_category };
        let mut features = Vec::new();
        match (self.layout, self.elements) {
            (Layout::Elements, Some(1)) => features.push(feature(name.clone(), self.is_category)),
            (Layout::Elements, elements) => {
                let elements = 0..elements.unwrap_or(0);
                features.extend(elements.map(|index| feature(format!("{name}[{index}]"), self.is_category)));
            }
            (Layout::Summary, elements) => {
                features
                    .extend(["mean", "deviation", "min", "max"].map(|what| feature(format!("{name}.{what}"), false)));
                match elements {
                    None => features.push(feature(format!("{name}.length"), false)),
                    Some(_) => {
                        features.extend((0..PROJECTIONS).map(|at| feature(format!("{name}.projection[{at}]"), false)));
                    }
                }
            }
        }
        if self.is_vector_output() {
            features.push(feature(format!("{name}.argmax"), true));
            features.push(feature(format!("{name}.largest"), false));
        }
        features
    }
}

impl Plan {
    /// A plan of these tensors.
    ///
    /// # Errors
    /// A sentence, if there are none, two have the same name, or they have too many features.
    pub(crate) fn new(is_batched: bool, tensors: Vec<TensorPlan>) -> Result<Self, String> {
        let mut names = HashSet::new();
        let mut features = Vec::new();
        for tensor in &tensors {
            if !names.insert((tensor.side, &tensor.name)) {
                return Err(format!("the tensor `{}` is named twice", tensor.name));
            }
            let is_wide = tensor.elements.is_some_and(|elements| elements > MAX_ELEMENTS);
            let is_possible = match tensor.layout {
                Layout::Elements => !is_wide && tensor.elements.is_some(),
                Layout::Summary => !tensor.is_category,
            };
            if !is_possible {
                return Err(format!("the tensor `{}` has a layout that does not go with its elements", tensor.name));
            }
            features.extend(tensor.features());
            if features.len() > MAX_FEATURES {
                return Err(format!("there are more than {MAX_FEATURES} features"));
            }
        }
        if features.is_empty() {
            return Err("there is nothing to watch".to_owned());
        }
        Ok(Self { is_batched, tensors, features })
    }

    /// A plan without tensors, for a log in which no request was answered.
    pub(crate) fn of_nothing(is_batched: bool) -> Self {
        Self { is_batched, tensors: Vec::new(), features: Vec::new() }
    }

    pub(crate) fn is_of_nothing(&self) -> bool {
        self.features.is_empty()
    }

    /// The feature of this name; that of an input before that of an output.
    pub(crate) fn feature(&self, name: &str) -> Option<usize> {
        let find = |side| self.features.iter().position(|feature| feature.side == side && feature.name == name);
        find(Side::Input).or_else(|| find(Side::Output))
    }
}

#[cfg(test)]
mod tests;
