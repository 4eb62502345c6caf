//! The labels of a model: one small file, which is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{self, Event, What, Why};
use crate::layout::Layout;
use crate::name::{Label, ModelName, is_version};

/// The most bytes of the file.
pub(crate) const MAX_FILE: u64 = 16 << 20;

/// The events that stay in the file when it has more than twice as many before a change; the log has all of them.
pub(crate) const RECENT: usize = 32;

/// The contents of `labels.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Labels {
    format: u64,
    /// The number of changes to the model so far, so that no two states of the file are equal.
    pub(crate) counter: u64,
    /// The largest number that a version has had.
    pub(crate) highest: u64,
    /// The published versions, for readers that cannot list a folder. Files of earlier versions of this library lack
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) versions: Option<BTreeSet<u64>>,
    pub(crate) labels: BTreeMap<Label, u64>,
    /// The last events, the newest last.
    pub(crate) recent: Vec<Event>,
}

impl Default for Labels {
    fn default() -> Self {
        Self { format: 1, counter: 0, highest: 0, versions: None, labels: BTreeMap::new(), recent: Vec::new() }
    }
}

impl Labels {
    /// The labels of a model, which are empty before its first change. If the file was lost, they are those of the log.
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let path = layout.labels();
        match durable::read(&path, MAX_FILE)? {
            Some(bytes) => Self::decode(&bytes, &path),
            None => Ok(Self::after(event::read_all(layout, &[])?)),
        }
    }

    /// The labels after all events of a model.
    fn after(mut events: Vec<Event>) -> Self {
        let mut labels = Self::default();
        for event in &events {
            labels.counter = event.sequence;
            match &event.what {
                What::Published { version, .. } => {
                    labels.highest = labels.highest.max(*version);
                    labels.versions.get_or_insert_default().insert(*version);
                }
                What::Removed { version, .. } => drop(labels.versions.get_or_insert_default().remove(version)),
                What::Labelled { label, to: Some(version), .. } => drop(labels.labels.insert(label.clone(), *version)),
                What::Labelled { label, to: None, .. } => drop(labels.labels.remove(label)),
                What::Signed { .. } => {}
            }
        }
        labels.recent = events.split_off(events.len().saturating_sub(RECENT));
        labels
    }

    /// The labels in a file of this path.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let labels: Self =
            serde_json::from_slice(bytes).map_err(|error| StoreError::damaged(path, error.to_string()))?;
        let is_number = |number: &u64| is_version(*number);
        let named = labels.versions.iter().flatten().chain(labels.labels.values());
        if !named.chain((labels.highest > 0).then_some(&labels.highest)).all(is_number) {
            return Err(StoreError::damaged(path, "it has a number that no version can have"));
        }
        match labels.format {
            1 => Ok(labels),
            format => Err(StoreError::UnknownFormat { path: path.to_path_buf(), format }),
        }
    }

    /// The bytes of the file of this path.
    pub(crate) fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| StoreError::io("write", path)(error.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Makes the file durable, which is the commit, and then the log complete.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.labels();
        durable::write(&path, &self.encode(&path)?)?;
        // The events are in the file: the next change tries again, before it adds others.
        let _ = event::append_missing(layout, &self.recent);
        Ok(())
    }

    /// Notes an event.
    pub(crate) fn push(&mut self, by: &str, what: What) {
        let now = Timestamp::now();
        let at = self.recent.last().map_or(now, |last| last.at.max(now));
        self.counter += 1;
        self.recent.push(Event { sequence: self.counter, at, by: by.to_owned(), what });
    }

    /// The number of the events that the next change may drop, once the log has them.
    pub(crate) fn droppable(&self) -> usize {
        if self.recent.len() > 2 * RECENT { self.recent.len() - RECENT } else { 0 }
    }

    /// Notes that a version was published. `from` is the store that it was pulled from.
    pub(crate) fn publish(&mut self, by: &str, version: u64, manifest: &str, from: Option<String>) {
        self.highest = self.highest.max(version);
        self.versions.get_or_insert_default().insert(version);
        self.push(by, What::Published { version, manifest: manifest.to_owned(), from });
    }

    /// Notes that a version was removed.
    pub(crate) fn remove(&mut self, by: &str, version: u64, manifest: String) {
        self.versions.get_or_insert_default().remove(&version);
        self.push(by, What::Removed { version, manifest });
    }

    /// Points a label to a version, or takes it away. Returns where it pointed; nothing is noted if that is the same.
    pub(crate) fn point(&mut self, label: &Label, to: Option<u64>, by: &str, why: Why) -> Option<u64> {
        let from = match to {
            Some(version) => self.labels.insert(label.clone(), version),
            None => self.labels.remove(label),
        };
        if from != to {
            self.push(by, What::Labelled { label: label.clone(), from, to, why });
        }
        from
    }

    /// The labels of a version.
    pub(crate) fn of(&self, version: u64) -> Vec<Label> {
        self.labels.iter().filter(|(_, to)| **to == version).map(|(label, _)| label.clone()).collect()
    }

    pub(crate) fn get(&self, model: &ModelName, label: &Label) -> Result<u64> {
        self.labels.get(label).copied().ok_or_else(|| StoreError::UnknownLabel {
            model: model.clone(),
            label: label.clone(),
            known_labels: self.labels.keys().cloned().collect(),
        })
    }
}

