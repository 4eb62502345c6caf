//! The page of metrics in Prometheus' text format, as TensorFlow Serving writes it (`util/prometheus_exporter.cc`):
//! lines with types but without help, labels in the order of their declaration, empty braces where there are no labels.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::batching::BatchMetrics;
use super::buckets::{BATCHES, Buckets, EXAMPLES, LATENCY, MICROSECOND, PHASE, QUEUEING, SECOND, six_digits};
use super::histogram::{Histogram, Snapshot};
use super::model::{ModelMetrics, code_name};
use super::version::VersionMetrics;
use super::{Inner, LogLoss, Phase};
use crate::api::{Api, Protocol};

/// The current values (gauges).
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Open connections.
    pub connections: usize,
    /// Requests under way.
    pub requests: usize,
    /// Whether all models have had an available version and the server is not shutting down.
    pub ready: bool,
    /// The states of all versions of all models, sorted by model.
    pub versions: Vec<VersionGauge>,
    /// The shares of versions in the traffic, where it is split; `None` where requests are not counted by version.
    pub shares: Option<Vec<ShareGauge>>,
}

/// The share of a version in the requests that name none.
#[derive(Debug, Clone)]
pub struct ShareGauge {
    /// The name of the model.
    pub model: String,
    /// The number of the version.
    pub version: i64,
    /// From 0 to 1.
    pub share: f64,
}

/// The state of one version of a model.
#[derive(Debug, Clone)]
pub struct VersionGauge {
    /// The name of the model.
    pub model: String,
    /// The number of the version.
    pub version: i64,
    /// The state, as TensorFlow Serving names it.
    pub state: &'static str,
}

/// The text of the page.
#[derive(Default)]
struct Page(String);

impl Page {
    fn kind(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{}}} {value}", braces(labels));
    }

    /// Writes a histogram, its values divided by `unit`. An empty histogram is left out.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram, buckets: &Buckets, unit: f64) {
        let found: Snapshot = histogram.snapshot();
        if found.count() == 0 {
            return;
        }
        let labels = braces(labels);
        let comma = if labels.is_empty() { "" } else { "," };
        let limits = buckets.labels.iter().map(String::as_str).chain(["+Inf"]);
        for (limit, count) in limits.zip(&found.cumulative) {
            let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"{limit}\"}} {count}");
        }
        let sum = found.sum as f64 / unit;
        let sum = if unit == SECOND { format!("{sum:.9}") } else { six_digits(sum.round()) };
        let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(self.0, "{name}_count{{{labels}}} {}", found.count());
    }
}

