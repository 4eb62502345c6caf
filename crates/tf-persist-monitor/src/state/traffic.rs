//! Requests, latency and errors, and what of the log could not be used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::as_text;
use crate::sketch::Quantiles;

/// The `k` of the latency.
const LATENCY_K: u16 = 800;

/// The names of a kind that are counted one by one.
const MAX_NAMES: usize = 100;

/// What the other names are counted under.
const OTHER_NAMES: &str = "(others)";

/// Requests of a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    /// Requests to the model and the signature, failed ones among them.
    pub(crate) requests: u64,
    /// Rows of answered requests.
    pub(crate) rows: u64,
    /// Failed requests by code.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Requests by version.
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) latency: Quantiles,
    /// Requests with a latency, and the sum and the largest of them in milliseconds.
    pub(crate) timed: u64,
    #[serde(with = "as_text")]
    pub(crate) latency_sum: f64,
    #[serde(with = "as_text")]
    pub(crate) latency_max: f64,
    /// Microseconds since 1970.
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
    pub(crate) without_time: u64,
    /// Requests whose time is more than a minute before that of the request before them.
    pub(crate) jumps: u64,
    pub(crate) without_window: u64,
    /// Requests to other models and signatures, which are left out.
    pub(crate) other_models: BTreeMap<String, u64>,
    pub(crate) other_signatures: BTreeMap<String, u64>,
    /// Lines and records that cannot be read, and why the first cannot.
    pub(crate) unreadable: u64,
    pub(crate) first_flaw: Option<String>,
    /// Requests whose inputs have several numbers of rows.
    pub(crate) uneven: u64,
    /// Requests by tensor that has another number of elements, or another type.
    pub(crate) differing: BTreeMap<String, u64>,
    /// Requests by tensor that the reference does not have.
    pub(crate) unknown: BTreeMap<String, u64>,
}

/// Counts a name; names beyond the first hundred are counted together.
pub(crate) fn bump(counts: &mut BTreeMap<String, u64>, name: &str, number: u64) {
    if let Some(count) = counts.get_mut(name) {
        *count += number;
        return;
    }
    let name = if counts.len() < MAX_NAMES { name } else { OTHER_NAMES };
    *counts.entry(name.to_owned()).or_default() += number;
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            rows: 0,
            failures: BTreeMap::new(),
            versions: BTreeMap::new(),
            latency: Quantiles::new(LATENCY_K),
            timed: 0,
            latency_sum: 0.0,
            latency_max: 0.0,
            first: None,
            last: None,
            without_time: 0,
            jumps: 0,
            without_window: 0,
            other_models: BTreeMap::new(),
            other_signatures: BTreeMap::new(),
            unreadable: 0,
            first_flaw: None,
            uneven: 0,
            differing: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    pub(crate) fn add_latency(&mut self, milliseconds: f64) {
        if milliseconds.is_finite() && milliseconds >= 0.0 {
            self.timed += 1;
            self.latency_sum += milliseconds;
            self.latency_max = self.latency_max.max(milliseconds);
            self.latency.add(milliseconds);
        }
    }

    pub(crate) fn add_time(&mut self, time: Option<i64>) {
        match time {
            None => self.without_time += 1,
            Some(time) => {
                self.first = Some(self.first.map_or(time, |first| first.min(time)));
                self.last = Some(self.last.map_or(time, |last| last.max(time)));
            }
        }
    }

    pub(crate) fn add_flaw(&mut self, reason: String) {
        self.unreadable += 1;
        self.first_flaw.get_or_insert(reason);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.rows += other.rows;
        self.timed += other.timed;
        self.latency.merge(&other.latency);
        self.latency_sum += other.latency_sum;
        self.latency_max = self.latency_max.max(other.latency_max);
        let both = |a: Option<i64>, b: Option<i64>, of: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(of(a, b)),
            (a, b) => a.or(b),
        };
        self.first = both(self.first, other.first, i64::min);
        self.last = both(self.last, other.last, i64::max);
        self.without_time += other.without_time;
        self.jumps += other.jumps;
        self.without_window += other.without_window;
        self.unreadable += other.unreadable;
        if self.first_flaw.is_none() {
            self.first_flaw.clone_from(&other.first_flaw);
        }
        self.uneven += other.uneven;
        let maps = [
            (&mut self.failures, &other.failures),
            (&mut self.versions, &other.versions),
            (&mut self.other_models, &other.other_models),
            (&mut self.other_signatures, &other.other_signatures),
            (&mut self.differing, &other.differing),
            (&mut self.unknown, &other.unknown),
        ];
        for (own, other) in maps {
            other.iter().for_each(|(name, count)| bump(own, name, *count));
        }
    }
}
