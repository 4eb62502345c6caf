//! Labels by the id of a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{MonitorError, Result};

/// Ids that are kept to be named. Labels beyond are counted alone.
const MAX_NAMED: usize = 100_000;

/// The beginning of the sentence about labels without a request.
pub(crate) const UNKNOWN: &str = "labels with ids that no answered request of the log has";

/// Ids that a sentence names.
const SHOWN: usize = 3;

/// The longest line, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// The label of a row, or of each row of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Label {
    Number(f64),
    Text(Box<str>),
    Many(Box<[Label]>),
}

impl Label {
    /// A class: a whole number, also as a text.
    pub(crate) fn class(&self) -> Option<usize> {
        match self {
            Self::Number(number) if number.fract() == 0.0 && (0.0..1e9).contains(number) => Some(*number as usize),
            Self::Text(text) => text.parse().ok(),
            Self::Many(labels) => match &**labels {
                [label] => label.class(),
                _ => None,
            },
            Self::Number(_) => None,
        }
    }

    pub(crate) fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Number(number) => vec![*number],
            Self::Text(text) => vec![text.parse().unwrap_or(f64::NAN)],
            Self::Many(labels) => labels.iter().flat_map(Self::numbers).collect(),
        }
    }

    pub(crate) fn is_text(&self, expected: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.as_bytes() == expected,
            Self::Number(number) => number.to_string().as_bytes() == expected,
            Self::Many(labels) => matches!(&**labels, [label] if label.is_text(expected)),
        }
    }

    /// The label of a row of a request with this many rows.
    pub(crate) fn of_row(&self, row: usize, rows: usize) -> Option<&Self> {
        match self {
            Self::Many(labels) if rows > 1 || labels.len() == 1 => labels.get(row).filter(|_| labels.len() == rows),
            _ if rows == 1 => Some(self),
            _ => None,
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Number(number) => Self::Number(number.as_f64()?),
            Value::Bool(value) => Self::Number(f64::from(u8::from(*value))),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(values) => Self::Many(values.iter().map(Self::from_json).collect::<Option<Vec<_>>>()?.into()),
            Value::Null | Value::Object(_) => return None,
        })
    }

    fn from_text(text: &str) -> Self {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map_or_else(|| Self::Text(text.into()), Self::Number)
    }

    fn is_binary(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0.0 || *number == 1.0,
            Self::Text(text) => matches!(&**text, "0" | "1"),
            Self::Many(labels) => labels.iter().all(Self::is_binary),
        }
    }
}

/// How labels and requests went together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelCounts {
    /// The ids that have one label.
    pub(crate) given: u64,
    /// Labels that were given again.
    pub(crate) doubled: u64,
    /// Ids with several labels, of which none counts.
    pub(crate) contradictory: u64,
    /// Lines without an id and a label.
    pub(crate) unreadable: u64,
    /// Ids that no request of the log has.
    pub(crate) unknown: u64,
    /// Requests with the id of another one, of which the first counts.
    pub(crate) repeated_requests: u64,
    /// Requests without an id, as all of TFRecord files are.
    pub(crate) without_id: u64,
}

impl LabelCounts {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.given += other.given;
        self.doubled += other.doubled;
        self.contradictory += other.contradictory;
        self.unreadable += other.unreadable;
        self.unknown += other.unknown;
        self.repeated_requests += other.repeated_requests;
        self.without_id += other.without_id;
    }
}

/// Labels by the id of a request: the header `X-Request-Id`, which a log in JSON lines has.
#[derive(Debug, Default)]
pub struct Labels {
    hasher: RandomState,
    /// The index of the label of an id, by the id's hash.
    by_id: HashMap<u64, usize>,
    labels: Vec<Entered>,
    names: Vec<Box<str>>,
    counts: LabelCounts,
    contradictory: Vec<String>,
}

#[derive(Debug)]
struct Entered {
    label: Label,
    is_contradictory: bool,
    is_used: AtomicBool,
}

/// What the labels have for a request.
pub(crate) enum Found<'l> {
    Label(&'l Label),
    /// Another request had the id.
    Repeated,
    Nothing,
}

