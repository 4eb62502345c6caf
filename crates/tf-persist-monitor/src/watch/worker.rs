//! Counts exchanges, in a thread of its own.

use super::Settings;
use super::look::DEFAULT_SIGNATURE;
use crate::error::Result;
use crate::log::{Column, Exchange, Piece, Reading};
use crate::plan::{Cell, Plan, Side, Views};
use crate::quality::{Answer, Found, Label, Labels, Target};
use crate::reference::{FeatureReference, Known, Reference};
use crate::state::{State, Traffic, bump};
use crate::tally::{Tally, key_of};

/// Requests may be logged later than the ones after them, by as long as they take.
const JUMP_MICROSECONDS: i64 = 60_000_000;

/// The model and the signature that are watched. A model without a name is any.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) model: String,
    pub(super) signature: String,
}

/// Which requests to the model are counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter {
    version: Option<i64>,
    /// Microseconds since 1970.
    since: Option<i64>,
}

impl Filter {
    pub(super) fn new(settings: &Settings) -> Self {
        let version = settings.version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
        Self { version, since: settings.since.map(jiff::Timestamp::as_microsecond) }
    }

    fn takes(&self, exchange: &Exchange) -> bool {
        self.version.is_none_or(|version| exchange.version == Some(version))
            && self.since.is_none_or(|since| exchange.time.is_some_and(|time| time >= since))
    }
}

/// Counts the exchanges of pieces.
pub(super) struct Worker<'w> {
    state: State,
    exchange: Exchange,
    wanted: &'w Wanted,
    reference: Option<&'w Reference>,
    /// Of each feature, the index of its first group among all groups; one more for the end.
    offsets: Vec<usize>,
    labels: Option<&'w Labels>,
    /// The features whose values are slices.
    slices: &'w [usize],
    /// The first and the last time of each piece.
    spans: Vec<(usize, i64, i64)>,
    previous: Option<i64>,
    versions: Versions,
    filter: Filter,
}

/// Requests to one version after the other are counted together.
#[derive(Debug, Default)]
struct Versions {
    last: Option<i64>,
    count: u64,
}

impl Versions {
    fn add(&mut self, traffic: &mut Traffic, version: Option<i64>) {
        if version != self.last {
            self.flush(traffic);
            self.last = version;
        }
        self.count += 1;
    }

    fn flush(&mut self, traffic: &mut Traffic) {
        if let Some(version) = self.last.filter(|_| self.count > 0) {
            bump(&mut traffic.versions, &version.to_string(), self.count);
        }
        self.count = 0;
    }
}

impl<'w> Worker<'w> {
    pub(super) fn new(
        state: State,
        wanted: &'w Wanted,
        reference: Option<&'w Reference>,
        labels: Option<&'w Labels>,
        slices: &'w [usize],
    ) -> Self {
        let mut offsets = vec![0];
        for feature in reference.iter().flat_map(|reference| &reference.features) {
            offsets.push(offsets.last().copied().unwrap_or(0) + feature.group_count());
        }
        let exchange = Exchange::default();
        Self {
            state,
            exchange,
            wanted,
            reference,
            offsets,
            labels,
            slices,
            spans: Vec::new(),
            previous: None,
            versions: Versions::default(),
            filter: Filter::default(),
        }
    }

