//! `serve-local` as a process: ports, signals, exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use crate::support::{Dir, TF_PERSIST, libtensorflow};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs.
pub(crate) struct Running {
    child: Child,
    rest: String,
    log: mpsc::Receiver<String>,
}

impl Running {
    /// Starts a server with any port for REST, and waits until the log says which.
    pub(crate) fn start(dir: &Dir, flags: &str) -> Self {
        let mut command = Command::new(TF_PERSIST);
        command.arg("serve-local").args(["--rest-api-port", "any", "--port=0"]).args(flags.split_whitespace());
        command.current_dir(dir.path("")).env("HOME", dir.home()).env_remove("XDG_CACHE_HOME");
        command.env("TF_PERSIST_LIBTENSORFLOW", libtensorflow());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        // It leaves, and closes the pipe, when nobody wants to hear more.
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut running = Self { child, rest: String::new(), log };
        let line = running.waits_for("REST");
        let (_, port) = line.split_once("127.0.0.1:").unwrap();
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        running.rest = format!("127.0.0.1:{digits}");
        running
    }

    pub(crate) fn waits_for(&self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("the log has no `{words}`: {seen:#?}"),
            }
        }
    }

    /// A reply: its code and its body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.rest).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn exits(mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
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
fn wrong_usage_is_refused_without_tensorflow() {
    let dir = Dir::new();
    for (line, words) in [
        ("", "--model_config_file are empty"),
        ("--model_base_path=m --no_such_flag=1", "--no_such_flag"),
        ("--model_base_path=m --port=0", "nobody could ask"),
        ("--model-base-path m --port 70000", "70000"),
    ] {
        dir.cmd(&format!("serve-local {line}")).without_tensorflow().run().misused().says(words);
    }
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = format!("serve-local --model_base_path=m --port=0 --rest_api_port={port}");
    dir.cmd(&line).run().fails().says("--rest_api_port names another");
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
fn the_second_signal_ends_it_at_once() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    let server = Running::start(&dir, "--model_base_path=base");
    let mut held = TcpStream::connect(&server.rest).unwrap();
    let head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
    held.write_all(head).unwrap();
    // It is read before the signal comes.
    let mut go_on = [0; 25];
    held.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal("-INT");
    server.waits_for("no more connections are taken");
    server.signal("-INT");
    assert_eq!(server.exits(), Some(130));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let dir = Dir::new();
    fs::create_dir(dir.path("base")).unwrap();
    let mut server = Running::start(&dir, "--model_base_path=base --log-level=trace --log_format json");
    // The reader of the pipe goes.
    server.log = mpsc::channel().1;
    server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-HUP");
    for _ in 0..20 {
        assert_eq!(server.ask("GET", "/healthz", "").0, 200);
    }
    server.signal("-TERM");
    assert_eq!(server.exits(), Some(0));
}

/// Makes the init op of a model, which is run when it is loaded, end the process.
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
fn what_takes_the_process_down_is_named_and_left_alone() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "bad/1");
    dir.copy_model("half_plus_two", "good/1");
    make_deadly(&dir, "bad/1");
    let config = |name: &str| {
        let path = dir.path(name);
        format!("config {{ name: {name:?} base_path: {path:?} model_platform: \"tensorflow\" }} ")
    };
    dir.write("config", format!("model_config_list {{ {}{} }}", config("bad"), config("good")));
    let first = Running::start(&dir, "--model_config_file=config");
    assert_eq!(first.exits(), None, "a signal ended it");

    let second = Running::start(&dir, "--model_config_file=config");
    second.waits_for("ready: every model answers");
    assert_eq!(second.ask("POST", "/v1/models/good:predict", "{\"instances\": [1.0]}").0, 200);
    let (_, status) = second.ask("GET", "/v1/models/bad", "");
    assert!(status.contains("took the process down") && status.contains("ABORTED"), "{status}");
    second.signal("-TERM");
    assert_eq!(second.exits(), Some(0));
}

#[test]
fn kubernetes_names_no_port() {
    let dir = Dir::new();
    // The first thing that is wrong is that there is no model, and not that this is no port.
    let cmd = || dir.cmd("serve-local").without_tensorflow();
    cmd().env("TF_PERSIST_PORT", "tcp://10.0.0.7:8500").run().misused().says("--model_config_file are empty");
    cmd().env("TF_PERSIST_PORT", "10.0.0.7").run().misused().says("--port");
}
