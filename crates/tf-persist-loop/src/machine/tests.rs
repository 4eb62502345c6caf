//! Steps without a server: what a process that died left, and what somebody else changed meanwhile.

use tf_persist_core::LoadOptions;
use tf_persist_store::{PublishOptions, Why};

use super::*;

/// A loop in a step of an attempt that published version 2 after version 1, which has the label.
fn in_step(step: Step, more: &str) -> (tempfile::TempDir, Loop) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(folder.path().join("s")).unwrap();
    let model: tf_persist_store::ModelName = "m".parse().unwrap();
    let publish = |options| store.publish(&model, tf_persist_testing::model("half_plus_two"), options).unwrap();
    let first = publish(PublishOptions::default().label("production".parse().unwrap()));
    publish(PublishOptions::default());
    let text = format!(
        "store = \"s\"\nmodel = \"m\"\n[watch]\nlogs = [\"l\"]\n[train]\ndata = [\"d\"]\nheld_out = 0.5\n\
         start = \"7\"\n[gates]\nmetric = \"accuracy\"\n[guard]\ntime = \"0s\"\n{more}"
    );
    let config = Config::parse(&text, folder.path()).unwrap();
    assert_eq!(first.number(), 1);
    let mut opened = Loop::open(config, Tools::new(LoadOptions::default())).unwrap();
    let attempt = Attempt {
        id: "1-20260101T000000Z".into(),
        production: 1,
        version: Some(2),
        metric: Some(0.9),
        tries: 1,
        measured: 0,
        is_held: false,
    };
    opened.commit(State { step, attempt: Some(attempt), ..opened.state.clone() }).unwrap();
    (folder, opened)
}

fn label(it: &Loop, name: &str) -> Option<u64> {
    it.labelled(&name.parse().unwrap()).unwrap()
}

fn promote(it: &Loop) {
    let (label, version) = ("production".parse().unwrap(), it.version(2).unwrap());
    it.store.move_label(&version, &label, Some(1), Why::Promote).unwrap();
}

fn last(it: &Loop) -> (String, String) {
    let decision = it.store.decisions(&it.config.model).unwrap().pop().unwrap();
    (decision.decision, decision.reason)
}

/// With a server that is not there.
const SERVER: &str =
    "[promote]\ntraffic = \"t\"\nserver = \"http://127.0.0.1:1\"\npatience = \"1ms\"\nlabel = \"candidate\"\n";

#[test]
fn rolling_back_twice_moves_the_label_once() {
    let (_folder, mut it) = in_step(Step::RollingBack, "");
    promote(&it);
    let before = it.store.log(&it.config.model).unwrap().len();
    for _ in 0..2 {
        // It dies when the label has moved, and before the state is written.
        let state = it.state.clone();
        it.advance().unwrap();
        assert_eq!((label(&it, "production"), &it.state.step), (Some(1), &Step::Ending { succeeded: false }));
        it.commit(state).unwrap();
    }
    assert_eq!(it.store.log(&it.config.model).unwrap().len(), before + 1);
}

#[test]
fn a_version_that_is_gone_cannot_be_brought_back() {
    let (folder, mut it) = in_step(Step::RollingBack, "");
    promote(&it);
    std::fs::remove_dir_all(folder.path().join("s/m/1")).unwrap();
    it.advance().unwrap();
    assert_eq!(last(&it).0, "abandon");
    assert_eq!(it.state.step, Step::Ending { succeeded: false });
    it.advance().unwrap();
    assert_eq!((it.state.step.clone(), label(&it, "production")), (Step::Watching, Some(2)));
}

#[test]
fn the_version_before_is_held_until_the_guard_ends() {
    let (_folder, mut it) = in_step(Step::Promoting { since: None }, "");
    it.advance().unwrap();
    assert_eq!((label(&it, "production"), label(&it, "previous")), (Some(2), Some(1)));
    it.run(Until::NothingToDo).unwrap();
    assert_eq!(label(&it, "previous"), None);
    let (decision, reason) = last(&it);
    assert_eq!(decision, "keep");
    assert!(reason.starts_with("no request to it was seen within 0s"), "{reason}");
    // The label of a person stays.
    let (_folder, mut it) = in_step(Step::Promoting { since: None }, "");
    it.store.label(&it.version(2).unwrap(), &"previous".parse().unwrap(), Why::Label).unwrap();
    it.run(Until::NothingToDo).unwrap();
    assert_eq!((label(&it, "production"), label(&it, "previous")), (Some(2), Some(2)));
}

#[test]
fn a_candidate_that_changed_or_that_no_server_loads_is_refused() {
    let (folder, mut it) = in_step(Step::Promoting { since: None }, "");
    std::fs::remove_dir_all(folder.path().join("s/m/2")).unwrap();
    it.advance().unwrap();
    assert_eq!((last(&it).0, label(&it, "production")), ("refuse".to_owned(), Some(1)));
    // If the label has moved, it is for the guard to judge.
    let (folder, mut it) = in_step(Step::Promoting { since: None }, "");
    promote(&it);
    std::fs::remove_dir_all(folder.path().join("s/m/2")).unwrap();
    it.advance().unwrap();
    assert!(matches!(it.state.step, Step::Guarding { .. }), "{:?}", it.state.step);
    // Neither the rules nor the version get to a server that is down.
    let steps = [|since| Step::Promoting { since }, |since| Step::Publishing { since }];
    for step in steps {
        let (_folder, mut it) = in_step(step(None), SERVER);
        assert_eq!(it.advance().unwrap(), Progress::Moved);
        it.advance().unwrap();
        let (decision, reason) = last(&it);
        assert_eq!((decision.as_str(), label(&it, "production")), ("refuse", Some(1)));
        assert!(reason.starts_with("the step took longer than 1ms: the server"), "{reason}");
    }
}

