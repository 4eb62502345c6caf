//! Settings of the metrics page.

use crate::setters::setters;

/// Settings of the metrics page.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MetricsSettings {
    /// The path of the Prometheus page on the REST port (`monitoring_config_file`); `None` for no page.
    pub prometheus_path: Option<String>,
}

impl MetricsSettings {
    /// TensorFlow Serving's default path of the page.
    pub const DEFAULT_PATH: &str = "/monitoring/prometheus/metrics";

    setters! {
        prometheus_path: impl Into<Option<String>>,
    }
}