    /// Counts only some requests.
    pub(super) fn only(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Counts a piece.
    pub(super) fn take(&mut self, piece: Piece) {
        let (number, mut exchange) = (piece.number, std::mem::take(&mut self.exchange));
        let mut first = None;
        self.previous = None;
        piece.for_each(&mut exchange, |reading| match reading {
            Reading::Exchange(exchange) => {
                first = first.or(exchange.time);
                self.count(exchange);
            }
            Reading::Flawed(reason) => self.state.traffic.add_flaw(reason),
        });
        if let (Some(first), Some(last)) = (first, self.previous) {
            self.spans.push((number, first, last));
        }
        self.exchange = exchange;
    }

    /// What all workers counted.
    pub(super) fn merge(workers: Vec<Self>) -> Result<State> {
        let mut spans: Vec<(usize, i64, i64)> =
            workers.iter().flat_map(|worker| worker.spans.iter().copied()).collect();
        spans.sort_unstable();
        let between = spans.iter().zip(spans.iter().skip(1));
        let jumps =
            between.filter(|((.., last), (_, first, _))| first.saturating_add(JUMP_MICROSECONDS) < *last).count();
        let mut states = workers.into_iter().map(Self::into_state);
        let Some(mut all) = states.next() else { return Err(crate::MonitorError::Settings("nothing was read".into())) };
        for state in states {
            all.merge(&state)?;
        }
        all.traffic.jumps += jumps as u64;
        Ok(all)
    }

    pub(super) fn into_state(mut self) -> State {
        self.versions.flush(&mut self.state.traffic);
        self.state
    }

    fn count(&mut self, exchange: &Exchange) {
        let traffic = &mut self.state.traffic;
        if let Some(time) = exchange.time {
            let is_jump = self.previous.is_some_and(|before| time.saturating_add(JUMP_MICROSECONDS) < before);
            traffic.jumps += u64::from(is_jump);
            self.previous = Some(time);
        }
        if !self.wanted.model.is_empty() && !exchange.model.is_empty() && exchange.model != self.wanted.model {
            bump(&mut traffic.other_models, &key_of(exchange.model.as_bytes()), 1);
            return;
        }
        let signature = if exchange.signature.is_empty() { DEFAULT_SIGNATURE } else { &exchange.signature };
        if signature != self.wanted.signature {
            bump(&mut traffic.other_signatures, &key_of(signature.as_bytes()), 1);
            return;
        }
        if !self.filter.takes(exchange) {
            return;
        }
        traffic.requests += 1;
        self.versions.add(traffic, exchange.version);
        traffic.add_time(exchange.time);
        if let Some(latency) = exchange.latency_ms {
            traffic.add_latency(latency);
        }
        let has_failed = !exchange.failure.is_empty();
        if has_failed {
            bump(&mut traffic.failures, &key_of(exchange.failure.as_bytes()), 1);
        }
        if let Some(start) = self.window_of(exchange.time)
            && let Some(group) = self.state.window_at(start)
        {
            group.requests += 1;
            group.failures += u64::from(has_failed);
            if let Some(latency) = exchange.latency_ms {
                group.latency.add(latency);
            }
        }
        if !has_failed {
            self.answered(exchange, true);
        }
    }

    /// The beginning of the window of a time.
    fn window_of(&self, time: Option<i64>) -> Option<i64> {
        let window = self.state.window?;
        let time = time?;
        Some(time - time.rem_euclid(window))
    }

    /// Counts the rows of an answered request.
    pub(super) fn answered(&mut self, exchange: &Exchange, is_of_log: bool) {
        let plan = self.state.plan.clone();
        let Some(views) = Views::new(&plan, exchange) else {
            self.state.traffic.uneven += 1;
            return;
        };
        for index in views.differing() {
            if let Some(tensor) = plan.tensors.get(index) {
                bump(&mut self.state.traffic.differing, &tensor.name, 1);
            }
        }
        if self.reference.is_some() {
            self.count_unknown(&plan, exchange);
        }
        let label = match self.labels {
            None => None,
            Some(_) if exchange.id.is_empty() => {
                self.state.labels.without_id += u64::from(is_of_log);
                None
            }
            Some(labels) => match labels.get(&exchange.id) {
                Found::Label(label) => Some(label),
                Found::Repeated => {
                    self.state.labels.repeated_requests += 1;
                    None
                }
                Found::Nothing => None,
            },
        };
        let rows = views.rows();
        self.state.traffic.rows += rows as u64;
        let window = self.window_of(exchange.time);
        let target = self.state.target.take();
        let output = target.as_ref().and_then(|target| exchange.outputs.get(0, &target.output));
        let has_groups = window.is_some() || !self.slices.is_empty();
        let (mut cells, mut groups, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            views.row(&plan, row, &mut cells);
            groups.clear();
            for index in 0..cells.len() {
                if let Some(cell) = cells.get(index) {
                    groups.extend(self.add(index, cell, has_groups));
                }
            }
            let quality = match (&target, output, label.and_then(|label| label.of_row(row, rows))) {
                (Some(target), Some(output), Some(label)) => {
                    let answer = answer(output, row, rows, plan.is_batched);
                    self.state.unanswered += u64::from(answer.is_none());
                    answer.map(|answer| (target, answer, label))
                }
                (Some(_), None, Some(_)) => {
                    self.state.unanswered += 1;
                    None
                }
                _ => None,
            };
            if let Some((target, answer, label)) = quality {
                self.state.quality.add(target, answer, label, &mut probabilities);
            }
            if has_groups {
                self.add_to_groups(window, &cells, &groups, quality, &mut probabilities);
            }
        }
        if label.is_some_and(|label| rows > 0 && label.of_row(0, rows).is_none()) {
            self.state.quality.unusable += 1;
        }
        self.state.target = target;
    }

    /// Adds a row to its window and its slices.
    fn add_to_groups(
        &mut self,
        window: Option<i64>,
        cells: &[Cell<'_>],
        groups: &[usize],
        quality: Option<(&Target, Answer<'_>, &Label)>,
        probabilities: &mut Vec<f64>,
    ) {
        let all = self.offsets.last().copied().unwrap_or(0);
        if let Some(start) = window
            && let Some(group) = self.state.windows.get_mut(&start)
        {
            group.add_row(groups, all);
            if let Some((target, answer, label)) = quality {
                group.quality.add(target, answer, label, probabilities);
            }
        }
        for (index, feature) in self.slices.iter().enumerate() {
            let Some(cell) = cells.get(*feature) else { continue };
            let known = self.reference.and_then(|reference| reference.features.get(*feature));
            let value = slice_of(cell, known);
            let group = self.state.slice(index, &value);
            group.add_row(groups, all);
            if let Some((target, answer, label)) = quality {
                group.quality.add(target, answer, label, probabilities);
            }
        }
    }

    /// Counts a feature of a row. Returns its group among those of all features, where groups are needed.
    #[inline]
    fn add(&mut self, index: usize, cell: &Cell<'_>, has_groups: bool) -> Option<usize> {
        let reference = self.reference.filter(|_| has_groups);
        let known = reference.and_then(|reference| reference.features.get(index)).map(|feature| &feature.known);
        let group = match (self.state.tallies.get_mut(index)?, *cell) {
            (Tally::Number(tally), Cell::Absent) => {
                tally.absent += 1;
                None
            }
            (Tally::Number(tally), Cell::Number(value)) => {
                let bin = tally.add(value);
                match (bin, known) {
                    (Some(bin), Some(Known::Number(known))) => Some(known.group_of(bin)),
                    _ => None,
                }
            }
            (Tally::Category(tally), Cell::Absent) => {
                tally.absent += 1;
                None
            }
            (Tally::Category(tally), Cell::Number(_)) => {
                tally.add_missing();
                None
            }
            (Tally::Category(tally), Cell::Integer(value)) => {
                tally.add_integer(value);
                match known {
                    Some(Known::Category(known)) => Some(known.group_of_text(value.to_string().as_bytes())),
                    _ => None,
                }
            }
            (Tally::Category(tally), Cell::Text(text)) => {
                tally.add_text(text);
                match known {
                    Some(Known::Category(known)) => Some(known.group_of_text(text)),
                    _ => None,
                }
            }
            (Tally::Number(_), _) => None,
        };
        Some(self.offsets.get(index)? + group?)
    }

    fn count_unknown(&mut self, plan: &Plan, exchange: &Exchange) {
        let sides = [(Side::Input, &exchange.inputs), (Side::Output, &exchange.outputs)];
        for (side, columns) in sides {
            let planned = plan.tensors.iter().filter(|tensor| tensor.side == side).count();
            if columns.iter().len() <= planned {
                continue;
            }
            for column in columns.iter() {
                if !plan.tensors.iter().any(|tensor| tensor.side == side && tensor.name == column.name) {
                    bump(&mut self.state.traffic.unknown, &key_of(column.name.as_bytes()), 1);
                }
            }
        }
    }
}

/// The value of a slice: a category, or the range of a group of the reference.
fn slice_of(cell: &Cell<'_>, known: Option<&FeatureReference>) -> String {
    match (cell, known.map(|feature| &feature.known)) {
        (Cell::Absent, _) => "(not there)".to_owned(),
        (Cell::Integer(value), _) => value.to_string(),
        (Cell::Text(text), _) => key_of(text).into_owned(),
        (Cell::Number(value), _) if value.is_nan() => "(missing)".to_owned(),
        (Cell::Number(value), Some(Known::Number(known))) => {
            let group = known.group_of(known.edges.bin(*value));
            crate::report::group_name(known, group)
        }
        (Cell::Number(value), _) => value.to_string(),
    }
}

/// The answer to a row.
fn answer(output: &Column, row: usize, rows: usize, is_batched: bool) -> Option<Answer<'_>> {
    if is_batched && output.row_count() != Some(rows) {
        return None;
    }
    let elements = output.len() / rows.max(1);
    let start = row * elements;
    match output.text(start) {
        Some(text) => Some(Answer::Text(text)),
        None => output.numbers.get(start..start + elements).map(Answer::Numbers),
    }
}
