//! The request log without a server: records in, files out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tempfile::TempDir;
use tf_persist_core::warmup::{Record as ReadRecord, tfrecord};
use tf_persist_core::{Code, Tensor};
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::serving as pb;

use super::file::recover;
use super::writer::PAUSE;
use super::{CallInfo, Exchange, Record, RequestLog, RequestLogFormat, RequestLogSettings, SignatureId};
use crate::api::{Class, Outcome, Protocol, Task};
use crate::metrics::{Gauges, Metrics};
use crate::request_scope::RequestScope;
use crate::status::Status;

/// A log in a folder of its own.
struct TestLog {
    folder: TempDir,
    metrics: Metrics,
    log: RequestLog,
}

impl TestLog {
    fn new(change: impl FnOnce(RequestLogSettings) -> RequestLogSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = RequestLogSettings::default().folder(folder.path().join("log"));
        let metrics = Metrics::new();
        let log = RequestLog::new(change(settings), metrics.clone());
        log.open().unwrap();
        Self { folder, metrics, log }
    }

    fn submit(&self, exchange: Exchange) {
        self.log.submit(self.record(exchange, vec!["secret".into()]));
    }

    fn record(&self, exchange: Exchange, redacted: Vec<String>) -> Record {
        let log = self.log.sample("m").unwrap();
        let id = SignatureId { model: "m".into(), version: 7, tags: vec!["serve".into()] };
        let call = CallInfo {
            time: UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_007),
            latency: Duration::from_micros(1500),
            protocol: Protocol::Grpc,
            id: Some("a\"b".into()),
        };
        Record::new(log, Arc::new(id), "sig".into(), exchange, redacted, call)
    }

    /// The lines of the log, which is closed.
    fn lines(&self) -> Vec<String> {
        self.log.close();
        fs::read_to_string(&self.files()[0]).unwrap().lines().map(str::to_owned).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("log")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The value of a metric of the model.
    fn metric(&self, line: &str) -> u64 {
        let page = self.metrics.page(&Gauges::default());
        page.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |value| value.trim().parse().unwrap())
    }

    fn written(&self) -> u64 {
        self.metric("tf_persist_request_log_written_total{model=\"m\"}")
    }

    /// The records of all models.
    fn written_by_all(&self) -> u64 {
        let page = self.metrics.page(&Gauges::default());
        let lines = page.lines().filter(|line| line.starts_with("tf_persist_request_log_written_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("tf_persist_request_log_dropped_total{{model=\"m\",reason=\"{reason}\"}}"))
    }

    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < tf_persist_testing::TIMEOUT, "gave up waiting until {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn predict(values: &[f32]) -> Exchange {
    let x = Tensor::from_slice(&[1, values.len()], values).unwrap();
    let text = Tensor::from_strings(&[2], ["ä", "b"]).unwrap();
    let y = Tensor::from_slice(&[1], &[-3_i64]).unwrap();
    Exchange::Predict {
        inputs: vec![("x".into(), x), ("text".into(), text)],
        output_filter: vec!["y".into()],
        outcome: Ok(vec![("y".into(), y)]),
    }
}

fn failed() -> Exchange {
    let outcome = Err(Status::invalid_argument("no"));
    Exchange::Predict { inputs: Vec::new(), output_filter: Vec::new(), outcome }
}

fn examples() -> Option<Tensor> {
    // An empty message is an example.
    Some(Tensor::from_strings(&[2], ["", ""]).unwrap())
}

fn records(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = tfrecord::Reader::open(path).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).collect()
}

fn logs(path: &Path) -> Vec<pb::PredictionLog> {
    records(path).into_iter().map(|record| tf_persist_proto::parse(&Bytes::from(record)).unwrap()).collect()
}

