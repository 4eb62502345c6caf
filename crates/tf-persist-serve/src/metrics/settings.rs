//! Where measures can be read.

/// Where measures can be read.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The path on the REST port (`monitoring_config_file`); `None`: nowhere.
    pub prometheus_path: Option<String>,
}
