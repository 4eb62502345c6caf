//! Models that are unloaded to save memory, and loaded again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tf_persist_core::Code;
use tf_persist_testing::TIMEOUT;

use super::harness::*;
use crate::models::State::{Available, End, Unloaded};
use crate::models::handle::Handle;
use crate::models::view::Readiness;
use crate::models::{InUse, ModelSettings, Version};
use crate::status::Status;

/// The memory of a model of the harness, rounded up.
const MODEL: u64 = (1 << 20) + 1000;

/// Models with the texts of their names, of which so many have room.
fn limited(harness: &Harness, names: &[&str], room: u64) -> ModelSettings {
    names.iter().filter(|name| !harness.base(name).exists()).for_each(|name| drop(harness.put(name, 1, name)));
    let mut settings = harness.several(&names.iter().map(|name| (*name, "")).collect::<Vec<_>>());
    settings.load.max_resident_bytes = Some(MODEL * room);
    settings.load.start_threads = 1;
    settings
}

fn keep(harness: &Harness, models: &Handle<Text>, name: &str) -> Result<Option<InUse>, Status> {
    let deadline = Some(Instant::now() + TIMEOUT);
    harness.runtime.block_on(models.keep_loaded(name, &Version::Latest, deadline))
}

/// What a model answers, which is loaded if necessary.
fn ask(harness: &Harness, models: &Handle<Text>, name: &str) -> Result<String, Status> {
    let _in_use = keep(harness, models, name)?;
    answer(models, name, &Version::Latest)
}

fn state(models: &Handle<Text>, name: &str) -> crate::models::State {
    states(models, name)[0].1
}

#[test]
fn models_without_room_are_loaded_when_they_are_asked() {
    let harness = Harness::new();
    let models = harness.serve(limited(&harness, &["a", "b", "c", "d"], 2));
    let all = |models: &Handle<Text>| ["a", "b", "c", "d"].map(|name| state(models, name));
    assert_eq!(all(&models), [Available, Available, Unloaded, Unloaded]);
    assert_eq!(harness.texts.dropped_in.lock().unwrap().len(), 0);
    assert_eq!(models.view().find("c", &Version::Latest).err().unwrap().code, Code::NotFound);
    assert_eq!(ask(&harness, &models, "a").unwrap(), "a");
    // The least used one goes.
    assert_eq!(ask(&harness, &models, "c").unwrap(), "c");
    wait("b is unloaded", || all(&models) == [Available, Unloaded, Available, Unloaded]);
    assert_eq!(ask(&harness, &models, "b").unwrap(), "b");
    wait("a is unloaded", || all(&models) == [Unloaded, Available, Available, Unloaded]);
    assert!(models.view().readiness == Readiness::Ready && models.view().has_available());
    assert_eq!(*harness.texts.dropped_in.lock().unwrap(), ["unload", "unload"]);
    // Unknown models and versions are no reason to wait.
    assert!(keep(&harness, &models, "e").unwrap().is_none());
    let nine = harness.runtime.block_on(models.keep_loaded("a", &Version::Number(9), None));
    assert!(nine.is_ok() && state(&models, "a") == Unloaded);
}

#[test]
fn models_in_use_are_not_unloaded() {
    let harness = Harness::new();
    let models = harness.serve(limited(&harness, &["a", "b", "c"], 2));
    let (a, b) = (keep(&harness, &models, "a").unwrap().unwrap(), keep(&harness, &models, "b").unwrap().unwrap());
    let short = Some(Instant::now() + Duration::from_millis(200));
    let late = harness.runtime.block_on(models.keep_loaded("c", &Version::Latest, short)).unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    assert_eq!((latest(&models, "a").as_deref(), latest(&models, "b").as_deref()), (Some("a"), Some("b")));
    drop(b);
    assert_eq!(ask(&harness, &models, "c").unwrap(), "c");
    assert_eq!((state(&models, "a"), state(&models, "b")), (Available, Unloaded));
    drop(a);
}

#[test]
fn no_request_fails_while_models_come_and_go() {
    let harness = Harness::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut settings = limited(&harness, &names, 2);
    settings.load.start_threads = 3;
    let models = harness.serve(settings);
    thread::scope(|scope| {
        for first in 0..4 {
            let (harness, models) = (&harness, &models);
            scope.spawn(move || {
                for step in 0..150 {
                    let name = names[(first * 5 + step * 7 + step / 3) % names.len()];
                    assert_eq!(ask(harness, models, name).unwrap(), name);
                }
            });
        }
    });
    let resident = names.iter().filter(|name| state(&models, name) == Available).count();
    assert!(resident <= 2, "{resident}");
    let loads: u32 = names.iter().map(|name| harness.loads(&harness.base(name).join("1"))).sum();
    assert!(loads > 6, "{loads}");
}

