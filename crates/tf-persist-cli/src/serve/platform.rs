//! `--platform_config_file`: how TensorFlow Serving's platforms run models. Here `tensorflow` is the only one.

use std::path::Path;

use anyhow::{anyhow, bail};
use tf_persist_proto::protobuf::{Message, MessageFull, text_format};
use tf_persist_proto::serving::{PlatformConfigMap, SavedModelBundleSourceAdapterConfig, SessionBundleConfig};
use tf_persist_serve::BatchingSettings;

use super::files;
use super::session::{Session, check, other_field};

/// The only platform (`kTensorFlowModelPlatform`).
const PLATFORM: &str = "tensorflow";

/// The fields of a `SessionBundleConfig` that take effect.
const HONOURED: [&str; 6] = [
    "batching_parameters",
    "enable_model_warmup",
    "enable_per_model_batching_params",
    "model_warmup_options.num_request_iterations",
    "saved_model_tags",
    "session_config",
];

/// Those that change nothing here: what they ask for is done anyway, or concerns TensorFlow Serving's own threads and
/// memory.
const WITHOUT_EFFECT: [&str; 7] = [
    "enable_session_metadata",
    "experimental_transient_ram_bytes_during_load",
    "model_warmup_options.num_model_warmup_threads",
    "remove_unused_fields_from_bundle_metagraph",
    "resource_estimation_uses_validation_result",
    "session_run_load_threadpool_index",
    "wrap_session_with_no_threading_params",
];

/// What the file says.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) session: Session,
    pub(super) batching: BatchingSettings,
    pub(super) tags: Vec<String>,
    pub(super) warm_up: bool,
    pub(super) warm_up_iterations: Option<u32>,
}

impl Platform {
    /// Reads a `PlatformConfigMap` in text format.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let map = Self::parse(file)?;
        if let Some(other) = map.platform_configs.keys().find(|name| *name != PLATFORM) {
            bail!("`{shown}`: the platform `{other}` is not supported; the only one is `{PLATFORM}`");
        }
        let Some(platform) = map.platform_configs.get(PLATFORM) else {
            bail!("`{shown}` configures no platform; the only one is `{PLATFORM}`");
        };
        let any = &platform.source_adapter_config;
        let name = SavedModelBundleSourceAdapterConfig::descriptor().full_name().to_owned();
        if any.type_url.rsplit('/').next() != Some(name.as_str()) {
            bail!("`{shown}`: its source_adapter_config is `{}`, and {name} is expected", any.type_url);
        }
        let adapter = SavedModelBundleSourceAdapterConfig::parse_from_bytes(&any.value)
            .map_err(|error| anyhow!("`{shown}`: its source_adapter_config cannot be read: {error}"))?;
        Self::new(adapter.legacy_config.unwrap_or_default()).map_err(|error| error.context(format!("`{shown}`")))
    }

    fn parse(file: &Path) -> anyhow::Result<PlatformConfigMap> {
        files::parse_with(
            file,
            "tensorflow.serving.PlatformConfigMap",
            &[SavedModelBundleSourceAdapterConfig::descriptor()],
        )
    }

    fn new(config: SessionBundleConfig) -> anyhow::Result<Self> {
        let known: Vec<&str> = HONOURED.iter().chain(&WITHOUT_EFFECT).copied().collect();
        if let Some(name) = other_field(&config, "", &known) {
            bail!("the field `{name}` of SessionBundleConfig is not supported");
        }
        check(&config.session_config).map_err(|reason| anyhow!(reason))?;
        let iterations = config.model_warmup_options.num_request_iterations.as_ref().map(|value| value.value);
        let batching = config.batching_parameters.as_ref().map(|parameters| text_format::print_to_string(parameters));
        Ok(Self {
            session: Session::from_platform(config.session_config.clone().unwrap_or_default())?,
            batching: BatchingSettings::default()
                .explicit(batching.is_some())
                .parameters_text(batching)
                .per_model(config.enable_per_model_batching_params),
            tags: config.saved_model_tags.clone(),
            warm_up: config.enable_model_warmup,
            warm_up_iterations: iterations.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0),
        })
    }
}
