use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches};
use tf_persist_serve::{LabelRule, ModelSource, Pem, Platform, Settings};

use super::args::{ServeArgs, WITHOUT_EFFECT, complete};
use super::container::{Invoked, apply_from};
use super::files;
use super::settings::settings;

/// The flags of a command line.
fn read(line: &str) -> Result<ServeArgs, clap::Error> {
    let command = complete(ServeArgs::augment_args(Command::new("serve-local")));
    ServeArgs::from_arg_matches(&command.try_get_matches_from(format!("serve-local {line}").split_whitespace())?)
}

/// The settings of a command line that names a model.
fn set(line: &str) -> Settings {
    settings(&read(&format!("--model_base_path=/m {line}")).unwrap()).unwrap()
}

fn refused(line: &str) -> String {
    settings(&read(line).unwrap()).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_tensorflow_servings_except_the_address() {
    let settings = set("");
    let address = settings.grpc.address.unwrap();
    assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 8500)));
    assert_eq!(settings.http.address, None);
    assert_eq!(settings.http.timeout, Duration::from_secs(30));
    assert!(!settings.http.cors && settings.grpc.socket.is_none() && settings.metrics.prometheus_path.is_none());
    let models = settings.models;
    assert_eq!(models.poll, Some(Duration::from_secs(1)));
    assert_eq!(models.source, Some(ModelSource::BasePath { name: "default".into(), path: "/m".into() }));
    assert_eq!((models.load.retries, models.load.retry_interval), (5, Duration::from_secs(60)));
    assert_eq!((models.load.threads, models.load.warm_up, models.load.warm_up_iterations), (1, true, 1));
    assert!(
        settings.run.batching.enabled && models.labels == LabelRule::AvailableOrStarting && settings.grpc.reload_config
    );
    let (ours, theirs) = (settings.security.limits, tf_persist_serve::Limits::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

#[test]
fn every_flag_may_be_written_in_each_way() {
    for line in [
        "--rest_api_port=1 --port=2 --model_name=n --enable_batching=false --rest_api_enable_cors_support",
        "--rest-api-port 1 --port 2 --model-name n --enable-batching=false --rest-api-enable-cors-support=true",
        "--rest_api_port=9 --rest-api-port=1 --port=7 --port=2 --model_name n --enable_batching --enable-batching=0 \
         --rest_api_enable_cors_support=false --rest_api_enable_cors_support=1",
    ] {
        let settings = set(line);
        assert_eq!(settings.http.address.unwrap().port(), 1, "{line}");
        assert_eq!(settings.grpc.address.unwrap().port(), 2, "{line}");
        assert!(settings.http.cors && !settings.run.batching.enabled, "{line}");
        assert!(matches!(settings.models.source, Some(ModelSource::BasePath { name, .. }) if name == "n"), "{line}");
    }
    let command = complete(ServeArgs::augment_args(Command::new("serve-local")));
    for flag in
        command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| !["help", "version"].contains(flag))
    {
        let is_there = |flag: &str| {
            !matches!(
                read(&format!("--{flag}=1")).map_err(|error| error.kind()),
                Err(clap::error::ErrorKind::UnknownArgument)
            )
        };
        assert!(is_there(flag) && is_there(&flag.replace('_', "-")), "--{flag}");
    }
}

#[test]
fn the_command_line_of_the_docker_image_works() {
    let settings = set("--port=8500 --rest_api_port=8501 --model_name=m --model_base_path=/models/m --host 0.0.0.0");
    assert_eq!(settings.http.address.unwrap(), SocketAddr::from(([0, 0, 0, 0], 8501)));
    assert_eq!(settings.models.source, Some(ModelSource::BasePath { name: "m".into(), path: "/models/m".into() }));
}

#[test]
fn flags_without_effect_are_accepted() {
    for (name, may_stand_alone, _) in WITHOUT_EFFECT {
        set(&format!("--{name}=1"));
        set(&format!("--{}=1", name.replace('_', "-")));
        set(&if may_stand_alone { format!("--{name}") } else { format!("--{name} -1") });
    }
    set("--enable_grpc_healthcheck_service --use_alts_credentials=false");
}

