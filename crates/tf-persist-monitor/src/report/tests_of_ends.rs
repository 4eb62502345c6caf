//! Reports of logs at the ends of their reference, and beyond.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::{Labels, MonitorError, Settings, reference_of_logs, watch};

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.next()).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }

    /// This value in a share of the rows, and numbers of a range in the others.
    fn mostly(&mut self, rows: usize, share: f64, value: f64, (start, end): (f64, f64)) -> Vec<f64> {
        let mut row = || if self.next() < share { value } else { start + (end - start) * self.next() };
        (0..rows).map(|_| row()).collect()
    }
}

/// A log of a number `x`.
fn log(folder: &Path, name: &str, numbers: &[f64]) -> PathBuf {
    let mut lines = String::new();
    for (index, x) in numbers.iter().enumerate() {
        let (minute, second) = (index / 60 % 60, index % 60);
        let time = format!("2026-11-29T05:{minute:02}:{second:02}Z");
        writeln!(lines, "{{\"time\":\"{time}\",\"model\":\"m\",\"inputs\":{{\"x\":[{x:?}]}},\"outputs\":{{}}}}")
            .unwrap();
    }
    let path = folder.join(name);
    fs::write(&path, lines).unwrap();
    path
}

fn reference(folder: &Path, numbers: &[f64]) -> Reference {
    reference_of_logs(&[log(folder, "reference.jsonl", numbers)], &Settings::default()).unwrap().0
}

/// The figures of `x` in a log.
fn compared(folder: &Path, reference: &Reference, numbers: &[f64]) -> FeatureReport {
    let state = watch(&[log(folder, "log.jsonl", numbers)], Some(reference), None, &Settings::default()).unwrap();
    Report::new(&state, Some(reference), Thresholds::default()).unwrap().features.remove(0)
}

#[test]
fn a_log_without_answers_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let failed = r#"{"model": "m", "inputs": {"x": ["?"]}, "latency_ms": 2.0, "status": "INTERNAL", "id": "a"}"#;
    let failed = write("failed.jsonl", &format!("{failed}\n{failed}\n"));
    let labels = Labels::read(&[write("labels.jsonl", "{\"id\": \"a\", \"label\": 1}\n")]).unwrap();
    let settings = Settings { slices: vec!["x".into()], window_seconds: Some(60), ..Settings::default() };
    let text = |state: &State| Report::new(state, None, Thresholds::default()).unwrap().to_text();
    let mut state = watch(std::slice::from_ref(&failed), None, Some(&labels), &settings).unwrap();
    assert!(text(&state).starts_with("nothing: the log has no answered requests"), "{}", text(&state));
    assert!(text(&state).contains("errors: 100% of requests: 2 INTERNAL"), "{}", text(&state));
    assert!(!text(&state).contains("feature"), "{}", text(&state));
    let page = Report::new(&state, None, Thresholds::default()).unwrap().to_html();
    assert!(page.contains(">No answered requests<"), "{page}");
    // What was counted is kept, and goes with the state of a server that answers, in either order.
    state = State::parse(state.to_json().as_bytes(), None).unwrap();
    let mut answered = watch(&[log(folder, "log.jsonl", &[1.0, 2.0])], None, None, &settings).unwrap();
    let own = answered.clone();
    answered.merge(&state).unwrap();
    state.merge(&own).unwrap();
    for state in [&state, &answered] {
        assert!(text(state).starts_with("no reference: "), "{}", text(state));
        assert!(text(state).contains("errors: 50% of requests: 2 INTERNAL"), "{}", text(state));
        assert_eq!(state.tallies[0].rows(), 2);
    }
    let kind = r#"{"api": "multi_inference", "inputs": {}, "results": [[1.0]]}"#;
    for (name, content, says) in [
        ("empty.jsonl", "", "requests: 0"),
        ("empty.tfrecord", "", "requests: 0"),
        ("cut.jsonl", "{\"model\": \"m", "in the middle of a line"),
        ("kind.jsonl", kind, "1 record could not be read; the first: requests of the kind `multi_inference`"),
    ] {
        let state = watch(&[write(name, content)], None, None, &Settings::default()).unwrap();
        let text = text(&state);
        assert!(text.starts_with("nothing: ") && text.contains(says), "{name}: {text}");
    }
    let error = watch(&[write("noise.jsonl", "no\njson\n")], None, None, &Settings::default()).unwrap_err();
    assert!(error.to_string().starts_with("the log has no answered request to watch: expected "), "{error}");
    assert!(reference_of_logs(&[failed], &Settings::default()).is_err());
}

