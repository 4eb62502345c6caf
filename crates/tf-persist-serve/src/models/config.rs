//! The configuration of models: a `ModelServerConfig`, read and checked (`model_servers/server_core.cc`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use tf_persist_proto::text_format;
use tf_persist_proto::serving::file_system_storage_path_source::file_system_storage_path_source_config::ServableVersionPolicy;
use tf_persist_proto::serving::file_system_storage_path_source::file_system_storage_path_source_config::servable_version_policy::Policy_choice;
use tf_persist_proto::serving::model_server_config::model_server_config::Config;
use tf_persist_proto::serving::{ModelConfig as ModelConfigProto, ModelConfigList, ModelServerConfig, ModelType};

use super::{ModelSource, RemotePaths};
use crate::request_log::LogRule;
use crate::status::Status;

/// The only supported platform (`kTensorFlowModelPlatform`).
const PLATFORM: &str = "tensorflow";

/// The longest configuration file, in bytes. A model takes a few hundred.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// Where the versions of a model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BasePath {
    /// A folder.
    Folder(PathBuf),
    /// Elsewhere, with a scheme.
    Remote(String),
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Remote(path) => f.write_str(path),
        }
    }
}

/// The configuration of one model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelConfig {
    /// Where its versions are; `None` if a catalog names them.
    pub(super) base_path: Option<BasePath>,
    /// Which of its versions are served.
    pub(super) policy: Policy,
    /// Labels and their versions.
    pub(super) labels: BTreeMap<String, i64>,
    /// Which of its requests are logged, if it says so.
    pub(super) log: Option<LogRule>,
}

/// The configurations of all models, by name.
pub(super) type ModelConfigs = BTreeMap<String, ModelConfig>;

/// Which of the existing versions are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Policy {
    /// This many of the newest.
    Latest(usize),
    /// All of them.
    All,
    /// These, if they exist.
    Specific(BTreeSet<i64>),
}

impl Policy {
    /// The versions to serve, of those that were found.
    pub(super) fn choose(&self, found: &BTreeMap<i64, PathBuf>) -> BTreeMap<i64, PathBuf> {
        let all = found.iter().map(|(version, path)| (*version, path.clone()));
        match self {
            Self::Latest(count) => all.rev().take(*count).collect(),
            Self::All => all.collect(),
            Self::Specific(versions) => all.filter(|(version, _)| versions.contains(version)).collect(),
        }
    }