#[test]
fn records_are_prediction_logs() {
    let test = TestLog::new(|settings| settings.rate(1.0));
    let classes = || vec![vec![Class { label: b"a\xff".to_vec(), score: 0.5 }], vec![]];
    test.submit(predict(&[1.5, 2.5]));
    test.submit(failed());
    test.submit(Exchange::Classify { examples: examples(), outcome: Ok(classes()) });
    test.submit(Exchange::Regress { examples: None, outcome: Ok(vec![0.25]) });
    let task = |signature: &str| Task { model: "m".into(), signature: signature.into(), method: "method".into() };
    let outcome = Ok(vec![Outcome::Classes(classes()), Outcome::Values(vec![4.0])]);
    test.submit(Exchange::MultiInference { examples: examples(), tasks: vec![task(""), task("b")], outcome });
    test.log.close();
    let [file] = &test.files()[..] else { panic!("{:?}", test.files()) };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("m-2") && name.ends_with("Z.tfrecord"), "{name}");
    let logs = logs(file);
    assert_eq!(logs.len(), 4, "a failed request has no PredictionLog");
    assert_eq!((test.written(), test.dropped("disk")), (4, 0));

    let metadata = &logs[0].log_metadata;
    let spec = &metadata.model_spec;
    assert_eq!((spec.name.as_str(), spec.version().value, spec.signature_name.as_str()), ("m", 7, "sig"));
    assert_eq!((metadata.sampling_config.sampling_rate, metadata.timestamp_secs), (1.0, 1_700_000_000));
    assert_eq!(metadata.saved_model_tags, ["serve"]);
    let log = logs[0].predict_log();
    assert_eq!((log.request.model_spec.name.as_str(), log.request.model_spec.has_version()), ("m", false));
    assert_eq!(log.request.output_filter, ["y"]);
    assert_eq!(log.response.model_spec.version().value, 7);
    assert_eq!(log.request.inputs["text"].string_val, ["ä".as_bytes(), b"b"]);
    let record = ReadRecord::parse(1, records(file).remove(0)).unwrap();
    let inputs: Vec<_> = record.inputs().collect();
    assert_eq!(inputs[1].1, &Tensor::from_slice(&[1, 2], &[1.5_f32, 2.5]).unwrap());
    assert_eq!(record.answer.unwrap()[0].1, Tensor::from_slice(&[1], &[-3_i64]).unwrap());

    let log = logs[1].classify_log();
    assert_eq!(log.request.input.example_list().examples.len(), 2);
    let result = &log.response.result.classifications;
    assert_eq!((result.len(), result[0].classes[0].label.as_str()), (2, "a\u{fffd}"));
    assert_eq!(result[0].classes[0].score, 0.5);
    let log = logs[2].regress_log();
    assert!(log.request.input.example_list().examples.is_empty(), "examples that are not written");
    assert_eq!(log.response.result.regressions[0].value, 0.25);
    let log = logs[3].multi_inference_log();
    assert_eq!(log.request.tasks[0].model_spec.signature_name, "serving_default");
    assert_eq!(log.response.results[1].model_spec.signature_name, "b");
    assert_eq!(log.response.results[1].regression_result().regressions[0].value, 4.0);
}

