//! Reports of small logs.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::{Labels, Settings, reference_of_logs, watch};

/// A log of numbers, a category and an answer, in a folder of its own.
struct Log {
    folder: tempfile::TempDir,
    random: u64,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), random: 11 }
    }

    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Lines whose numbers are moved, and whose category is `b` with a probability.
    fn lines(&mut self, count: usize, moved: f64, share: f64) -> String {
        let mut lines = String::new();
        for index in 0..count {
            let (x, kind) = (self.random() + moved, if self.random() < share { "b" } else { "a" });
            let (minute, second) = (index / 60 % 60, index % 60);
            writeln!(
                lines,
                "{{\"time\":\"2026-11-29T05:{minute:02}:{second:02}.000000Z\",\"id\":\"r{index}\",\"model\":\"m\",\
                 \"version\":2,\"signature_name\":\"serving_default\",\"inputs\":{{\"x\":[{x}],\"kind\":[\"{kind}\"]}},\
                 \"outputs\":{{\"y\":[[{},{}]]}},\"latency_ms\":0.5,\"status\":\"OK\"}}",
                1.0 - x / 10.0,
                x / 10.0
            )
            .unwrap();
        }
        lines
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn report(state: &State, reference: &Reference) -> Report {
    Report::new(state, Some(reference), Thresholds::default()).unwrap()
}

#[test]
fn drift_is_noticed_and_its_absence_too() {
    let mut log = Log::new();
    let text = log.lines(3000, 0.0, 0.5);
    let reference = log.write("reference.jsonl", &text);
    let (reference, _) = reference_of_logs(&[reference], &Settings::default()).unwrap();
    let again = Reference::parse(reference.to_json().as_bytes()).unwrap();
    assert_eq!(again.identity, reference.identity);

    let text = log.lines(1000, 0.0, 0.5);
    let same = log.write("same.jsonl", &text);
    let state = watch(&[same], Some(&again), None, &Settings::default()).unwrap();
    let found = report(&state, &again);
    assert!(!found.has_alarm(), "{}", found.to_text());
    assert!(found.to_text().starts_with("no drift: "), "{}", found.to_text());

    let text = log.lines(1000, 0.3, 0.8);
    let moved = log.write("moved.jsonl", &text);
    let state = watch(&[moved], Some(&again), None, &Settings::default()).unwrap();
    let found = report(&state, &again);
    let drifted = found.drift.as_ref().unwrap().drifted.clone();
    assert!(drifted.contains(&"x".to_owned()) && drifted.contains(&"kind".to_owned()), "{drifted:?}");
    let x = found.features.iter().find(|feature| feature.name == "x").unwrap();
    assert!((x.ks.unwrap() - 0.3).abs() < 0.05 && (x.out_of_range.unwrap() - 0.3).abs() < 0.05, "{x:?}");
    assert!(found.to_prometheus().contains("tf_persist_monitor_alarm{model=\"m\"} 1\n"), "{}", found.to_prometheus());
    serde_json::from_str::<serde_json::Value>(&found.to_json()).unwrap();
}

#[test]
fn parts_add_up_to_the_whole() {
    let mut log = Log::new();
    let text = log.lines(2000, 0.0, 0.5);
    let all = log.write("all.jsonl", &text);
    let (reference, _) = reference_of_logs(std::slice::from_ref(&all), &Settings::default()).unwrap();
    let (first, second) = text.split_at(text.match_indices('\n').nth(700).unwrap().0 + 1);
    let (a, b) = (log.write("a.jsonl", first), log.write("b.jsonl", second));
    let settings =
        Settings { window_seconds: Some(600), slices: vec!["kind".into(), "x".into()], ..Settings::default() };
    for reference in [Some(&reference), None] {
        let settings = match reference {
            Some(_) => settings.clone(),
            None => Settings { slices: Vec::new(), ..settings.clone() },
        };
        let whole = watch(std::slice::from_ref(&all), reference, None, &settings).unwrap();
        let [mut a, b] = [&a, &b].map(|path| {
            let state = watch(std::slice::from_ref(path), reference, None, &settings).unwrap();
            let file = log.write("state.json", &state.to_json());
            assert!(State::is_state(&file) && !State::is_state(path));
            State::read(file, reference).unwrap()
        });
        a.merge(&b).unwrap();
        let json = |state: &State| {
            let mut report = Report::new(state, reference, Thresholds::default()).unwrap();
            // Sketches are random, and the sums of floats depend on their order.
            report.features.iter_mut().for_each(|feature| {
                feature.quantiles = None;
                feature.deviation = None;
                feature.mean = None;
                feature.distinct = 0;
            });
            report.to_json()
        };
        let (a, whole_json) = (json(&a), json(&whole));
        let differing = a.lines().zip(whole_json.lines()).find(|(a, b)| a != b);
        assert!(differing.is_none() && a.len() == whole_json.len(), "{differing:?}");
        let report = Report::new(&whole, reference, Thresholds::default()).unwrap();
        assert_eq!(report.windows.len(), 4);
        assert_eq!(report.windows.iter().map(|window| window.rows).sum::<u64>(), 2000);
    }
    let other = watch(&[a], None, None, &settings).unwrap();
    let mut state = watch(&[b], Some(&reference), None, &settings).unwrap();
    assert!(state.merge(&other).is_err() && Report::new(&other, Some(&reference), Thresholds::default()).is_err());
}

#[test]
fn what_is_wrong_in_a_log_is_a_sentence() {
    let mut log = Log::new();
    let text = log.lines(300, 0.0, 0.5);
    let path = log.write("m.jsonl", &text);
    let (reference, _) = reference_of_logs(&[path], &Settings::default()).unwrap();
    let mut text = log.lines(200, 0.0, 0.5);
    text.push_str("{\"inputs\": [1, [2]]}\nno json\n");
    text.push_str("{\"time\":\"2020-01-01T00:00:00Z\",\"model\":\"other\",\"inputs\":{\"x\":[1.0]},\"outputs\":{}}\n");
    text.push_str("{\"model\":\"m\",\"signature_name\":\"train\",\"inputs\":{\"x\":[1.0]}}\n");
    text.push_str("{\"model\":\"m\",\"inputs\":{\"x\":[[1.0, 2.0]],\"kind\":[\"a\"],\"new\":[1]},\"outputs\":{}}\n");
    text.push_str("{\"model\":\"m\",\"inputs\":{\"x\":[1.0, 2.0],\"kind\":[\"a\"]}}\n");
    text.push_str("{\"model\":\"m\",\"inputs\":{\"x\":[\"text\"]},\"status\":\"INVALID_ARGUMENT\"}\n");
    text.push_str("{\"time\":\"2026-11-29T05:10:28.12345");
    let path = log.write("bad.jsonl.part", &text);
    let state = watch(&[path], Some(&reference), None, &Settings { threads: Some(1), ..Settings::default() }).unwrap();
    let found = report(&state, &reference);
    let notes = found.notes.join("\n");
    for expected in [
        "2 records could not be read; the first: ",
        "1 request to other models left out: `other` (1)",
        "1 request to other signatures left out: `train` (1)",
        "1 request left out, whose inputs do not have as many rows each",
        "1 time more than a minute before",
        "3 requests without a time",
        "another type, left out: `x` (1)",
        "tensors without a reference, left out: `new` (1)",
        "ends in the middle of a line",
    ] {
        assert!(notes.contains(expected), "`{expected}` in\n{notes}");
    }
    assert_eq!((found.traffic.requests, found.traffic.rows), (203, 201));
    assert_eq!(found.traffic.failures["INVALID_ARGUMENT"], 1);
    // A log of another model alone is an error, which names what there is.
    let path = log.write("other.jsonl", "{\"model\":\"other\",\"inputs\":{\"x\":[1.0]},\"outputs\":{}}\n");
    let error = watch(&[path], Some(&reference), None, &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("it has `other` with `serving_default`"), "{error}");
}

#[test]
fn labels_give_quality_by_window_and_slice() {
    let mut log = Log::new();
    let text = log.lines(400, 0.0, 0.5);
    let path = log.write("m.jsonl", &text);
    let mut labels = String::from("id,label\n");
    (0..300).for_each(|index| writeln!(labels, "r{index},{}", u8::from(index % 4 == 0)).unwrap());
    labels.push_str("unknown,1\n");
    let labels = Labels::read(&[log.write("labels.csv", &labels)]).unwrap();
    let settings = Settings {
        window_seconds: Some(120),
        slices: vec!["kind".into()],
        output: Some("y".into()),
        ..Settings::default()
    };
    let state = watch(&[path], None, Some(&labels), &settings).unwrap();
    let found = Report::new(&state, None, Thresholds::default()).unwrap();
    let quality = found.quality.clone().unwrap();
    // The model always answers 0.
    assert_eq!((quality.rows, quality.accuracy), (300, Some(0.75)));
    assert_eq!(found.windows.iter().filter_map(|window| window.quality.as_ref()).map(|it| it.rows).sum::<u64>(), 300);
    assert_eq!(found.slices.len(), 2);
    assert!(found.notes.iter().any(|note| note.contains("`unknown`")), "{:?}", found.notes);
    assert!(found.to_text().contains("quality: 300 rows with labels, accuracy 0.7500"), "{}", found.to_text());
}

#[test]
fn a_page_shows_names_as_text() {
    let mut log = Log::new();
    let text = log.lines(300, 0.0, 0.5).replace("\"a\"", "\"<img src=x onerror=alert(1)>\"");
    let text = text.replace("\"model\":\"m\"", "\"model\":\"<script>\"");
    let path = log.write("m.jsonl", &text);
    let (reference, _) = reference_of_logs(std::slice::from_ref(&path), &Settings::default()).unwrap();
    let settings = Settings { window_seconds: Some(60), slices: vec!["kind".into()], ..Settings::default() };
    let state = watch(&[path], Some(&reference), None, &settings).unwrap();
    let page = report(&state, &reference).to_html();
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("http://"));
    assert!(page.contains("<svg class=\"bars\"") && page.contains("<svg class=\"line\""));
}

