//! All threads together, over real folders.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_testing::TIMEOUT;

use super::harness::{Harness, Text, answer, error, latest, states, wait, wait_for_polls, wait_states};
use crate::models::State::{self, Available, End, Loading};
use crate::models::handle::Handle;
use crate::models::view::Readiness;
use crate::models::{ModelSettings, Version};
use crate::status::Status;

#[test]
fn versions_are_loaded_and_unloaded() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let models = harness.serve(harness.one());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    harness.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(latest(&models, "m").unwrap(), "two");
    let status = answer(&models, "m", &Version::Number(1)).unwrap_err();
    assert_eq!(status, Status::not_found("Servable not found for request: Specific(m, 1)"));
    // Rolled back.
    harness.remove("m", 2);
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    // If the base path is gone, nothing changes.
    fs::rename(harness.base("m"), harness.base("gone")).unwrap();
    wait_for_polls(&models);
    assert_eq!(states(&models, "m"), [(2, End), (1, Available)]);
    fs::rename(harness.base("gone"), harness.base("m")).unwrap();
    // An older version is not loaded.
    harness.put("m", 0, "zero");
    wait_for_polls(&models);
    assert_eq!(latest(&models, "m").unwrap(), "one");
    // All versions are removed.
    harness.remove("m", 1);
    wait_states(&models, "m", &[(2, End), (1, End), (0, Available)]);
    harness.remove("m", 0);
    wait_states(&models, "m", &[(2, End), (1, End), (0, End)]);
    let status = answer(&models, "m", &Version::Latest).unwrap_err();
    assert_eq!(status, Status::not_found("Servable not found for request: Latest(m)"));
    // A version comes back.
    harness.put("m", 1, "one again");
    wait("one again", || latest(&models, "m").as_deref() == Some("one again"));
    assert_eq!(models.view().status("x", None).unwrap_err().message, "Could not find any versions of model x");
    assert_eq!(models.view().status("m", Some(99)).unwrap_err().message, "Could not find version 99 of model m");
    models.stop();
    assert_eq!(latest(&models, "m"), None);
    assert!(harness.texts.dropped_in.lock().unwrap().iter().all(|name| name == "unload"));
}

#[test]
fn loads_make_way_once_the_server_is_ready() {
    let harness = Harness::new();
    for model in ["m", "n", "o"] {
        harness.put(model, 1, "one");
    }
    let models = harness.serve(harness.several(&[("m", ""), ("n", ""), ("o", "")]));
    assert_eq!(harness.texts.made_way(), 0);
    harness.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(harness.texts.made_way(), 1);
    models.stop();
}

/// Asks for a look, and returns its versions with the states that they have then.
fn look(harness: &Harness, models: &Handle<Text>, name: &str) -> Vec<(i64, Option<State>)> {
    let look = async { tokio::time::timeout(TIMEOUT, models.look(name)).await };
    let mut found = harness.runtime.block_on(look).expect("gave up waiting for the look").unwrap();
    found.sort_unstable();
    let states = states(models, name);
    let state = |version: i64| states.iter().find(|(other, _)| *other == version).map(|(_, state)| *state);
    found.into_iter().map(|version| (version, state(version))).collect()
}

#[test]
fn look_finds_what_is_there_when_it_is_asked_for() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let mut settings = harness.one();
    (settings.poll, settings.load.retries, settings.load.retry_interval) = (None, 9, Duration::from_secs(3600));
    let models = harness.serve(settings);
    assert_eq!(look(&harness, &models, "m"), [(1, Some(Available))]);
    assert_eq!(look(&harness, &models, "none"), []);
    for version in 2..20 {
        let slow = harness.put("m", version, "slow");
        let found = look(&harness, &models, "m");
        assert!(matches!(found[..], [(last, Some(State::Start | Loading))] if last == version), "{found:?}");
        fs::write(slow.join("go"), "").unwrap();
        wait("it is available", || states(&models, "m")[0] == (version, Available));
    }
    // A version that failed is tried again, though its files are the same and no retry is due.
    let broken = harness.put("m", 20, "broken");
    look(&harness, &models, "m");
    wait("it has failed", || models.view().status("m", Some(20)).is_ok_and(|found| found[0].error.is_some()));
    assert_eq!(harness.loads(&broken), 1);
    look(&harness, &models, "m");
    wait("it has failed again", || {
        harness.loads(&broken) == 2 && models.view().status("m", Some(20)).is_ok_and(|found| found[0].error.is_some())
    });
    assert_eq!(latest(&models, "m").unwrap(), "slow");
    models.stop();
    let stopped = harness.runtime.block_on(models.look("m")).unwrap_err();
    assert_eq!(stopped.code, Code::Unavailable);
}