#[test]
fn lines_of_json_have_requests_and_errors() {
    let test = TestLog::new(|settings| settings.format(RequestLogFormat::JsonLines));
    test.submit(predict(&[1.5, f32::INFINITY]));
    test.log.submit(test.record(failed(), Vec::new()));
    test.submit(Exchange::Regress { examples: examples(), outcome: Ok(vec![0.25]) });
    test.log.close();
    let text = fs::read_to_string(&test.files()[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first = "{\"time\":\"2023-11-14T22:13:20.000007Z\",\"id\":\"a\\\"b\",\"model\":\"m\",\"version\":7,\"protocol\":\"gRPC\",\
                 \"api\":\"predict\",\"signature_name\":\"sig\",\"inputs\":{\"x\":[[1.5, Infinity]],\"text\":[\"ä\", \"b\"]},\
                 \"output_filter\":[\"y\"],\"outputs\":{\"y\":[-3]},\"redacted\":[\"secret\"],\"latency_ms\":1.5,\"status\":\"OK\"}";
    assert_eq!(lines[0], first);
    let second: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!((&second["status"], &second["error"]), (&Code::InvalidArgument.name().into(), &"no".into()));
    assert!(second.get("outputs").is_none());
    let third: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!((&third["api"], &third["results"][0]), (&"regress".into(), &0.25.into()));
    assert_eq!(third["inputs"]["inputs"], serde_json::json!(["", ""]));
    assert_eq!(lines.len(), 3);
}

#[test]
fn errors_of_requests_with_redacted_inputs_have_no_message() {
    let test = TestLog::new(|settings| settings.format(RequestLogFormat::JsonLines));
    let outcome = Err(Status::invalid_argument("Could not parse example input, value: 'SECRET'"));
    test.submit(Exchange::Classify { examples: None, outcome });
    let lines = test.lines();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let error = "the message is left out because inputs are redacted";
    assert_eq!((&line["status"], &line["error"]), (&"INVALID_ARGUMENT".into(), &error.into()));
    assert!(!lines[0].contains("SECRET"));
}

#[test]
fn results_that_are_not_finite_are_written_as_in_tensors() {
    let test = TestLog::new(|settings| settings.format(RequestLogFormat::JsonLines));
    let values = || vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1, -3.0];
    let classes = || vec![values().into_iter().map(|score| Class { label: b"\"".to_vec(), score }).collect()];
    test.submit(Exchange::Regress { examples: None, outcome: Ok(values()) });
    test.submit(Exchange::Classify { examples: None, outcome: Ok(classes()) });
    let outcome = Ok(vec![Outcome::Values(values()), Outcome::Classes(vec![])]);
    test.submit(Exchange::MultiInference { examples: None, tasks: vec![], outcome });
    let lines = test.lines();
    let values = "[NaN,Infinity,-Infinity,0.1,-3.0]";
    assert!(lines[0].contains(&format!("\"results\":{values},")), "{}", lines[0]);
    let classes = "[[[\"\\\"\",NaN],[\"\\\"\",Infinity],[\"\\\"\",-Infinity],[\"\\\"\",0.1],[\"\\\"\",-3.0]]]";
    assert!(lines[1].contains(&format!("\"results\":{classes},")), "{}", lines[1]);
    assert!(lines[2].contains(&format!("\"results\":[{values},[]],")), "{}", lines[2]);
}

#[test]
fn requests_whose_answers_are_not_sent_have_failed() {
    let test = TestLog::new(|settings| settings.format(RequestLogFormat::JsonLines));
    let exchanges = || {
        let classes = Exchange::Classify { examples: examples(), outcome: Ok(vec![]) };
        let tasks = Exchange::MultiInference { examples: examples(), tasks: vec![], outcome: Ok(vec![]) };
        let values = Exchange::Regress { examples: examples(), outcome: Ok(vec![]) };
        [predict(&[1.0]), classes, values, tasks, failed()]
    };
    for (protocol, status) in [(Protocol::Rest, 400), (Protocol::Grpc, 3), (Protocol::Rest, 200), (Protocol::Grpc, 0)] {
        let (method, headers) = (http::Method::POST, http::HeaderMap::new());
        let scope = RequestScope::begin(&test.log, None, None, protocol, (&method, "/", &headers)).unwrap();
        exchanges().into_iter().for_each(|exchange| scope.add_record(test.record(exchange, vec![])));
        scope.finish(status);
    }
    let lines = test.lines();
    let lines: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    let (failed, answered) = (["INVALID_ARGUMENT"; 5], ["OK", "OK", "OK", "OK", "INVALID_ARGUMENT"]);
    assert_eq!(statuses, [failed, failed, answered, answered].concat());
    assert!(lines[..10].iter().all(|line| line.get("outputs").is_none() && line.get("results").is_none()));
    assert_eq!(lines[0]["error"], "the model answered, but its answer could not be sent");
    assert_eq!(lines[4]["error"], "no", "the first error stays");
}

#[test]
fn files_end_by_size_and_the_oldest_are_deleted() {
    let test = TestLog::new(|settings| settings.file_bytes(4096).max_bytes(16384));
    let wait = |count: u64| test.wait_for("they are written", || test.written() == count);
    for number in 0..40 {
        test.submit(predict(&[number as f32; 200]));
        wait(number + 1);
        let total: u64 = test.files().iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(total <= 16384, "{total}");
    }
    test.log.close();
    let files = test.files();
    assert!((3..=8).contains(&files.len()), "{files:?}");
    let mut values = Vec::new();
    for file in &files {
        assert!(file.metadata().unwrap().len() <= 4096);
        for record in records(file) {
            let record = ReadRecord::parse(1, record).unwrap();
            values.push(record.inputs().last().unwrap().1.view::<f32>().unwrap()[0]);
        }
    }
    let last: Vec<f32> = (0..40).map(|number| number as f32).skip(40 - values.len()).collect();
    assert_eq!(values, last, "the newest ones stay, in order");
}

#[test]
fn files_end_by_time() {
    let test = TestLog::new(|settings| settings.file_time(Duration::from_millis(50)));
    test.submit(predict(&[1.0]));
    test.wait_for(
        "the file has its final name",
        || matches!(&test.files()[..], [file] if file.extension().is_some_and(|ending| ending == "tfrecord")),
    );
    test.submit(predict(&[2.0]));
    test.wait_for("there is a second file", || test.files().len() == 2);
    test.log.close();
}

#[test]
fn a_log_of_a_killed_server_is_completed() {
    let test = TestLog::new(|settings| settings.rate(1.0));
    let folder = test.folder.path().join("log");
    let mut bytes = Vec::new();
    for record in [&b"one"[..], b"two"] {
        tfrecord::write_record(&mut bytes, record).unwrap();
    }
    let whole = bytes.len();
    tfrecord::write_record(&mut bytes, b"three").unwrap();
    let name = "x-20231114T221320.007Z";
    fs::write(folder.join(format!("{name}.tfrecord.part")), &bytes[..bytes.len() - 1]).unwrap();
    fs::write(folder.join(format!("{name}.jsonl.part")), "{\"a\": 1}\n{\"a\": ").unwrap();
    fs::write(folder.join("y-20231114T221320.007Z.jsonl.part"), "{").unwrap();
    fs::write(folder.join("other.part"), "x").unwrap();
    let open = fs::File::create(folder.join("z-20231114T221320.007Z.jsonl.part")).unwrap();
    open.lock().unwrap();
    recover(&folder).unwrap();
    let names: Vec<String> =
        test.files().iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let expected = [
        "other.part".to_owned(),
        format!("{name}.jsonl"),
        format!("{name}.tfrecord"),
        "z-20231114T221320.007Z.jsonl.part".to_owned(),
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(folder.join(format!("{name}.tfrecord"))).unwrap().len(), whole);
    assert_eq!(fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap(), "{\"a\": 1}\n");
}

#[test]
fn an_open_file_has_whole_records_and_is_not_taken_for_a_left_one() {
    let test = TestLog::new(|settings| settings.rate(1.0));
    test.submit(predict(&[1.0]));
    test.wait_for("it is written", || test.written() == 1);
    recover(&test.folder.path().join("log")).unwrap();
    let [file] = &test.files()[..] else { panic!("{:?}", test.files()) };
    assert!(file.to_str().unwrap().ends_with(".tfrecord.part"), "{file:?}");
    assert_eq!(records(file).len(), 1);
    test.log.close();
    assert_eq!(records(&test.files()[0]).len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_costs_records_until_it_can() {
    let test = TestLog::new(|settings| settings.rate(1.0));
    let folder = test.folder.path().join("log");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "not a folder").unwrap();
    test.submit(predict(&[1.0]));
    test.wait_for("it is lost", || test.dropped("disk") == 1);
    fs::remove_file(&folder).unwrap();
    let start = Instant::now();
    while test.written() == 0 {
        test.submit(predict(&[2.0]));
        assert!(start.elapsed() < tf_persist_testing::TIMEOUT);
        std::thread::sleep(Duration::from_millis(20));
    }
    test.log.close();
    assert_eq!(records(&test.files()[0]).len() as u64, test.written());
}

#[test]
fn a_record_that_is_larger_than_all_logs_is_lost() {
    let test = TestLog::new(|settings| settings.max_bytes(2048));
    let start = Instant::now();
    test.submit(predict(&[1.0; 1000]));
    test.submit(predict(&[1.0; 2]));
    test.log.close();
    // The pause after the failure costs the second. On a machine that stood still, it may come later than that.
    let found = (test.written(), test.dropped("disk"));
    assert!(found == (0, 2) || found == (1, 1) && start.elapsed() > PAUSE, "{found:?}");
}

#[test]
fn several_models_keep_one_limit() {
    let test = TestLog::new(|settings| settings.file_bytes(4096).max_bytes(8192));
    for number in 0..30_u64 {
        let log = test.log.sample(&format!("model {}", number % 5)).unwrap();
        let id = SignatureId { model: format!("model {}", number % 5), version: 1, tags: vec![] };
        let call = CallInfo { time: UNIX_EPOCH, latency: Duration::ZERO, protocol: Protocol::Rest, id: None };
        test.log.submit(Record::new(log, Arc::new(id), "s".into(), predict(&[0.0; 250]), vec![], call));
        test.wait_for("it is written", || test.written_by_all() == number + 1);
        let total: u64 = test.files().iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        assert!(total <= 8192, "{total}");
    }
    test.log.close();
    assert!(test.files().iter().any(|file| file.to_str().unwrap().contains("model%204-")), "{:?}", test.files());
}

#[test]
fn rules_of_models_replace_the_settings() {
    let test = TestLog::new(|settings| settings.rate(0.0));
    assert!(!test.log.is_on() && test.log.sample("m").is_none());
    let rule = |text: &str| super::LogRule::parse("m", &tf_persist_proto::text_format::parse(text).unwrap()).unwrap();
    let rules = [("m".to_owned(), rule("sampling_config { sampling_rate: 1 }"))];
    test.log.set_rules(rules.into());
    assert!(test.log.is_on() && test.log.sample("m").is_some() && test.log.sample("other").is_none());
    test.log.set_rules([("m".to_owned(), rule("sampling_config { sampling_rate: 0 }"))].into());
    assert!(!test.log.is_on() && test.log.sample("m").is_none());
}

#[test]
fn parts_of_sparse_inputs_are_redacted_with_their_name() {
    let settings = RequestLogSettings::default().redact(vec!["x".into(), "y.values".into()]);
    let redacted = ["x", "x.values", "xy", "y", "y.values", "y.values.0"].map(|name| settings.redacts(name));
    assert_eq!(redacted, [true, true, false, false, true, true]);
}

#[test]
fn a_log_that_is_off_and_a_closed_one_take_nothing() {
    assert!(RequestLog::default().sample("m").is_none());
    let test = TestLog::new(|settings| settings.rate(1.0));
    test.log.close();
    test.submit(predict(&[1.0]));
    assert_eq!(test.dropped("queue"), 1);
    assert!(test.files().is_empty());
}