#[test]
fn numbers_mean_the_same_as_in_tensorflow_serving() {
    let settings = set("--file_system_poll_wait_seconds=0 --rest_api_timeout_in_ms=-1 --load_retry_interval_micros=-5");
    assert_eq!((settings.models.poll, settings.models.remote_poll), (None, None));
    assert_eq!(set("").models.remote_poll, Some(Duration::from_secs(10)));
    let (poll, remote_poll) = (|line: &str| set(line).models.poll, |line: &str| set(line).models.remote_poll);
    let three = "--file_system_poll_wait_seconds=3";
    assert_eq!((poll(three), remote_poll(three)), (Some(Duration::from_secs(3)), Some(Duration::from_secs(3))));
    assert_eq!(set("").models.load.max_resident_bytes, None);
    assert_eq!(set("--max_resident_bytes=5000000000").models.load.max_resident_bytes, Some(5_000_000_000));
    let negative = set("--num_request_iterations_for_warmup=-1 --num_load_threads=-1").models.load;
    assert_eq!((negative.warm_up_iterations, negative.threads), (1, 1));
    let cores = std::thread::available_parallelism().unwrap().get();
    let threads = |line: &str| {
        let load = set(line).models.load;
        (load.threads, load.start_threads)
    };
    assert_eq!((threads(""), threads("--num_load_threads=-1")), ((1, cores), (1, cores)));
    assert_eq!((threads("--num_load_threads=1"), threads("--num_load_threads=3")), ((1, 1), (3, 3)));
    assert!(set("--enable_signature_method_name_check").run.check_method_names && !set("").run.check_method_names);
    assert_eq!(settings.http.timeout, Duration::ZERO);
    assert_eq!(settings.models.load.retry_interval, Duration::ZERO);
    let settings = set("--port=0 --rest_api_port=any");
    assert_eq!((settings.grpc.address, settings.http.address.unwrap().port()), (None, 0));
    let line = "--model_config_file=/c --model_base_path=/m --model_config_file_poll_wait_seconds=7";
    let source = settings_of(line).models.source;
    assert_eq!(source, Some(ModelSource::ConfigFile { path: "/c".into(), poll: Some(Duration::from_secs(7)) }));
    let empty = settings_of("--model_config_file= --model_base_path=/m --model_name=");
    assert_eq!(empty.models.source, Some(ModelSource::BasePath { name: "default".into(), path: "/m".into() }));
}

fn settings_of(line: &str) -> Settings {
    settings(&read(line).unwrap()).unwrap()
}

#[test]
fn thread_flags_set_the_threads() {
    for (line, intra, inter) in [
        ("", 0, -1),
        ("--tensorflow_session_parallelism=3", 3, 3),
        ("--tensorflow_intra_op_parallelism=2", 2, -1),
        ("--tensorflow_inter_op_parallelism=4", 0, 4),
        ("--tensorflow_inter_op_parallelism=0", 0, 0),
        ("--tensorflow_intra_op_parallelism=2 --tensorflow_session_parallelism=3", 2, -1),
    ] {
        let options = format!("{:?}", set(line).models.load.options);
        for expected in [format!("intra_op_threads: {intra},"), format!("inter_op_threads: {inter},")] {
            assert!(options.contains(&expected), "{line}: {expected} is not in {options}");
        }
    }
}

#[test]
fn a_model_decides_on_intra_op_threads_by_default() {
    for (line, by_model) in [
        ("--model_base_path=/m", true),
        ("--model_base_path=/m --tensorflow_inter_op_parallelism=2", true),
        ("--model_base_path=/m --tensorflow_intra_op_parallelism=0", false),
        ("--model_base_path=/m --tensorflow_intra_op_parallelism=2", false),
        ("--model_base_path=/m --tensorflow_session_parallelism=2", false),
        ("--model_config_file=/c", false),
    ] {
        assert_eq!(settings_of(line).models.load.intra_op_threads_by_model, by_model, "{line}");
    }
}

