//! The report for people: the verdict as the first word, then what differs most.

use std::fmt::Write;

use tf_persist_savedmodel::printable;

use super::{FeatureReport, GroupReport, Report};
use crate::quality::Figures;

/// The features, windows and slices that are shown.
const SHOWN: usize = 20;

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = write_all(&mut out, report);
    out
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    let tested = report.features.iter().filter(|feature| feature.adjusted_p_value.is_some()).count();
    match &report.drift {
        None if report.traffic.rows == 0 => writeln!(out, "nothing: the log has no answered requests to describe")?,
        None => writeln!(out, "no reference: the log is described and not compared")?,
        Some(_) if report.traffic.rows == 0 => writeln!(out, "nothing: the log has no answered requests to compare")?,
        Some(drift) if drift.alarm => {
            writeln!(out, "drift: {} of {tested} features", drift.drifted.len())?;
        }
        Some(_) => writeln!(out, "no drift: {tested} features are as in the reference")?,
    }
    traffic(out, report)?;
    if let Some(drift) = &report.drift {
        writeln!(
            out,
            "reference: {} rows of {}; false alarms in {} of reports, PSI from {}",
            drift.reference_rows,
            printable(&drift.reference_made),
            percent(drift.thresholds.false_alarm),
            short(drift.thresholds.psi)
        )?;
    }
    features(out, report)?;
    if let Some(figures) = &report.quality {
        writeln!(out, "quality: {} rows with labels, {}", figures.rows, quality(figures))?;
    }
    groups(out, "windows", &report.windows)?;
    groups(out, "slices", &report.slices)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn traffic(out: &mut String, report: &Report) -> std::fmt::Result {
    let traffic = &report.traffic;
    let model = match report.model.as_str() {
        "" => String::new(),
        model => format!(" to `{}`", printable(model)),
    };
    write!(out, "requests: {}{model}, {} rows", traffic.requests, traffic.rows)?;
    if let (Some(first), Some(last)) = (&traffic.first, &traffic.last) {
        write!(out, ", {first} to {last}")?;
    }
    writeln!(out)?;
    if let Some(latency) = &traffic.latency_ms {
        writeln!(
            out,
            "latency: {} ms median, {} ms for 90%, {} ms for 99%, {} ms at most",
            short(latency.p50),
            short(latency.p90),
            short(latency.p99),
            short(latency.max)
        )?;
    }
    if !traffic.failures.is_empty() {
        let codes: Vec<String> =
            traffic.failures.iter().map(|(code, count)| format!("{count} {}", printable(code))).collect();
        writeln!(out, "errors: {} of requests: {}", percent(traffic.failure_rate.unwrap_or(0.0)), codes.join(", "))?;
    }
    Ok(())
}

fn features(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.features.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&FeatureReport> = report.features.iter().collect();
    let distance = |feature: &FeatureReport| (feature.drifted, feature.psi.unwrap_or(-1.0));
    sorted.sort_by(|a, b| {
        let ((a_drifted, a), (b_drifted, b)) = (distance(a), distance(b));
        b_drifted.cmp(&a_drifted).then(b.total_cmp(&a))
    });
    let width = sorted.iter().take(SHOWN).map(|feature| printable(&feature.name).chars().count()).max().unwrap_or(0);
    let has_reference = report.drift.is_some();
    if has_reference {
        writeln!(out, "  {:width$}     psi      js      ks     chi2       p  missing  outside     mean", "feature")?;
    } else {
        writeln!(out, "  {:width$}     mean      dev      min   median      max  missing distinct", "feature")?;
    }
    for feature in sorted.iter().take(SHOWN) {
        let mark = if feature.drifted { '!' } else { ' ' };
        let name = printable(&feature.name);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let any = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let part = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), percent);
        if has_reference {
            writeln!(
                out,
                "{mark} {name:width$} {:>7} {:>7} {:>7} {:>8} {:>7} {:>8} {:>8} {:>8}",
                number(feature.psi),
                number(feature.jensen_shannon),
                number(feature.ks),
                any(feature.chi_squared),
                feature.adjusted_p_value.map_or_else(|| "-".to_owned(), p_value),
                part(feature.missing),
                part(feature.out_of_range),
                any(feature.mean)
            )?;
        } else {
            let median = feature.quantiles.as_ref().and_then(|quantiles| quantiles.get(2).copied());
            writeln!(
                out,
                "{mark} {name:width$} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
                any(feature.mean),
                any(feature.deviation),
                any(feature.min),
                any(median),
                any(feature.max),
                part(feature.missing),
                feature.distinct
            )?;
        }
    }
    if sorted.len() > SHOWN {
        writeln!(out, "  … {} more features; the JSON report has all", sorted.len() - SHOWN)?;
    }
    Ok(())
}

fn groups(out: &mut String, what: &str, groups: &[GroupReport]) -> std::fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    writeln!(out, "{what}:")?;
    // The last windows are those that matter.
    let skipped = if what == "windows" { groups.len().saturating_sub(SHOWN) } else { 0 };
    if skipped > 0 {
        writeln!(out, "  … {skipped} earlier ones; the JSON report has all")?;
    }
    for group in groups.iter().skip(skipped).take(SHOWN) {
        write!(out, "  {}: {} rows", printable(&group.name), group.rows)?;
        if group.failures > 0 {
            write!(out, ", {} of {} requests failed", group.failures, group.requests)?;
        }
        if let Some(p99) = group.latency_p99_ms {
            write!(out, ", {} ms for 99%", short(p99))?;
        }
        if let (Some(psi), Some(feature)) = (group.largest_psi, &group.largest_psi_feature) {
            write!(out, ", PSI up to {psi:.3} (`{}`)", printable(feature))?;
        }
        if let Some(figures) = &group.quality {
            write!(out, ", {}", quality(figures))?;
        }
        writeln!(out)?;
    }
    if groups.len() > SHOWN + skipped {
        writeln!(out, "  … {} more; the JSON report has all", groups.len() - SHOWN)?;
    }
    Ok(())
}

/// The figures that a task has: "accuracy 0.9, …".
pub(super) fn quality(figures: &Figures) -> String {
    let all = [
        ("accuracy", figures.accuracy),
        ("log loss", figures.log_loss),
        ("AUC", figures.auc),
        ("mean absolute error", figures.mae),
        ("root mean squared error", figures.rmse),
        ("calibration error", figures.calibration_error),
    ];
    let known = all.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value:.4}")));
    known.collect::<Vec<_>>().join(", ")
}

fn percent(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

pub(super) fn p_value(p: f64) -> String {
    if p < 1e-4 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

/// A number with four significant digits.
pub(crate) fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let exponent = number.abs().log10().floor();
    if (-4.0..7.0).contains(&exponent) {
        let digits = (3.0 - exponent).max(0.0) as usize;
        let text = format!("{number:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{number:.3e}")
    }
}