#[test]
fn a_model_that_cannot_be_loaded_again_says_why() {
    let harness = Harness::new();
    let models = harness.serve(limited(&harness, &["a", "b", "c"], 2));
    let version = harness.base("c").join("1");
    harness.change(&version, "broken");
    let error = ask(&harness, &models, "c").unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("model c") && error.message.ends_with("it is broken"), "{error}");
    assert_eq!(state(&models, "c"), End);
    // It is loaded once its files have changed.
    harness.change(&version, "whole");
    wait("c is repaired", || ask(&harness, &models, "c").is_ok_and(|text| text == "whole"));
}

#[test]
fn a_new_version_takes_the_place_of_one_that_is_unloaded() {
    let harness = Harness::new();
    let models = harness.serve(limited(&harness, &["a", "b", "c"], 2));
    assert_eq!(state(&models, "c"), Unloaded);
    // One that fails leaves the one before.
    harness.put("c", 2, "broken");
    wait_states(&models, "c", &[(2, End), (1, Unloaded)]);
    assert_eq!(ask(&harness, &models, "c").unwrap(), "c");
    harness.put("c", 3, "three");
    wait("version 3 answers", || ask(&harness, &models, "c").is_ok_and(|text| text == "three"));
    wait("version 1 has ended", || states(&models, "c").contains(&(1, End)));
    // Also while it is unloaded.
    ask(&harness, &models, "a").unwrap();
    ask(&harness, &models, "b").unwrap();
    wait("c is unloaded", || state(&models, "c") == Unloaded);
    harness.put("c", 4, "four");
    wait("version 4 answers", || ask(&harness, &models, "c").is_ok_and(|text| text == "four"));
    // A version whose folder is gone is not loaded any more.
    harness.remove("c", 4);
    wait("version 3 answers", || ask(&harness, &models, "c").is_ok_and(|text| text == "three"));
    models.stop();
}

#[test]
fn versions_of_one_model_without_room_are_unloaded_alike() {
    let harness = Harness::new();
    harness.put("c", 1, "one");
    harness.put("c", 2, "two");
    let settings = limited(&harness, &["a", "b"], 2);
    // The file that the settings name.
    harness.several(&[("a", ""), ("b", ""), ("c", "model_version_policy { all {} }")]);
    let models = harness.serve(settings);
    // It is ready with the newest one.
    wait_states(&models, "c", &[(2, Unloaded), (1, Unloaded)]);
    // Both have room once the others are gone.
    assert_eq!(ask(&harness, &models, "c").unwrap(), "two");
    wait_states(&models, "c", &[(2, Available), (1, Available)]);
    assert_eq!(answer(&models, "c", &Version::Number(1)).unwrap(), "one");
}

#[test]
fn a_version_that_never_fits_is_refused() {
    let harness = Harness::new();
    let path = harness.put("a", 1, "a");
    fs::write(path.join("large"), vec![0; 3 << 20]).unwrap();
    let models = harness.start(limited(&harness, &["a", "b"], 2));
    wait("a is refused", || states(&models, "a") == [(1, End)]);
    assert_eq!(error(&models, "a", 1).code, Code::ResourceExhausted);
    assert_eq!(ask(&harness, &models, "b").unwrap(), "b");
}

#[test]
fn a_version_without_room_is_refused_where_others_stay() {
    let harness = Harness::new();
    let mut settings = limited(&harness, &["a", "b", "c"], 2);
    settings.load.unload_least_used = false;
    let models = harness.start(settings);
    wait("c is refused", || states(&models, "c") == [(1, End)]);
    let refused = error(&models, "c", 1);
    assert_eq!(refused.code, Code::ResourceExhausted);
    assert!(refused.message.contains("no memory for version 1 of model c"), "{refused}");
    assert_eq!((latest(&models, "a").as_deref(), latest(&models, "b").as_deref()), (Some("a"), Some("b")));
}

#[test]
fn a_server_with_unloaded_models_stops() {
    let harness = Harness::new();
    let models = harness.serve(limited(&harness, &["a", "b", "c"], 2));
    let begun = Instant::now();
    models.stop();
    assert!(begun.elapsed() < TIMEOUT / 2);
    assert_eq!(harness.texts.dropped_in.lock().unwrap().len(), 2);
}