    /// The versions that the policy names and that were not found.
    pub(super) fn missing(&self, found: &BTreeMap<i64, PathBuf>) -> Vec<i64> {
        match self {
            Self::Specific(versions) => {
                versions.iter().filter(|version| !found.contains_key(version)).copied().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl From<&ServableVersionPolicy> for Policy {
    fn from(policy: &ServableVersionPolicy) -> Self {
        match &policy.policy_choice {
            // Zero versions means one, as in TensorFlow Serving.
            Some(Policy_choice::Latest(latest)) => Self::Latest((latest.num_versions as usize).max(1)),
            Some(Policy_choice::All(_)) => Self::All,
            Some(Policy_choice::Specific(specific)) => Self::Specific(specific.versions.iter().copied().collect()),
            _ => Self::Latest(1),
        }
    }
}

/// Reads the current configuration of a source.
///
/// # Errors
/// If there is no source, or the file cannot be read or parsed.
pub(super) fn read(source: Option<&ModelSource>) -> Result<ModelServerConfig, Status> {
    match source {
        Some(ModelSource::BasePath { name, path }) if !path.as_os_str().is_empty() => single(name, path),
        Some(ModelSource::ConfigFile { path, .. }) if !path.as_os_str().is_empty() => file(path),
        _ => Err(Status::invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        )),
    }
}

fn single(name: &str, path: &Path) -> Result<ModelServerConfig, Status> {
    let Some(base_path) = path.to_str() else {
        let message = format!("The base path `{}` of model {name} is not UTF-8", path.display());
        return Err(Status::invalid_argument(message));
    };
    let mut config = ModelConfigProto::new();
    config.name = name.to_owned();
    config.base_path = base_path.to_owned();
    config.model_platform = PLATFORM.to_owned();
    let mut list = ModelConfigList::new();
    list.config.push(config);
    let mut server = ModelServerConfig::new();
    server.config = Some(Config::ModelConfigList(list));
    Ok(server)
}

/// Reads a `ModelServerConfig` in text format.
fn file(path: &Path) -> Result<ModelServerConfig, Status> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => tf_persist_core::Code::NotFound,
            std::io::ErrorKind::PermissionDenied => tf_persist_core::Code::PermissionDenied,
            _ => tf_persist_core::Code::Unknown,
        };
        Status::new(code, format!("cannot read the model config file `{shown}`: {error}"))
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_CONFIG_BYTES {
        let message = format!("the model config file `{shown}` has {length} bytes; the limit is {MAX_CONFIG_BYTES}");
        return Err(Status::invalid_argument(message));
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    text_format::parse(&text).map_err(|error| {
        Status::invalid_argument(format!(
            "Error parsing text-format tensorflow.serving.ModelServerConfig: {}:{}: {}; Invalid protobuf file: '{shown}'",
            error.line, error.column, error.message
        ))
    })
}

/// Checks a configuration, except labels, which need to know the available versions. Base paths elsewhere must be known
/// to `remote`.
///
/// # Errors
/// `INVALID_ARGUMENT`, in the order of TensorFlow Serving's checks.
pub(super) fn check(
    config: &ModelServerConfig,
    old: Option<&ModelConfigs>,
    remote: Option<&dyn RemotePaths>,
) -> Result<ModelConfigs, Status> {
    let list = match &config.config {
        Some(Config::ModelConfigList(list)) => &list.config[..],
        // A server may start without models, and get some by a reload.
        None if old.is_none() => &[],
        _ => {
            return Err(Status::invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently \
                 supported",
            ));
        }
    };
    let mut names = BTreeSet::new();
    for config in list {
        if !names.insert(&config.name) {
            let name = &config.name;
            return Err(Status::invalid_argument(format!(
                "Illegal to list model {name} multiple times in config list"
            )));
        }
    }
    let paths: Vec<BasePath> = list.iter().map(|config| base_path(config, remote)).collect::<Result<_, _>>()?;
    for config in list.iter().filter(|config| old.is_some_and(|old| old.contains_key(&config.name))) {
        let (name, platform) = (&config.name, platform(config)?);
        if platform != PLATFORM {
            return Err(Status::invalid_argument(format!(
                "Illegal to change a model's platform. For model {name} platform was {PLATFORM} and new platform requested \
                 is {platform}"
            )));
        }
    }
    for config in list {
        let (name, platform) = (&config.name, platform(config)?);
        if platform != PLATFORM {
            return Err(Status::invalid_argument(format!(
                "Model {name} requests unsupported platform {platform}; the only one is \"{PLATFORM}\""
            )));
        }
    }
    let rule = |config: &ModelConfigProto| {
        config.logging_config.as_ref().map(|logging| LogRule::parse(&config.name, logging)).transpose()
    };
    let rules: Vec<Option<LogRule>> = list.iter().map(rule).collect::<Result<_, _>>()?;
    let configs = list.iter().zip(paths).zip(rules).map(|((config, base_path), log)| {
        let policy = config.model_version_policy.as_ref().map_or(Policy::Latest(1), Policy::from);
        if policy == Policy::Specific(BTreeSet::new()) {
            tracing::warn!(model = %config.name, "its version policy is `specific`, and names no versions");
        }
        let labels = config.version_labels.clone();
        (config.name.clone(), ModelConfig { base_path: Some(base_path), policy, labels, log })
    });
    Ok(configs.collect())
}

/// The platform of a model, from either of the two fields for it.
fn platform(config: &ModelConfigProto) -> Result<&str, Status> {
    let name = &config.name;
    let model_type = config.model_type.value();
    if model_type == ModelType::MODEL_TYPE_UNSPECIFIED as i32 {
        if config.model_platform.is_empty() {
            return Err(Status::invalid_argument(format!(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, \
                 model name is {name}"
            )));
        }
        return Ok(&config.model_platform);
    }
    tracing::warn!(model = %name, "its `model_type` is deprecated: write `model_platform: \"tensorflow\"`");
    if !config.model_platform.is_empty() {
        return Err(Status::invalid_argument(format!(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model \
             name is {name}"
        )));
    }
    if model_type != ModelType::TENSORFLOW as i32 {
        return Err(Status::invalid_argument(format!(
            "ModelServerConfig::model_type choice {model_type} not supported."
        )));
    }
    Ok(PLATFORM)
}

/// What a base path names: an absolute path, or a URI.
fn base_path(config: &ModelConfigProto, remote: Option<&dyn RemotePaths>) -> Result<BasePath, Status> {
    let (name, path) = (&config.name, config.base_path.as_str());
    let refuse = |what: String| Err(Status::invalid_argument(what));
    if path.contains('\0') {
        return refuse(format!("Model {name} has a base path with a zero byte in it"));
    }
    let local = match scheme(path) {
        None => path,
        // The part between the slashes is a host, which a local file does not need.
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            rest.find('/').map_or("", |slash| &rest[slash..])
        }
        Some((scheme, _)) => {
            let Some(remote) = remote else {
                return refuse(format!(
                    "Model {name} has the base_path()={path}, and file system scheme '{scheme}' is not supported: only \
                     local folders are; copy or mount it"
                ));
            };
            return match remote.check(path) {
                Ok(()) => Ok(BasePath::Remote(path.trim_end_matches('/').to_owned())),
                Err(reason) => refuse(format!("Model {name} has a base_path() that cannot be served: {reason}")),
            };
        }
    };
    if local.starts_with('/') {
        return Ok(BasePath::Folder(local.into()));
    }
    refuse(format!("Expected model {name} to have an absolute path or URI; got base_path()={path}"))
}

/// The scheme of a URI and what follows its `://` (`tensorflow/core/lib/io/path.cc`, `ParseURI`).
fn scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let mut letters = scheme.bytes();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'.');
    is_scheme.then_some((scheme, rest))
}
