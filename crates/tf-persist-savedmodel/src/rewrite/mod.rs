//! Changed graphs: parts of a meta graph, and variables that become constants.

pub(crate) mod freeze;
pub(crate) mod prune;

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