#[test]
fn contradictory_flags_are_refused() {
    for (line, words) in [
        ("", "--model_base_path, --model_config_file and --store are empty"),
        ("--model_base_path= --store=", "--model_base_path, --model_config_file and --store are empty"),
        ("--model_base_path=/m --store=/s", "--store and --model_base_path both name models"),
        ("--model_config_file=/m --store=/s", "--store and --model_config_file both name models"),
        ("--store=/no/s", "`/no/s` is not a store of models"),
        ("--model_base_path=/m --require-signature=/no/k", "`/no/k`"),
        ("--model_base_path=/m --port=0", "there would be nothing to connect to"),
        ("--model_base_path=/m --port=5 --rest_api_port=5", "both 5"),
        ("--model_base_path=/m --batching_parameters_file=/b", "without --enable_batching"),
        ("--model_base_path=/m --batching_parameters_file=/b --enable_batching=false", "without --enable_batching"),
        ("--model_base_path=/m --use_alts_credentials", "ALTS"),
        ("--model_base_path=/m --tls_cert=/c", "need each other"),
        ("--model_base_path=/m --tls_client_ca=/c", "needs both"),
        ("--model_base_path=/m --tls_cert=/c --ssl_config_file=/s", "cannot be used with"),
        ("--model_base_path=/m --tls_cert=/no/c --tls_key=/no/k", "`/no/c`"),
        ("--model_base_path=/m --ssl_config_file=/no/s", "`/no/s`"),
        ("--model_base_path=/m --monitoring_config_file=/no/m", "`/no/m`"),
        (
            "--model_base_path=/m --tensorflow_session_parallelism=1 --tensorflow_intra_op_parallelism=1 \
             --tensorflow_inter_op_parallelism=1",
            "not all of them",
        ),
    ] {
        assert!(refused(line).contains(words), "{line}: {}", refused(line));
    }
    for line in [
        "--port=65536",
        "--port=-1",
        "--port=http",
        "--host=localhost",
        "--enable_batching=perhaps",
        "--max_num_load_retries=-1",
        "--max_body_bytes=0",
        "--max_resident_bytes=0",
        "--platform=azure",
        "--drain_timeout=-1",
        "--client_timeout=0",
        "--idle_timeout=0",
        "--log_level=loud",
        "--no_such_flag",
        "stray",
    ] {
        read(line).unwrap_err();
    }
}

#[test]
fn metrics_and_certificates_are_read_from_tensorflow_servings_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let monitoring = |text: &str| {
        std::fs::write(&file, text).unwrap();
        files::prometheus_path(&file)
    };
    let path = |text: &str| monitoring(text).unwrap();
    assert_eq!(path("prometheus_config { enable: true }").unwrap(), "/monitoring/prometheus/metrics");
    assert_eq!(path("prometheus_config: { enable: true, path: \"/m\" }").unwrap(), "/m");
    assert_eq!(path("prometheus_config { path: \"/m\" }"), None);
    assert_eq!(path(""), None);
    assert!(
        monitoring("prometheus_config { enable: true path: \"m\" }").unwrap_err().to_string().contains("begin with")
    );
    assert!(monitoring("prometheus { }").unwrap_err().to_string().contains("Invalid protobuf file"));

    std::fs::write(&file, "server_key: 'k' server_cert: 'c' custom_ca: 'a' client_verify: true").unwrap();
    let args = read(&format!("--ssl_config_file={}", file.display())).unwrap();
    let tls = files::certificates(&args).unwrap().unwrap();
    assert!(tls.grpc_only);
    let part = |name: &str, text: &str| Pem::new(format!("`{name}` of `{}`", file.display()), text);
    assert_eq!((&tls.key, &tls.certificate), (&part("server_key", "k"), &part("server_cert", "c")));
    assert_eq!(tls.client_ca, Some(part("custom_ca", "a")));
    std::fs::write(&file, "server_key: 'k' server_cert: 'c' custom_ca: 'a'").unwrap();
    assert!(files::certificates(&args).unwrap().unwrap().client_ca.is_none());
    std::fs::write(&file, "client_verify: true").unwrap();
    assert!(files::certificates(&args).unwrap_err().to_string().contains("custom_ca"));
}

#[test]
fn label_and_reload_flags_set_the_settings() {
    for (flag, rule) in [("", LabelRule::Any), ("=true", LabelRule::Any), ("=false", LabelRule::Available)] {
        let line = format!("--allow_version_labels_for_unavailable_models{flag}");
        assert_eq!(set(&line).models.labels, rule, "{line}");
    }
    assert!(!set("--enable_reload_config_request=false").grpc.reload_config);
    assert!(set("--enable-reload-config-request").grpc.reload_config);
}

/// The settings of a command line in an environment.
fn on_platform(line: &str, invoked: Invoked, variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let command = complete(ServeArgs::augment_args(Command::new("serve")));
    let matches = command.try_get_matches_from(format!("serve {line}").split_whitespace()).unwrap();
    let mut args = ServeArgs::from_arg_matches(&matches).unwrap();
    let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    apply_from(&mut args, &matches, invoked, &value)?;
    settings(&args)
}

