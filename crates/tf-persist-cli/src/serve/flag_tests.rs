//! TensorFlow Serving's flags and their files.

use std::fs;
use std::path::Path;

use clap::{Args as _, Command, FromArgMatches};
use tf_persist_serve::Settings;

use super::args::{ServeArgs, WITHOUT_EFFECT, complete};
use super::settings::settings;

/// All flags of `model_servers/main.cc`, release 2.20, in its order, each with a value that it takes there. `{}` is the
/// path of an empty file.
const FLAGS: [(&str, &str); 48] = [
    ("port", "8500"),
    ("grpc_socket_path", "/tmp/socket"),
    ("rest_api_port", "8501"),
    ("rest_api_num_threads", "8"),
    ("rest_api_timeout_in_ms", "30000"),
    ("rest_api_enable_cors_support", "true"),
    ("enable_batching", "true"),
    ("allow_version_labels_for_unavailable_models", "true"),
    ("batching_parameters_file", ""),
    ("enable_per_model_batching_parameters", "true"),
    ("model_config_file", "/models.config"),
    ("model_config_file_poll_wait_seconds", "60"),
    ("model_name", "m"),
    ("model_base_path", "/models/m"),
    ("num_load_threads", "2"),
    ("num_unload_threads", "2"),
    ("max_num_load_retries", "5"),
    ("load_retry_interval_micros", "-1"),
    ("file_system_poll_wait_seconds", "1"),
    ("flush_filesystem_caches", "true"),
    ("tensorflow_session_parallelism", "4"),
    ("tensorflow_session_config_file", "{}"),
    ("tensorflow_intra_op_parallelism", "4"),
    ("tensorflow_inter_op_parallelism", "4"),
    ("use_alts_credentials", "true"),
    ("ssl_config_file", "{}"),
    ("platform_config_file", ""),
    ("per_process_gpu_memory_fraction", "0.5"),
    ("saved_model_tags", "serve"),
    ("grpc_channel_arguments", "grpc.max_connection_age_ms=2000"),
    ("grpc_max_threads", "8"),
    ("enable_model_warmup", "false"),
    ("num_request_iterations_for_warmup", "3"),
    ("version", ""),
    ("monitoring_config_file", "{}"),
    ("remove_unused_fields_from_bundle_metagraph", "true"),
    ("prefer_tflite_model", "true"),
    ("num_tflite_pools", "1"),
    ("num_tflite_interpreters_per_pool", "1"),
    ("enable_signature_method_name_check", "true"),
    ("xla_cpu_compilation_enabled", "true"),
    ("xla_gpu_compilation_enabled", "true"),
    ("enable_profiler", "false"),
    ("thread_pool_factory_config_file", "/pool.config"),
    ("mixed_precision", "bfloat16"),
    ("skip_initialize_tpu", "true"),
    ("enable_grpc_healthcheck_service", "true"),
    ("enable_serialization_as_tensor_content", "true"),
];

fn read(arguments: &[String]) -> Result<ServeArgs, clap::Error> {
    let command = complete(ServeArgs::augment_args(Command::new("serve-local").version("1")));
    let all = ["serve-local".to_owned()].into_iter().chain(arguments.iter().cloned());
    ServeArgs::from_arg_matches(&command.try_get_matches_from(all)?)
}

fn settings_of(arguments: &[String]) -> anyhow::Result<Settings> {
    let base = ["--model_base_path=/m".to_owned()];
    settings(&read(&[&base, arguments].concat()).unwrap())
}

/// The settings with a file that a flag names.
fn with_file(flag: &str, text: &str) -> anyhow::Result<Settings> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, text)?;
    settings_of(&[format!("--{flag}={}", file.display())])
}

/// What the table of docs/flags.md says about a flag.
fn documented(flag: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md");
    let text = fs::read_to_string(docs).unwrap();
    let row = text.lines().find_map(|line| line.strip_prefix(&format!("| `{flag}` | ")).map(str::to_owned));
    row.unwrap_or_else(|| panic!("docs/flags.md has no row for `{flag}`"))
}

#[test]
fn every_flag_of_tensorflow_serving_is_taken_or_refused_by_name_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (flag, value) in FLAGS {
        let row = documented(flag);
        if flag == "version" {
            let help = read(&["--version".into()]).unwrap_err();
            assert_eq!(help.kind(), clap::error::ErrorKind::DisplayVersion);
            continue;
        }
        let given = format!("--{flag}={}", value.replace("{}", &empty.display().to_string()));
        let outcome = settings_of(std::slice::from_ref(&given));
        match &outcome {
            // An empty SSLConfig has no certificate, which is found when the server starts.
            Ok(_) => assert!(!row.starts_with("refused"), "{given} is taken: {row}"),
            Err(error) => {
                let is_named = error.to_string().contains(&format!("--{flag}"));
                assert!(row.starts_with("refused") && is_named, "{given}: {error} ({row})");
            }
        }
        let ignored = WITHOUT_EFFECT.iter().find(|(name, ..)| *name == flag);
        if let Some((_, _, why)) = ignored {
            assert_eq!(row.trim_end_matches(" |"), format!("without effect: {why}"), "{flag}");
        } else if flag != "enable_grpc_healthcheck_service" {
            assert!(!row.starts_with("without effect"), "{flag}: {row}");
        }
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md")).unwrap();
    let table = text.split("## Session options").next().unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), FLAGS.len());
}

