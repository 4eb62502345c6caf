//! The scan of one graph: follows every entry point and assesses the ops that it reaches.

use super::Level;
use super::classify::{Assessment, classify, custom_op, may_be_danger, truncated};
use super::index::{Index, TOP};
use super::reachability::{Budget, BudgetExceeded, Reachable, Root, roots, unknown_root};
use super::report::{Collector, Finding, FindingKind};
use super::resolve_path::PathResolver;
use super::variables::TextVariables;
use crate::ops::{effects, is_known_op};
use crate::saved_model::{MetaGraph, SavedModel};

/// The number of functions of a call path that are reported.
const MAX_CALL_PATH: usize = 16;

/// Collects findings about a graph's ops with at least the severity `least`.
pub(super) fn walk(model: &SavedModel, meta_graph: &MetaGraph, least: Level, found: &mut Collector) {
    if !may_have_findings(meta_graph, least) {
        return;
    }
    let index = Index::new(model.meta_graph_bytes(meta_graph));
    let scan = Scan { index: &index, variables: TextVariables::new(&index, meta_graph), least };
    if scan.all(meta_graph, found).is_err() {
        let what = "the graph is too tangled to follow: which op runs for which signature is unknown".to_owned();
        found.add(Finding::new(FindingKind::Graph, Level::Danger, what));
    }
}

/// Whether the ops that were counted on opening can give such findings. Most graphs only compute.
fn may_have_findings(meta_graph: &MetaGraph, least: Level) -> bool {
    let counts = |entry: &effects::OpEffect| least < Level::Danger || may_be_danger(entry.effect);
    // A function with the name of a TensorFlow op hides that op from the count.
    let mut ops = meta_graph.ops().keys().chain(meta_graph.calls().keys());
    ops.any(|op| match effects::effect(op) {
        Some(entry) => counts(entry),
        None => least < Level::Danger && !is_known_op(op),
    })
}

struct Scan<'r, 'a> {
    index: &'r Index<'a>,
    variables: TextVariables<'r, 'a>,
    least: Level,
}

impl<'a> Scan<'_, 'a> {
    fn all(&self, meta_graph: &'a MetaGraph, found: &mut Collector) -> Result<(), BudgetExceeded> {
        let mut budget = Budget::new(self.index);
        let mut reach = Reachable::new(self.index);
        let mut seen_at_top = vec![false; self.index.bodies[TOP].interesting_nodes.len()];
        let mut seen = vec![false; self.index.bodies.len()];
        for root in roots(meta_graph) {
            reach.walk(self.index, &root, &mut budget)?;
            for (number, node_index) in self.index.bodies[TOP].interesting_nodes.iter().enumerate() {
                budget.step()?;
                if reach.has_node(*node_index) {
                    seen_at_top[number] = true;
                    self.node(&reach, Some(&root), TOP, *node_index, &mut budget, found)?;
                }
            }
            for &body in &reach.functions {
                seen[body] = true;
                self.function(&reach, Some(&root), body, &mut budget, found)?;
            }
        }
        // Nothing reaches the rest, unless a signature has no outputs: only the object graph says which function that
        // calls.
        let unknown = unknown_root(meta_graph);
        reach.everything(self.index);
        for (number, node_index) in self.index.bodies[TOP].interesting_nodes.iter().enumerate() {
            if !seen_at_top[number] {
                self.node(&reach, unknown.as_ref(), TOP, *node_index, &mut budget, found)?;
            }
        }
        for body in (1..self.index.bodies.len()).filter(|body| !seen[*body]) {
            self.function(&reach, unknown.as_ref(), body, &mut budget, found)?;
        }
        Ok(())
    }

    fn function(
        &self,
        reach: &Reachable,
        root: Option<&Root<'a>>,
        body: usize,
        budget: &mut Budget,
        found: &mut Collector,
    ) -> Result<(), BudgetExceeded> {
        for node_index in &self.index.bodies[body].interesting_nodes {
            self.node(reach, root, body, *node_index, budget, found)?;
        }
        Ok(())
    }

    fn node(
        &self,
        reach: &Reachable,
        root: Option<&Root<'a>>,
        body: usize,
        node_index: usize,
        budget: &mut Budget,
        found: &mut Collector,
    ) -> Result<(), BudgetExceeded> {
        budget.step()?;
        let node = &self.index.bodies[body].nodes[node_index];
        let assessments: Vec<Assessment> = match effects::effect(node.op) {
            Some(entry) if self.least == Level::Danger && !may_be_danger(entry.effect) => return Ok(()),
            Some(entry) => {
                let mut resolver = PathResolver::new(self.index, reach, root, &self.variables);
                let assessments = classify(&mut resolver, body, node, entry);
                budget.followed(resolver.taken)?;
                assessments
            }
            // A call of a function, whose nodes are assessed by themselves.
            None if !self.index.functions(node.op).is_empty() => return Ok(()),
            None => vec![custom_op()],
        };
        for assessment in assessments.into_iter().filter(|assessment| assessment.level >= self.least) {
            let mut finding = Finding::new(FindingKind::Op, assessment.level, assessment.what);
            finding.op = Some(truncated(node.op.as_bytes()));
            finding.path = assessment.path;
            if found.is_new(&finding) {
                finding.node = Some(truncated(node.name.as_bytes()));
                finding.functions = self.call_path(reach, body);
            }
            found.add_node(finding, (body, node_index), root.map(|root| &root.entry_point));
        }
        Ok(())
    }

    /// The names on the call path to a body. Of a very long path, the first and the last.
    fn call_path(&self, reach: &Reachable, body: usize) -> Vec<String> {
        let names = |path: &[usize]| {
            path.iter().map(|body| truncated(self.index.bodies[*body].name.as_bytes())).collect::<Vec<_>>()
        };
        let path: Vec<usize> =
            reach.call_path(body).into_iter().filter(|body| !self.index.bodies[*body].name.is_empty()).collect();
        if path.len() <= MAX_CALL_PATH {
            return names(&path);
        }
        let (first, last) = (names(&path[..MAX_CALL_PATH / 2]), names(&path[path.len() - MAX_CALL_PATH / 2..]));
        let between = format!("… {} more …", path.len() - MAX_CALL_PATH);
        [first, vec![between], last].concat()
    }
}
