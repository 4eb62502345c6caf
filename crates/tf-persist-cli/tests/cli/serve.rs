//! `serve-local` as a process: ports, signals, exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_testing::{libtensorflow, wait_until};

use crate::support::{Dir, TF_PERSIST};

/// Longer than any step of these tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Running {
    child: Child,
    rest: String,
    log: Mutex<mpsc::Receiver<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts a server with any free REST port, and waits until the log names it.
    pub(crate) fn start(dir: &Dir, flags: &str) -> Self {
        Self::start_with(dir, flags, &[])
    }

    /// As [`Self::start`], with these variables in its environment.
    fn start_with(dir: &Dir, flags: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(TF_PERSIST), dir, flags, variables)
    }

    /// As [`Self::start`], with the signal ignored that comes with a file that becomes too long.
    pub(crate) fn start_without_xfsz(dir: &Dir, flags: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "bash", TF_PERSIST]);
        Self::start_by(command, dir, flags, &[])
    }

    /// As [`Self::start`], without a wait for the port.
    fn spawn(dir: &Dir, flags: &str) -> Self {
        Self::spawn_by(Command::new(TF_PERSIST), dir, flags, &[])
    }

    fn start_by(command: Command, dir: &Dir, flags: &str, variables: &[(&str, &str)]) -> Self {
        let mut running = Self::spawn_by(command, dir, flags, variables);
        let line = running.waits_for("REST");
        let (_, port) = line.split_once("127.0.0.1:").unwrap();
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        running.rest = format!("127.0.0.1:{digits}");
        running
    }

    fn spawn_by(mut command: Command, dir: &Dir, flags: &str, variables: &[(&str, &str)]) -> Self {
        command.arg("serve-local").args(["--rest-api-port", "any", "--port=0"]).args(flags.split_whitespace());
        command.current_dir(dir.path("")).env("HOME", dir.home()).env_remove("XDG_CACHE_HOME");
        command.env("TF_PERSIST_LIBTENSORFLOW", libtensorflow()).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        // It ends, and closes the pipe, when the receiver is dropped.
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        Self { child, rest: String::new(), log: Mutex::new(log), reader: Some(reader) }
    }

    pub(crate) fn waits_for(&self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.lock().unwrap().recv_timeout(TIMEOUT) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("the log has no `{words}`: {seen:#?}"),
            }
        }
    }

    /// A response: its status code and its body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.rest).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The address of the REST port.
    pub(crate) fn address(&self) -> &str {
        &self.rest
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.signals(&[name]);
    }

    /// Sends signals at once: those of two processes may be a second apart.
    fn signals(&self, names: &[&str]) {
        let id = self.child.id();
        let kills: Vec<String> = names.iter().map(|name| format!("kill {name} {id}")).collect();
        let done = Command::new("sh").args(["-c", &kills.join(" && ")]).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn exits(mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < TIMEOUT {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not exit");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn usage_errors_need_no_tensorflow() {
    let dir = Dir::new();
    for (line, words) in [
        ("", "--model_config_file and --store are empty"),
        ("--model_base_path=m --no_such_flag=1", "--no_such_flag"),
        ("--model_base_path=m --port=0", "there would be nothing to connect to"),
        ("--model-base-path m --port 70000", "70000"),
    ] {
        dir.cmd(&format!("serve-local {line}")).without_tensorflow().run().misused().says(words);
    }
}

#[test]
fn startup_errors_are_reported() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = format!("serve-local --model_base_path=m --port=0 --rest_api_port={port}");
    dir.cmd(&line).run().fails().says("choose another port with --rest_api_port");
    dir.write("bad.config", "model_config_list { nothing");
    let line = "serve-local --model_config_file=bad.config --port=0 --rest_api_port=any";
    dir.cmd(line).run().fails().says("Error parsing text-format tensorflow.serving.ModelServerConfig");
    dir.write("keys", "# none\n");
    let line = "serve-local --model_base_path=m --port=0 --rest_api_port=any --api_key_file=keys";
    dir.cmd(line).run().fails().says("it has no key");
    dir.write("batching", "max_batch_size { value: 0 }");
    let line =
        "serve-local --model_base_path=m --port=0 --rest_api_port=any --enable_batching --batching_parameters_file";
    dir.cmd(&format!("{line}=batching")).run().fails().says("input_batch_size_limit must be positive; was 0");
    dir.cmd(&format!("{line}=nowhere")).run().fails().says("nowhere");
}

#[cfg(feature = "remote")]
#[test]
fn base_paths_elsewhere_are_checked() {
    let dir = Dir::new();
    for (path, words) in [
        ("https://host/m", "`https://host/m` cannot be listed, since it is a web server"),
        ("https://ada:secret@host/m", "`https://host/m` cannot be listed"),
        ("s3://", "it names no bucket"),
        ("s3://bucket/../m", "an empty part, `.` or `..`"),
        ("hdfs://host/m", "the schemes are s3, gs, az, http and https"),
    ] {
        let line = format!("serve-local --model_base_path={path} --port=0 --rest_api_port=any");
        assert!(!dir.cmd(&line).without_tensorflow().run().fails().says(words).err().contains("secret"), "{path}");
        let config = format!("config {{ name: 'm' base_path: '{path}' model_platform: 'tensorflow' }}");
        dir.write("models.config", format!("model_config_list {{ {config} }}"));
        dir.cmd("serve-local --model_config_file=models.config --port=0 --rest_api_port=any").run().fails().says(words);
    }
}

/// A bucket that does not answer is waited for, beside a model that is here.
#[cfg(feature = "remote")]
#[test]
fn a_bucket_that_does_not_answer_delays_no_other_model() {
    let dir = Dir::new();
    let config = |name: &str, path: &str| {
        format!("config {{ name: '{name}' base_path: '{path}' model_platform: 'tensorflow' }}")
    };
    dir.copy_model("half_plus_two", "base/1");
    let configs = [config("here", &dir.path("base").display().to_string()), config("there", "s3://bucket/m")];
    dir.write("models.config", format!("model_config_list {{ {} }}", configs.concat()));
    let variables = [
        ("AWS_ACCESS_KEY_ID", "name"),
        ("AWS_SECRET_ACCESS_KEY", "very-secret"),
        ("AWS_REGION", "nowhere"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let server = Running::start_with(&dir, "--model_config_file=models.config", &variables);
    tf_persist_testing::wait_until("the model that is here is served", || {
        server.ask("GET", "/v1/models/here", "").1.contains("AVAILABLE")
    });
    assert!(server.ask("GET", "/readyz", "").1.contains("there"));
    tf_persist_testing::wait_until("the bucket is a problem", || {
        server.ask("GET", "/models", "").1.contains("cannot reach `s3://bucket/m`")
    });
}

/// As TensorFlow Hub's modules have one meta graph without tags, and one that trains.
#[test]
fn empty_tags_choose_the_meta_graph_without_tags() {
    let dir = Dir::new();
    dir.write_proto("base/1", |model| {
        let mut other = model.meta_graphs[0].clone();
        other.meta_info_def.mut_or_insert_default().tags = vec!["train".into()];
        model.meta_graphs[0].meta_info_def.mut_or_insert_default().tags.clear();
        model.meta_graphs.push(other);
    });
    let server = Running::start(&dir, "--model_base_path=base --saved_model_tags=");
    server.waits_for("ready: every model answers");
}

#[test]
fn a_model_is_served_swapped_and_drained() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    dir.write("monitoring", "prometheus_config { enable: true }");
    let server = Running::start(&dir, "--model_base_path=base --model-name=half --monitoring_config_file monitoring");
    assert_eq!(server.ask("GET", "/healthz", "").0, 200);
    let (code, why) = server.ask("GET", "/readyz", "");
    assert!(code == 503 && why.contains("half"), "{why}");
    assert_eq!(server.ask("POST", "/v1/models/half:predict", "{\"instances\": [2.0]}").0, 404);

    dir.copy_model("half_plus_two", "base/.1");
    fs::rename(dir.path("base/.1"), dir.path("base/1")).unwrap();
    server.waits_for("ready: every model answers");
    assert_eq!(server.ask("GET", "/readyz", "").0, 200);
    let (code, body) = server.ask("POST", "/v1/models/half:predict", "{\"instances\": [1.0, 2.0, 5.0]}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, body), (200, serde_json::json!({"predictions": [2.5, 3.0, 4.5]})));
    let (_, models) = server.ask("GET", "/models", "");
    assert!(models.contains("\"AVAILABLE\""), "{models}");
    let (_, page) = server.ask("GET", "/monitoring/prometheus/metrics", "");
    let line = ":tensorflow:serving:request_count{model_name=\"half\",status=\"OK\"} 1";
    assert!(page.lines().any(|found| found == line), "{page}");

    server.signal("-HUP");
    server.waits_for("SIGHUP");
    assert_eq!(server.ask("GET", "/healthz", "").0, 200);
    server.signal("-TERM");
    server.waits_for("stopping");
    assert_eq!(server.exits(), Some(0));
}

/// By default a request runs in the thread of its connection, and the first ones in another.
#[test]
fn served_answers_have_no_denormals() {
    let dir = Dir::new();
    dir.copy_model("denormals", "base/1");
    let server = Running::start(&dir, "--model_base_path=base --model_name=m");
    server.waits_for("ready: every model answers");
    for size in [1, 200_000] {
        let x = vec!["1e-20"; size].join(", ");
        for _ in 0..3 {
            let (code, body) = server.ask("POST", "/v1/models/m:predict", &format!("{{\"inputs\": [{x}]}}"));
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let squares = body["outputs"]["square"].as_array().unwrap();
            assert_eq!((code, squares.len()), (200, size));
            assert!(squares.iter().all(|square| *square == 0.0), "of {size}");
        }
    }
}

#[test]
fn the_second_signal_stops_at_once() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    let server = Running::start(&dir, "--model_base_path=base");
    let mut held = TcpStream::connect(&server.rest).unwrap();
    let head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
    held.write_all(head).unwrap();
    // It is read before the signal arrives.
    let mut go_on = [0; 25];
    held.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal("-INT");
    server.waits_for("no more connections are taken");
    // A second signal counts if it arrives a second or more after the first.
    let mut server = server;
    while server.child.try_wait().unwrap().is_none() {
        server.signal("-INT");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.exits(), Some(130));
}

#[test]
fn simultaneous_signals_count_once() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    for signals in [["-TERM", "-TERM"], ["-INT", "-TERM"], ["-TERM", "-INT"]] {
        let server = Running::start(&dir, "--model_base_path=base");
        let mut held = TcpStream::connect(&server.rest).unwrap();
        let head =
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
        held.write_all(head).unwrap();
        let mut go_on = [0; 25];
        held.read_exact(&mut go_on).unwrap();
        server.signals(&signals);
        server.waits_for("no more connections are taken");
        held.write_all(b"{\"instances\": [1.0]}").unwrap();
        let mut reply = String::new();
        held.set_read_timeout(Some(TIMEOUT)).unwrap();
        held.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 404") && reply.contains("Latest(m)"), "{reply}");
        assert_eq!(server.exits(), Some(0), "{signals:?}");
    }
}

#[test]
fn a_server_stopped_while_loading_serves_the_next_time() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    // A stop is not a crash, and a version may crash once.
    for signal in ["-TERM", "-INT", "-TERM", "-KILL"] {
        let server = Running::start(&dir, "--model_base_path=base --model_name=m");
        if signal == "-KILL" {
            server.signal(signal);
        } else {
            server.signals(&[signal, signal]);
            assert_eq!(server.exits(), Some(0));
        }
    }
    let server = Running::start(&dir, "--model_base_path=base --model_name=m");
    server.waits_for("ready: every model answers");
    assert_eq!(server.ask("POST", "/v1/models/m:predict", "{\"instances\": [1.0]}").0, 200);
    server.signal("-TERM");
    assert_eq!(server.exits(), Some(0));
}

