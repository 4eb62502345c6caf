//! The threads together, over real folders.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tf_persist_core::Code;

use super::bench::{Bench, LIMIT, answer, error, latest, let_it_look, states, wait, wait_states};
use crate::models::State::{self, Available, End, Loading};
use crate::models::view::Readiness;
use crate::models::{Settings, Version};
use crate::status::Status;

#[test]
fn versions_come_and_go() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    bench.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(latest(&models, "m").unwrap(), "two");
    let said = answer(&models, "m", &Version::Number(1)).unwrap_err();
    assert_eq!(said, Status::not_found("Servable not found for request: Specific(m, 1)"));
    // Back.
    bench.remove("m", 2);
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    // Without its base path it stays.
    fs::rename(bench.base("m"), bench.base("gone")).unwrap();
    let_it_look();
    assert_eq!(states(&models, "m"), [(2, End), (1, Available)]);
    fs::rename(bench.base("gone"), bench.base("m")).unwrap();
    // An older one is nothing new.
    bench.put("m", 0, "zero");
    let_it_look();
    assert_eq!(latest(&models, "m").unwrap(), "one");
    // All of them.
    bench.remove("m", 1);
    wait_states(&models, "m", &[(2, End), (1, End), (0, Available)]);
    bench.remove("m", 0);
    wait_states(&models, "m", &[(2, End), (1, End), (0, End)]);
    let said = answer(&models, "m", &Version::Latest).unwrap_err();
    assert_eq!(said, Status::not_found("Servable not found for request: Latest(m)"));
    // And anew.
    bench.put("m", 1, "one again");
    wait("one again", || latest(&models, "m").as_deref() == Some("one again"));
    assert_eq!(models.view().status("x", None).unwrap_err().message, "Could not find any versions of model x");
    assert_eq!(models.view().status("m", Some(99)).unwrap_err().message, "Could not find version 99 of model m");
    models.stop();
    assert_eq!(latest(&models, "m"), None);
    assert!(bench.texts.dropped_in.lock().unwrap().iter().all(|name| name == "unload"));
}

#[test]
fn requests_keep_what_they_have() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    let held = models.view().find("m", &Version::Latest).unwrap().clone();
    bench.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, State::Unloading)]);
    assert_eq!(held.text, "one");
    let_it_look();
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    // The thread of a request is not the one that unloads, nor that of a run which goes on after the request was given up.
    bench.texts.is_busy.store(true, Ordering::Relaxed);
    drop(held);
    let_it_look();
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    assert!(bench.texts.dropped_in.lock().unwrap().is_empty());
    bench.texts.is_busy.store(false, Ordering::Relaxed);
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(*bench.texts.dropped_in.lock().unwrap(), ["unload"]);
}

#[test]
fn readers_always_find_something() {
    let bench = Bench::new();
    bench.put("m", 1, "1");
    let models = bench.serve(bench.one());
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0_u64;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(latest(&models, "m").is_some());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for version in 2..12 {
            bench.put("m", version, &version.to_string());
            wait("the next version", || latest(&models, "m") == Some(version.to_string()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 10));
    });
}

#[test]
fn a_broken_version_is_named_and_tried_when_it_changes() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    let two = bench.put("m", 2, "broken");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert_eq!(error(&models, "m", 2), Status::new(Code::DataLoss, "it is broken"));
    let_it_look();
    assert_eq!(bench.loads(&two), 1, "nothing has changed");
    fs::write(two.join("saved_model.pb"), "two").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    // A panic is a failure like others, and the thread goes on.
    let three = bench.put("m", 3, "panics");
    wait_states(&models, "m", &[(3, End), (2, Available), (1, End)]);
    assert!(error(&models, "m", 3).message.contains("panicked: what a model"));
    fs::write(three.join("saved_model.pb"), "three").unwrap();
    wait("three", || latest(&models, "m").as_deref() == Some("three"));
    // A folder that fills slowly.
    let four = bench.base("m").join("4");
    fs::create_dir(&four).unwrap();
    wait("four is seen", || states(&models, "m")[0] == (4, End));
    for part in 0..5 {
        fs::write(four.join(format!("part{part}")), "x").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    fs::write(four.join("saved_model.pb"), "four").unwrap();
    wait("four", || latest(&models, "m").as_deref() == Some("four"));
}

#[test]
fn failures_are_retried_and_hold_up_nobody() {
    let bench = Bench::new();
    bench.put("a", 1, "broken");
    bench.put("b", 1, "b");
    let mut settings = bench.several(&[("a", ""), ("b", "")]);
    settings.load.retries = 3;
    settings.load.retry_interval = Duration::from_millis(300);
    settings.poll = None;
    let models = bench.start(settings);
    wait("b is loaded", || latest(&models, "b").is_some());
    assert_eq!(states(&models, "a"), [(1, Loading)]);
    assert!(!matches!(models.view().readiness, Readiness::Ready));
    let said = bench.ready(&models).unwrap_err();
    assert_eq!(said.code, Code::Unknown);
    let text =
        "1 servable(s) did not become available: {{{name: a version: 1} due to error: DATA_LOSS: it is broken}, }";
    assert_eq!(said.message, text);
    assert_eq!(bench.loads(&bench.base("a").join("1")), 4);
    assert_eq!(states(&models, "a"), [(1, End)]);
}

