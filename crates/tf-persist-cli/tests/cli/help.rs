//! Help, version and usage errors, which need no TensorFlow; completions and manual pages.

use crate::support::Dir;

/// The commands, as subcommands of `tf-persist`.
const COMMANDS: [&str; 22] = [
    "",
    "inspect",
    "scan",
    "run",
    "export",
    "train",
    "verify",
    "diff",
    "monitor",
    "monitor reference",
    "loop",
    "serve",
    "serve-local",
    "ready",
    "image",
    "deploy",
    "deploy kserve",
    "deploy batch",
    "runtime",
    "runtime install",
    "completions",
    "man",
];

#[test]
fn help_and_version_need_no_tensorflow() {
    let dir = Dir::new();
    for command in COMMANDS {
        let usage = format!("Usage: tf-persist {command}");
        for option in ["--help", "-h"] {
            let help = dir.cmd(&format!("{command} {option}")).without_tensorflow().run().ok().prints(usage.trim_end());
            help.check(help.err().is_empty(), "help goes to standard output alone");
        }
        for option in ["--version", "-V"] {
            let version = dir.cmd(&format!("{command} {option}")).without_tensorflow().run().ok();
            version.check(version.out().contains(env!("CARGO_PKG_VERSION")), "the version is missing");
            version.check(version.out().starts_with("tf-persist"), "the name is missing");
        }
        dir.cmd(&format!("help {command}")).without_tensorflow().run().ok().prints("Usage: tf-persist");
    }
}

