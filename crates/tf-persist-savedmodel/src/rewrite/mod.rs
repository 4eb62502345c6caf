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

/// Makes a graph whose variables are constants faster: [`inline`], then [`fold`]. If one of them panics, nothing has
/// changed.
pub(crate) fn simplify(definition: &mut pb::MetaGraphDef) {
    let simplified = catch_unwind(AssertUnwindSafe(|| {
        // The bytes of its constants are shared.
        let mut definition = definition.clone();
        inline::inline(definition.graph_def.mut_or_insert_default());
        unreached::drop_unreached(&mut definition);
        let asked = unreached::asked(&definition).iter().map(|tensor| node_of(tensor).to_owned()).collect();
        fold::fold(definition.graph_def.mut_or_insert_default(), &asked);
        unreached::drop_unreached(&mut definition);
        definition
    }));
    if let Ok(simplified) = simplified {
        *definition = simplified;
    }
}
