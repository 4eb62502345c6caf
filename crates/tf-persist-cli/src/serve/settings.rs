//! Turns flags into settings.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tf_persist_core::LoadOptions;
use tf_persist_core::scan::Trust;
use tf_persist_serve::{
    BatchingSettings, GrpcSettings, HttpSettings, LabelRule, Limits, LoadSettings, MetricsSettings, ModelSettings,
    ModelSource, Prepare, RunSettings, SecuritySettings, Settings, TrafficFile, TrafficSettings, TrafficSource,
};
use tf_persist_store::ModelName;
use tf_persist_store::signing::{PublicKey, Trusted};

use super::args::{Port, ServeArgs, given};
use super::files;
use super::origin::{Demands, ELSEWHERE, Origin, RemotePlaces, check_remote};
use super::platform::Platform;
use super::session::Session;
use crate::common_args::{asserts, env_var, has_scheme, tags};
use crate::error::UsageError;
use crate::version_path;

/// The name of a model without `--model_name`.
const DEFAULT_NAME: &str = "default";

/// The settings of the flags.
pub(super) fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    if args.without_effect.use_alts_credentials == Some(true) {
        return misuse("--use_alts_credentials is not supported: ALTS works only on Google's machines; use --tls_cert");
    }
    let (grpc_port, rest_port) = (address(args, args.port), address(args, args.rest_api_port));
    if let (Port::At(grpc), Port::At(rest)) = (args.port, args.rest_api_port)
        && grpc == rest
    {
        return misuse(&format!("--port and --rest_api_port are both {grpc}; choose another for one of them"));
    }
    let socket = given(&args.grpc_socket_path).cloned();
    if grpc_port.is_none() && rest_port.is_none() && socket.is_none() {
        return misuse(
            "--port and --rest_api_port are both 0, and there is no --grpc_socket_path: there would be nothing to connect to",
        );
    }
    let origin = origin(args)?;
    let source = source(args, origin.as_ref())?;
    let platform = given(&args.session.platform_config_file).map(|file| Platform::read(file)).transpose()?;
    let batching = match &platform {
        Some(platform) => platform.batching.clone().within_rounding(args.batch_within_rounding),
        None => batching(args)?,
    };
    let tls = files::certificates(args)?;
    let prometheus_path = given(&args.monitoring_config_file).map(|file| files::prometheus_path(file)).transpose()?;
    let client_timeout = Duration::from_secs(args.client_timeout);
    let labels = match args.allow_version_labels_for_unavailable_models {
        None => LabelRule::AvailableOrStarting,
        Some(false) => LabelRule::Available,
        Some(true) => LabelRule::Any,
    };
    let is_fixed = args.contract.as_ref().is_some_and(|contract| contract.is_fixed);
    let default_poll = || if is_fixed { 0 } else { Origin::poll_interval(origin.as_ref()) };
    let poll = args.file_system_poll_wait_seconds.unwrap_or_else(default_poll);
    let remote_poll = args.file_system_poll_wait_seconds.unwrap_or(ELSEWHERE);
    let contract = args.contract.as_ref();
    let remote_paths = RemotePlaces::default().may_be_models(contract.is_some_and(|it| it.storage_uri.is_some()));
    let models = ModelSettings::default()
        .poll(seconds(poll))
        .remote_paths(remote_paths.paths())
        .remote_poll(seconds(remote_poll))
        .labels(labels)
        .load(load(args, platform, &source, origin, &remote_paths)?)
        .source(source);
    let run = RunSettings::default()
        .runs_at_once(args.runs_at_once)
        .max_waiting(args.max_waiting)
        .check_method_names(args.enable_signature_method_name_check)
        .batching(batching);
    let http = HttpSettings::default()
        .address(rest_port)
        .timeout(Duration::from_millis(u64::try_from(args.rest_api_timeout_in_ms).unwrap_or(0)))
        .cors(args.rest_api_enable_cors_support)
        .platform(contract.map(|contract| contract.platform.clone()))
        .page(args.page);
    let grpc = GrpcSettings::default()
        .address(grpc_port)
        .socket(socket)
        .tensor_content(args.enable_serialization_as_tensor_content)
        .reload_config(args.enable_reload_config_request);
    let limits = Limits::default()
        .body_bytes(args.max_body_bytes)
        .concurrent_requests(args.max_requests)
        .connections(args.max_connections)
        .head_timeout(client_timeout)
        .body_timeout(client_timeout)
        .idle_timeout(Duration::from_secs(args.idle_timeout))
        .drain_timeout(Duration::from_secs(args.drain_timeout));
    let security = SecuritySettings::default().api_key_file(given(&args.api_key_file).cloned()).tls(tls).limits(limits);
    let metrics = MetricsSettings::default().prometheus_path(prometheus_path.flatten());
    let settings =
        Settings::default().models(models).run(run).http(http).grpc(grpc).security(security).metrics(metrics);
    Ok(settings.request_log(args.request_log.settings()).traffic(traffic(args)?))
}