fn braces(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// The value of a TensorFlow Serving counter by its name, over all labels.
pub(super) fn counter(inner: &Inner, name: &str) -> Option<u64> {
    let models = inner.models.load();
    let paths = || inner.paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Some(match name {
        "/tensorflow/serving/request_count" => models.values().map(|model| model.all_requests()).sum(),
        "/tensorflow/serving/request_example_count_total" => {
            models.values().map(|model| model.examples.snapshot().sum).sum()
        }
        "/tensorflow/serving/batching_session/wrapped_run_count" => inner.batches.runs(),
        "/tensorflow/serving/model_warmup_records_read" => paths().warmed_records.values().sum(),
        "/tensorflow/cc/saved_model/load_attempt_count" => paths().loads.values().sum(),
        _ => return None,
    })
}

/// The whole page.
pub(super) fn render(inner: &Inner, gauges: &Gauges) -> String {
    let mut page = Page::default();
    write_tfs(&mut page, inner);
    write_own(&mut page, inner, gauges);
    page.0
}

fn write_tfs(page: &mut Page, inner: &Inner) {
    let models = inner.models.load();
    let paths = inner.paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

    let name = ":tensorflow:cc:saved_model:load_attempt_count";
    page.kind(name, "counter");
    for ((path, status), count) in &paths.loads {
        let status = if *status == 0 { "success" } else { "fail" };
        page.line(name, &[("model_path", path), ("status", status)], count);
    }
    let name = ":tensorflow:cc:saved_model:load_latency";
    page.kind(name, "counter");
    for (path, micros) in &paths.load_micros {
        page.line(name, &[("model_path", path)], micros);
    }

    write_batching(page, &inner.batches);

    let name = ":tensorflow:serving:model_warmup_latency";
    page.kind(name, "histogram");
    for ((path, status), histogram) in &paths.warm_ups {
        page.histogram(name, &[("model_path", path), ("status", code_name(*status))], histogram, &LATENCY, MICROSECOND);
    }
    let name = ":tensorflow:serving:model_warmup_records_read";
    page.kind(name, "counter");
    for ((path, status), count) in &paths.warmed_records {
        page.line(name, &[("model_path", path), ("status", code_name(*status))], count);
    }

    let name = ":tensorflow:serving:request_count";
    page.kind(name, "counter");
    for (model, metrics) in models.iter() {
        for (number, count) in metrics.requests.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.line(name, &[("model_name", model), ("status", code_name(number))], count);
            }
        }
    }
    let name = ":tensorflow:serving:request_example_count_total";
    page.kind(name, "counter");
    for (model, metrics) in models.iter() {
        let found = metrics.examples.snapshot();
        if found.count() > 0 {
            page.line(name, &[("model", model)], found.sum);
        }
    }
    let name = ":tensorflow:serving:request_example_counts";
    page.kind(name, "histogram");
    for (model, metrics) in models.iter() {
        page.histogram(name, &[("model", model)], &metrics.examples, &EXAMPLES, 1.0);
    }
    let name = ":tensorflow:serving:request_latency";
    page.kind(name, "histogram");
    for (model, metrics) in models.iter() {
        for protocol in Protocol::ALL {
            for api in Api::ALL {
                let labels =
                    [("model_name", model.as_str()), ("API", api.label(protocol)), ("entrypoint", protocol.label())];
                page.histogram(
                    name,
                    &labels,
                    &metrics.latencies[protocol as usize][api as usize],
                    &LATENCY,
                    MICROSECOND,
                );
            }
        }
    }
    let name = ":tensorflow:serving:runtime_latency";
    page.kind(name, "histogram");
    for (model, metrics) in models.iter() {
        for api in Api::ALL {
            let labels = [("model_name", model.as_str()), ("API", api.label(Protocol::Grpc)), ("runtime", "TF1")];
            page.histogram(name, &labels, &metrics.runtimes[api as usize], &LATENCY, MICROSECOND);
        }
    }
}

/// Metrics of batching. They have no label for the model, and the name of the thread pool is empty.
fn write_batching(page: &mut Page, batches: &BatchMetrics) {
    let name = ":tensorflow:serving:batching_session:input_batch_size";
    page.kind(name, "histogram");
    page.histogram(name, &[], &batches.input, &BATCHES, 1.0);
    let name = ":tensorflow:serving:batching_session:padding_size";
    page.kind(name, "histogram");
    let padding = batches.padding.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for (size, histogram) in padding.iter() {
        page.histogram(name, &[("execution_batch_size", &size.to_string())], histogram, &BATCHES, 1.0);
    }
    drop(padding);
    let name = ":tensorflow:serving:batching_session:processed_batch_size";
    page.kind(name, "histogram");
    page.histogram(name, &[], &batches.processed, &BATCHES, 1.0);
    let name = ":tensorflow:serving:batching_session:queuing_latency";
    page.kind(name, "histogram");
    page.histogram(name, &[("thread_pool_name", "")], &batches.queueing, &QUEUEING, MICROSECOND);
    let name = ":tensorflow:serving:batching_session:wrapped_run_count";
    page.kind(name, "counter");
    page.line(name, &[], batches.runs());
}

