//! The findings of a scan: sorted, merged and printed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::classify::truncated;
use super::{EntryPoint, Level};
use crate::saved_model::printable;

/// The number of different findings of a level that are kept. Others are only counted.
const MAX_FINDINGS: usize = 10_000;

/// The number of entry points that a finding lists. Others are only counted.
const MAX_ENTRANCES: usize = 64;

/// The number of tags of a meta graph that are listed.
const MAX_TAGS: usize = 16;

/// The number of findings of a level that are printed.
const MAX_SHOWN_FINDINGS: usize = 20;

/// The number of entry points that are printed, and of characters of a name.
const MAX_SHOWN_ENTRY_POINTS: usize = 4;
const MAX_SHOWN_CHARS: usize = 120;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An op of the graph.
    Op,
    /// The graph as a whole.
    Graph,
    /// A file that the graph reads as its asset.
    Asset,
    /// A link in the model's folder.
    Link,
    /// The size of the model.
    Size,
}

impl FindingKind {
    /// `op`, `graph`, `asset`, `link`, `size`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Graph => "graph",
            Self::Asset => "asset",
            Self::Link => "link",
            Self::Size => "size",
        }
    }
}

/// One thing that a model may do, with the number of nodes that do it.
///
/// Names from the file may be hostile: [`printable`] shows them safely. Names are truncated to 256 characters and `…`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// What it is about.
    pub kind: FindingKind,
    /// A description. For an op, the end of a sentence that begins with its name, such as "reads a file:
    /// `/etc/hostname`".
    pub what: String,
    /// The op.
    pub op: Option<String>,
    /// The first node that does it.
    pub node: Option<String>,
    /// The call path from the first entry point to that node. Some functions in the middle of a very long path are left
    /// out.
    pub functions: Vec<String>,
    /// The entry points that reach it, sorted. If there are none, it runs only when someone fetches the node by name.
    pub reached_from: Vec<EntryPoint>,
    /// The number of further entry points.
    pub more_entry_points: u64,
    /// The file, folder or address, if the model names it.
    pub path: Option<String>,
    /// The number of nodes that do the same.
    pub count: u64,
    /// The tags of the meta graph. Empty for findings about the folder.
    pub tags: Vec<String>,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, level: Level, what: String) -> Self {
        Self {
            level,
            kind,
            what,
            op: None,
            node: None,
            functions: Vec::new(),
            reached_from: Vec::new(),
            more_entry_points: 0,
            path: None,
            count: 0,
            tags: Vec::new(),
        }
    }
}

/// What a model may do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The model's folder.
    pub path: PathBuf,
    /// The findings, the most severe first. Findings that differ only in the node or the entry point are merged.
    pub findings: Vec<Finding>,
    /// The number of different findings that were left out, because there are more than anybody would read.
    pub left_out: u64,
}

impl Report {
    /// The highest severity of a finding; `None` if there are no findings.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).max()
    }

    /// The findings of a level.
    pub fn of_level(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }
}

/// Findings with equal keys are merged.
type Key = (Level, FindingKind, Option<String>, String, Vec<String>);

/// Collects findings and merges equal ones.
#[derive(Default)]
pub(super) struct Collector {
    /// The tags of the meta graph that is scanned.
    tags: Vec<String>,
    findings: Vec<Finding>,
    indices: HashMap<Key, usize>,
    counts: HashMap<Level, usize>,
    /// The nodes of each finding, by the index of the body and of the node.
    nodes: HashSet<(usize, (usize, usize))>,
    /// The last entry point that reached each finding.
    last: HashMap<usize, EntryPoint>,
    left_out: u64,
}

impl Collector {
    fn key(&self, finding: &Finding) -> Key {
        (finding.level, finding.kind, finding.op.clone(), finding.what.clone(), self.tags.clone())
    }

    /// Starts the next meta graph.
    pub(super) fn begin(&mut self, tags: &[String]) {
        self.tags = tags.iter().take(MAX_TAGS).map(|tag| truncated(tag.as_bytes())).collect();
        self.nodes.clear();
    }

    /// Whether no equal finding was added yet.
    pub(super) fn is_new(&self, finding: &Finding) -> bool {
        !self.indices.contains_key(&self.key(finding))
    }

    /// Adds a finding about the folder or the whole graph.
    pub(super) fn add(&mut self, finding: Finding) {
        if let Some(index) = self.merge(finding) {
            self.findings[index].count += 1;
        }
    }