#[test]
fn requests_keep_their_version() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let models = harness.serve(harness.one());
    let held = models.view().find("m", &Version::Latest).unwrap().clone();
    harness.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, State::Unloading)]);
    assert_eq!(held.text, "one");
    wait_for_polls(&models);
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    // Neither the thread of a request nor that of an abandoned run unloads a version.
    harness.texts.is_busy.store(true, Ordering::Relaxed);
    drop(held);
    wait_for_polls(&models);
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    assert!(harness.texts.dropped_in.lock().unwrap().is_empty());
    harness.texts.is_busy.store(false, Ordering::Relaxed);
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(*harness.texts.dropped_in.lock().unwrap(), ["unload"]);
}

#[test]
fn readers_always_find_a_version() {
    let harness = Harness::new();
    harness.put("m", 1, "1");
    let models = harness.serve(harness.one());
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
            harness.put("m", version, &version.to_string());
            wait("the next version", || latest(&models, "m") == Some(version.to_string()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 10));
    });
}

#[test]
fn broken_version_is_named_and_loaded_after_a_change() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let models = harness.serve(harness.one());
    let two = harness.put("m", 2, "broken");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert_eq!(error(&models, "m", 2), Status::new(Code::DataLoss, "it is broken"));
    wait_for_polls(&models);
    assert_eq!(harness.loads(&two), 1, "nothing has changed");
    harness.change(&two, "two");
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    // A panic is an error like others, and the thread goes on.
    let three = harness.put("m", 3, "panics");
    wait_states(&models, "m", &[(3, End), (2, Available), (1, End)]);
    assert!(error(&models, "m", 3).message.contains("panicked: what a model"));
    harness.change(&three, "three");
    wait("three", || latest(&models, "m").as_deref() == Some("three"));
    // A folder that fills slowly.
    let four = harness.base("m").join("4");
    fs::create_dir(&four).unwrap();
    wait("four is seen", || states(&models, "m")[0] == (4, End));
    for part in 0..5 {
        fs::write(four.join(format!("part{part}")), "x").unwrap();
        wait_for_polls(&models);
    }
    harness.change(&four, "four");
    wait("four", || latest(&models, "m").as_deref() == Some("four"));
}

#[test]
fn retries_do_not_delay_other_models() {
    let harness = Harness::new();
    harness.put("a", 1, "broken");
    harness.put("b", 1, "b");
    let mut settings = harness.several(&[("a", ""), ("b", "")]);
    settings.load.retries = 3;
    settings.load.retry_interval = Duration::from_secs(2);
    settings.poll = None;
    let models = harness.start(settings);
    wait("b is loaded", || latest(&models, "b").is_some());
    wait_states(&models, "a", &[(1, Loading)]);
    assert!(!matches!(models.view().readiness, Readiness::Ready));
    harness.ready(&models).unwrap();
    assert_eq!(harness.loads(&harness.base("a").join("1")), 4);
    assert_eq!(states(&models, "a"), [(1, End)]);
    assert_eq!(latest(&models, "b").as_deref(), Some("b"));
}

#[test]
fn a_server_ends_if_every_model_failed() {
    let harness = Harness::new();
    harness.put("a", 1, "broken");
    harness.put("b", 1, "forbidden");
    let models = harness.start(harness.several(&[("a", ""), ("b", "")]));
    let status = harness.ready(&models).unwrap_err();
    assert_eq!(status.code, Code::Unknown);
    let reason = |name: &str| format!("{{name: {name} version: 1}} due to error: DATA_LOSS: it is broken}}, ");
    let text = format!("2 servable(s) did not become available: {{{{{}{{{}}}", reason("a"), reason("b"));
    assert_eq!(status.message, text);
}

#[test]
fn many_models_are_tried_after_they_are_available() {
    let harness = Harness::new();
    let names: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
    for name in &names {
        harness.put(name, 1, if name == "m7" { "broken" } else { name });
    }
    let models = harness.serve(harness.several(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>()));
    assert!(latest(&models, "m7").is_none());
    for name in names.iter().filter(|name| *name != "m7") {
        let find = || models.view().find(name, &Version::Latest).cloned().unwrap();
        wait("its trial", || find().is_tried);
        assert_eq!(find().text, *name);
        assert_eq!(harness.loads(&harness.base(name).join("1")), 2);
        assert_eq!(states(&models, name), [(1, Available)]);
    }
    wait("those without a trial are unloaded", || harness.texts.dropped_in.lock().unwrap().len() == 49);
    assert!(harness.texts.dropped_in.lock().unwrap().iter().all(|thread| thread == "unload"));
    // A later version is tried before it answers.
    harness.put("m0", 2, "newer");
    wait("m0 is newer", || latest(&models, "m0").as_deref() == Some("newer"));
    assert!(models.view().find("m0", &Version::Latest).unwrap().is_tried);
}