#[test]
fn sagemaker_starts_serve_without_flags() {
    let settings = on_platform("", Invoked::Serve, &[]).unwrap();
    assert_eq!(settings.http.address.unwrap(), SocketAddr::from(([0, 0, 0, 0], 8080)));
    assert_eq!((settings.grpc.address, settings.models.poll), (None, None));
    let Some(ModelSource::Catalog(catalog)) = &settings.models.source else { panic!("{:?}", settings.models.source) };
    assert_eq!(catalog.name(), "the folder `/opt/ml/model`");
    assert!(matches!(settings.http.platform, Some(Platform::SageMaker(it)) if it.default_model.is_none()));

    let variables = [("SAGEMAKER_BIND_TO_PORT", "9000"), ("SAGEMAKER_TFS_DEFAULT_MODEL_NAME", "m")];
    let line = "--model_base_path=/elsewhere --host=127.0.0.1 --port=8500";
    let settings = on_platform(line, Invoked::ServeLocal, &variables).unwrap();
    assert_eq!(settings.http.address.unwrap(), SocketAddr::from(([127, 0, 0, 1], 9000)));
    assert!(settings.grpc.address.is_some());
    assert!(matches!(settings.models.source, Some(ModelSource::Catalog(it)) if it.name() == "the folder `/elsewhere`"));
    let Some(Platform::SageMaker(contract)) = settings.http.platform else { panic!("another platform") };
    assert_eq!((contract.default_model.as_deref(), contract.multi_model.is_some()), (Some("m"), false));

    let settings = on_platform("", Invoked::Serve, &[("SAGEMAKER_MULTI_MODEL", "true")]).unwrap();
    assert!(matches!(settings.http.platform, Some(Platform::SageMaker(it)) if it.multi_model.is_some()));
    let load = settings.models.load;
    assert!(!load.unload_least_used && load.max_resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
}

#[test]
fn vertex_ai_names_port_routes_and_model() {
    let routes = [("AIP_HEALTH_ROUTE", "/h"), ("AIP_PREDICT_ROUTE", "/p"), ("AIP_STORAGE_URI", "gs://bucket/model")];
    let variables = [&[("AIP_HTTP_PORT", "7080")][..], &routes].concat();
    for (line, invoked) in [("", Invoked::Serve), ("", Invoked::ServeLocal)] {
        let settings = on_platform(line, invoked, &variables).unwrap();
        assert_eq!(settings.http.address.unwrap(), SocketAddr::from(([0, 0, 0, 0], 7080)));
        let source = ModelSource::BasePath { name: "default".into(), path: "gs://bucket/model".into() };
        assert_eq!((settings.models.source, settings.grpc.address), (Some(source), None));
        let Some(Platform::Vertex(contract)) = settings.http.platform else { panic!("another platform") };
        assert_eq!((contract.health_route.as_str(), contract.predict_route.as_str()), ("/h", "/p"));
    }
    // A flag names a model in the image.
    let settings = on_platform("--model_base_path=/m --model_name=n", Invoked::Serve, &variables).unwrap();
    assert_eq!(settings.models.source, Some(ModelSource::BasePath { name: "n".into(), path: "/m".into() }));
    let ids = [("AIP_HTTP_PORT", "8080"), ("AIP_ENDPOINT_ID", "1"), ("AIP_DEPLOYED_MODEL_ID", "2")];
    let settings = on_platform("--model_base_path=/m", Invoked::Serve, &ids).unwrap();
    let Some(Platform::Vertex(contract)) = settings.http.platform else { panic!("another platform") };
    assert_eq!(contract.predict_route, "/v1/endpoints/1/deployedModels/2:predict");
}

#[test]
fn platforms_are_chosen_and_refused() {
    let platform = |line: &str, variables: &[(&str, &str)]| {
        let line = format!("--model_base_path=/m {line}");
        on_platform(&line, Invoked::ServeLocal, variables).unwrap().http.platform
    };
    assert!(platform("", &[]).is_none() && platform("--platform=none", &[("AIP_HTTP_PORT", "1")]).is_none());
    assert!(matches!(platform("--platform=sagemaker", &[]), Some(Platform::SageMaker(_))));
    assert!(matches!(platform("--platform=vertex", &[]), Some(Platform::Vertex(_))));
    for (variable, value) in [("AIP_HTTP_PORT", "http"), ("AIP_HTTP_PORT", "0"), ("SAGEMAKER_BIND_TO_PORT", "70000")] {
        let error = on_platform("--model_base_path=/m", Invoked::ServeLocal, &[(variable, value)]).unwrap_err();
        assert!(error.to_string().contains(variable), "{error}");
    }
    let variables = [("AIP_HTTP_PORT", "80"), ("AIP_PREDICT_ROUTE", "predict")];
    let error = on_platform("--model_base_path=/m", Invoked::Serve, &variables).unwrap_err();
    assert!(error.to_string().contains("AIP_PREDICT_ROUTE is \"predict\""), "{error}");
}

#[test]
fn page_is_on_unless_it_is_turned_off() {
    assert!(set("").http.page && set("--page").http.page);
    assert!(!set("--page=false").http.page);
}
