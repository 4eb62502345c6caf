//! The arguments of `tf-persist serve-local`: TensorFlow Serving's flags (`model_servers/main.cc`) by their names, and
//! ours.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{Arg, Args as ClapArgs, Command, ValueEnum};

use super::container::{Contract, PlatformChoice};
use super::request_log::RequestLogArgs;
use super::session::SessionArgs;
use crate::common_args::{LibraryArgs, env_var, tolerance};
use crate::load_args::OptimizeMode;

/// A port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// None.
    Off,
    /// Any free port.
    Any,
    /// This one.
    At(u16),
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, ClapArgs)]
#[command(rename_all = "snake_case", args_override_self = true)]
#[command(
    after_help = "Every flag may be written with dashes instead of underscores, with its value after `=` or a space, or as an \
                  environment variable: --model_name is TF_PERSIST_MODEL_NAME. If a flag is given twice, the last one counts.\n\n\
                  SIGTERM and SIGINT stop the server: it accepts no more connections, answers the requests in flight, and exits \
                  with 0. A second signal, a second or more later, stops it at once. SIGHUP reloads configuration, traffic \
                  rules, keys and certificates.\n\n\
                  Exit codes: 0 stopped by a signal, 1 failure, 2 usage error."
)]
pub(crate) struct ServeArgs {
    /// The folder with a model's versions, which are folders named by numbers; also s3://BUCKET/…, gs:// and az://
    #[arg(long, value_name = "DIR", value_parser = path(), help_heading = "Models")]
    pub(crate) model_base_path: Option<PathBuf>,
    /// The name of that model [default: default]
    #[arg(long, value_name = "NAME", help_heading = "Models")]
    pub(crate) model_name: Option<String>,
    /// Models, version policies and labels: a ModelServerConfig in text format. Replaces the two flags above
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Models")]
    pub(crate) model_config_file: Option<PathBuf>,
    /// Serve the models of this store (`tf-persist store`), or the one of --model_name: the newest version and those
    /// with labels, which move without a restart; also TF_PERSIST_STORE. Replaces the flags above
    #[arg(long, value_name = "STORE", value_parser = path(), help_heading = "Models")]
    pub(crate) store: Option<PathBuf>,
    /// Split requests without a version between versions by the weights in this file, and ask shadows: TOML, read again
    /// when it changes
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Models")]
    pub(crate) traffic: Option<PathBuf>,
    /// Compare every byte of a version of --store with its manifest before it is loaded
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) verify: bool,
    /// Refuse versions whose answers to the requests that are recorded in them differ from the recorded answers
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) check: bool,
    /// Refuse versions that were not signed with the private key of this public one (`model.sig` in their folders)
    #[arg(long, value_name = "KEY.pub", value_parser = path(), help_heading = "Models")]
    pub(crate) require_signature: Option<PathBuf>,
    /// Reload --model_config_file every N seconds; 0 means never
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) model_config_file_poll_wait_seconds: i64,
    /// Look for new versions, and labels of --store, every N seconds; 0 means only once [default: 1; 10 where they are
    /// elsewhere]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) file_system_poll_wait_seconds: Option<i64>,
    /// Allow new labels on versions that are not available [default: only at the start, on versions that are loading;
    /// false: never]
    #[arg(long, value_name = "BOOL", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) allow_version_labels_for_unavailable_models: Option<bool>,
    /// Retry a failed load up to N times
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Models")]
    pub(crate) max_num_load_retries: u32,
    /// Wait N microseconds before each retry
    #[arg(long, value_name = "N", default_value = "60000000", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) load_retry_interval_micros: i64,
    /// Load up to N versions at once; 0 means one per core until the server is ready, and 1 then
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) num_load_threads: i32,
    /// Unload the models that were not asked for the longest time, to keep loaded versions within N bytes; requests
    /// load them again [default: no limit]
    #[arg(long, value_name = "N", value_parser = bytes, help_heading = "Models")]
    pub(crate) max_resident_bytes: Option<u64>,
    /// Run the requests in `assets.extra/tf_serving_warmup_requests` before a version becomes available
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_model_warmup: bool,
    /// Run each warm-up request N times; 0 means once
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) num_request_iterations_for_warmup: i32,
    /// Load the meta graph with these tags (comma list; "" is the one without tags) [default: the only meta graph, else
    /// "serve"]
    #[arg(long, value_name = "TAGS", help_heading = "Models")]
    pub(crate) saved_model_tags: Option<String>,
    /// Load a library of further ops, or those of an installed pip package; repeatable; also TF_PERSIST_OP_LIBRARIES,
    /// separated by colons
    #[arg(long, value_name = "FILE.so|PACKAGE", value_parser = path(), help_heading = "Models")]
    pub(crate) op_library: Vec<PathBuf>,
    /// Permit every danger that `tf-persist scan` finds, or the dangers of these ops (comma list)
    #[arg(long, value_name = "OP,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(help_heading = "Models")]
    pub(crate) trust: Option<String>,

    /// The gRPC port; 0 means none, `any` is any free one
    #[arg(long, value_name = "PORT", default_value = "8500", value_parser = port, help_heading = "Ports")]
    pub(crate) port: Port,
    /// The REST port; 0 means none, `any` is any free one
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = port, help_heading = "Ports")]
    pub(crate) rest_api_port: Port,
    /// The address of both ports; 0.0.0.0 or :: accepts connections from the network, as TensorFlow Serving does
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Ports")]
    pub(crate) host: IpAddr,
    /// Listen for gRPC on this UNIX socket as well
    #[arg(long, value_name = "PATH", value_parser = path(), help_heading = "Ports")]
    pub(crate) grpc_socket_path: Option<PathBuf>,
    /// Listen and answer as this platform expects of a container
    #[arg(long, value_name = "PLATFORM", value_enum, default_value = "auto", help_heading = "Ports")]
    pub(crate) platform: PlatformChoice,
    /// Give up a REST request after N milliseconds; 0 means never
    #[arg(long, value_name = "N", default_value = "30000", allow_negative_numbers = true, help_heading = "Ports")]
    pub(crate) rest_api_timeout_in_ms: i64,
    /// Allow pages of any origin: add CORS headers to every REST response
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Ports")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) rest_api_enable_cors_support: bool,
    /// Show a page of the models at `/` of the REST port, to look at them and try them in a browser
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Ports")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) page: bool,
    /// Answer gRPC predict requests with `tensor_content` instead of typed fields
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Ports")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_serialization_as_tensor_content: bool,

    /// Batch requests as TensorFlow Serving does, with its limits [default: only where no answer changes by a bit]
    #[arg(long, value_name = "BOOL", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_batching: Option<bool>,
    /// Batch overlapping requests wherever their rows are independent, although the last digits of answers may differ
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) batch_within_rounding: bool,
    /// Batching limits: BatchingParameters in text format; needs --enable_batching
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Running")]
    pub(crate) batching_parameters_file: Option<PathBuf>,
    /// Prefer the file `batching_params.pbtxt` of a version to --batching_parameters_file
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_per_model_batching_parameters: bool,
    /// The largest number of rows in a batch, where those files do not set one
    #[arg(long, value_name = "N", default_value = "128", value_parser = count, help_heading = "Running")]
    pub(crate) max_batch_size: usize,
    /// Run up to N requests of one model at once; 0 means one per core
    #[arg(long, value_name = "N", default_value = "0", help_heading = "Running")]
    pub(crate) runs_at_once: usize,
    /// Let up to N requests wait for one model; more are refused
    #[arg(long, value_name = "N", default_value = "1024", help_heading = "Running")]
    pub(crate) max_waiting: usize,
    /// Accept classify and regress requests only for signatures with that method name
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_signature_method_name_check: bool,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// Change each model in memory while it loads to be faster: constants for variables, kept if a trial of two seconds
    /// shows the same answers in less time (auto), without a trial (on), or never (off)
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", help_heading = "Running")]
    pub(crate) optimize: OptimizeMode,
    /// How far the answers may then be from those of the model as it is [default: 1e-5 of a number and 1e-6]
    #[arg(long, value_name = "T", value_parser = tolerance, help_heading = "Running")]
    pub(crate) optimize_tolerance: Option<f64>,
    /// Also drop its assertions: an input that they would have refused then gets an answer, which may mean nothing
    #[arg(long, help_heading = "Running")]
    pub(crate) optimize_drop_asserts: bool,

    /// Let gRPC clients change which models are served, with HandleReloadConfigRequest
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Security")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_reload_config_request: bool,
    /// Require an API key of this file, one per line: `Authorization: Bearer KEY` or `X-Api-Key: KEY`
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Security")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The server's certificate chain for both ports (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Security")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Security")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Require client certificates signed by one of these authorities (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Security")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// TLS for gRPC only: an SSLConfig in text format
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Security")]
    pub(crate) ssl_config_file: Option<PathBuf>,
    /// The largest request body in bytes, after decompression
    #[arg(long, value_name = "N", default_value = "2147483647", value_parser = count, help_heading = "Security")]
    pub(crate) max_body_bytes: usize,
    /// Accept up to N requests at once on both ports; more are refused
    #[arg(long, value_name = "N", default_value = "4096", value_parser = count, help_heading = "Security")]
    pub(crate) max_requests: usize,
    /// Accept up to N connections per port; more wait
    #[arg(long, value_name = "N", default_value = "16384", value_parser = connections, help_heading = "Security")]
    pub(crate) max_connections: usize,
    /// Wait up to N seconds for the head of a request, and between two pieces of its body
    #[arg(long, value_name = "N", default_value = "30", value_parser = some_seconds, help_heading = "Security")]
    pub(crate) client_timeout: u64,
    /// Close a connection after N idle seconds
    #[arg(long, value_name = "N", default_value = "600", value_parser = some_seconds, help_heading = "Security")]
    pub(crate) idle_timeout: u64,

    /// Serve metrics: a MonitoringConfig in text format
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Operation")]
    pub(crate) monitoring_config_file: Option<PathBuf>,
    /// Wait up to N seconds for requests in flight when the server stops
    #[arg(long, value_name = "N", default_value = "30", value_parser = seconds, help_heading = "Operation")]
    pub(crate) drain_timeout: u64,
    /// The format of the log on standard error
    #[arg(long, value_enum, default_value = "text", help_heading = "Operation")]
    pub(crate) log_format: LogFormat,
    /// The level of the log
    #[arg(long, value_enum, default_value = "info", help_heading = "Operation")]
    pub(crate) log_level: LogLevel,

    #[command(flatten)]
    pub(crate) request_log: RequestLogArgs,
    #[command(flatten)]
    pub(crate) without_effect: WithoutEffect,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// What the platform expects.
    #[arg(skip)]
    pub(crate) contract: Option<Contract>,
}

