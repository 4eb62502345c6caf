//! The report in the text format of Prometheus.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

use super::{FeatureReport, Report};
use crate::plan::Side;

/// Measures with the labels of one report.
struct Page<'r> {
    out: String,
    report: &'r Report,
}

pub(super) fn prometheus(report: &Report) -> String {
    let mut page = Page { out: String::new(), report };
    let traffic = &report.traffic;
    page.measure("requests", "Requests of the log.", [(String::new(), traffic.requests as f64)]);
    page.measure("rows", "Rows of answered requests.", [(String::new(), traffic.rows as f64)]);
    let failures = traffic.failures.iter().map(|(code, count)| (label("code", code), *count as f64));
    page.measure("failures", "Failed requests by code.", failures);
    if let Some(latency) = traffic.latency_ms {
        let quantiles = [("0.5", latency.p50), ("0.9", latency.p90), ("0.99", latency.p99), ("1", latency.max)];
        let quantiles = quantiles.map(|(rank, value)| (label("quantile", rank), value / 1000.0));
        page.measure("latency_seconds", "Quantiles of the latency.", quantiles);
    }
    if let Some(drift) = &report.drift {
        page.measure("alarm", "1 if a feature has drifted.", [(String::new(), f64::from(u8::from(drift.alarm)))]);
        page.measure("drifted_features", "Features that have drifted.", [(String::new(), drift.drifted.len() as f64)]);
    }
    page.features("feature_psi", "The population stability index.", |feature| feature.psi);
    page.features("feature_jensen_shannon", "The Jensen-Shannon distance.", |feature| feature.jensen_shannon);
    page.features("feature_ks", "The statistic of Kolmogorov and Smirnov.", |feature| feature.ks);
    page.features("feature_chi_squared", "The chi-squared statistic.", |feature| feature.chi_squared);
    page.features("feature_p_value", "The p-value, corrected for all tests.", |feature| feature.adjusted_p_value);
    page.features("feature_missing_ratio", "The share of missing values.", |feature| feature.missing);
    page.features("feature_out_of_range_ratio", "The share of values outside of the reference.", |feature| {
        feature.out_of_range
    });
    page.features("feature_mean", "The mean.", |feature| feature.mean);
    if let Some(figures) = &report.quality {
        let all = [
            ("accuracy", figures.accuracy),
            ("log_loss", figures.log_loss),
            ("auc", figures.auc),
            ("mae", figures.mae),
            ("rmse", figures.rmse),
            ("calibration_error", figures.calibration_error),
        ];
        let known = all.into_iter().filter_map(|(name, value)| Some((label("figure", name), value?)));
        page.measure("quality", "Figures of the rows with labels.", known);
        page.measure("labelled_rows", "Rows with labels.", [(String::new(), figures.rows as f64)]);
    }
    page.out
}

impl Page<'_> {
    fn measure(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        let name = format!("tf_persist_monitor_{name}");
        let mut values = values.into_iter().filter(|(_, value)| value.is_finite()).peekable();
        if values.peek().is_none() {
            return;
        }
        let model = label("model", &self.report.model);
        // Writing to memory does not fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(self.out, "{name}{{{model}{comma}{labels}}} {value}");
        }
    }

    fn features(&mut self, name: &str, help: &str, value: impl Fn(&FeatureReport) -> Option<f64>) {
        let report = self.report;
        let values = report.features.iter().filter_map(|feature| {
            let side = if feature.side == Side::Input { "input" } else { "output" };
            Some((format!("{},{}", label("feature", &feature.name), label("side", side)), value(feature)?))
        });
        self.measure(name, help, values);
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}