impl Labels {
    /// Reads files of labels: lines of JSON, `{"id": "…", "label": …}`, or CSV with the columns `id` and `label` if the
    /// name ends with `.csv`.
    ///
    /// # Errors
    /// If a file cannot be read, or has no labels at all.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut labels = Self::default();
        for path in paths {
            let before = labels.counts;
            if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
                labels.read_csv(path)?;
            } else {
                labels.read_lines(path)?;
            }
            if labels.counts.given == before.given && labels.counts.unreadable > before.unreadable {
                return Err(MonitorError::file(path, "has no line with an `id` and a `label`"));
            }
        }
        Ok(labels)
    }

    fn read_lines(&mut self, path: &Path) -> Result<()> {
        let mut file = BufReader::new(File::open(path).map_err(MonitorError::io("open", path))?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(MonitorError::io("read", path))? == 0 {
                return Ok(());
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value: Option<Value> = serde_json::from_slice(&line).ok();
            let label = value.as_ref().and_then(|value| Label::from_json(value.get("label")?));
            let id = value.as_ref().and_then(|value| value.get("id")?.as_str());
            match (id, label) {
                (Some(id), Some(label)) if !id.is_empty() => self.add(id, label),
                _ => self.counts.unreadable += 1,
            }
        }
    }

    fn read_csv(&mut self, path: &Path) -> Result<()> {
        let cannot = |error: csv::Error| MonitorError::file(path, format!("cannot be read as CSV: {error}"));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).map_err(cannot)?;
        let (mut record, mut columns) = (csv::StringRecord::new(), None);
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) if error.is_io_error() => return Err(cannot(error)),
                Err(_) => {
                    self.counts.unreadable += 1;
                    continue;
                }
            }
            let Some((id, label)) = columns else {
                let find = |name: &str| record.iter().position(|field| field.trim() == name);
                match (find("id"), find("label")) {
                    (Some(id), Some(label)) => columns = Some((id, label)),
                    _ => return Err(MonitorError::file(path, "has no header with the columns `id` and `label`")),
                }
                continue;
            };
            match (record.get(id).map(str::trim), record.get(label).map(str::trim)) {
                (Some(id), Some(label)) if !id.is_empty() && !label.is_empty() => self.add(id, Label::from_text(label)),
                _ => self.counts.unreadable += 1,
            }
        }
    }

    fn add(&mut self, id: &str, label: Label) {
        match self.by_id.entry(self.hasher.hash_one(id)) {
            Entry::Vacant(entry) => {
                entry.insert(self.labels.len());
                self.labels.push(Entered { label, is_contradictory: false, is_used: AtomicBool::new(false) });
                if self.names.len() < MAX_NAMED {
                    self.names.push(id.into());
                }
                self.counts.given += 1;
            }
            Entry::Occupied(entry) => {
                let Some(known) = self.labels.get_mut(*entry.get()) else { return };
                if known.is_contradictory || known.label == label {
                    self.counts.doubled += 1;
                    return;
                }
                known.is_contradictory = true;
                self.counts.given -= 1;
                self.counts.contradictory += 1;
                if self.contradictory.len() < SHOWN {
                    self.contradictory.push(id.to_owned());
                }
            }
        }
    }

    /// Whether every label is 0 or 1.
    pub(crate) fn are_binary(&self) -> bool {
        self.labels.iter().all(|entered| entered.label.is_binary())
    }

    /// The label of a request.
    pub(crate) fn get(&self, id: &str) -> Found<'_> {
        let found = self.by_id.get(&self.hasher.hash_one(id)).and_then(|index| self.labels.get(*index));
        match found {
            None => Found::Nothing,
            Some(entered) if entered.is_used.swap(true, Ordering::Relaxed) => Found::Repeated,
            Some(entered) if entered.is_contradictory => Found::Nothing,
            Some(entered) => Found::Label(&entered.label),
        }
    }

    /// The counts, and sentences that name ids.
    pub(crate) fn finish(&self) -> (LabelCounts, Vec<String>) {
        let mut counts = self.counts;
        let mut unknown: Vec<&str> = Vec::new();
        for (index, entered) in self.labels.iter().enumerate() {
            if !entered.is_used.load(Ordering::Relaxed) && !entered.is_contradictory {
                counts.unknown += 1;
                unknown.extend(self.names.get(index).filter(|_| counts.unknown <= SHOWN as u64).map(|name| &**name));
            }
        }
        let mut notes = Vec::new();
        let mut note = |count: u64, what: &str, ids: &[&str]| {
            if count > 0 {
                let ids: Vec<String> = ids.iter().map(|id| format!("`{}`", id.escape_debug())).collect();
                let more = if count > ids.len() as u64 { ", …" } else { "" };
                notes.push(format!("{what}: {count} ({}{more})", ids.join(", ")));
            }
        };
        note(counts.unknown, UNKNOWN, &unknown);
        let contradictory: Vec<&str> = self.contradictory.iter().map(String::as_str).collect();
        note(counts.contradictory, "ids with several different labels, of which none counts", &contradictory);
        (counts, notes)
    }
}