#[test]
fn what_is_refused_for_good_is_not_retried() {
    let bench = Bench::new();
    let path = bench.put("m", 1, "forbidden");
    let mut settings = bench.one();
    settings.load.retries = 100;
    settings.load.retry_interval = LIMIT * 10;
    let models = bench.start(settings);
    bench.ready(&models).unwrap_err();
    assert_eq!(bench.loads(&path), 1);
}

#[test]
fn it_waits_for_the_first_version() {
    let bench = Bench::new();
    bench.put("b", 1, "b");
    fs::create_dir(bench.base("c")).unwrap();
    let models = bench.start(bench.several(&[("a", ""), ("b", ""), ("c", "")]));
    wait("b is loaded", || latest(&models, "b").is_some());
    bench.put("a", 1, "a");
    wait("a is loaded", || latest(&models, "a").is_some());
    assert!(models.view().readiness == Readiness::Waiting);
    bench.put("c", 1, "c");
    bench.ready(&models).unwrap();
    // And so for good.
    bench.remove("c", 1);
    wait_states(&models, "c", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    let list: Vec<String> = models.view().list().into_iter().map(|model| model.name).collect();
    assert_eq!(list, ["a", "b", "c"]);
}

#[test]
fn without_polling_it_looks_when_told() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let mut settings = bench.one();
    settings.poll = None;
    let models = bench.serve(settings);
    let two = bench.put("m", 2, "broken");
    let_it_look();
    assert_eq!(states(&models, "m"), [(1, Available)]);
    models.refresh();
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    fs::write(two.join("saved_model.pb"), "two").unwrap();
    models.refresh();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
}

#[test]
fn a_folder_that_vanishes_is_named() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    for (version, poll) in [(2, None), (3, Some(Duration::from_millis(10)))] {
        let models = bench.serve(Settings { poll, ..bench.one() });
        let path = bench.put("m", version, "slow");
        models.refresh();
        wait("it is being loaded", || bench.loads(&path) == 1);
        bench.remove("m", version);
        wait_states(&models, "m", &[(version, End), (1, Available)]);
        assert!(error(&models, "m", version).message.contains("vanished while it was being loaded"));
    }
}

#[test]
fn what_took_the_process_down_is_left_alone() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let path = bench.put("m", 2, "slow");
    bench.several(&[("m", "model_version_policy { all {} }")]);
    let left = bench.journal_of_who_died_loading(&path);
    fs::write(bench.journal(), left).unwrap();
    let models = bench.serve(bench.with_journal());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert!(error(&models, "m", 2).message.contains("version 2 of model m took the process down"));
    assert_eq!(bench.loads(&path), 1);
    fs::write(path.join("go"), "").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, Available)]);
    assert!(!bench.journal().exists());
}

#[test]
fn what_is_left_alone_keeps_no_other_from_being_served() {
    let bench = Bench::new();
    bench.put("good", 1, "one");
    let path = bench.put("bad", 1, "slow");
    bench.several(&[("bad", "")]);
    let left = bench.journal_of_who_died_loading(&path);
    fs::write(bench.journal(), &left).unwrap();
    let models = bench.start(bench.with_journal());
    // There is nothing else to serve: the server stays, and tries again after a while.
    wait_states(&models, "bad", &[(1, End)]);
    assert!(error(&models, "bad", 1).message.contains("took the process down 2 times"));
    assert!(models.view().readiness == Readiness::Waiting);
    models.stop();

    fs::write(bench.journal(), &left).unwrap();
    bench.several(&[("bad", ""), ("good", "")]);
    let models = bench.serve(bench.with_journal());
    assert_eq!(latest(&models, "good").unwrap(), "one");
    wait_states(&models, "bad", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    models.stop();
}

#[test]
fn stopping_unloads_everything() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let slow = bench.put("n", 1, "slow");
    let models = bench.start(bench.several(&[("m", ""), ("n", "")]));
    wait("m", || latest(&models, "m").is_some());
    wait("it is being loaded", || bench.loads(&slow) == 1);
    thread::scope(|scope| {
        scope.spawn(|| models.stop());
        wait("m is unloaded", || latest(&models, "m").is_none());
        // What is being loaded is waited for.
        fs::write(slow.join("go"), "").unwrap();
    });
    assert_eq!(bench.texts.dropped_in.lock().unwrap().len(), 2);
    assert_eq!(bench.reload(&models, bench.config(&[("m", "")])).unwrap_err().code, Code::Unavailable);
    bench.ready(&models).unwrap_err();
    models.stop();
}
