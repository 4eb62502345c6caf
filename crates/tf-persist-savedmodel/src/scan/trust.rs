//! What a caller allows a model to do.

use std::collections::BTreeSet;

use super::report::{Collector, Finding, FindingKind};
use super::{Level, folder, walk};
use crate::error::{Error, Result, SavedModelError};
use crate::saved_model::{MetaGraph, SavedModel};

/// The dangers that [`SavedModel::scan`] finds and that a model is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Allow nothing: a model with dangers is not loaded.
    #[default]
    Nothing,
    /// Allow what these ops do.
    Ops(BTreeSet<String>),
    /// Allow everything. The model is not scanned.
    Everything,
}

impl Trust {
    /// Trusts only these ops.
    pub fn ops<S: Into<String>>(ops: impl IntoIterator<Item = S>) -> Self {
        Self::Ops(ops.into_iter().map(Into::into).collect())
    }

    fn covers(&self, finding: &Finding) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Ops(ops) => finding.op.as_ref().is_some_and(|op| ops.contains(op)),
        }
    }

    /// Checks a meta graph before it is loaded. A graph without dangerous ops is not walked.
    ///
    /// # Errors
    /// [`SavedModelError::Untrusted`] with the first danger.
    #[doc(hidden)]
    pub fn check(&self, model: &SavedModel, meta_graph: &MetaGraph) -> Result<()> {
        if *self == Self::Everything {
            return Ok(());
        }
        let mut found = Collector::default();
        walk::walk(model, meta_graph, Level::Danger, &mut found);
        folder::assets(model, meta_graph, &mut found);
        let report = found.finish(model.path());
        let dangers = || report.of_level(Level::Danger).filter(|finding| !self.covers(finding));
        let Some(first) = dangers().next() else { return Ok(()) };
        let more = (dangers().count() - 1) as u64 + report.left_out;
        let what = match (&first.op, first.reached_from.first()) {
            (Some(op), Some(entry_point)) => format!("the op `{op}`, reached by {entry_point}, {}", first.what),
            (Some(op), None) => format!("the op `{op}` {}", first.what),
            (None, _) => first.what.clone(),
        };
        let path = model.path().to_path_buf();
        Err(Error::SavedModel(SavedModelError::Untrusted {
            path,
            what,
            more,
            ops: ops(report.of_level(Level::Danger), report.left_out),
        }))
    }
}

/// The ops to trust so that the model loads; none if that is not enough, or not all dangers are known.
fn ops<'f>(dangers: impl Iterator<Item = &'f Finding>, left_out: u64) -> Vec<String> {
    let mut all = BTreeSet::new();
    for finding in dangers {
        match &finding.op {
            Some(op) if finding.kind == FindingKind::Op => all.insert(op.clone()),
            _ => return Vec::new(),
        };
    }
    if left_out == 0 { all.into_iter().collect() } else { Vec::new() }
}