#[test]
fn an_unread_log_does_not_block() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    let mut server = Running::start(&dir, "--model_base_path=base --log-level=trace --log_format json");
    // The reader closes the pipe.
    server.log = mpsc::channel().1.into();
    server.signal("-HUP");
    server.reader.take().unwrap().join().unwrap();
    server.signal("-HUP");
    for _ in 0..20 {
        assert_eq!(server.ask("GET", "/healthz", "").0, 200);
    }
    server.signal("-TERM");
    assert_eq!(server.exits(), Some(0));
}

/// Makes the init op of a model, which runs at load, end the process.
fn make_deadly(dir: &Dir, version: &str) {
    let file = dir.path(version).join("saved_model.pb");
    let mut model = pb::SavedModel::parse_from_bytes(&fs::read(&file).unwrap()).unwrap();
    let graph = model.meta_graphs[0].graph_def.as_mut().unwrap();
    let init = graph.node.iter_mut().find(|node| node.name == "NoOp").unwrap();
    init.op = "Abort".into();
    init.attr.clear();
    init.input.clear();
    fs::write(&file, model.write_to_bytes().unwrap()).unwrap();
}

#[test]
fn a_version_that_crashes_the_process_is_quarantined() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "bad/1");
    dir.copy_model("half_plus_two", "good/1");
    make_deadly(&dir, "bad/1");
    let config = |name: &str| {
        let path = dir.path(name);
        format!("config {{ name: {name:?} base_path: {path:?} model_platform: \"tensorflow\" }} ")
    };
    dir.write("config", format!("model_config_list {{ {}{} }}", config("bad"), config("good")));
    // The first crash may have had another cause.
    for _ in 0..2 {
        let server = Running::spawn(&dir, "--model_config_file=config");
        assert_eq!(server.exits(), None, "a signal ended it");
    }
    let third = Running::start(&dir, "--model_config_file=config");
    third.waits_for("ready: every model answers");
    assert_eq!(third.ask("POST", "/v1/models/good:predict", "{\"instances\": [1.0]}").0, 200);
    let (_, status) = third.ask("GET", "/v1/models/bad", "");
    assert!(status.contains("crashed the process 2 times") && status.contains("ABORTED"), "{status}");
    third.signal("-TERM");
    assert_eq!(third.exits(), Some(0));
}

