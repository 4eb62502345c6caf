//! States that are written, read, damaged and locked.

use std::fs;

use tf_persist_store::{PublishOptions, Store};

use super::*;
use crate::LoopError;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(folder.path().join("models.store")).unwrap();
    let model = tf_persist_testing::model("half_plus_two");
    store.publish(&"m".parse().unwrap(), model, PublishOptions::default()).unwrap();
    (folder, store)
}

#[test]
fn the_state_comes_back() {
    let (_folder, store) = store();
    let folder = Folder::take(&store, &"m".parse().unwrap()).unwrap();
    assert!(folder.read().unwrap().is_none());
    let mut state = State::new(Timestamp::UNIX_EPOCH);
    state.step = Step::Canary { index: 1, since: Timestamp::UNIX_EPOCH, counted: Some(Counts::default()) };
    state.decision = Some(Decision::new(7, "canary", "5% of the requests"));
    folder.write(&state).unwrap();
    assert_eq!(folder.read().unwrap(), Some(state.clone()));
    assert_eq!(state.next_decision(), 8);
}

#[test]
fn a_model_has_one_loop() {
    let (_folder, store) = store();
    let m = "m".parse().unwrap();
    let first = Folder::take(&store, &m).unwrap();
    let error = Folder::take(&store, &m).unwrap_err();
    assert!(matches!(error, LoopError::Busy { .. }));
    let text = error.to_string();
    assert!(text.starts_with("another loop has the model `m` of `"), "{text}");
    drop(first);
    assert!(Folder::take(&store, &m).is_ok());
}

#[test]
fn a_damaged_state_is_a_sentence() {
    let (_folder, store) = store();
    let folder = Folder::take(&store, &"m".parse().unwrap()).unwrap();
    let path = store.loop_folder(&"m".parse().unwrap()).join("state.json");
    let attempt = Attempt {
        id: "../../1".into(),
        production: 1,
        version: None,
        metric: None,
        tries: 0,
        measured: 0,
        is_held: false,
    };
    folder.write(&State { attempt: Some(attempt), ..State::new(Timestamp::UNIX_EPOCH) }).unwrap();
    let error = folder.read().unwrap_err().to_string();
    assert!(error.ends_with("is damaged: the attempt `../../1` has no plain name"), "{error}");
    for (text, reason) in
        [("{", "EOF while parsing"), ("{\"format\": 2}", "it has format 2, and"), ("{}", "missing field")]
    {
        fs::write(&path, text).unwrap();
        let error = folder.read().unwrap_err().to_string();
        assert!(error.contains("state.json` is damaged: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_clock_that_was_set_back_has_not_run() {
    let now = Timestamp::UNIX_EPOCH;
    let later = now + SignedDuration::from_secs(60);
    assert_eq!(elapsed(now, later), SignedDuration::from_secs(60));
    assert_eq!(elapsed(later, now), SignedDuration::ZERO);
}