    /// Adds a finding about a node, given by the index of its body and its own, that an entry point or none reaches.
    pub(super) fn add_node(&mut self, finding: Finding, node: (usize, usize), entry_point: Option<&EntryPoint>) {
        let Some(index) = self.merge(finding) else { return };
        let finding = &mut self.findings[index];
        finding.count += u64::from(self.nodes.insert((index, node)));
        let Some(entry_point) = entry_point else { return };
        // Entry points are walked one after the other, so only the last one may be a duplicate.
        if self.last.insert(index, entry_point.clone()).as_ref() == Some(entry_point) {
            return;
        }
        if finding.reached_from.len() < MAX_ENTRANCES {
            finding.reached_from.push(entry_point.clone());
        } else {
            finding.more_entry_points += 1;
        }
    }

    /// The index of the finding to merge this one into; `None` if there are too many findings.
    fn merge(&mut self, mut finding: Finding) -> Option<usize> {
        let key = self.key(&finding);
        if let Some(index) = self.indices.get(&key) {
            return Some(*index);
        }
        let count = self.counts.entry(finding.level).or_default();
        if *count == MAX_FINDINGS {
            self.left_out += 1;
            return None;
        }
        *count += 1;
        finding.tags.clone_from(&self.tags);
        self.indices.insert(key, self.findings.len());
        self.findings.push(finding);
        Some(self.findings.len() - 1)
    }

    pub(super) fn finish(mut self, path: &Path) -> Report {
        // A stable sort: otherwise the order of discovery is kept.
        self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.kind));
        Report { path: path.to_path_buf(), findings: self.findings, left_out: self.left_out }
    }
}

/// A name from the model as it is printed: safe and not too long.
fn short(name: &str) -> String {
    if name.chars().count() <= MAX_SHOWN_CHARS {
        return printable(name);
    }
    let half = |characters: &mut dyn Iterator<Item = char>| characters.take(MAX_SHOWN_CHARS / 2).collect::<String>();
    let end: String = half(&mut name.chars().rev()).chars().rev().collect();
    printable(&format!("{}…{end}", half(&mut name.chars())))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = printable(&self.what);
        match &self.op {
            Some(op) => write!(f, "{} {what}", short(op))?,
            None => f.write_str(&what)?,
        }
        if self.count > 1 {
            write!(f, " ({} times)", self.count)?;
        }
        if self.kind != FindingKind::Op {
            return Ok(());
        }
        let entry_points = self.reached_from.iter().take(MAX_SHOWN_ENTRY_POINTS);
        let names: Vec<String> = entry_points.map(|entry_point| short(&entry_point.to_string())).collect();
        let all = self.reached_from.len() as u64 + self.more_entry_points;
        let (node, ways) =
            (short(self.node.as_deref().unwrap_or_default()), self.functions.iter().map(|name| short(name)));
        write!(
            f,
            "\n    by {}",
            if names.is_empty() { "nothing that runs by itself".into() } else { names.join(", ") }
        )?;
        if all > names.len() as u64 {
            write!(f, " and {} more", all - names.len() as u64)?;
        }
        ways.into_iter().try_for_each(|function| write!(f, " → {function}"))?;
        write!(f, " → node `{node}`")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [Level::Danger, Level::Warning, Level::Info].map(|level| (level, self.of_level(level).count()));
        write!(f, "{}: ", self.path.display())?;
        let plural = |level, count| if count == 1 || level == Level::Info { "" } else { "s" };
        let told = counts.iter().filter(|(_, count)| *count > 0);
        let told: Vec<String> =
            told.map(|(level, count)| format!("{count} {level}{}", plural(*level, *count))).collect();
        f.write_str(&if told.is_empty() { "nothing found".to_owned() } else { told.join(", ") })?;
        let several =
            self.findings.iter().any(|finding| finding.tags != self.findings[0].tags && !finding.tags.is_empty());
        for (level, count) in counts {
            for finding in self.of_level(level).take(MAX_SHOWN_FINDINGS) {
                write!(f, "\n{level:7}  ")?;
                if several && !finding.tags.is_empty() {
                    write!(f, "[{}] ", short(&finding.tags.join(",")))?;
                }
                write!(f, "{finding}")?;
            }
            if count > MAX_SHOWN_FINDINGS {
                write!(f, "\n{level:7}  … and {} more", count - MAX_SHOWN_FINDINGS)?;
            }
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more, which were only counted", self.left_out)?;
        }
        Ok(())
    }
}
