//! Options of TensorFlow's sessions: the flags, and `--tensorflow_session_config_file`.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::Args as ClapArgs;
use tf_persist_core::LoadOptions;
use tf_persist_proto::protobuf::MessageDyn;
use tf_persist_proto::protobuf::reflect::{ReflectFieldRef, ReflectValueRef};
use tf_persist_proto::tensorflow::ConfigProto;

use super::args::{given, path};
use super::files;
use crate::error::UsageError;

#[derive(Debug, Default, ClapArgs)]
#[command(rename_all = "snake_case")]
pub(crate) struct SessionArgs {
    /// Threads within one op, and threads that run ops in parallel; 0 uses the two flags below
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_session_parallelism: i32,
    /// Threads within one op; 0 means one per core [default: 1 for a single model with small ops, else one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_intra_op_parallelism: Option<i32>,
    /// Threads that run ops in parallel; 0 lets TensorFlow choose, -1 uses the request's thread, which is several times
    /// faster for small models [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Running")]
    pub(crate) tensorflow_inter_op_parallelism: Option<i32>,
    /// Options of TensorFlow's sessions: a ConfigProto in text format. The flags for threads take precedence
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Running")]
    pub(crate) tensorflow_session_config_file: Option<PathBuf>,
    /// Let TensorFlow allocate this part of a GPU's memory, from 0 to 1; 0 lets TensorFlow choose
    #[arg(long, value_name = "PART", value_parser = fraction, help_heading = "Running")]
    pub(crate) per_process_gpu_memory_fraction: Option<f64>,
    /// Options of sessions, batching and warm-up in one file, a PlatformConfigMap in text format, instead of the flags
    /// for them
    #[arg(long, value_name = "FILE", value_parser = path(), help_heading = "Running")]
    pub(crate) platform_config_file: Option<PathBuf>,
}

/// The fields of a `ConfigProto` that take effect, with all that is in them.
const HONOURED: [&str; 16] = [
    "allow_soft_placement",
    "device_count",
    "experimental.disable_functional_ops_lowering",
    "experimental.disable_thread_spinning",
    "experimental.executor_type",
    "experimental.use_numa_affinity",
    "experimental.xla_fusion_autotuner_thresh",
    "experimental.xla_prefer_single_graph_cluster",
    "gpu_options",
    "graph_options",
    "inter_op_parallelism_threads",
    "intra_op_parallelism_threads",
    "log_device_placement",
    "operation_timeout_in_ms",
    "pluggable_device_options",
    "use_per_session_threads",
];

/// Why some of the others do not.
const REFUSED: [(&str, &str); 8] = [
    ("cluster_def", "sessions run in this process, not in a cluster"),
    ("device_filters", "sessions run in this process, not in a cluster"),
    ("isolate_session_state", "sessions run in this process, not in a cluster"),
    ("placement_period", "TensorFlow does not read it"),
    ("rpc_options", "sessions run in this process, not in a cluster"),
    ("session_inter_op_thread_pool", "requests choose no pool of threads"),
    ("share_cluster_devices_in_session", "sessions run in this process, not in a cluster"),
    ("experimental.optimize_for_static_graph", "the graph is extended while it is loaded"),
];

/// The options of sessions.
#[derive(Debug)]
pub(super) struct Session {
    config: ConfigProto,
    intra: i32,
    inter: i32,
    /// Whether a flag or a file says how many threads share an op.
    pub(super) sets_intra: bool,
}

impl Session {
    /// The options of the flags, and of the file that they name.
    pub(super) fn from_args(args: &SessionArgs) -> anyhow::Result<Self> {
        let config = given(&args.tensorflow_session_config_file).map(|file| read(file)).transpose()?;
        Self::new(config.unwrap_or_default(), args)
    }

    /// The options of a platform, which replace the flags.
    pub(super) fn from_platform(config: ConfigProto) -> anyhow::Result<Self> {
        Self::new(config, &SessionArgs::default())
    }