/// Flags of TensorFlow Serving without an effect here. They are accepted so that its command lines work, and the log
/// warns.
#[derive(Debug, ClapArgs)]
#[command(rename_all = "snake_case")]
pub(crate) struct WithoutEffect {
    /// Google's ALTS, which is refused
    #[arg(long, value_name = "BOOL", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) use_alts_credentials: Option<bool>,
    /// gRPC's health service, which is always on
    #[arg(long, value_name = "BOOL", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(crate) enable_grpc_healthcheck_service: Option<bool>,
}

/// The flags that the log warns about: name, whether the value is optional, and why the flag has no effect.
pub(crate) const WITHOUT_EFFECT: [(&str, bool, &str); 17] = [
    ("rest_api_num_threads", false, "connections have one thread per core"),
    ("grpc_max_threads", false, "connections have one thread per core"),
    ("grpc_channel_arguments", false, "they are settings of another gRPC library"),
    ("num_unload_threads", false, "versions are always unloaded in the background"),
    ("flush_filesystem_caches", true, "nothing is flushed"),
    ("remove_unused_fields_from_bundle_metagraph", true, "they are never kept"),
    ("thread_pool_factory_config_file", false, "use the flags for threads"),
    ("enable_profiler", true, "there is no profiler"),
    ("prefer_tflite_model", true, "there is no TensorFlow Lite"),
    ("num_tflite_pools", false, "there is no TensorFlow Lite"),
    ("num_tflite_interpreters_per_pool", false, "there is no TensorFlow Lite"),
    ("xla_cpu_compilation_enabled", true, "XLA is used as the model asks for"),
    ("xla_gpu_compilation_enabled", true, "XLA is used as the model asks for"),
    ("mixed_precision", false, "models run unchanged"),
    ("skip_initialize_tpu", true, "there are no TPUs"),
    (
        "force_allow_any_version_labels_for_unavailable_models",
        true,
        "use --allow_version_labels_for_unavailable_models",
    ),
    ("enforce_session_run_timeout", true, "deadlines always end the wait"),
];

