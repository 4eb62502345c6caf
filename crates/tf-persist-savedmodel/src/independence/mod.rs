//! Whether the rows of a batch are independent: a proof from the graph, without TensorFlow.
//!
//! A server may run requests of several clients in one batch only if no row of an output depends on another row of the
//! inputs. The proof evaluates the graph of a signature over *shapes*: each tensor is independent of the inputs, or has
//! the batch's rows along one axis, or is a vector of sizes. Each known op has a rule that gives its outputs; an op
//! without a rule ends the proof, and so does anything that writes, draws random numbers or takes its shape from
//! values. Most models are not proven; none is proven wrongly.
//!
//! The proof covers the elements from which an output is computed, not their order: a batch may still round differently
//! than a row.

mod attributes;
mod evaluate;
mod rules;
mod size;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use crate::graph::view::IndexedGraph;
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo, TensorKind, parse_tensor_name};
use evaluate::Evaluator;
use size::Size;
use value::Value;

/// Why the rows of a signature's batch were not proven independent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    /// The node at which the proof ended; empty if it was not a node.
    pub node: String,
    /// Its op, or empty.
    pub op: String,
    /// The reason.
    pub reason: String,
}

impl Dependence {
    fn of_signature(reason: impl Into<String>) -> Self {
        Self { node: String::new(), op: String::new(), reason: reason.into() }
    }
}

impl std::error::Error for Dependence {}

impl std::fmt::Display for Dependence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.op.as_str() {
            "" => f.write_str(&self.reason),
            op => write!(f, "{op} (`{}`): {}", self.node, self.reason),
        }
    }
}

/// Proves that row `i` of every output of a signature depends only on row `i` of its inputs, if all inputs are given,
/// have the shapes that the signature declares, and have equal numbers of rows. The first dimension of each input and
/// output is the batch's.
///
/// # Errors
/// The reason why it is not proven, which does not mean that it is false.
pub fn prove_rows_independent(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> Result<(), Dependence> {
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    prove(&graph, signature)
}

fn prove(graph: &IndexedGraph<'_>, signature: &SignatureDef) -> Result<(), Dependence> {
    if signature.inputs.is_empty() || signature.outputs.is_empty() {
        return Err(Dependence::of_signature("it has no inputs or no outputs"));
    }
    let mut evaluator = Evaluator::new(graph);
    let mut fed = HashMap::new();
    for (name, info) in &signature.inputs {
        let tensor = tensor_of(info).ok_or_else(|| refused_input(name, "is not one dense tensor"))?;
        let sizes = info.shape.sizes().ok_or_else(|| refused_input(name, "has no declared rank"))?;
        let [None, inner @ ..] = sizes else {
            return Err(refused_input(name, "has no open first dimension"));
        };
        if !info.dtype.is_supported() {
            return Err(refused_input(name, "has a dtype that holds no values"));
        }
        let mut dims = vec![Size::batch()];
        for size in inner {
            dims.push(match size {
                Some(size) => i64::try_from(*size).map_or_else(|_| evaluator.symbol(), Size::known),
                None => evaluator.symbol(),
            });
        }
        fed.insert(tensor, Value::rows(0, dims));
    }
    let outputs = signature.outputs.iter().map(|(name, info)| {
        tensor_of(info).ok_or_else(|| Dependence::of_signature(format!("output `{name}` is not one dense tensor")))
    });
    let outputs: Vec<(String, usize)> = outputs.collect::<Result<_, _>>()?;
    let values = evaluator.top(&fed, &outputs)?;
    for ((name, _), value) in signature.outputs.iter().zip(values) {
        match value {
            Value::Rows { axis: 0, dims } if dims.first() == Some(&Size::batch()) => {}
            Value::Mixed(why) => return Err((*why).clone()),
            _ => return Err(Dependence::of_signature(format!("output `{name}` does not have the batch's rows"))),
        }
    }
    Ok(())
}

fn refused_input(name: &str, why: &str) -> Dependence {
    Dependence::of_signature(format!("input `{name}` {why}"))
}

/// The node and the index of its output.
fn tensor_of(info: &TensorInfo) -> Option<(String, usize)> {
    let TensorKind::Dense { name } = &info.kind else { return None };
    let (node, output) = parse_tensor_name(name).ok()?;
    Some((node.to_owned(), usize::try_from(output).ok()?))
}