    fn new(mut config: ConfigProto, args: &SessionArgs) -> anyhow::Result<Self> {
        let session = args.tensorflow_session_parallelism;
        let of_file = |threads: i32| (threads != 0).then_some(threads);
        let (file_intra, file_inter) =
            (of_file(config.intra_op_parallelism_threads), of_file(config.inter_op_parallelism_threads));
        let flag_intra = args.tensorflow_intra_op_parallelism;
        let (intra, inter) = (flag_intra.or(file_intra), args.tensorflow_inter_op_parallelism);
        if session > 0 && flag_intra.unwrap_or(0) > 0 && inter.is_some_and(|inter| inter > 0) {
            bail!(UsageError(
                "either --tensorflow_session_parallelism, or --tensorflow_intra_op_parallelism and \
                 --tensorflow_inter_op_parallelism; not all of them"
                    .into()
            ));
        }
        let sets_intra = intra.is_some() || session > 0;
        // As in TensorFlow Serving, except that the default runs the graph in the calling thread.
        let by_session = session > 0 && flag_intra.unwrap_or(0) <= 0 && inter.is_none();
        let inter = inter.or(file_inter);
        let (intra, inter) =
            if by_session { (session, session) } else { (intra.unwrap_or(0).max(0), inter.unwrap_or(-1).max(-1)) };
        if let Some(fraction) = args.per_process_gpu_memory_fraction {
            config.gpu_options.mut_or_insert_default().per_process_gpu_memory_fraction = fraction;
        }
        Ok(Self { config, intra, inter, sets_intra })
    }

    /// Adds them to the options of loading.
    pub(super) fn apply(&self, options: LoadOptions) -> LoadOptions {
        options.intra_op_threads(self.intra).inter_op_threads(self.inter).session_config(self.config.clone())
    }
}

fn read(file: &Path) -> anyhow::Result<ConfigProto> {
    let config: ConfigProto = files::parse(file, "tensorflow.ConfigProto")?;
    check(&config).map_err(|reason| anyhow!("`{}`: {reason}", file.display()))?;
    Ok(config)
}

/// Checks that every field of a `ConfigProto` takes effect.
pub(super) fn check(config: &ConfigProto) -> Result<(), String> {
    let because = |name: &str| REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why);
    match other_field(config, "", &HONOURED) {
        None => Ok(()),
        Some(name) => match because(&name) {
            Some(why) => Err(format!("the field `{name}` of the session options is not supported: {why}")),
            None => Err(format!("the field `{name}` of the session options is not supported")),
        },
    }
}

/// The first field of a message, by its path, that is set and not among the known ones or in one of them.
pub(super) fn other_field(message: &dyn MessageDyn, prefix: &str, known: &[&str]) -> Option<String> {
    for field in message.descriptor_dyn().fields() {
        let name = format!("{prefix}{}", field.name());
        let is_set = match field.get_reflect(message) {
            ReflectFieldRef::Optional(value) => value.value().is_some_and(|value| !is_default(&value)),
            ReflectFieldRef::Repeated(list) => !list.is_empty(),
            ReflectFieldRef::Map(map) => !map.is_empty(),
        };
        if !is_set || known.contains(&name.as_str()) {
            continue;
        }
        let is_within = known.iter().any(|known| known.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.')));
        let inner = match field.get_reflect(message) {
            ReflectFieldRef::Optional(value) if is_within => match value.value() {
                Some(ReflectValueRef::Message(inner)) => Some(other_field(&*inner, &format!("{name}."), known)),
                _ => None,
            },
            _ => None,
        };
        match inner {
            Some(None) => {}
            Some(other) => return other,
            None => return Some(name),
        }
    }
    None
}

/// Whether a value is what an unset field has. Messages count as set.
fn is_default(value: &ReflectValueRef<'_>) -> bool {
    match value {
        ReflectValueRef::U32(value) => *value == 0,
        ReflectValueRef::U64(value) => *value == 0,
        ReflectValueRef::I32(value) | ReflectValueRef::Enum(_, value) => *value == 0,
        ReflectValueRef::I64(value) => *value == 0,
        ReflectValueRef::F32(value) => *value == 0.0,
        ReflectValueRef::F64(value) => *value == 0.0,
        ReflectValueRef::Bool(value) => !value,
        ReflectValueRef::String(value) => value.is_empty(),
        ReflectValueRef::Bytes(value) => value.is_empty(),
        ReflectValueRef::Message(_) => false,
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|part| (0.0..=1.0).contains(part)).ok_or_else(|| "not a number from 0 to 1".into())
}