#[test]
fn final_errors_are_not_retried() {
    let harness = Harness::new();
    let path = harness.put("m", 1, "forbidden");
    let mut settings = harness.one();
    settings.load.retries = 100;
    settings.load.retry_interval = TIMEOUT * 10;
    let models = harness.start(settings);
    harness.ready(&models).unwrap_err();
    assert_eq!(harness.loads(&path), 1);
}

#[test]
fn readiness_waits_for_the_first_versions() {
    let harness = Harness::new();
    harness.put("b", 1, "b");
    fs::create_dir(harness.base("c")).unwrap();
    let models = harness.start(harness.several(&[("a", ""), ("b", ""), ("c", "")]));
    wait("b is loaded", || latest(&models, "b").is_some());
    harness.put("a", 1, "a");
    wait("a is loaded", || latest(&models, "a").is_some());
    assert!(models.view().readiness == Readiness::Waiting);
    harness.put("c", 1, "c");
    harness.ready(&models).unwrap();
    // It stays ready.
    harness.remove("c", 1);
    wait_states(&models, "c", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    let list: Vec<String> = models.view().list().into_iter().map(|model| model.name).collect();
    assert_eq!(list, ["a", "b", "c"]);
}

#[test]
fn without_polling_a_refresh_finds_versions() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let mut settings = harness.one();
    settings.poll = None;
    let models = harness.serve(settings);
    let two = harness.put("m", 2, "broken");
    assert_eq!(models.polls().versions.load(Ordering::SeqCst), 1);
    models.refresh();
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    harness.change(&two, "two");
    models.refresh();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
}

#[test]
fn folder_that_vanishes_is_named() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    for (version, poll) in [(2, None), (3, Some(Duration::from_millis(10)))] {
        let models = harness.serve(ModelSettings { poll, ..harness.one() });
        let path = harness.put("m", version, "slow");
        models.refresh();
        wait("it is being loaded", || harness.loads(&path) == 1);
        harness.remove("m", version);
        wait_states(&models, "m", &[(version, End), (1, Available)]);
        assert!(error(&models, "m", version).message.contains("vanished while it was being loaded"));
    }
}

#[test]
fn version_that_crashed_the_process_is_quarantined() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let path = harness.put("m", 2, "slow");
    harness.several(&[("m", "model_version_policy { all {} }")]);
    let left = harness.journal_of_a_crashed_load(&path);
    fs::write(harness.journal(), left).unwrap();
    let models = harness.serve(harness.with_journal());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert!(error(&models, "m", 2).message.contains("version 2 of model m crashed the process"));
    assert_eq!(harness.loads(&path), 1);
    fs::write(path.join("go"), "").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, Available)]);
    assert!(!harness.journal().exists());
}

#[test]
fn quarantined_model_does_not_affect_others() {
    let harness = Harness::new();
    harness.put("good", 1, "one");
    let path = harness.put("bad", 1, "slow");
    harness.several(&[("bad", "")]);
    let left = harness.journal_of_a_crashed_load(&path);
    fs::write(harness.journal(), &left).unwrap();
    let models = harness.start(harness.with_journal());
    // There is no other model: the server stays, and retries later.
    wait_states(&models, "bad", &[(1, End)]);
    assert!(error(&models, "bad", 1).message.contains("crashed the process 2 times"));
    assert!(models.view().readiness == Readiness::Waiting);
    models.stop();

    fs::write(harness.journal(), &left).unwrap();
    harness.several(&[("bad", ""), ("good", "")]);
    let models = harness.serve(harness.with_journal());
    assert_eq!(latest(&models, "good").unwrap(), "one");
    wait_states(&models, "bad", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    models.stop();
}

#[test]
fn stopping_unloads_everything() {
    let harness = Harness::new();
    harness.put("m", 1, "one");
    let slow = harness.put("n", 1, "slow");
    let models = harness.start(harness.several(&[("m", ""), ("n", "")]));
    wait("m", || latest(&models, "m").is_some());
    wait("it is being loaded", || harness.loads(&slow) == 1);
    thread::scope(|scope| {
        scope.spawn(|| models.stop());
        wait("m is unloaded", || latest(&models, "m").is_none());
        // A load under way is waited for.
        fs::write(slow.join("go"), "").unwrap();
    });
    assert_eq!(harness.texts.dropped_in.lock().unwrap().len(), 2);
    assert_eq!(harness.reload(&models, harness.config(&[("m", "")])).unwrap_err().code, Code::Unavailable);
    harness.ready(&models).unwrap_err();
    models.stop();
}