#[test]
fn help_names_every_option_of_the_contract() {
    let dir = Dir::new();
    let options = [
        ("inspect", "--tags --signature --variables --ops --format"),
        (
            "run",
            "--tags --signature --input --inputs --requests --output --format --op-library --repeat --trust --libtensorflow",
        ),
        (
            "export",
            "--overwrite --tags --signatures --rename-signature --inference-only --frozen --from-checkpoint --keep-missing \
             --checkpoint-object --op-library --libtensorflow",
        ),
        (
            "train",
            "--data --validate --output --overwrite --resume --epochs --batch-size --seed --no-shuffle --signature \
             --checkpoint-every --plot --format --tags --op-library --libtensorflow",
        ),
        ("verify", "--record --replace --signature --tolerance --format --tags --op-library --libtensorflow"),
        ("diff", "--tags --variables --tolerance --format"),
        ("scan", "--tags --format --fail-on"),
        (
            "monitor",
            "--reference --model --model-name --signature --labels --label-output --label-task --logits --window --slice \
             --false-alarm --psi --format --output --state --fail-on-drift --threads",
        ),
        ("loop", "--once --now --dry-run --format --libtensorflow"),
        ("monitor reference", "--output --model --model-name --signature --threads"),
        (
            "serve-local",
            "--port --rest_api_port --model_name --model_base_path --model_config_file --host --api_key_file --tls_cert --trust \
             --libtensorflow --monitoring_config_file --enable_batching TF_PERSIST_MODEL_NAME",
        ),
        ("ready", "--timeout"),
        (
            "deploy kserve",
            "--image --name --namespace --cpu --memory --env --image-pull-secret --service-account --storage-uri --runtime \
             --min-replicas --max-replicas --target-cpu --prometheus --target-requests --drain-timeout",
        ),
        ("deploy batch", "--image --claim --inputs --output --shards --parallelism --batch-size --signature"),
        (
            "image",
            "--name --base --gzip --platform --op-library --env --require-signature --plain-http --format --libtensorflow",
        ),
        ("runtime", "install --libtensorflow --format"),
    ];
    for (command, options) in options {
        let mut help = dir.cmd(&format!("{command} --help")).run().ok();
        for option in options.split(' ') {
            help = help.prints(option);
        }
    }
    let all = dir.cmd("--help").run().ok().prints("Exit codes: 0 success, 1 failure, 2 usage error.");
    for command in COMMANDS.iter().filter(|command| !command.is_empty() && !command.contains(' ')) {
        all.check(all.out().contains(&format!("\n  {command} ")), format_args!("`{command}` is missing"));
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let dir = Dir::new();
    let wrong = [
        "",
        "frobnicate",
        "--frobnicate",
        "inspect",
        "inspect a b",
        "inspect a --format yaml",
        "inspect a --frobnicate",
        "inspect a --tags",
        "run",
        "run a --format xml",
        "run a --repeat 0",
        "run a --repeat many",
        "run a --repeat -1",
        "run a --input x=1 --requests b.jsonl",
        "run a --inputs c.npz --requests b.jsonl",
        "run a --requests b.jsonl --repeat 3",
        "run a --format json --output b.json",
        "run a --intra-op-threads -1",
        "run a --inter-op-threads -2",
        "run a --intra-op-threads four",
        "run a --signature b --signature c",
        "export",
        "export a",
        "export a b c",
        "export a b --overwrite=maybe",
        "train",
        "train a",
        "train a --data b.npz",
        "train a --output c",
        "train a --data b.npz --output c --batch-size 0",
        "train a --data b.npz --output c --batch-size -1",
        "train a --data b.npz --output c --epochs 0",
        "train a --data b.npz --output c --checkpoint-every 0",
        "train a --data b.npz --output c --seed -1",
        "train a --data b.npz --output c --seed 1 --no-shuffle",
        "train a --data b.npz --output c --resume --seed 1",
        "train a --data b.npz --output c --resume --batch-size 8",
        "train a --data b.npz --output c --resume --no-shuffle",
        "train a --data b.npz --output c --evaluate-signature d",
        "train a --data b.npz --output c --plot d.png",
        "monitor",
        "monitor reference a",
        "loop",
        "loop a --once --dry-run",
        "monitor a --window 1",
        "monitor a --false-alarm 1",
        "monitor a --psi -1",
        "monitor a --format xml",
        "monitor a --logits",
        "monitor a --threads 0",
        "scan",
        "scan a --fail-on everything",
        "scan a --format yaml",
        "run a --trust WriteFile",
        "runtime frobnicate",
        "runtime install --python",
        "runtime --format csv",
        "completions",
        "completions tcsh",
        "man run",
    ];
    for line in wrong {
        dir.cmd(line).without_tensorflow().run().misused();
    }
}

#[test]
fn conflicting_options_are_a_usage_error() {
    let dir = Dir::new();
    dir.cmd("run models/half_plus_two/model --requests - --output a.json").without_tensorflow().run().misused();
}

#[test]
fn an_input_without_a_value_is_a_usage_error() {
    let dir = Dir::new();
    dir.cmd("run models/half_plus_two/model --input x").without_tensorflow().run().misused();
}

#[test]
fn an_empty_environment_variable_counts_as_unset() {
    let dir = Dir::new();
    let names =
        ["TF_PERSIST_OP_LIBRARIES", "TF_PERSIST_INTRA_OP_THREADS", "TF_PERSIST_INTER_OP_THREADS", "TF_PERSIST_PYTHON"];
    for name in names {
        // The command is understood, and fails at the model.
        let ran = dir.cmd("run none --input x=1").env(name, "").without_tensorflow().run();
        ran.fails().says("`none` is not a SavedModel");
    }
}

#[test]
fn completions_of_every_shell_name_commands_and_flags() {
    let dir = Dir::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = dir.cmd(&format!("completions {shell}")).without_tensorflow().run().ok();
        for word in ["tf-persist", "serve-local", "inference-only", "rest_api_port"] {
            script.check(script.out().contains(word), format_args!("{shell}: `{word}` is missing"));
        }
        // Flags without an effect are accepted, and not advertised.
        script.check(!script.out().contains("grpc_max_threads"), format_args!("{shell}: a hidden flag"));
    }
}

#[test]
fn manual_pages_are_printed_and_written() {
    let dir = Dir::new();
    dir.cmd("man").without_tensorflow().run().ok().prints(".TH tf-persist 1").prints("Exit codes: 0 success");
    std::fs::create_dir(dir.path("pages")).unwrap();
    dir.cmd("man --output pages").without_tensorflow().run().ok().prints_only("");
    let names = dir.names("pages");
    for command in COMMANDS {
        let words: Vec<&str> = ["tf-persist"].into_iter().chain(command.split_whitespace()).collect();
        let page = format!("{}.1", words.join("-"));
        assert!(names.contains(&page), "`{page}` is not in {names:?}");
    }
    let run = std::fs::read_to_string(dir.path("pages/tf-persist-run.1")).unwrap();
    assert!(run.contains("signature"), "{run}");
    dir.cmd("man --output missing").without_tensorflow().run().fails().says("cannot write manual pages to `missing`");
}
