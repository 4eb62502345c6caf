//! Changed graphs: parts of a meta graph, variables that become constants, and what that makes simpler.

mod asserts;
mod biases;
mod edges;
mod effects;
pub(crate) mod fold;
pub(crate) mod freeze;
pub(crate) mod inline;
mod layouts;
mod loops;
mod lstm;
mod outputs;
mod products;
pub(crate) mod prune;
mod scalars;
mod shapes;
#[cfg(test)]
mod tests;
mod unreached;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tf_persist_proto::tensorflow as pb;

use crate::graph::{attr, node_of};

/// What is changed in a graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewrite {
    /// The names of the signatures to keep, where they are given.
    pub(crate) signatures: Option<Vec<String>>,
    /// Old and new names of signatures.
    pub(crate) renamed: Vec<(String, String)>,
    /// Whether only what the kept signatures reach stays.
    pub(crate) inference_only: bool,
    /// Whether variables become constants. What the kept signatures do not reach goes as well.
    pub(crate) frozen: bool,
    /// Whether a graph with constants is [simplified](simplify), and what then becomes of its assertions.
    pub(crate) simplified: Option<Asserts>,
}

impl Rewrite {
    /// Whether only what the kept signatures reach stays.
    pub(crate) fn prunes(&self) -> bool {
        self.inference_only || self.frozen
    }

    /// Whether the graph changes at all.
    pub(crate) fn changes(&self) -> bool {
        self.prunes() || self.signatures.is_some() || !self.renamed.is_empty()
    }
}

/// What becomes of the assertions of a graph that is simplified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asserts {
    /// They stay, and go on to refuse what they refused.
    #[default]
    Keep,
    /// They are dropped: an input that they would have refused gets an answer, which may mean nothing.
    Drop,
}

/// How often a graph was simplified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Simplified {
    /// Assertions that were dropped.
    pub(crate) asserts: usize,
    /// Calls that became nodes.
    pub(crate) calls: usize,
    /// LSTM layers whose loops take many steps at once.
    pub(crate) lstms: usize,
    /// Loops that became their steps.
    pub(crate) loops: usize,
    /// Products of batches that became products of matrices, and biases that moved to one.
    pub(crate) products: usize,
    /// Transposes and reshapes that became one with another, or nothing.
    pub(crate) layouts: usize,
    /// Nodes that became a part of weights or a bias.
    pub(crate) folds: usize,
    /// The simplifications that panicked or lost an output, by what they would have changed. Nothing is left of them.
    pub(crate) failed: Vec<&'static str>,
}

impl Simplified {
    /// What was changed, with the constants.
    pub(crate) fn changes(&self) -> Vec<&'static str> {
        let counted = [
            ("asserts", self.asserts),
            ("calls", self.calls),
            ("lstms", self.lstms),
            ("loops", self.loops),
            ("products", self.products),
            ("layouts", self.layouts),
            ("weights", self.folds),
        ];
        let done = counted.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name);
        std::iter::once("constants").chain(done).collect()
    }
}

/// A change to a graph in which these nodes are asked for by their names. It counts what it does.
type Simplification = fn(&mut pb::GraphDef, &HashSet<String>, &mut Simplified);

/// The simplifications by what they change, in this order.
const SIMPLIFICATIONS: [(&str, Simplification); 8] = [
    ("calls", |graph, asked, done| done.calls += inline::inline(graph, asked)),
    ("lstms", |graph, asked, done| done.lstms += lstm::fuse(graph, asked)),
    ("loops", unroll),
    ("edges", |graph, _, _| edges::drop_dead_edges(graph)),
    ("products", |graph, asked, done| done.products += products::flatten(graph, asked)),
    ("biases", |graph, asked, done| done.products += biases::move_before_reshape(graph, asked)),
    ("layouts", |graph, asked, done| done.layouts += layouts::merge(graph, asked)),
    ("weights", |graph, asked, done| done.folds += fold::fold(graph, asked)),
];

/// Whether channels are a node's last dimension, as they are by default.
fn channels_are_last(node: &pb::NodeDef) -> bool {
    const LAST: &str = "NHWC";
    attr::text_or(node, "data_format", LAST) == LAST
}

fn unroll(graph: &mut pb::GraphDef, asked: &HashSet<String>, done: &mut Simplified) {
    /// The deepest nesting of loops.
    const MAX_DEPTH: usize = 3;
    for _ in 0..MAX_DEPTH {
        let replaced = loops::unroll(graph, asked);
        if replaced.is_empty() {
            break;
        }
        done.loops += replaced.len();
        inline::inline_beside(graph, asked, replaced);
    }
}

/// Makes a graph whose variables are constants faster. A simplification that panics, or loses a tensor that is asked
/// for, costs itself alone.
pub(crate) fn simplify(definition: &mut pb::MetaGraphDef, asserts: Asserts) -> Simplified {
    let dropped = match asserts {
        Asserts::Keep => 0,
        Asserts::Drop => asserts::drop_asserts(definition.graph_def.mut_or_insert_default()),
    };
    Simplified { asserts: dropped, ..simplify_by(definition, &SIMPLIFICATIONS) }
}

fn simplify_by(definition: &mut pb::MetaGraphDef, simplifications: &[(&'static str, Simplification)]) -> Simplified {
    let mut done = Simplified::default();
    for (name, change) in simplifications {
        let simplified = catch_unwind(AssertUnwindSafe(|| {
            // The bytes of its constants are shared.
            let (mut definition, mut done) = (definition.clone(), done.clone());
            let asked = unreached::asked(&definition).iter().map(|tensor| node_of(tensor).to_owned()).collect();
            change(definition.graph_def.mut_or_insert_default(), &asked, &mut done);
            unreached::drop_unreached(&mut definition);
            (definition, done)
        }));
        match simplified {
            Ok(simplified) if !unreached::loses_outputs(definition, &simplified.0) => (*definition, done) = simplified,
            _ => done.failed.push(name),
        }
    }
    done
}
