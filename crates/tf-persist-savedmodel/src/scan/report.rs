//! What a scan found, sorted, folded and printed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::classify::truncated;
use super::{EntryPoint, Level};
use crate::saved_model::printable;

/// How many different findings of a level are kept; more are counted.
const MAX_FINDINGS: usize = 10_000;

/// How many entry points a finding tells; more are counted.
const MAX_ENTRANCES: usize = 64;

/// How many tags of a meta graph are told.
const MAX_TAGS: usize = 16;

/// How many findings of a level are printed.
const MAX_SHOWN_FINDINGS: usize = 20;

/// How many entry points are printed, and how many characters of a name.
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
    /// How large the model is.
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

/// One thing that a model may do, however often.
///
/// PathSources out of the file may be hostile: [`printable`] shows them safely. Of a name longer than any that an exporter gives, the
/// first 256 characters are kept, and `…`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// What it is about.
    pub kind: FindingKind,
    /// What it is: of an op, the end of a sentence that begins with its name, such as "reads a file: `/etc/hostname`".
    pub what: String,
    /// The op.
    pub op: Option<String>,
    /// The first node of those that do it.
    pub node: Option<String>,
    /// The functions on the way to that node, from the first entry point; where there are very many, some in the middle are left out.
    pub functions: Vec<String>,
    /// From where it is reached, sorted; empty if from nowhere: then it runs only for who asks for the node by its name.
    pub reached_from: Vec<EntryPoint>,
    /// Entrances beyond those.
    pub more_entry_points: u64,
    /// The file, folder or address, if the model says which.
    pub path: Option<String>,
    /// How many nodes do the same.
    pub count: u64,
    /// The tags of the meta graph; empty also for what is about the folder.
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
    /// The findings, the gravest first. Those that only differ in the node or the entry point are one.
    pub findings: Vec<Finding>,
    /// How many different ones were left out, because there are more than anybody would read.
    pub left_out: u64,
}

impl Report {
    /// How grave the gravest finding is; `None` if there is none.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).max()
    }

    /// The findings of a level.
    pub fn of_level(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }
}

/// What makes findings one.
type Key = (Level, FindingKind, Option<String>, String, Vec<String>);

/// Gathers findings, and folds those that say the same.
#[derive(Default)]
pub(super) struct Collector {
    /// The tags of the meta graph that is looked into.
    tags: Vec<String>,
    findings: Vec<Finding>,
    places: HashMap<Key, usize>,
    counts: HashMap<Level, usize>,
    /// The nodes of each finding, by body and place.
    nodes: HashSet<(usize, (usize, usize))>,
    /// The entry point that each finding was reached from last.
    last: HashMap<usize, EntryPoint>,
    left_out: u64,
}

impl Collector {
    fn key(&self, finding: &Finding) -> Key {
        (finding.level, finding.kind, finding.op.clone(), finding.what.clone(), self.tags.clone())
    }

    /// Begins with another graph.
    pub(super) fn begin(&mut self, tags: &[String]) {
        self.tags = tags.iter().take(MAX_TAGS).map(|tag| truncated(tag.as_bytes())).collect();
        self.nodes.clear();
    }

    /// Whether nothing like it was found yet.
    pub(super) fn is_new(&self, finding: &Finding) -> bool {
        !self.places.contains_key(&self.key(finding))
    }

    /// Adds what is about the folder, or the graph as a whole.
    pub(super) fn add(&mut self, finding: Finding) {
        if let Some(place) = self.place(finding) {
            self.findings[place].count += 1;
        }
    }

    /// Adds what a node does, given by its body and place, when it is reached from an entry point or from none.
    pub(super) fn add_node(&mut self, finding: Finding, node: (usize, usize), entry_point: Option<&EntryPoint>) {
        let Some(place) = self.place(finding) else { return };
        let finding = &mut self.findings[place];
        finding.count += u64::from(self.nodes.insert((place, node)));
        let Some(entry_point) = entry_point else { return };
        // Entrances are walked from one after the other: what was told of the last one needs no second look.
        if self.last.insert(place, entry_point.clone()).as_ref() == Some(entry_point) {
            return;
        }
        if finding.reached_from.len() < MAX_ENTRANCES {
            finding.reached_from.push(entry_point.clone());
        } else {
            finding.more_entry_points += 1;
        }
    }

    /// Where a finding stands that says the same; `None` if there are too many.
    fn place(&mut self, mut finding: Finding) -> Option<usize> {
        let key = self.key(&finding);
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let count = self.counts.entry(finding.level).or_default();
        if *count == MAX_FINDINGS {
            self.left_out += 1;
            return None;
        }
        *count += 1;
        finding.tags.clone_from(&self.tags);
        self.places.insert(key, self.findings.len());
        self.findings.push(finding);
        Some(self.findings.len() - 1)
    }

    pub(super) fn finish(mut self, path: &Path) -> Report {
        // The order in which they were found is kept otherwise.
        self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.kind));
        Report { path: path.to_path_buf(), findings: self.findings, left_out: self.left_out }
    }
}

/// A name of the model's as it is printed: safe, and not too long.
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
            if names.is_empty() { "nothing that is run by itself".into() } else { names.join(", ") }
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