#[test]
fn numbers_beside_a_frequent_value_are_drift() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = Random(3);
    let constant = reference(folder, &[1.0; 1000]);
    let found = compared(folder, &constant, &[1000.0; 1000]);
    let shares = |found: &FeatureReport| {
        found.groups.iter().map(|it| (it.name.clone(), it.reference.unwrap(), it.current)).collect::<Vec<_>>()
    };
    assert_eq!(shares(&found), [("1".to_owned(), 1.0, 0.0), ("> 1".to_owned(), 0.0, 1.0)]);
    assert!(found.drifted && found.psi.unwrap() > 1.0 && found.jensen_shannon == Some(1.0), "{found:?}");
    let found = compared(folder, &constant, &[0.8; 50]);
    assert_eq!(shares(&found), [("< 1".to_owned(), 0.0, 1.0), ("1".to_owned(), 1.0, 0.0)]);
    assert!(found.drifted, "{found:?}");
    let found = compared(folder, &constant, &[1.0; 50]);
    assert!(!found.drifted && found.psi == Some(0.0) && found.groups.len() == 1, "{found:?}");
    for share in [0.12, 0.5, 0.9, 0.999] {
        for (value, others) in [(10.0, (0.0, 9.0)), (0.0, (1.0, 10.0)), (5.0, (0.0, 10.0))] {
            let known = reference(folder, &random.mostly(2000, share, value, others));
            let found = compared(folder, &known, &random.mostly(1000, share, value, others));
            assert!(!found.drifted, "{share} {value}: {found:?}");
            for moved in [-20.0, -0.01, 0.01, 20.0] {
                let found = compared(folder, &known, &random.mostly(1000, share, value + moved, others));
                assert!(found.drifted, "{share} {value} {moved}: {found:?}");
            }
        }
    }
}

#[test]
fn the_maximum_of_darker_images_is_drift() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let mut images = |scale: f64, name: &str| {
        let mut lines = String::new();
        for _ in 0..400 {
            let image: Vec<f64> = (0..40).map(|_| (random.next() * 1.3).min(1.0) * scale).collect();
            writeln!(lines, "{{\"model\":\"m\",\"inputs\":{{\"image\":[{image:?}]}},\"outputs\":{{}}}}").unwrap();
        }
        let path = folder.path().join(name);
        fs::write(&path, lines).unwrap();
        path
    };
    let (reference, _) = reference_of_logs(&[images(1.0, "r.jsonl")], &Settings::default()).unwrap();
    for (scale, is_drift) in [(1.0, false), (0.8, true)] {
        let state = watch(&[images(scale, "log.jsonl")], Some(&reference), None, &Settings::default()).unwrap();
        let drift = Report::new(&state, Some(&reference), Thresholds::default()).unwrap().drift.unwrap();
        assert_eq!((drift.alarm, drift.drifted.contains(&"image.max".to_owned())), (is_drift, is_drift), "{drift:?}");
    }
}

#[test]
fn frequent_values_raise_no_more_false_alarms() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = Random(7);
    let mut alarms = 0;
    let shares = [0.1, 0.5, 0.9, 0.99];
    for index in 0..100 {
        let (share, value) = (shares[index % 4], [10.0, 0.0, 5.0][index % 3]);
        // So few rows that chance alone gives a large PSI.
        let known = reference(folder, &random.mostly(60, share, value, (0.0, 10.0)));
        let log = random.mostly(60, share, value, (0.0, 10.0));
        alarms += usize::from(compared(folder, &known, &log).drifted);
    }
    assert!(alarms <= 2, "{alarms} of 100");
}

#[test]
fn the_digits_of_a_float_are_no_drift() {
    let folder = tempfile::tempdir().unwrap();
    let (digits, bits) = (0.1, f64::from(0.1_f32));
    for (before, now) in [(digits, bits), (bits, digits)] {
        let known = reference(folder.path(), &[before; 500]);
        let found = compared(folder.path(), &known, &[now; 500]);
        assert!(!found.drifted && found.ks == Some(0.0) && found.out_of_range == Some(0.0), "{found:?}");
    }
    // Of numbers that cannot have been floats, each is another.
    for (before, now) in [(0.1, 0.1 + 1e-10), (1.0, 1.0 - 1e-10), (1e9, 1e9 + 1.0)] {
        let known = reference(folder.path(), &[before; 500]);
        assert!(compared(folder.path(), &known, &[now; 500]).drifted, "{before}");
    }
}

/// The largest difference of the quantiles from exact ones.
fn error(found: &FeatureReport, numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let exact = |rank: f64| sorted[((rank * sorted.len() as f64).ceil() as usize).max(1) - 1];
    let ranks = [0.01, 0.25, 0.5, 0.75, 0.99].map(exact);
    let found = found.quantiles.as_ref().unwrap();
    assert_eq!(found.len(), ranks.len());
    found.iter().zip(ranks).map(|(found, exact)| (found - exact).abs()).fold(0.0, f64::max)
}