/// The rules of the traffic.
fn traffic(args: &ServeArgs) -> anyhow::Result<TrafficSettings> {
    let Some(path) = given(&args.traffic) else { return Ok(TrafficSettings::default()) };
    if has_scheme(path) {
        return misuse(&format!("--traffic is `{}`, and it must be a file of this machine", path.display()));
    }
    let source: Arc<dyn TrafficSource> = Arc::new(TrafficFile::new(path));
    // However far away the models are, the file is here.
    let poll = args.file_system_poll_wait_seconds.unwrap_or(1);
    Ok(TrafficSettings::default().source(source).poll(seconds(poll)))
}

fn misuse<T>(text: &str) -> anyhow::Result<T> {
    Err(UsageError(text.to_owned()).into())
}

fn address(args: &ServeArgs, port: Port) -> Option<SocketAddr> {
    match port {
        Port::Off => None,
        Port::Any => Some(SocketAddr::new(args.host, 0)),
        Port::At(port) => Some(SocketAddr::new(args.host, port)),
    }
}

/// The store of `--store`; that of the environment if nothing else names models.
fn origin(args: &ServeArgs) -> anyhow::Result<Option<Origin>> {
    let (base_path, config_file) = (given(&args.model_base_path), given(&args.model_config_file));
    let is_other = base_path.or(config_file).is_some();
    let folder = match given(&args.store) {
        Some(_) if is_other => {
            let flag = if base_path.is_some() { "--model_base_path" } else { "--model_config_file" };
            return misuse(&format!("--store and {flag} both name models to serve; use one of them"));
        }
        Some(folder) => folder.clone(),
        None => match env_var("TF_PERSIST_STORE").filter(|_| !is_other) {
            Some(folder) => folder.into(),
            None => return Ok(None),
        },
    };
    Origin::open(&folder).map(Some)
}

fn given_name(args: &ServeArgs) -> Option<&str> {
    args.model_name.as_deref().filter(|name| !name.is_empty())
}

/// What is done before a version is loaded, if anything is.
fn prepare(
    args: &ServeArgs,
    origin: Option<Origin>,
    remote_paths: &RemotePlaces,
) -> anyhow::Result<Option<Arc<dyn Prepare>>> {
    let trusted = given(&args.require_signature).map(PublicKey::read).transpose()?.map(Trusted::Key);
    let retry_interval = retry_interval(args).max(Duration::from_secs(1));
    let is_catalog = origin.is_some();
    let prepare = Origin::prepare(origin, Demands { verify: args.verify, trusted, retry_interval });
    Ok(if is_catalog { prepare } else { remote_paths.prepare(prepare, retry_interval) })
}

fn source(args: &ServeArgs, origin: Option<&Origin>) -> anyhow::Result<ModelSource> {
    if let Some(origin) = origin {
        return origin.catalog(given_name(args).map(str::parse::<ModelName>).transpose()?);
    }
    if let Some(source) = args.contract.as_ref().and_then(|contract| contract.source.clone()) {
        return Ok(source);
    }
    if let Some(path) = given(&args.model_config_file) {
        let poll = seconds(args.model_config_file_poll_wait_seconds);
        return Ok(ModelSource::ConfigFile { path: path.clone(), poll });
    }
    let storage_uri = args.contract.as_ref().and_then(|contract| contract.storage_uri.as_ref()).map(PathBuf::from);
    let Some(path) = given(&args.model_base_path).or(storage_uri.as_ref()) else {
        return misuse(
            "--model_base_path, --model_config_file and --store are empty: one of them must name the models to serve",
        );
    };
    let name = given_name(args).unwrap_or(DEFAULT_NAME).to_owned();
    if has_scheme(path) {
        check_remote(path)?;
        return Ok(ModelSource::BasePath { name, path: path.clone() });
    }
    if version_path::is_in_store(path) {
        return misuse(&format!(
            "--model_base_path `{}` is a store, or a version of one, and not a folder of versions: serve the store with \
             --store, and name the label or the version in requests",
            path.display()
        ));
    }
    // TensorFlow Serving requires an absolute path; here it may be relative to the current folder.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Ok(ModelSource::BasePath { name, path })
}