#[test]
fn hostile_references_and_states_are_refused() {
    let mut log = Log::new();
    let text = log.lines(100, 0.0, 0.5);
    let path = log.write("m.jsonl", &text);
    let (reference, _) = reference_of_logs(std::slice::from_ref(&path), &Settings::default()).unwrap();
    let json = reference.to_json();
    let state = watch(&[path], Some(&reference), None, &Settings::default()).unwrap().to_json();
    let changes = [
        ("\"rows\": 100", "\"rows\": 99"),
        ("\"missing\": 0", "\"missing\": 101"),
        ("reference/1", "reference/2"),
        ("\"elements\": 1", "\"elements\": 4000000000"),
        ("\"name\": \"kind\"", "\"name\": \"x\""),
        ("\"is_category\": true", "\"is_category\": false"),
    ];
    for (from, to) in changes {
        let changed = json.replacen(from, to, 1);
        assert!(changed != json, "{from}");
        // The number of all rows is for people; those of a feature are checked.
        let changed = if from.contains("rows") { json.replace(from, to) } else { changed };
        assert!(Reference::parse(changed.as_bytes()).is_err(), "{from}");
    }
    for (at, byte) in json.bytes().enumerate().step_by(7) {
        let mut bytes = json.clone().into_bytes();
        bytes[at] = byte ^ 1;
        let _ = Reference::parse(&bytes);
    }
    for at in (0..state.len()).step_by(41) {
        for flip in [1_u8, 4] {
            let mut bytes = state.clone().into_bytes();
            bytes[at] ^= flip;
            let file = log.folder.path().join("state.json");
            fs::write(&file, &bytes).unwrap();
            if let Ok(mut read) = State::read(&file, Some(&reference)) {
                let again = read.clone();
                read.merge(&again).unwrap();
                let _ = Report::new(&read, Some(&reference), Thresholds::default()).map(|report| report.to_text());
            }
        }
    }
}

#[test]
fn requests_to_a_version_and_of_a_time_are_counted_alone() {
    let mut log = Log::new();
    let (first, second) = (log.lines(120, 0.0, 0.5), log.lines(60, 0.0, 0.5).replace("\"version\":2", "\"version\":3"));
    let all = log.write("all.jsonl", &format!("{first}{second}"));
    let rows = |version: Option<u64>, since: Option<&str>| {
        let settings = Settings { version, since: since.map(|time| time.parse().unwrap()), ..Settings::default() };
        watch(std::slice::from_ref(&all), None, None, &settings).unwrap().traffic.requests
    };
    assert_eq!((rows(None, None), rows(Some(2), None), rows(Some(3), None), rows(Some(4), None)), (180, 120, 60, 0));
    let minute = Some("2026-11-29T05:01:00Z");
    assert_eq!((rows(Some(2), minute), rows(Some(3), minute)), (60, 0));
}
