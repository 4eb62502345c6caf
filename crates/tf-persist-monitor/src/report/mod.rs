//! The report: figures of a state, compared with a reference.

mod build;
mod drift;
mod html;
mod notes;
mod plots;
mod prometheus;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use drift::group_name;
pub(crate) use notes::notes_of;

use crate::error::Result;
use crate::plan::Side;
use crate::quality::Figures;
use crate::reference::Reference;
use crate::state::State;

/// When a feature counts as drifted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Thresholds {
    /// The chance that there is any alarm where nothing has changed.
    pub false_alarm: f64,
    /// The least population stability index. Of many rows, differences that do not matter are significant, too.
    pub psi: f64,
    /// The least difference of the shares of missing values.
    pub missing: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { false_alarm: 0.01, psi: 0.1, missing: 0.01 }
    }
}

/// Figures of a log.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name and the version of the format.
    pub schema: &'static str,
    /// The model and the signature that were watched.
    pub model: String,
    /// The signature.
    pub signature: String,
    /// Requests, latency and errors.
    pub traffic: TrafficReport,
    /// Whether the log differs from the reference; `None` without one.
    pub drift: Option<DriftReport>,
    /// Inputs and outputs.
    pub features: Vec<FeatureReport>,
    /// Figures of the rows with labels.
    pub quality: Option<Figures>,
    /// Windows of time.
    pub windows: Vec<GroupReport>,
    /// Slices by the values of features.
    pub slices: Vec<GroupReport>,
    /// Sentences about what could not be used.
    pub notes: Vec<String>,
}

/// Requests, latency and errors.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TrafficReport {
    /// Requests to the model.
    pub requests: u64,
    /// Rows of answered requests.
    pub rows: u64,
    /// The first and the last time, as RFC 3339 has it.
    pub first: Option<String>,
    /// The last time.
    pub last: Option<String>,
    /// Requests by version.
    pub versions: BTreeMap<String, u64>,
    /// Failed requests by code.
    pub failures: BTreeMap<String, u64>,
    /// The share of failed requests.
    pub failure_rate: Option<f64>,
    /// Of requests in milliseconds; a log of TFRecords has none.
    pub latency_ms: Option<LatencyReport>,
}

/// Quantiles of the latency in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct LatencyReport {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// The verdict about all features.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DriftReport {
    /// Whether a feature has drifted.
    pub alarm: bool,
    /// The names of these features.
    pub drifted: Vec<String>,
    /// The number of tests, over all of which the chance of a false alarm is bounded.
    pub tests: usize,
    /// When a feature counts as drifted.
    pub thresholds: Thresholds,
    /// When the reference was made, and of how many rows.
    pub reference_made: String,
    /// The rows of the reference.
    pub reference_rows: u64,
}

/// Figures of a feature.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FeatureReport {
    /// Its name: that of its tensor, with what it is of it.
    pub name: String,
    /// Of the request or of the answer.
    pub side: Side,
    /// `number` or `category`.
    pub kind: &'static str,
    /// Rows that have the tensor.
    pub rows: u64,
    /// The share of rows where it is NaN or null.
    pub missing: Option<f64>,
    /// The same in the reference.
    pub reference_missing: Option<f64>,
    /// The share of values outside of the reference's range, or not among its categories.
    pub out_of_range: Option<f64>,
    /// About as many distinct values.
    pub distinct: u64,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation.
    pub deviation: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The 1st, 25th, 50th, 75th and 99th percentile.
    pub quantiles: Option<Vec<f64>>,
    /// The mean in the reference.
    pub reference_mean: Option<f64>,
    /// The population stability index over the tenths of the reference and its frequent values, or its categories.
    pub psi: Option<f64>,
    /// The Jensen-Shannon distance over the same, to base 2.
    pub jensen_shannon: Option<f64>,
    /// The statistic of Kolmogorov and Smirnov, of a number.
    pub ks: Option<f64>,
    /// Its p-value.
    pub ks_p_value: Option<f64>,
    /// The statistic of the chi-squared test, of a category.
    pub chi_squared: Option<f64>,
    /// Its p-value.
    pub chi_squared_p_value: Option<f64>,
    /// The p-value of the share of missing values, where there are any.
    pub missing_p_value: Option<f64>,
    /// The least p-value after Holm's correction for all tests of the report.
    pub adjusted_p_value: Option<f64>,
    /// Whether it has drifted.
    pub drifted: bool,
    /// Shares of its groups: tenths of the reference and its frequent values, or categories.
    pub groups: Vec<GroupShare>,
}

/// The share of a group of values.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GroupShare {
    /// The category, or the range of a number.
    pub name: String,
    /// The share in the reference.
    pub reference: Option<f64>,
    /// The share in the log.
    pub current: f64,
}

/// Figures of a window or a slice.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GroupReport {
    /// When the window begins, or the slice: `feature = value`.
    pub name: String,
    /// Its requests; 0 for a slice, which has rows.
    pub requests: u64,
    /// Rows of answered requests.
    pub rows: u64,
    /// Failed requests.
    pub failures: u64,
    /// The median and the 99th percentile of the latency in milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// The 99th percentile.
    pub latency_p99_ms: Option<f64>,
    /// The largest population stability index of a feature, and the feature.
    pub largest_psi: Option<f64>,
    /// The feature.
    pub largest_psi_feature: Option<String>,
    /// Figures of the rows with labels.
    pub quality: Option<Figures>,
}

impl Report {
    /// The report of a state, which was counted against this reference.
    ///
    /// # Errors
    /// If it was counted against another one, or a threshold is not a share.
    pub fn new(state: &State, reference: Option<&Reference>, thresholds: Thresholds) -> Result<Self> {
        build::build(state, reference, thresholds)
    }

    /// Whether a feature has drifted.
    #[must_use]
    pub fn has_alarm(&self) -> bool {
        self.drift.as_ref().is_some_and(|drift| drift.alarm)
    }

    /// For people: the verdict as the first word.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::text(self)
    }

    /// For tools.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Writing numbers and texts to memory does not fail.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// The text format of Prometheus, for the textfile collector of its node exporter.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        prometheus::prometheus(self)
    }

    /// A page of its own, with plots, without scripts and without other files.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::html(self)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_ends;