#[test]
fn times_in_the_log_are_numbers_of_one_unit() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    let server = Running::start(&dir, "--model_base_path=base --model_name=m --log_format=json");
    let line = server.waits_for("\"AVAILABLE\"");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{line}");
    assert!(line.get("took").is_none() && line["message"] == "version", "{line}");
}

#[test]
fn a_load_error_and_its_hint_are_one_line() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    fs::write(dir.path("base/1/saved_model.pb"), "truncated").unwrap();
    let line = "--model_base_path=base --model_name=m --log_format=json --max_num_load_retries=0";
    let server = Running::start(&dir, line);
    let line: serde_json::Value = serde_json::from_str(&server.waits_for("failed to load")).unwrap();
    assert!(line["error"].is_string() && line["hint"].is_string(), "{line}");
    assert_eq!(server.exits(), Some(1));
}

#[test]
fn the_log_reports_reloaded_keys_and_certificates() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    dir.write("keys", "one\ntwo\n");
    let tls = tf_persist_testing::root().join("crates/tf-persist-serve/tests/serve/tls");
    let (certificate, key) = (tls.join("server.pem"), tls.join("server.key"));
    let grpc = "--port=any --rest_api_port=any --model_base_path=base --api_key_file=keys";
    let line = format!("{grpc} --tls_cert={} --tls_key={}", certificate.display(), key.display());
    let server = Running::start(&dir, &line);
    // The lines before the ports have been read; the others are repeated.
    dir.write("keys", "two\nthree\nfour\n");
    server.signal("-HUP");
    let changes = server.waits_for("the API keys were read again");
    assert!(changes.contains("added=2 removed=1"), "{changes}");
    let keys = server.waits_for("API keys in effect");
    assert!(keys.contains("file=keys keys=3"), "{keys}");
    let certificate = server.waits_for("TLS certificate in effect");
    assert!(certificate.contains("server.pem") && certificate.contains("sha256="), "{certificate}");
    let swapped =
        format!("serve-local {grpc} --tls_cert={} --tls_key={}", key.display(), tls.join("server.pem").display());
    let text = "server.key` cannot be used as the certificate, it has no certificate, but a private key; are the certificate and the key swapped?";
    dir.cmd(&swapped).run().fails().says(text);
}