#[test]
fn a_configuration_that_lost_its_steps_refuses() {
    for (step, lost) in [
        (Step::Canary { index: 1, since: Timestamp::now(), counted: None }, "no step 2 of the canary any more"),
        (Step::Shadow { since: Timestamp::now(), counted: None }, "no shadow any more"),
    ] {
        let (_folder, mut it) = in_step(step, SERVER);
        it.advance().unwrap();
        let (decision, reason) = last(&it);
        assert!(decision == "refuse" && reason.ends_with(lost), "{decision}: {reason}");
    }
}

#[test]
fn tries_are_counted_and_what_cannot_start_fails() {
    let (_folder, mut it) = in_step(Step::Training, "");
    it.advance().unwrap();
    let (decision, reason) = last(&it);
    assert!(decision == "fail" && reason.starts_with("the training cannot start: "), "{decision}: {reason}");
    assert_eq!(it.state.attempt.as_ref().unwrap().tries, 1);
    let (_folder, mut it) = in_step(Step::Gating, "");
    let attempt = Attempt { measured: 10, ..it.attempt().unwrap().clone() };
    let folder = it.folder.of(&attempt);
    std::fs::create_dir_all(folder.join(crate::train::MODEL)).unwrap();
    std::fs::write(folder.join(crate::train::HELD_OUT), "").unwrap();
    it.commit(State { attempt: Some(attempt), ..it.state.clone() }).unwrap();
    it.advance().unwrap();
    assert_eq!(last(&it).1, "the measuring was begun 10 times and ended its process each time");
}

#[test]
fn only_the_label_of_the_attempt_is_tidied_up() {
    for (number, left) in [(1, Some(1)), (2, None)] {
        let (_folder, mut it) = in_step(Step::Ending { succeeded: false }, SERVER);
        it.store.label(&it.version(number).unwrap(), &"candidate".parse().unwrap(), Why::Label).unwrap();
        it.advance().unwrap();
        assert_eq!(label(&it, "candidate"), left);
    }
}

#[test]
fn failures_count_although_nothing_was_answered_and_labels_cannot_be_read() {
    let line = |code: &str| {
        let of = "\"time\":\"2026-01-01T00:00:00Z\",\"model\":\"m\",\"version\":2,\"signature\":\"serving_default\"";
        format!("{{{of},\"status\":\"{code}\",\"inputs\":{{\"x\":[1.0]}}}}\n")
    };
    for (code, has_labels) in [("INTERNAL", false), ("INTERNAL", true), ("INVALID_ARGUMENT", true)] {
        let (folder, mut it) = in_step(Step::Guarding { since: Timestamp::UNIX_EPOCH }, "");
        promote(&it);
        std::fs::create_dir(folder.path().join("l")).unwrap();
        std::fs::write(folder.path().join("l/a.jsonl"), line(code).repeat(20) + &line("INVALID_ARGUMENT")).unwrap();
        if has_labels {
            std::fs::write(folder.path().join("labels.csv"), [0xff, 0, 0xff]).unwrap();
            it.config.watch.labels = vec![folder.path().join("labels.csv")];
        }
        it.advance().unwrap();
        let (decision, reason) = last(&it);
        if code == "INTERNAL" {
            assert_eq!((decision.as_str(), reason.as_str()), ("roll_back", "20 of 20 requests failed, and 5% may"));
        } else {
            let is_told = reason.starts_with("it answered nothing: all 21 requests")
                && reason.contains("could not be looked at: ");
            assert!(decision == "keep" && is_told, "{decision}: {reason}");
        }
    }
}

#[test]
fn answers_that_are_nan_bring_the_version_before_back() {
    for (answer, expected) in [("NaN", "roll_back"), ("2.5", "keep")] {
        let (folder, mut it) = in_step(Step::Guarding { since: Timestamp::UNIX_EPOCH }, "");
        promote(&it);
        let line = format!(
            "{{\"time\":\"2026-01-01T00:00:00Z\",\"model\":\"m\",\"version\":2,\"signature\":\"serving_default\",\
             \"status\":\"OK\",\"inputs\":{{\"x\":[1.0]}},\"outputs\":{{\"y\":[{answer}]}}}}\n"
        );
        std::fs::create_dir(folder.path().join("l")).unwrap();
        std::fs::write(folder.path().join("l/a.jsonl"), line.repeat(30)).unwrap();
        it.advance().unwrap();
        let (decision, reason) = last(&it);
        assert_eq!(decision, expected, "{reason}");
    }
}

#[test]
fn a_long_reason_is_cut() {
    assert_eq!(cut("é".repeat(3000)).chars().count(), MOST_REASON + 1);
    assert_eq!(cut("short".to_owned()), "short");
}