fn write_own(page: &mut Page, inner: &Inner, gauges: &Gauges) {
    let name = "tf_persist_build_info";
    page.kind(name, "gauge");
    page.line(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    for (name, value) in [
        ("tf_persist_connections", gauges.connections),
        ("tf_persist_ready", usize::from(gauges.ready)),
        ("tf_persist_requests_under_way", gauges.requests),
    ] {
        page.kind(name, "gauge");
        page.line(name, &[], value);
    }
    let name = "tf_persist_model_version_state";
    page.kind(name, "gauge");
    for VersionGauge { model, version, state } in &gauges.versions {
        page.line(name, &[("model", model), ("version", &version.to_string()), ("state", state)], 1);
    }
    let name = "tf_persist_request_phase_seconds";
    page.kind(name, "histogram");
    for (model, metrics) in inner.models.load().iter() {
        for phase in Phase::ALL {
            let labels = [("model", model.as_str()), ("phase", phase.label())];
            page.histogram(name, &labels, &metrics.phases[phase as usize], &PHASE, SECOND);
        }
    }
    write_request_log(page, inner);
    if let Some(shares) = &gauges.shares {
        write_traffic(page, inner, shares);
    }
}

/// The metrics of versions, where traffic is split between them.
fn write_traffic(page: &mut Page, inner: &Inner, shares: &[ShareGauge]) {
    let models = inner.versions.load();
    let versions: Vec<(&str, String, &VersionMetrics)> = (models.iter())
        .flat_map(|(model, versions)| versions.iter().map(move |(version, metrics)| (model.as_str(), version, metrics)))
        .map(|(model, version, metrics)| (model, version.to_string(), &**metrics))
        .collect();
    let name = "tf_persist_version_requests_total";
    page.kind(name, "counter");
    for (model, version, metrics) in &versions {
        for (number, count) in metrics.requests.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.line(name, &[("model", model), ("version", version), ("status", code_name(number))], count);
            }
        }
    }
    let name = "tf_persist_version_latency_seconds";
    page.kind(name, "histogram");
    for (model, version, metrics) in &versions {
        page.histogram(name, &[("model", model), ("version", version)], &metrics.latency, &PHASE, SECOND);
    }
    let shadows: Vec<_> = (versions.iter())
        .flat_map(|(model, version, metrics)| {
            metrics.shadows().into_iter().map(move |(shadow, found)| (model, version, shadow.to_string(), found))
        })
        .collect();
    let name = "tf_persist_shadow_requests_total";
    page.kind(name, "counter");
    for (model, version, shadow, found) in &shadows {
        for (outcome, count) in found.counts() {
            let labels = [("model", **model), ("version", version), ("shadow", shadow), ("outcome", outcome)];
            page.line(name, &labels, count);
        }
    }
    let name = "tf_persist_shadow_largest_difference";
    page.kind(name, "gauge");
    for (model, version, shadow, found) in &shadows {
        if let Some(difference) = found.largest_difference {
            let difference = if difference.is_finite() { difference.to_string() } else { "+Inf".to_owned() };
            page.line(name, &[("model", model), ("version", version), ("shadow", shadow)], difference);
        }
    }
    let name = "tf_persist_traffic_share";
    page.kind(name, "gauge");
    for ShareGauge { model, version, share } in shares {
        page.line(name, &[("model", model), ("version", &version.to_string())], share);
    }
}

/// The counters of the request log, for models that have one.
fn write_request_log(page: &mut Page, inner: &Inner) {
    let models = inner.models.load();
    let count = |metrics: &ModelMetrics, loss: LogLoss| metrics.log_losses[loss as usize].load(Ordering::Relaxed);
    let written = |metrics: &ModelMetrics| metrics.logged.load(Ordering::Relaxed);
    let has_log =
        |metrics: &ModelMetrics| written(metrics) > 0 || LogLoss::ALL.iter().any(|loss| count(metrics, *loss) > 0);
    let logs = || models.iter().filter(|(_, metrics)| has_log(metrics));
    let name = "tf_persist_request_log_dropped_total";
    page.kind(name, "counter");
    for (model, metrics) in logs() {
        for loss in LogLoss::ALL {
            page.line(name, &[("model", model), ("reason", loss.label())], count(metrics, loss));
        }
    }
    let name = "tf_persist_request_log_written_total";
    page.kind(name, "counter");
    for (model, metrics) in logs() {
        page.line(name, &[("model", model)], written(metrics));
    }
}
