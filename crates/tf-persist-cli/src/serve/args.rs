//! What `serve-local` is asked for: TensorFlow Serving's flags (`model_servers/main.cc`) by their names, and ours.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{Arg, Args as ClapArgs, Command, ValueEnum};

use crate::args::{LibraryArgs, env_var};

/// Where a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Nowhere.
    Off,
    /// Any that is free.
    Any,
    /// Here.
    At(u16),
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// How much is logged.
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
    after_help = "Every flag may be written with dashes instead of underscores, its value after `=` or a space, and be an \
                  environment variable: --model_name is TF_PERSIST_MODEL_NAME. Of a flag given twice the last counts.\n\n\
                  SIGTERM and SIGINT: no more connections are taken, what is under way is answered, exit code 0; another one, a \
                  second or more later: the end at once. SIGHUP: configuration, keys and certificates are read again.\n\n\
                  Exit codes: 0 stopped by a signal, 1 it could not be done, 2 wrong usage."
)]
pub(crate) struct ServeArgs {
    /// The folder of a model's versions, which are folders whose names are numbers
    #[arg(long, value_name = "DIR", value_parser = path(), help_heading = "Models")]
    pub(crate) model_base_path: Option<PathBuf>,
    /// The name that it is served by [default: default]
    #[arg(long, value_name = "NAME", help_heading = "Models")]
    pub(crate) model_name: Option<String>,
    /// Models, version policies and labels: a ModelServerConfig in text format. The two above are not looked at then
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Models")]
    pub(crate) model_config_file: Option<PathBuf>,
    /// How often that file is read again, in seconds; 0 is never
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) model_config_file_poll_wait_seconds: i64,
    /// How often new versions are looked for, in seconds; 0 is once
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) file_system_poll_wait_seconds: i64,
    /// Let new labels be put on versions that are not there [default: at the start labels wait for versions that are being loaded;
    /// false: they do not]
    #[arg(long, value_name = "BOOL", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) allow_version_labels_for_unavailable_models: Option<bool>,
    /// How often a load that failed is tried again
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Models")]
    pub(crate) max_num_load_retries: u32,
    /// How long is waited before that, in microseconds
    #[arg(long, value_name = "N", default_value = "60000000", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) load_retry_interval_micros: i64,
    /// How many versions are loaded at once; 0 is 1
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) num_load_threads: i32,
    /// Ask a version the requests in `assets.extra/tf_serving_warmup_requests` before it answers others
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Models")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_model_warmup: bool,
    /// How often each of them; 0 is once
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Models")]
    pub(crate) num_request_iterations_for_warmup: i32,
    /// The tags of the meta graph (comma list) [default: the only meta graph, else "serve"]
    #[arg(long, value_name = "TAGS", help_heading = "Models")]
    pub(crate) saved_model_tags: Option<String>,
    /// A library of further ops, or the installed pip package that has it; repeatable; also TF_PERSIST_OP_LIBRARIES,
    /// colon-separated
    #[arg(long, value_name = "FILE.so|PACKAGE", value_parser = path(), help_heading = "Models")]
    pub(crate) op_library: Vec<PathBuf>,
    /// Let models do what `tf-persist scan` calls a danger: all of it, or what these ops do (comma list)
    #[arg(long, value_name = "OP,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(help_heading = "Models")]
    pub(crate) trust: Option<String>,

    /// The port of gRPC; 0 is none, `any` one that is free
    #[arg(long, value_name = "PORT", default_value = "8500", value_parser = port, help_heading = "Ports")]
    pub(crate) port: Port,
    /// The port of REST; 0 is none, `any` one that is free
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = port, help_heading = "Ports")]
    pub(crate) rest_api_port: Port,
    /// The address of both: 0.0.0.0 or :: for the whole network, where TensorFlow Serving listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Ports")]
    pub(crate) host: IpAddr,
    /// A UNIX socket for gRPC
    #[arg(long, value_name = "PATH", value_parser = path(), help_heading = "Ports")]
    pub(crate) grpc_socket_path: Option<PathBuf>,
    /// After how long a REST request is given up, in milliseconds; 0 is never
    #[arg(long, value_name = "N", default_value = "30000", allow_negative_numbers = true, help_heading = "Ports")]
    pub(crate) rest_api_timeout_in_ms: i64,
    /// Let pages of any origin ask: CORS headers on every REST reply
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Ports")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) rest_api_enable_cors_support: bool,
    /// Answer predict requests over gRPC with `tensor_content` instead of typed fields
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Ports")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_serialization_as_tensor_content: bool,

    /// Run requests together as TensorFlow Serving does, with its limits; unsaid, only where no answer changes by a bit
    #[arg(long, value_name = "BOOL", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_batching: Option<bool>,
    /// Run requests that overlap together where their rows are independent, though the last digits of answers may differ then
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) batch_within_rounding: bool,
    /// How: BatchingParameters in text format; needs --enable_batching
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Running")]
    pub(crate) batching_parameters_file: Option<PathBuf>,
    /// Let the file `batching_params.pbtxt` of a version stand before that
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_per_model_batching_parameters: bool,
    /// The most rows of a batch, where those files do not say
    #[arg(long, value_name = "N", default_value = "128", value_parser = count, help_heading = "Running")]
    pub(crate) max_batch_size: usize,
    /// Runs of one model at once; 0 is one a core
    #[arg(long, value_name = "N", default_value = "0", help_heading = "Running")]
    pub(crate) runs_at_once: usize,
    /// Requests that may wait for one model; more are refused
    #[arg(long, value_name = "N", default_value = "1024", help_heading = "Running")]
    pub(crate) max_waiting: usize,
    /// Let only signatures whose method says so classify and regress
    #[arg(long, value_name = "BOOL", default_value = "false", help_heading = "Running")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_signature_method_name_check: bool,
    /// Threads within one op and threads that run ops side by side; 0 leaves it to the two below
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_session_parallelism: i32,
    /// Threads within one op; 0 is one a core [default: of one model, 1 if its ops are small; else one a core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_intra_op_parallelism: Option<i32>,
    /// Threads that run ops side by side; 0 is TensorFlow's choice, -1 the thread of the request, several times as fast on small
    /// models [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_inter_op_parallelism: Option<i32>,

    /// Let clients of gRPC have other models served, by HandleReloadConfigRequest
    #[arg(long, value_name = "BOOL", default_value = "true", help_heading = "Guard")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_reload_config_request: bool,
    /// A file of API keys, one a line: requests need `Authorization: Bearer KEY` or `X-Api-Key: KEY`
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Guard")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The server's certificates for both ports (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Guard")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of that (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Guard")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Ask clients for certificates that one of these has signed (PEM)
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Guard")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// The same for gRPC alone: an SSLConfig in text format
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Guard")]
    pub(crate) ssl_config_file: Option<PathBuf>,
    /// The longest request, in bytes; of what was compressed, after it
    #[arg(long, value_name = "N", default_value = "2147483647", value_parser = count, help_heading = "Guard")]
    pub(crate) max_body_bytes: usize,
    /// Requests at once over both ports; more are refused
    #[arg(long, value_name = "N", default_value = "4096", value_parser = count, help_heading = "Guard")]
    pub(crate) max_requests: usize,
    /// Connections of a port at once; more wait
    #[arg(long, value_name = "N", default_value = "16384", value_parser = connections, help_heading = "Guard")]
    pub(crate) max_connections: usize,
    /// How long a client may take for the head of a request, or between two pieces of its body, in seconds
    #[arg(long, value_name = "N", default_value = "30", value_parser = some_seconds, help_heading = "Guard")]
    pub(crate) client_timeout: u64,
    /// After how long a connection is closed on which nothing happens, in seconds
    #[arg(long, value_name = "N", default_value = "600", value_parser = some_seconds, help_heading = "Guard")]
    pub(crate) idle_timeout: u64,

    /// Whether and where measures can be read: a MonitoringConfig in text format
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Running it")]
    pub(crate) monitoring_config_file: Option<PathBuf>,
    /// How long requests under way are waited for at the end, in seconds
    #[arg(long, value_name = "N", default_value = "30", value_parser = seconds, help_heading = "Running it")]
    pub(crate) drain_timeout: u64,
    /// How the log is written, which goes to standard error
    #[arg(long, value_enum, default_value = "text", help_heading = "Running it")]
    pub(crate) log_format: LogFormat,
    /// How much of it
    #[arg(long, value_enum, default_value = "info", help_heading = "Running it")]
    pub(crate) log_level: LogLevel,

    #[command(flatten)]
    pub(crate) without_effect: WithoutEffect,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// Flags of TensorFlow Serving that change nothing here. They are taken, so that its command lines are, and the log says so.
#[derive(Debug, ClapArgs)]
#[command(rename_all = "snake_case")]
pub(crate) struct WithoutEffect {
    /// Google's ALTS, which is refused
    #[arg(long, value_name = "BOOL", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) use_alts_credentials: Option<bool>,
    /// The health service of gRPC, which is always there
    #[arg(long, value_name = "BOOL", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) enable_grpc_healthcheck_service: Option<bool>,
}

/// Those flags that are told to have no effect: a name, whether it may stand without a value, and why.
pub(crate) const WITHOUT_EFFECT: [(&str, bool, &str); 20] = [
    ("rest_api_num_threads", false, "connections have a thread a core"),
    ("grpc_max_threads", false, "connections have a thread a core"),
    ("grpc_channel_arguments", false, "they are settings of another gRPC library"),
    ("num_unload_threads", false, "versions are unloaded beside the requests as it is"),
    ("flush_filesystem_caches", true, "nothing is flushed"),
    ("remove_unused_fields_from_bundle_metagraph", true, "they are not kept as it is"),
    ("per_process_gpu_memory_fraction", false, "only CPUs are supported"),
    ("platform_config_file", false, "TensorFlow is the only platform"),
    ("tensorflow_session_config_file", false, "use the flags for threads"),
    ("thread_pool_factory_config_file", false, "use the flags for threads"),
    ("enable_profiler", true, "there is no profiler"),
    ("prefer_tflite_model", true, "there is no TensorFlow Lite"),
    ("num_tflite_pools", false, "there is no TensorFlow Lite"),
    ("num_tflite_interpreters_per_pool", false, "there is no TensorFlow Lite"),
    ("xla_cpu_compilation_enabled", true, "XLA is left as the model has it"),
    ("xla_gpu_compilation_enabled", true, "XLA is left as the model has it"),
    ("mixed_precision", false, "models are run as they are"),
    ("skip_initialize_tpu", true, "there are no TPUs"),
    (
        "force_allow_any_version_labels_for_unavailable_models",
        true,
        "use --allow_version_labels_for_unavailable_models",
    ),
    ("enforce_session_run_timeout", true, "deadlines always end the wait"),
];

/// Environment variables of these are other commands' too, in forms of their own.
const NO_VARIABLE: [&str; 4] = ["libtensorflow", "op_library", "help", "version"];

/// Completes the command: flags without effect, every flag with dashes, and the environment.
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
        // One that is empty is as good as none.
        let value = env_var(&name).filter(|value| !is_of_kubernetes(value));
        let is_given = value.is_some() && !NO_VARIABLE.contains(&long.as_str());
        if is_given { arg.env(name).hide_env(true) } else { arg }
    })
}