#[test]
fn a_reload_is_logged_with_the_client_and_no_model_is_not_ready() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "m/1");
    let config = |version: i64| {
        let base = dir.path("m");
        format!(
            "model_config_list {{ config {{ name: 'm' base_path: {base:?} model_platform: 'tensorflow' \
             version_labels {{ key: 'stable' value: {version} }} }} }}"
        )
    };
    // A label on a version that is loading waits for it.
    dir.write("config", config(1));
    let server = Running::start(&dir, "--model_config_file=config");
    server.waits_for("ready: every model answers");
    assert_eq!(server.ask("POST", "/v1/models/m/labels/stable:predict", "{\"instances\": [1.0]}").0, 200);
    assert_eq!(server.ask("GET", "/readyz", "").0, 200);
    dir.write("config", "model_config_list { }");
    server.signal("-HUP");
    let told = server.waits_for("names no models");
    assert!(told.contains("requested_by=\"the model config file\"") && told.contains("removed=[\"m\"]"), "{told}");
    server.waits_for("state=END");
    // The log tells it a moment before.
    wait_until("the server waits for nothing", || {
        let (code, body) = server.ask("GET", "/readyz", "");
        code == 503 && body.contains("\"waiting_for\":[]")
    });
    drop(server);

    dir.write("config", "");
    let server = Running::start(&dir, "--model_config_file=config");
    server.waits_for("the configuration names no models");
    assert_eq!(server.ask("GET", "/readyz", "").0, 503);
    drop(server);

    dir.write("config", config(7));
    let line = "serve-local --model_config_file=config --port=0 --rest_api_port=any";
    let ran = dir.cmd(line).run();
    ran.check(ran.err().contains("Request to assign label to version 7 of model m"), "it should say which label");
    ran.check(ran.err().contains("\nhint: a label needs a loaded version"), "it should have a hint");
    ran.exits_with(1);
}