fn options(settings: &Settings) -> String {
    format!("{:?}", settings.models.load.options)
}

#[test]
fn session_options_are_read_and_flags_take_precedence() {
    let text = "gpu_options { per_process_gpu_memory_fraction: 0.25 allow_growth: true visible_device_list: '1' }
                intra_op_parallelism_threads: 3 inter_op_parallelism_threads: 2 log_device_placement: true
                experimental { executor_type: 'SINGLE_THREADED_EXECUTOR' } allow_soft_placement: true
                device_count { key: 'GPU' value: 1 }";
    let settings = with_file("tensorflow_session_config_file", text).unwrap();
    let found = options(&settings);
    for expected in [
        "intra_op_threads: 3,",
        "inter_op_threads: 2,",
        "per_process_gpu_memory_fraction: 0.25",
        "visible_device_list: \"1\"",
        "SINGLE_THREADED_EXECUTOR",
        "log_device_placement: true",
    ] {
        assert!(found.contains(expected), "{expected} is not in {found}");
    }
    assert!(!settings.models.load.intra_op_threads_by_model);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, text).unwrap();
    let flags = [
        format!("--tensorflow_session_config_file={}", file.display()),
        "--per_process_gpu_memory_fraction=0.75".into(),
        "--tensorflow_intra_op_parallelism=5".into(),
    ];
    let found = options(&settings_of(&flags).unwrap());
    for expected in ["intra_op_threads: 5,", "inter_op_threads: 2,", "per_process_gpu_memory_fraction: 0.75"] {
        assert!(found.contains(expected), "{expected} is not in {found}");
    }
    let by_model = with_file("tensorflow_session_config_file", "gpu_options { allow_growth: true }").unwrap();
    assert!(by_model.models.load.intra_op_threads_by_model);
}

#[test]
fn other_session_options_are_refused_by_name() {
    for (text, reason) in [
        ("cluster_def { job { name: 'w' } }", "`cluster_def` of the session options is not supported: sessions run in"),
        ("session_inter_op_thread_pool { num_threads: 2 }", "`session_inter_op_thread_pool`"),
        ("placement_period: 3", "`placement_period`"),
        ("device_filters: '/job:w'", "`device_filters`"),
        ("experimental { use_tfrt: true }", "`experimental.use_tfrt` of the session options is not supported"),
        ("experimental { optimize_for_static_graph: true }", "the graph is extended"),
        ("experimental { executor_type: 'X' target_tpu: true }", "`experimental.target_tpu`"),
        ("no_such_field: 1", "no tensorflow.ConfigProto in text format"),
    ] {
        let refused = format!("{:#}", with_file("tensorflow_session_config_file", text).unwrap_err());
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    for value in ["1.5", "-0.1", "nan", "much"] {
        read(&[format!("--per_process_gpu_memory_fraction={value}")]).unwrap_err();
    }
}

fn platform(legacy: &str) -> String {
    format!(
        "platform_configs {{ key: 'tensorflow' value {{ source_adapter_config {{
         [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {{ legacy_config {{ {legacy} }} }}
         }} }} }}"
    )
}

#[test]
fn platform_replaces_the_flags_for_sessions_batching_and_warm_up() {
    let text = platform(
        "session_config { intra_op_parallelism_threads: 2 gpu_options { allow_growth: true } }
         batching_parameters { max_batch_size { value: 32 } allowed_batch_sizes: 32 }
         saved_model_tags: 'serve' saved_model_tags: 'gpu' model_warmup_options { num_request_iterations { value: 4 } }
         enable_model_warmup: true enable_session_metadata: true",
    );
    let settings = with_file("platform_config_file", &text).unwrap();
    let found = options(&settings);
    for expected in
        ["intra_op_threads: 2,", "inter_op_threads: -1,", "allow_growth: true", "Some([\"serve\", \"gpu\"])"]
    {
        assert!(found.contains(expected), "{expected} is not in {found}");
    }
    assert_eq!((settings.models.load.warm_up, settings.models.load.warm_up_iterations), (true, 4));
    assert!(settings.run.batching.explicit && settings.run.batching.enabled);
    assert!(settings.run.batching.parameters_text.as_deref().unwrap().contains("32"));
    settings.run.check().unwrap();
    let empty = with_file("platform_config_file", &platform("")).unwrap();
    assert!(!empty.models.load.warm_up && !empty.run.batching.explicit);
}

#[test]
fn other_platforms_and_fields_are_refused_by_name() {
    for (text, reason) in [
        ("", "configures no platform"),
        ("platform_configs { key: 'tflite' value { } }", "the platform `tflite` is not supported"),
        ("platform_configs { key: 'tensorflow' value { } }", "its source_adapter_config is ``"),
        (&platform("prefer_tflite_model: true"), "`prefer_tflite_model` of SessionBundleConfig"),
        (&platform("session_target: 'grpc://w'"), "`session_target`"),
        (&platform("model_warmup_options { model_name: 'm' }"), "`model_warmup_options.model_name`"),
        (&platform("session_config { rpc_options { } }"), "`rpc_options` of the session options"),
        ("platform_configs { key: 3 }", "no tensorflow.serving.PlatformConfigMap in text format"),
    ] {
        let refused = format!("{:#}", with_file("platform_config_file", text).unwrap_err());
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
