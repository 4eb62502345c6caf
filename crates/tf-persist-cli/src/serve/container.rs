//! The platforms that start the server as a container: what their environment variables say.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use tf_persist_serve::{Catalog, ModelSource, ModelsBelow, Platform, SageMaker, SageMakerModels, Vertex};

use super::args::{Port, ServeArgs, given};
use crate::common_args::{env_var, has_scheme};
use crate::error::UsageError;

/// The port of both platforms, unless their variables name another.
const PORT: u16 = 8080;

/// Where SageMaker unpacks a model.
const SAGEMAKER_MODEL: &str = "/opt/ml/model";

/// Which platform starts the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformChoice {
    /// As the environment variables say; `tf-persist serve` without those of Vertex AI is SageMaker's.
    Auto,
    /// Neither.
    None,
    /// Amazon SageMaker.
    Sagemaker,
    /// Vertex AI of Google Cloud.
    Vertex,
}

/// The contract of the platform.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(crate) platform: Platform,
    /// The models, if the platform names them.
    pub(crate) source: Option<ModelSource>,
    /// The address of a model in a bucket, which may be a model itself instead of a folder of versions.
    pub(crate) storage_uri: Option<String>,
    /// Whether the models are files that do not change.
    pub(crate) is_fixed: bool,
    /// Whether the platform unloads models by requests, to make room for others.
    pub(crate) unloads_itself: bool,
}

/// The command that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invoked {
    /// `serve`, the only argument of SageMaker's containers.
    Serve,
    ServeLocal,
}

/// Applies the contract of the platform, if there is one: flags that were not given get its values.
pub(super) fn apply(args: &mut ServeArgs, matches: &ArgMatches, invoked: Invoked) -> anyhow::Result<()> {
    apply_from(args, matches, invoked, &|name| env_var(name).map(|value| value.to_string_lossy().into_owned()))
}

/// The values of environment variables that are not empty.
type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

pub(super) fn apply_from(
    args: &mut ServeArgs,
    matches: &ArgMatches,
    invoked: Invoked,
    variables: Variables<'_>,
) -> anyhow::Result<()> {
    let has = |name: &str| variables(name).is_some();
    let choice = match args.platform {
        PlatformChoice::Auto if has("AIP_HTTP_PORT") => PlatformChoice::Vertex,
        PlatformChoice::Auto if invoked == Invoked::Serve || has("SAGEMAKER_BIND_TO_PORT") => PlatformChoice::Sagemaker,
        other => other,
    };
    let port = match choice {
        PlatformChoice::Auto | PlatformChoice::None => return Ok(()),
        PlatformChoice::Sagemaker => "SAGEMAKER_BIND_TO_PORT",
        PlatformChoice::Vertex => "AIP_HTTP_PORT",
    };
    let is_given = |flag: &str| matches.value_source(flag).is_some_and(|source| source != ValueSource::DefaultValue);
    if !is_given("rest_api_port") {
        args.rest_api_port = Port::At(port_of(port, variables)?);
    }
    if !is_given("port") {
        args.port = Port::Off;
    }
    if !is_given("host") {
        args.host = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    }
    let is_vertex = choice == PlatformChoice::Vertex;
    args.contract = Some(if is_vertex { vertex(args, variables)? } else { sagemaker(args, variables) });
    Ok(())
}

/// The port that a variable names.
fn port_of(variable: &str, variables: Variables<'_>) -> anyhow::Result<u16> {
    let Some(text) = variables(variable) else { return Ok(PORT) };
    let port = text.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| UsageError(format!("{variable} is {text:?}, which is not a port: 1 to 65535")).into())
}

/// Whether a flag names models.
fn names_models(args: &ServeArgs, variables: Variables<'_>) -> bool {
    given(&args.model_base_path).or(given(&args.model_config_file)).or(given(&args.store)).is_some()
        || variables("TF_PERSIST_STORE").is_some()
}

fn model_name(args: &ServeArgs) -> Option<String> {
    args.model_name.clone().filter(|name| !name.is_empty())
}

fn sagemaker(args: &mut ServeArgs, variables: Variables<'_>) -> Contract {
    let named = variables("SAGEMAKER_TFS_DEFAULT_MODEL_NAME").filter(|name| name != "None");
    let default_model = named.or_else(|| model_name(args));
    let contract = SageMaker::default().default_model(default_model);
    if variables("SAGEMAKER_MULTI_MODEL").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let models = Arc::new(SageMakerModels::default());
        let source = ModelSource::Catalog(Arc::clone(&models) as Arc<dyn Catalog>);
        let platform = Platform::SageMaker(contract.multi_model(models));
        args.max_resident_bytes = args.max_resident_bytes.or_else(most_of_the_memory);
        let source = Some(source);
        return Contract { platform, source, storage_uri: None, is_fixed: true, unloads_itself: true };
    }
    let base_path = given(&args.model_base_path).filter(|path| !has_scheme(path));
    let root = match base_path {
        Some(path) => Some(path.clone()),
        None => (!names_models(args, variables)).then(|| PathBuf::from(SAGEMAKER_MODEL)),
    };
    let source = root.map(|root| below(&root, args));
    let (platform, is_fixed) = (Platform::SageMaker(contract), source.is_some());
    Contract { platform, source, storage_uri: None, is_fixed, unloads_itself: false }
}

/// The models below a folder. One without a folder of its own has the name of the flag, or `model`.
fn below(root: &Path, args: &ServeArgs) -> ModelSource {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let name = model_name(args).unwrap_or_else(|| "model".into());
    ModelSource::Catalog(Arc::new(ModelsBelow::new(root, name)))
}

fn vertex(args: &ServeArgs, variables: Variables<'_>) -> anyhow::Result<Contract> {
    // Vertex AI sets both; these are the defaults of its documentation.
    let of_model = match (variables("AIP_ENDPOINT_ID"), variables("AIP_DEPLOYED_MODEL_ID")) {
        (Some(endpoint), Some(model)) => Some(format!("/v1/endpoints/{endpoint}/deployedModels/{model}")),
        _ => None,
    };
    let route = |variable: &str, default: Option<String>, otherwise: &str| {
        let route = variables(variable).or(default).unwrap_or_else(|| otherwise.into());
        match route.starts_with('/') {
            true => Ok(route),
            false => Err(UsageError(format!("{variable} is {route:?}, which is not a path: it begins with no `/`"))),
        }
    };
    let health_route = route("AIP_HEALTH_ROUTE", of_model.clone(), "/health")?;
    let predict_route = route("AIP_PREDICT_ROUTE", of_model.map(|model| format!("{model}:predict")), "/predict")?;
    let contract = Vertex::default().health_route(health_route).predict_route(predict_route).model(model_name(args));
    let storage_uri = variables("AIP_STORAGE_URI").filter(|_| !names_models(args, variables));
    let here = storage_uri.as_deref().filter(|uri| !has_scheme(Path::new(uri)));
    let source = here.map(|folder| below(Path::new(folder), args));
    let is_fixed = source.is_some();
    let storage_uri = storage_uri.filter(|_| source.is_none());
    Ok(Contract { platform: Platform::Vertex(contract), source, storage_uri, is_fixed, unloads_itself: false })
}

/// Four fifths of the memory that the container may use, in bytes.
fn most_of_the_memory() -> Option<u64> {
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let total = || {
        let listed = fs::read_to_string("/proc/meminfo").ok()?;
        let kilobytes = listed.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    // Of both versions of control groups; without a limit, they have a word or a number beyond all memory.
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let memory = limits.iter().filter_map(|file| number(file)).chain(total()).min()?;
    Some(memory / 5 * 4)
}