#[test]
fn quantiles_outside_of_the_reference_are_those_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = Random(9);
    let known = reference(folder, &(0..2000).map(|_| random.normal()).collect::<Vec<_>>());
    // Between two clusters, all is in one bin.
    let apart: Vec<f64> = (0..2000).map(|index| f64::from(index % 2) * 100.0 + random.normal()).collect();
    let apart = reference(folder, &apart);
    for rows in [300, 5000] {
        for (known, moved) in [(&known, 0.0), (&known, 5.0), (&known, -5.0), (&known, 1e6), (&apart, 50.0)] {
            let numbers: Vec<f64> = (0..rows).map(|_| random.normal() + moved).collect();
            let found = compared(folder, known, &numbers);
            assert!(error(&found, &numbers) < 0.25, "{rows} {moved}: {:?}", found.quantiles);
        }
    }
    let found = compared(folder, &known, &[7.5; 200]);
    assert_eq!(found.quantiles, Some(vec![7.5; 5]));
}

#[test]
fn quantiles_of_several_servers_are_those_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = Random(11);
    let known = reference(folder, &(0..1000).map(|_| random.normal()).collect::<Vec<_>>());
    let numbers: Vec<f64> = (0..2000).map(|_| random.normal() + 5.0).collect();
    let state = |numbers: &[f64]| {
        let state = watch(&[log(folder, "log.jsonl", numbers)], Some(&known), None, &Settings::default()).unwrap();
        State::parse(state.to_json().as_bytes(), Some(&known)).unwrap()
    };
    let report = |state: &State| Report::new(state, Some(&known), Thresholds::default()).unwrap().features.remove(0);
    let (mut all, second) = (state(&numbers[..700]), state(&numbers[700..]));
    all.merge(&second).unwrap();
    assert!(error(&report(&all), &numbers) < 0.25, "{:?}", report(&all).quantiles);

    // An earlier version had no sketch: the counts add up, and quantiles are about right.
    let mut file: Value = serde_json::from_str(&second.to_json()).unwrap();
    file["tallies"][0]["number"]["quantiles"] = Value::Null;
    let old = State::parse(file.to_string().as_bytes(), Some(&known)).unwrap();
    for merged in [(state(&numbers[..700]), &old), (old.clone(), &state(&numbers[..700]))] {
        let (mut merged, other) = merged;
        merged.merge(other).unwrap();
        let found = report(&merged);
        assert_eq!((found.psi, found.ks), (report(&all).psi, report(&all).ks));
        let quantiles = found.quantiles.unwrap();
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(quantiles.is_sorted() && quantiles[0] < 3.5 && quantiles[0] >= least && quantiles[2] < 6.5);
    }
    // What counted nothing takes nothing away.
    let mut empty = state(&[]);
    empty.merge(&old).unwrap();
    assert!(report(&empty).quantiles.is_some());
    let mut empty = state(&[]);
    empty.merge(&second).unwrap();
    assert!(error(&report(&empty), &numbers[700..]) < 0.25);
}

#[test]
fn windows_of_earlier_versions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let known = reference(folder, &[1.0; 100]);
    let path = log(folder, "log.jsonl", &[1.0; 120]);
    let settings = Settings { window_seconds: Some(60), ..Settings::default() };
    let state = watch(&[path], Some(&known), None, &settings).unwrap();
    let mut file: Value = serde_json::from_str(&state.to_json()).unwrap();
    let windows = file["windows"].as_object_mut().unwrap();
    assert_eq!(windows.len(), 2);
    for window in windows.values_mut() {
        assert_eq!(window["counts"], serde_json::json!([0, 60, 0]));
        window["counts"] = serde_json::json!([60]);
    }
    let mut old = State::parse(file.to_string().as_bytes(), Some(&known)).unwrap();
    old.merge(&state).unwrap();
    let found = Report::new(&old, Some(&known), Thresholds::default()).unwrap();
    let psi = |window: &GroupReport| (window.rows, window.largest_psi);
    assert_eq!(found.windows.iter().map(psi).collect::<Vec<_>>(), [(120, Some(0.0)); 2]);
}

#[test]
fn labels_for_one_of_several_outputs_have_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let line = "{\"id\":\"a\",\"model\":\"m\",\"inputs\":{\"x\":[1.0]},\"outputs\":{\"y\":[1.0],\"z\":[2.0]}}\n";
    let path = write("log.jsonl", line);
    let labels = Labels::read(&[write("labels.jsonl", "{\"id\":\"a\",\"label\":1}\n")]).unwrap();
    let error = watch(&[path], None, Some(&labels), &Settings::default()).unwrap_err();
    assert!(
        matches!(error, MonitorError::SeveralOutputs { .. }) && error.to_string().ends_with(": `y`, `z`"),
        "{error}"
    );
    assert_eq!(format!("{:#}", error.hint().unwrap()), "name the output that the labels are for (label_output)");
}