/// Flags whose environment variables other commands read too, in another form.
const NO_VARIABLE: [&str; 5] = ["libtensorflow", "op_library", "store", "help", "version"];

/// Adds flags without effect, every flag's spelling with dashes, and environment variables.
pub(crate) fn complete(mut command: Command) -> Command {
    for (name, may_stand_alone, _) in WITHOUT_EFFECT {
        let flag = Arg::new(name).long(name).hide(true).allow_hyphen_values(true).value_name("VALUE");
        let alone = |flag: Arg| flag.num_args(0..=1).require_equals(true).default_missing_value("true");
        command = command.arg(if may_stand_alone { alone(flag) } else { flag });
    }
    command.mut_args(|arg| {
        let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
        let (dashes, underscores) = (long.replace('_', "-"), long.replace('-', "_"));
        let aliases = [dashes, underscores].into_iter().filter(|alias| *alias != long);
        let arg = aliases.fold(arg, |arg, alias| arg.alias(alias));
        let name = variable_of(&long);
        // An empty variable counts as unset.
        let value = env_var(&name).filter(|value| !is_of_kubernetes(value));
        let is_given = value.is_some() && !NO_VARIABLE.contains(&long.as_str());
        if is_given { arg.env(name).hide_env(true) } else { arg }
    })
}