#[test]
fn a_value_without_its_equals_sign_gets_a_tip() {
    let dir = Dir::new();
    for line in ["--enable_batching false", "--enable-batching false", "--trust ReadFile"] {
        let ran = dir.cmd(&format!("serve-local --model_base_path=m {line}")).without_tensorflow().run().misused();
        let tip = format!("the value of this flag follows `=`: {}", line.replace(' ', "="));
        ran.check(ran.err().contains(&tip), format_args!("it should say `{tip}`"));
    }
}

#[test]
fn variables_of_kubernetes_are_ignored() {
    let dir = Dir::new();
    // The first error is the missing model, not the port.
    let cmd = || dir.cmd("serve-local").without_tensorflow();
    cmd()
        .env("TF_PERSIST_PORT", "tcp://10.0.0.7:8500")
        .run()
        .misused()
        .says("--model_config_file and --store are empty");
    cmd().env("TF_PERSIST_PORT", "10.0.0.7").run().misused().says("--port");
}

/// Changes the signature `serving_default` of a model.
fn change_signature(dir: &Dir, version: &str, change: impl FnOnce(&mut pb::SignatureDef)) {
    let file = dir.path(version).join("saved_model.pb");
    let mut model = pb::SavedModel::parse_from_bytes(&fs::read(&file).unwrap()).unwrap();
    change(model.meta_graphs[0].signature_def.get_mut("serving_default").unwrap());
    fs::write(&file, model.write_to_bytes().unwrap()).unwrap();
}

