//! The figures of one feature.

use super::{FeatureReport, GroupShare};
use crate::plan::Feature;
use crate::reference::{FeatureReference, Known, NumberReference};
use crate::statistics::{chi_squared, jensen_shannon, kolmogorov_smirnov, population_stability};
use crate::tally::Tally;

/// The percentiles of a number.
const RANKS: [f64; 5] = [0.01, 0.25, 0.5, 0.75, 0.99];

/// The categories that are shown without a reference.
const SHOWN: usize = 20;

/// The p-values of a feature.
#[derive(Debug, Default)]
pub(super) struct Tested {
    /// Of its distribution.
    pub(super) distribution: Option<f64>,
    /// Of the share of missing values.
    pub(super) missing: Option<f64>,
}

/// The figures of a feature. One that the log does not have at all is not tested: a note says so.
pub(super) fn feature(
    feature: &Feature,
    tally: &Tally,
    reference: Option<&FeatureReference>,
) -> (FeatureReport, Tested) {
    let share = |count: u64, rows: u64| (rows > 0).then(|| count as f64 / rows as f64);
    let mut report = FeatureReport {
        name: feature.name.clone(),
        side: feature.side,
        kind: if feature.is_category { "category" } else { "number" },
        rows: tally.rows(),
        missing: share(tally.missing(), tally.rows()),
        reference_missing: reference.and_then(|reference| share(reference.missing, reference.rows)),
        out_of_range: None,
        distinct: 0,
        mean: None,
        deviation: None,
        min: None,
        max: None,
        quantiles: None,
        reference_mean: None,
        psi: None,
        jensen_shannon: None,
        ks: None,
        ks_p_value: None,
        chi_squared: None,
        chi_squared_p_value: None,
        missing_p_value: None,
        adjusted_p_value: None,
        drifted: false,
        groups: Vec::new(),
    };
    let mut tested = Tested::default();
    let present = tally.rows() - tally.missing().min(tally.rows());
    match tally {
        Tally::Number(number) => {
            report.distinct = number.distinct();
            (report.mean, report.deviation) = number.mean_and_deviation().unzip();
            (report.min, report.max) = number.range.map(|range| (range.min, range.max)).unzip();
            report.quantiles = Some(number.quantiles(&RANKS)).filter(|quantiles| !quantiles.is_empty());
            if let Some(Known::Number(known)) = reference.map(|reference| &reference.known) {
                report.reference_mean = Some(known.mean);
                report.out_of_range = share(number.below + number.above, present);
                if let Some(test) = kolmogorov_smirnov(&known.counts, &number.bins) {
                    (report.ks, report.ks_p_value) = (Some(test.statistic), Some(test.p_value));
                    tested.distribution = Some(test.p_value);
                }
                let names = (0..=known.group_ends.len()).map(|group| group_name(known, group)).collect();
                compare(&mut report, names, &known.groups(&known.counts), &known.groups(&number.bins));
            }
        }
        Tally::Category(category) => {
            report.distinct = category.distinct();
            let (counts, pooled) = category.counts();
            if let Some(Known::Category(known)) = reference.map(|reference| &reference.known) {
                let (before, now) = (known.reference_groups(), known.groups(&counts, pooled));
                if let Some(test) = chi_squared(&before, &now) {
                    report.chi_squared = Some(test.statistic);
                    report.chi_squared_p_value = Some(test.p_value);
                    tested.distribution = Some(test.p_value);
                }
                // Without rare categories that the reference does not list, the others are new.
                report.out_of_range = share(*now.last().unwrap_or(&0), present).filter(|_| known.rest == 0);
                let names = known.listed.iter().map(|(name, _)| name.clone()).chain(["(others)".to_owned()]).collect();
                compare(&mut report, names, &before, &now);
            } else {
                let shown = counts.into_iter().take(SHOWN);
                let shown = shown.map(|(name, count)| (name, share(count, present).unwrap_or(0.0)));
                report.groups = shown.map(|(name, current)| GroupShare { name, reference: None, current }).collect();
            }
        }
    }
    if let Some(reference) = reference.filter(|reference| reference.missing + tally.missing() > 0 && tally.rows() > 0) {
        let before = [reference.missing, reference.rows - reference.missing];
        report.missing_p_value = chi_squared(&before, &[tally.missing(), present]).map(|test| test.p_value);
        tested.missing = report.missing_p_value;
    }
    (report, tested)
}

/// Adds distances, and shares of groups. The group behind the categories is left out where it is empty in both.
fn compare(report: &mut FeatureReport, names: Vec<String>, before: &[u64], now: &[u64]) {
    let filled: Vec<(String, u64, u64)> = names
        .into_iter()
        .zip(before.iter().zip(now))
        .map(|(name, (before, now))| (name, *before, *now))
        .filter(|(_, before, now)| *before + *now > 0)
        .collect();
    let (before, now): (Vec<u64>, Vec<u64>) = filled.iter().map(|(_, before, now)| (*before, *now)).unzip();
    report.psi = population_stability(&before, &now);
    report.jensen_shannon = jensen_shannon(&before, &now);
    let (all_before, all_now): (u64, u64) = (before.iter().sum(), now.iter().sum());
    if all_before == 0 || all_now == 0 {
        return;
    }
    report.groups = filled
        .into_iter()
        .map(|(name, before, now)| GroupShare {
            name,
            reference: Some(before as f64 / all_before as f64),
            current: now as f64 / all_now as f64,
        })
        .collect();
}

/// The range of a group of numbers, or its number.
pub(crate) fn group_name(known: &NumberReference, group: usize) -> String {
    let end = |group: usize| known.group_ends.get(group).copied();
    // The edge before a frequent value is just below it, and nothing is between them.
    let shown = |edge: usize| {
        let edge = if known.edges.has_one_value(edge + 1) { edge + 1 } else { edge };
        known.edges.values().get(edge).map_or_else(String::new, |edge| super::text::short(*edge))
    };
    match (group.checked_sub(1).and_then(end), end(group)) {
        (None, Some(end)) if known.edges.has_one_value(end + 1) => format!("< {}", shown(end)),
        (None, Some(end)) => format!("≤ {}", shown(end)),
        (Some(start), Some(end)) if end == start + 1 && known.edges.has_one_value(end) => shown(end),
        (Some(start), Some(end)) => format!("{} … {}", shown(start), shown(end)),
        (Some(start), None) => format!("> {}", shown(start)),
        (None, None) => "all".to_owned(),
    }
}