fn batching(args: &ServeArgs) -> anyhow::Result<BatchingSettings> {
    let parameters_file = given(&args.batching_parameters_file).cloned();
    if parameters_file.is_some() && args.enable_batching != Some(true) {
        return misuse("--batching_parameters_file is set without --enable_batching");
    }
    Ok(BatchingSettings::default()
        .enabled(args.enable_batching.unwrap_or(true))
        .explicit(args.enable_batching == Some(true))
        .within_rounding(args.batch_within_rounding)
        .max_batch_size(args.max_batch_size)
        .parameters_file(parameters_file)
        .per_model(args.enable_per_model_batching_parameters))
}

fn load(
    args: &ServeArgs,
    platform: Option<Platform>,
    source: &ModelSource,
    origin: Option<Origin>,
    remote_paths: &RemotePlaces,
) -> anyhow::Result<LoadSettings> {
    // A platform replaces the flags for sessions, tags and warm-up.
    let (session, tags, warm_up, iterations) = match platform {
        Some(platform) => {
            (platform.session, Some(platform.tags), platform.warm_up, platform.warm_up_iterations.unwrap_or(1))
        }
        None => {
            let iterations = u32::try_from(args.num_request_iterations_for_warmup).unwrap_or(0).max(1);
            let tags = args.saved_model_tags.as_deref().map(tags);
            (Session::from_args(&args.session)?, tags, args.enable_model_warmup, iterations)
        }
    };
    // The first session of a process decides, and which of several models is loaded first is random.
    let intra_op_threads_by_model = !session.sets_intra
        && match (source, &origin) {
            (ModelSource::BasePath { .. }, _) => true,
            (ModelSource::Catalog(_), Some(origin)) => given_name(args).is_some() || origin.models()?.len() == 1,
            // Of a container with one model.
            (ModelSource::Catalog(catalog), None) => catalog.look().is_ok_and(|models| models.len() == 1),
            _ => false,
        };
    let settings = LoadSettings::default();
    let threads = usize::try_from(args.num_load_threads).ok().filter(|threads| *threads > 0);
    // The default has more threads at the start.
    let settings = threads.map_or(settings.clone(), |threads| settings.threads(threads).start_threads(threads));
    Ok(settings
        .options(load_options(args, &session, tags)?)
        .intra_op_threads_by_model(intra_op_threads_by_model)
        .max_resident_bytes(args.max_resident_bytes)
        .unload_least_used(args.contract.as_ref().is_none_or(|contract| !contract.unloads_itself))
        .retries(args.max_num_load_retries)
        .retry_interval(retry_interval(args))
        .warm_up(warm_up)
        .warm_up_iterations(iterations)
        .check(args.check)
        .journal(journal(args, source))
        .prepare(prepare(args, origin, remote_paths)?))
}

fn load_options(args: &ServeArgs, session: &Session, tags: Option<Vec<String>>) -> anyhow::Result<LoadOptions> {
    let trust = match args.trust.as_deref() {
        None => Trust::Nothing,
        Some("") => Trust::Everything,
        Some(ops) => Trust::ops(ops.split(',').map(str::trim)),
    };
    let mut options = session.apply(LoadOptions::default()).trust(trust).search(args.library.search());
    if let Some(tags) = tags {
        options = options.tags(tags);
    }
    for library in op_libraries(args) {
        options = options.op_library(library);
    }
    let options = options.asserts(asserts(args.optimize_drop_asserts));
    Ok(args.optimize.apply(options, args.optimize_tolerance))
}

fn op_libraries(args: &ServeArgs) -> Vec<PathBuf> {
    let is_path = |path: &PathBuf| !path.as_os_str().is_empty();
    if args.op_library.iter().any(is_path) {
        return args.op_library.iter().filter(|path| is_path(path)).cloned().collect();
    }
    let listed = env_var("TF_PERSIST_OP_LIBRARIES");
    listed.iter().flat_map(std::env::split_paths).filter(is_path).collect()
}

/// The file that records which version is loading, so that the next start knows which one crashed the process. It is in
/// the user's cache, one for each source and ports; `None` without a cache folder.
fn journal(args: &ServeArgs, source: &ModelSource) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = env_var("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let cache = cache.or_else(|| Some(Path::new(&env_var("HOME")?).join(".cache")).and_then(absolute))?;
    let mut hasher = DefaultHasher::new();
    format!("{source:?} {:?} {:?} {:?}", args.port, args.rest_api_port, args.grpc_socket_path).hash(&mut hasher);
    let folder = cache.join("tf-persist").join("serve-local");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join(format!("{:016x}.loading", hasher.finish())))
}

/// The pause before a failed load is tried again.
fn retry_interval(args: &ServeArgs) -> Duration {
    Duration::from_micros(u64::try_from(args.load_retry_interval_micros).unwrap_or(0))
}

/// An interval; `None` if the number is not positive.
fn seconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|number| *number > 0).map(Duration::from_secs)
}
