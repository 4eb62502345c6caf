//! Figures out of counts.

use jiff::Timestamp;

use super::drift::{self, Tested};
use super::{DriftReport, FeatureReport, GroupReport, LatencyReport, Report, Thresholds, TrafficReport, notes_of};
use crate::error::{MonitorError, Result};
use crate::reference::Reference;
use crate::state::{Group, State, Traffic};
use crate::statistics::{holm, population_stability};

/// The name and the version of the format.
const SCHEMA: &str = "tf-persist-monitor-report/1";

pub(super) fn build(state: &State, reference: Option<&Reference>, thresholds: Thresholds) -> Result<Report> {
    if reference.map(|reference| &reference.identity) != state.reference.as_ref() {
        return Err(MonitorError::Settings("the state was made with another reference".into()));
    }
    if !(thresholds.false_alarm > 0.0 && thresholds.false_alarm < 1.0 && thresholds.psi >= 0.0) {
        return Err(MonitorError::Settings("a threshold is not a number that it can be".into()));
    }
    let features = state.plan.features.iter().zip(&state.tallies).enumerate();
    let tested: Vec<(FeatureReport, Tested)> = features
        .map(|(index, (feature, tally))| {
            drift::feature(feature, tally, reference.and_then(|reference| reference.features.get(index)))
        })
        .collect();
    let (features, drift) = judge(tested, reference, thresholds);
    let task = state.target.as_ref();
    let window = |(start, group): (&i64, &Group)| group_report(time(*start), group, reference, None, state);
    let slice = |((feature, value), group): (&(usize, String), &Group)| {
        let name = state.slice_names.get(*feature).map_or("", String::as_str);
        group_report(format!("{name} = {value}"), group, reference, state.plan.feature(name), state)
    };
    Ok(Report {
        schema: SCHEMA,
        model: state.model.clone(),
        signature: state.signature.clone(),
        traffic: traffic(&state.traffic),
        drift,
        features,
        quality: task.and_then(|target| state.quality.figures(target.task)),
        windows: state.windows.iter().map(window).collect(),
        slices: state.slices.iter().map(slice).collect(),
        notes: notes_of(state),
    })
}

/// Corrects all p-values for their number, and decides which features have drifted.
fn judge(
    tested: Vec<(FeatureReport, Tested)>,
    reference: Option<&Reference>,
    thresholds: Thresholds,
) -> (Vec<FeatureReport>, Option<DriftReport>) {
    let Some(reference) = reference else {
        return (tested.into_iter().map(|(report, _)| report).collect(), None);
    };
    let values: Vec<f64> =
        tested.iter().flat_map(|(_, tests)| tests.distribution.into_iter().chain(tests.missing)).collect();
    let mut adjusted = holm(&values).into_iter();
    let mut features = Vec::with_capacity(tested.len());
    for (mut report, tests) in tested {
        let distribution = tests.distribution.and_then(|_| adjusted.next());
        let missing = tests.missing.and_then(|_| adjusted.next());
        let is_significant = |p: Option<f64>| p.is_some_and(|p| p < thresholds.false_alarm);
        let is_far = report.psi.is_some_and(|psi| psi >= thresholds.psi);
        let gap = report.missing.unwrap_or(0.0) - report.reference_missing.unwrap_or(0.0);
        report.adjusted_p_value = match (distribution, missing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        report.drifted =
            is_significant(distribution) && is_far || is_significant(missing) && gap.abs() >= thresholds.missing;
        features.push(report);
    }
    let drifted: Vec<String> =
        features.iter().filter(|feature| feature.drifted).map(|feature| feature.name.clone()).collect();
    let drift = DriftReport {
        alarm: !drifted.is_empty(),
        drifted,
        tests: values.len(),
        thresholds,
        reference_made: reference.made.clone(),
        reference_rows: reference.rows,
    };
    (features, Some(drift))
}

fn traffic(traffic: &Traffic) -> TrafficReport {
    let failed: u64 = traffic.failures.values().sum();
    let latency_ms = match traffic.latency.at(&[0.5, 0.9, 0.99])[..] {
        [p50, p90, p99] => {
            let mean = traffic.latency_sum / traffic.timed.max(1) as f64;
            Some(LatencyReport { mean, p50, p90, p99, max: traffic.latency_max })
        }
        _ => None,
    };
    TrafficReport {
        requests: traffic.requests,
        rows: traffic.rows,
        first: traffic.first.map(time),
        last: traffic.last.map(time),
        versions: traffic.versions.clone(),
        failures: traffic.failures.clone(),
        failure_rate: (traffic.requests > 0).then(|| failed as f64 / traffic.requests as f64),
        latency_ms,
    }
}

fn group_report(
    name: String,
    group: &Group,
    reference: Option<&Reference>,
    without: Option<usize>,
    state: &State,
) -> GroupReport {
    let (p50, p99) = match group.latency.at(&[0.5, 0.99])[..] {
        [p50, p99] => (Some(p50), Some(p99)),
        _ => (None, None),
    };
    let largest = reference.and_then(|reference| largest_psi(group, reference, without));
    GroupReport {
        name,
        requests: group.requests,
        rows: group.rows,
        failures: group.failures,
        latency_p50_ms: p50,
        latency_p99_ms: p99,
        largest_psi: largest.map(|(psi, _)| psi),
        largest_psi_feature: largest
            .and_then(|(_, index)| state.plan.features.get(index))
            .map(|feature| feature.name.clone()),
        quality: state.target.as_ref().and_then(|target| group.quality.figures(target.task)),
    }
}

/// The largest population stability index of a feature, and the feature's index. That of a slice leaves out the feature
/// which makes the slice.
fn largest_psi(group: &Group, reference: &Reference, without: Option<usize>) -> Option<(f64, usize)> {
    let mut start = 0;
    let mut largest: Option<(f64, usize)> = None;
    for (index, feature) in reference.features.iter().enumerate() {
        let end = start + feature.group_count();
        let current = group.counts.get(start..end).unwrap_or_default();
        start = end;
        if without == Some(index) {
            continue;
        }
        if let Some(psi) = population_stability(&feature.groups(), current)
            && largest.is_none_or(|(other, _)| psi > other)
        {
            largest = Some((psi, index));
        }
    }
    largest
}

/// A time as RFC 3339 has it, to the second.
pub(super) fn time(microseconds: i64) -> String {
    let time = Timestamp::from_microsecond(microseconds);
    time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}