#[test]
fn the_method_name_check_limits_predict() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    change_signature(&dir, "base/1", |signature| signature.method_name = "my/method".into());
    for (flag, code, words) in [
        ("", 200, "2.5"),
        ("--enable_signature_method_name_check=false", 200, "2.5"),
        (
            "--enable_signature_method_name_check",
            500,
            "Expected prediction signature method_name to be one of {tensorflow/serving/predict, \
             tensorflow/serving/classify, tensorflow/serving/regress}. Was: my/method",
        ),
    ] {
        let server = Running::start(&dir, &format!("--model_base_path=base --model_name=m {flag}"));
        server.waits_for("ready: every model answers");
        let (found, body) = server.ask("POST", "/v1/models/m:predict", "{\"instances\": [1.0]}");
        let body = body.replace("\\/", "/");
        assert!(found == code && body.contains(words), "{flag}: {found} {body}");
    }
}

#[test]
fn inputs_with_defaults_may_be_left_out_over_rest() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "base/1");
    change_signature(&dir, "base/1", |signature| {
        let mut value =
            pb::TensorProto { dtype: pb::DataType::DT_FLOAT.into(), float_val: vec![1.0, 2.0], ..Default::default() };
        let size = pb::tensor_shape::tensor_shape_proto::Dim { size: 2, ..Default::default() };
        value.tensor_shape.mut_or_insert_default().dim.push(size);
        signature.defaults.insert("x".into(), value);
    });
    let server = Running::start(&dir, "--model_base_path=base --model_name=m");
    server.waits_for("ready: every model answers");
    for (asked, expected) in [
        ("{\"inputs\": {}}", "{\"outputs\":[2.5,3.0]}"),
        ("{\"instances\": [{}]}", "{\"predictions\":[2.5,3.0]}"),
        ("{\"inputs\": {\"x\": [5]}}", "{\"outputs\":[4.5]}"),
        ("{\"instances\": [5]}", "{\"predictions\":[4.5]}"),
    ] {
        let (code, body) = server.ask("POST", "/v1/models/m:predict", asked);
        let body: String = body.split_whitespace().collect();
        assert!(code == 200 && body == expected, "{asked}: {code} {body}");
    }
}

/// Whether requests share runs, by signature, and why or why not.
#[test]
fn models_report_whether_requests_share_runs() {
    let dir = Dir::new();
    dir.copy_model("padded_text", "text/1");
    dir.copy_model("half_plus_two", "half/1");
    let batching = |model: &str, flags: &str| {
        let server = Running::start(&dir, &format!("--model_base_path={model} {flags}"));
        server.waits_for("ready: every model answers");
        let models: serde_json::Value = serde_json::from_str(&server.ask("GET", "/models", "").1).unwrap();
        let found = &models["models"][0]["versions"][0]["batching"]["serving_default"];
        (found["together"].as_bool().unwrap(), found["why"].as_str().unwrap().to_owned())
    };
    let (together, why) = batching("text", "--batch_within_rounding");
    assert!(!together && why.contains("StringSplitV2"), "{why}");
    let (together, why) = batching("half", "");
    assert!(!together && why.contains("is measured once many requests overlap"), "{why}");
    let (together, why) = batching("half", "--batch_within_rounding");
    assert!(together && why.contains("other last digits"), "{why}");
    assert!(batching("text", "--enable_batching").0);
    let (together, why) = batching("half", "--enable_batching=false");
    assert!(!together && why.contains("switched off"), "{why}");
}
