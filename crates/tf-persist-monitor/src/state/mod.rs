//! What was counted of a log. States of several servers add up.

mod file;
mod group;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use group::Group;
pub(crate) use traffic::{Traffic, bump};

use crate::error::{MonitorError, Result};
use crate::plan::{Plan, Side};
use crate::quality::{LabelCounts, Quality, Target};
use crate::reference::{Reference, empty_tally};
use crate::tally::Tally;

/// The `k` of sketches of quantiles in a window without a reference.
const QUANTILES_K: u16 = 400;

/// The most windows of time; a log of a month by the hour has 720.
const MAX_WINDOWS: usize = 2000;

/// The values of a feature that are slices; rows with other values are one slice.
pub(crate) const MAX_SLICES: usize = 50;

/// What was counted of one or several logs.
#[derive(Debug, Clone)]
pub struct State {
    /// The model and the signature that were watched.
    pub(crate) model: String,
    pub(crate) signature: String,
    /// The identity of the reference, in whose bins numbers were counted.
    pub(crate) reference: Option<String>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) traffic: Traffic,
    pub(crate) tallies: Vec<Tally>,
    /// What labels are compared with.
    pub(crate) target: Option<Target>,
    pub(crate) labels: LabelCounts,
    pub(crate) quality: Quality,
    /// Rows with a label whose answer has another shape or is absent. A file does not have them.
    pub(crate) unanswered: u64,
    /// The length of a window in microseconds, and windows by their beginning.
    pub(crate) window: Option<i64>,
    pub(crate) windows: BTreeMap<i64, Group>,
    /// The features of which values are slices, and the slices by feature and value.
    pub(crate) slice_names: Vec<String>,
    pub(crate) slices: BTreeMap<(usize, String), Group>,
    /// Sentences about files and tensors.
    pub(crate) notes: Vec<String>,
}

impl State {
    /// Nothing counted yet.
    pub(crate) fn new(plan: Arc<Plan>, reference: Option<&Reference>, quantiles_k: Option<u16>) -> Self {
        let k = quantiles_k.unwrap_or(QUANTILES_K);
        let tallies = match reference {
            None => plan.features.iter().map(|feature| empty_tally(feature.is_category, k)).collect(),
            Some(reference) => {
                let features = plan.features.iter().zip(&reference.features);
                features.map(|(feature, known)| known.tally(feature.is_category, k)).collect()
            }
        };
        Self {
            model: String::new(),
            signature: String::new(),
            reference: reference.map(|reference| reference.identity.clone()),
            plan,
            traffic: Traffic::new(),
            tallies,
            target: None,
            labels: LabelCounts::default(),
            quality: Quality::default(),
            unanswered: 0,
            window: None,
            windows: BTreeMap::new(),
            slice_names: Vec::new(),
            slices: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Rows with a label that do not count in the figures of quality: their answer is absent, NaN or of another shape,
    /// or the label does not go with the output.
    #[must_use]
    pub fn unjudged(&self) -> u64 {
        self.quality.unusable + self.unanswered
    }

    /// Answered requests that have an output with another number of elements or another type than expected.
    #[must_use]
    pub fn differing_outputs(&self) -> u64 {
        let outputs = self.plan.tensors.iter().filter(|tensor| tensor.side == Side::Output);
        outputs.filter_map(|tensor| self.traffic.differing.get(&tensor.name)).copied().max().unwrap_or(0)
    }

    /// Adds what was counted elsewhere: of another server, or of another part of a log.
    ///
    /// # Errors
    /// If the two were counted in other bins, or of other tensors, windows or slices.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let refuse = |what: &str| Err(MonitorError::Settings(format!("the states were made with other {what}")));
        if self.reference != other.reference {
            return refuse("references");
        }
        if self.plan.is_of_nothing() && !other.plan.is_of_nothing() {
            let own = std::mem::replace(self, other.clone());
            return self.merge(&own);
        }
        if self.plan != other.plan && !other.plan.is_of_nothing() {
            return refuse("features");
        }
        if self.window != other.window || self.slice_names != other.slice_names {
            return refuse("windows or slices");
        }
        if self.target.is_some() && other.target.is_some() && self.target != other.target {
            return refuse("outputs or tasks for the labels");
        }
        if self.target.is_none() {
            self.target.clone_from(&other.target);
        }
        self.traffic.merge(&other.traffic);
        for (own, other) in self.tallies.iter_mut().zip(&other.tallies) {
            own.merge(other);
        }
        self.labels.merge(&other.labels);
        self.quality.merge(&other.quality);
        self.unanswered += other.unanswered;
        for (start, group) in &other.windows {
            if let Some(own) = self.window_at(*start) {
                own.merge(group);
            }
        }
        for ((feature, value), group) in &other.slices {
            self.slice(*feature, value).merge(group);
        }
        for note in &other.notes {
            if !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
        Ok(())
    }

    /// The window that begins at a time. `None` if there are too many; the requests are counted then.
    pub(crate) fn window_at(&mut self, start: i64) -> Option<&mut Group> {
        if self.windows.len() >= MAX_WINDOWS && !self.windows.contains_key(&start) {
            self.traffic.without_window += 1;
            return None;
        }
        Some(self.windows.entry(start).or_insert_with(Group::new))
    }

    /// The slice of a value.
    pub(crate) fn slice(&mut self, feature: usize, value: &str) -> &mut Group {
        let key = (feature, value.to_owned());
        let of_feature = || self.slices.keys().filter(|(other, _)| *other == feature).count();
        let key = match self.slices.contains_key(&key) || of_feature() < MAX_SLICES {
            true => key,
            false => (feature, OTHER_VALUES.to_owned()),
        };
        self.slices.entry(key).or_insert_with(Group::new)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.traffic.requests == 0
    }
}

/// The slice of the values beyond the first.
pub(crate) const OTHER_VALUES: &str = "(other values)";