/// Kubernetes sets TF_PERSIST_PORT in every container beside a service that is called `tf-persist`:
/// `tcp://10.0.0.7:8500`.
fn is_of_kubernetes(value: &OsStr) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.as_encoded_bytes().starts_with(scheme.as_bytes()))
}

/// The environment variable of a flag.
fn variable_of(flag: &str) -> String {
    format!("TF_PERSIST_{}", flag.replace('-', "_").to_uppercase())
}

/// Parses a path. The empty one, which scripts give for none, is handled by [`given`].
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|path: OsString| PathBuf::from(path))
}

/// The path, unless it is empty.
pub(crate) fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

fn port(text: &str) -> Result<Port, String> {
    match text {
        "any" => Ok(Port::Any),
        "0" | "" => Ok(Port::Off),
        number => number.parse().map(Port::At).map_err(|_| "not a port: 1 to 65535, 0 for none, or `any`".into()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a number of at least 1".into())
}

fn bytes(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|bytes| *bytes > 0).ok_or_else(|| "not a number of at least 1".into())
}

fn connections(text: &str) -> Result<usize, String> {
    count(text).and_then(|count| if count <= 1 << 20 { Ok(count) } else { Err("more than 1048576".into()) })
}

fn seconds(text: &str) -> Result<u64, String> {
    /// More than a year.
    const LONGEST: u64 = 400 * 24 * 3600;
    text.parse().ok().filter(|seconds| *seconds <= LONGEST).ok_or_else(|| "not a number of seconds".into())
}

/// Parses a time of at least one second: 0 would refuse every request.
pub(super) fn some_seconds(text: &str) -> Result<u64, String> {
    seconds(text).and_then(|seconds| if seconds > 0 { Ok(seconds) } else { Err("not a number of at least 1".into()) })
}