/// The label that a rollback moves: the given one, or the model's only one.
pub(crate) fn chosen(model: &ModelName, label: Option<&Label>, labels: &BTreeMap<Label, u64>) -> Result<Label> {
    match (label, labels.keys().collect::<Vec<_>>().as_slice()) {
        (Some(label), _) => Ok(label.clone()),
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(StoreError::NoLabels { model: model.clone() }),
        (None, several) => {
            let labels = several.iter().map(|label| (*label).clone()).collect();
            Err(StoreError::ChooseLabel { model: model.clone(), labels })
        }
    }
}

/// The version before the one that a label points to, among those that are published.
pub(crate) fn before(
    events: &[Event],
    model: &ModelName,
    label: &Label,
    from: u64,
    is_published: impl Fn(u64) -> bool,
) -> Result<u64> {
    let mut before = stack(events, label).into_iter().rev().skip_while(|version| *version == from);
    let found = before.find(|version| *version != from && is_published(*version));
    found.ok_or_else(|| StoreError::NothingBefore { model: model.clone(), label: label.clone(), from })
}

/// The versions that a label pointed to and to which it can be rolled back, the current one last. A rollback forgets
/// those after its target.
fn stack(events: &[Event], label: &Label) -> Vec<u64> {
    let mut stack: Vec<u64> = Vec::new();
    for event in events {
        let What::Labelled { label: moved, to, why, .. } = &event.what else { continue };
        if moved != label {
            continue;
        }
        match (to, why) {
            (Some(version), Why::Rollback) if stack.contains(version) => {
                let position = stack.iter().rposition(|it| it == version).unwrap_or(0);
                stack.truncate(position + 1);
            }
            (Some(version), _) => stack.push(*version),
            (None, _) => {}
        }
    }
    stack
}

/// The events that moved a label. An error if there is none.
pub(crate) fn moves(mut events: Vec<Event>, model: &ModelName, label: &Label) -> Result<Vec<Event>> {
    let moved = |event: &Event| match &event.what {
        What::Labelled { label, .. } => Some(label.clone()),
        _ => None,
    };
    let known: BTreeSet<Label> = events.iter().filter_map(moved).collect();
    if !known.contains(label) {
        let known_labels = known.into_iter().collect();
        return Err(StoreError::UnknownLabel { model: model.clone(), label: label.clone(), known_labels });
    }
    events.retain(|event| moved(event).as_ref() == Some(label));
    Ok(events)
}

/// The version that a label pointed to at a time, after its moves.
pub(crate) fn pointed_at(moves: &[Event], time: Timestamp) -> Option<u64> {
    let moves = moves.iter().take_while(|event| event.at <= time).filter_map(|event| match &event.what {
        What::Labelled { to, .. } => Some(*to),
        _ => None,
    });
    moves.last().flatten()
}
