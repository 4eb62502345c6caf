//! A summary of the metrics as JSON, for the page at `/`.

use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::{Map, Value};

use super::buckets::{LATENCY, MICROSECOND};
use super::model::code_name;
use super::{Metrics, ModelMetrics};
use crate::api::{Api, Protocol};

/// Nanoseconds per millisecond.
const MILLISECOND: f64 = 1000.0 * MICROSECOND;

/// The requests of a model since the start of the server.
#[derive(Debug, Serialize)]
pub(crate) struct ModelSummary {
    name: String,
    /// Counts by status code. Requests for status and metadata are among them.
    requests: Map<String, Value>,
    /// Successful requests for inference over all protocols, by latency: a count for each limit, and one for those
    /// beyond the last limit. Empty if there were none.
    latency: Vec<u64>,
}

/// The upper limits of the latencies of [`ModelSummary`], in milliseconds.
pub(crate) fn latency_limits_ms() -> Vec<f64> {
    LATENCY.limits.iter().map(|limit| *limit as f64 / MILLISECOND).collect()
}

impl Metrics {
    /// The requests of these models.
    pub(crate) fn summary(&self, names: impl IntoIterator<Item = String>) -> Vec<ModelSummary> {
        let models = self.0.models.load();
        let summary = |name: String| {
            let found = models.get(&name);
            let requests = found.map(|metrics| requests(metrics)).unwrap_or_default();
            let latency = found.map(|metrics| latency(metrics)).unwrap_or_default();
            ModelSummary { name, requests, latency }
        };
        names.into_iter().map(summary).collect()
    }
}

fn requests(metrics: &ModelMetrics) -> Map<String, Value> {
    let counts = metrics.requests.iter().enumerate().map(|(number, count)| (number, count.load(Ordering::Relaxed)));
    counts.filter(|(_, count)| *count > 0).map(|(number, count)| (code_name(number).to_owned(), count.into())).collect()
}

fn latency(metrics: &ModelMetrics) -> Vec<u64> {
    let mut totals = Vec::new();
    for protocol in Protocol::ALL {
        for api in [Api::Predict, Api::Classify, Api::Regress, Api::MultiInference] {
            let found = metrics.latencies[protocol as usize][api as usize].snapshot();
            if found.count() == 0 {
                continue;
            }
            totals.resize(found.cumulative.len(), 0);
            let mut below = 0;
            for (total, cumulative) in totals.iter_mut().zip(found.cumulative) {
                *total += cumulative - below;
                below = cumulative;
            }
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tf_persist_core::Code;

    use super::*;

    #[test]
    fn summary_adds_up_protocols_and_leaves_out_status_and_metadata() {
        let metrics = Metrics::new();
        let model = metrics.model("m");
        model.record_request(Api::Predict, Protocol::Rest, None, Duration::from_micros(15));
        model.record_request(Api::Classify, Protocol::Grpc, None, Duration::from_micros(5));
        model.record_request(Api::GetModelMetadata, Protocol::Rest, None, Duration::from_micros(5));
        model.record_request(Api::MultiInference, Protocol::Grpc, None, Duration::from_secs(1_000_000));
        model.record_request(Api::Predict, Protocol::Rest, Some(Code::NotFound), Duration::ZERO);
        metrics.model("<script>").record_malformed(Code::InvalidArgument);
        let summary = serde_json::to_value(metrics.summary(["m".to_owned(), "unused".to_owned()])).unwrap();
        assert_eq!(summary[0]["name"], "m");
        assert_eq!(summary[0]["requests"], serde_json::json!({"OK": 4, "NOT_FOUND": 1}));
        let latency: Vec<u64> = serde_json::from_value(summary[0]["latency"].clone()).unwrap();
        assert_eq!((latency.len(), latency[0], latency[1], latency[33]), (34, 1, 1, 1));
        assert_eq!(latency.iter().sum::<u64>(), 3);
        assert_eq!(summary[1], serde_json::json!({"name": "unused", "requests": {}, "latency": []}));
        assert_eq!(summary.as_array().unwrap().len(), 2);
        let limits = latency_limits_ms();
        assert_eq!((limits.len(), limits[0], limits[1]), (33, 0.01, 0.018));
    }
}