/// Kubernetes sets TF_PERSIST_PORT in every container beside a service that is called `tf-persist`: `tcp://10.0.0.7:8500`.
fn is_of_kubernetes(value: &OsStr) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.as_encoded_bytes().starts_with(scheme.as_bytes()))
}

/// The environment variable of a flag.
fn variable_of(flag: &str) -> String {
    format!("TF_PERSIST_{}", flag.replace('-', "_").to_uppercase())
}

/// A path; the empty one, which scripts give for none, is none: see [`given`].
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|path: OsString| PathBuf::from(path))
}

/// What is not empty.
pub(crate) fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

fn port(text: &str) -> Result<Port, String> {
    match text {
        "any" => Ok(Port::Any),
        "0" | "" => Ok(Port::Off),
        number => number.parse().map(Port::At).map_err(|_| "it is no port: 1 to 65535, 0 for none, or `any`".into()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "it is no number from 1 on".into())
}

fn connections(text: &str) -> Result<usize, String> {
    count(text).and_then(|count| if count <= 1 << 20 { Ok(count) } else { Err("it is more than 1048576".into()) })
}

fn seconds(text: &str) -> Result<u64, String> {
    /// A year and some.
    const LONGEST: u64 = 400 * 24 * 3600;
    text.parse().ok().filter(|seconds| *seconds <= LONGEST).ok_or_else(|| "it is no number of seconds".into())
}

/// A time that is none would refuse everybody.
fn some_seconds(text: &str) -> Result<u64, String> {
    seconds(text).and_then(|seconds| if seconds > 0 { Ok(seconds) } else { Err("it is no number from 1 on".into()) })
}
