//! Changed graphs: parts of a meta graph, variables that become constants, and what that makes simpler.

pub(crate) mod fold;
pub(crate) mod freeze;
pub(crate) mod inline;
pub(crate) mod prune;
mod unreached;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tf_persist_proto::tensorflow as pb;

use crate::graph::node_of;

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
    /// Whether a graph with constants is [simplified](simplify).
    pub(crate) simplified: bool,
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

/// How often a graph was simplified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Simplified {
    /// Calls that became nodes.
    pub(crate) calls: usize,
    /// Nodes that became a part of weights or a bias.
    pub(crate) folds: usize,
}

/// Makes a graph whose variables are constants faster: [`inline`], then [`fold`]. If one of them panics, nothing has
/// changed.
pub(crate) fn simplify(definition: &mut pb::MetaGraphDef) -> Simplified {
    let simplified = catch_unwind(AssertUnwindSafe(|| {
        // The bytes of its constants are shared.
        let mut definition = definition.clone();
        let calls = inline::inline(definition.graph_def.mut_or_insert_default());
        unreached::drop_unreached(&mut definition);
        let asked = unreached::asked(&definition).iter().map(|tensor| node_of(tensor).to_owned()).collect();
        let folds = fold::fold(definition.graph_def.mut_or_insert_default(), &asked);
        unreached::drop_unreached(&mut definition);
        (definition, Simplified { calls, folds })
    }));
    match simplified {
        Ok((changed, simplified)) => {
            *definition = changed;
            simplified
        }
        Err(_) => Simplified::default(),
    }
}
