//! Finds what a model may do to the machine that runs it: read and write files, open sockets, call Python.
//!
//! A SavedModel is a program. [`SavedModel::scan`] reads it without TensorFlow and without decoding its graph. For
//! every op that does more than compute, it reports what the op does, with which file, and what reaches it: a
//! signature, through which functions, or the saver or the init op, which are expected to read and write variables and
//! to read assets. `LoadSavedModel::load` refuses a model with findings of [`Level::Danger`], unless
//! `LoadOptions::trust` says otherwise.
//!
//! `docs/scan.md` has the table of severities and the reasons for them.

mod classify;
mod folder;
mod index;
mod reachability;
mod report;
mod resolve_path;
mod trust;
mod variables;
mod walk;

use std::fmt;

pub use report::{Finding, FindingKind, Report};
pub use trust::Trust;

use crate::error::Result;
use crate::ops::effects::reads_files;
use crate::saved_model::{MetaGraph, SavedModel};
use report::Collector;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing, and expected.
    Info,
    /// It may be harmless, but cannot be told from something harmful: an op of a library, a file with a relative name.
    Warning,
    /// It reaches outside the model: a file that is not its own, a socket, Python.
    Danger,
}

impl Level {
    /// `info`, `warning`, `danger`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Danger => "danger",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What starts a run of the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryPoint {
    /// Restoring the variables, which loading does.
    Restore,
    /// The init op and the initialisers of tables, which loading runs.
    Init,
    /// Saving the variables.
    Save,
    /// Running the signature of this name.
    Signature(String),
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore => f.write_str("loading (variables)"),
            Self::Init => f.write_str("loading (init op)"),
            Self::Save => f.write_str("saving"),
            Self::Signature(name) => write!(f, "`{}`", crate::saved_model::printable(name)),
        }
    }
}

impl SavedModel {
    /// Finds what each meta graph of the model may do, and what leads out of its folder. It needs no TensorFlow, runs
    /// nothing and reads no variables.
    ///
    /// # Errors
    /// If the model's folder cannot be read, or has far more files than any model.
    pub fn scan(&self) -> Result<Report> {
        self.scan_meta_graphs(self.meta_graphs())
    }

    /// Like [`SavedModel::scan`], for the folder and the meta graph with these tags only.
    ///
    /// # Errors
    /// As for [`SavedModel::scan`], and [`SavedModelError::UnknownTags`](crate::SavedModelError::UnknownTags).
    pub fn scan_tags(&self, tags: &[String]) -> Result<Report> {
        let meta_graph = self.meta_graph(Some(tags))?;
        self.scan_meta_graphs(std::slice::from_ref(meta_graph))
    }

    /// The files outside the model that loading a meta graph reads, if the graph names them: files of initialisers that
    /// were not saved as assets, such as a vocabulary on the machine that wrote the model.
    #[must_use]
    pub fn files_read_at_load(&self, meta_graph: &MetaGraph) -> Vec<String> {
        let mut ops = meta_graph.ops().keys().chain(meta_graph.calls().keys());
        if !ops.any(|op| reads_files(op)) {
            return Vec::new();
        }
        let mut found = Collector::default();
        found.begin(meta_graph.tags());
        walk::walk(self, meta_graph, Level::Warning, &mut found);
        let report = found.finish(self.path());
        let at_load = |finding: &&Finding| {
            let reads = finding.op.as_deref().is_some_and(reads_files);
            reads && finding.reached_from.iter().any(|it| matches!(it, EntryPoint::Init | EntryPoint::Restore))
        };
        let mut paths: Vec<String> = report.findings.iter().filter(at_load).filter_map(|it| it.path.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn scan_meta_graphs(&self, meta_graphs: &[MetaGraph]) -> Result<Report> {
        let mut found = Collector::default();
        for meta_graph in meta_graphs {
            found.begin(meta_graph.tags());
            walk::walk(self, meta_graph, Level::Info, &mut found);
            folder::assets(self, meta_graph, &mut found);
        }
        found.begin(&[]);
        folder::folder(self, &mut found)?;
        Ok(found.finish(self.path()))
    }
}

#[cfg(test)]
mod tests;
