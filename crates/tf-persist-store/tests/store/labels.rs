//! Labels, their history, and rollback.

use std::fs;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use tf_persist_store::{Event, GcOptions, PublishOptions, Selector, Store, StoreError, What, Why};

use crate::{TestStore, label, model};

fn moves(events: &[Event]) -> Vec<(Option<u64>, Option<u64>, Why)> {
    let moved = events.iter().filter_map(|event| match &event.what {
        What::Labelled { from, to, why, .. } => Some((*from, *to, *why)),
        _ => None,
    });
    moved.collect()
}

#[test]
fn labels_move_and_their_history_stays() {
    let it = TestStore::with_versions(3);
    let production = label("production");
    let set = |version: &str, why| it.store.label(&it.find(version), &production, why).unwrap();
    assert_eq!(set("m@1", Why::Label), None);
    assert_eq!(set("m@2", Why::Promote), Some(1));
    assert_eq!(it.find("m@production").number(), 2);
    let before = it.store.log(&model("m")).unwrap();
    // Setting it to where it points is no event.
    assert_eq!(set("m@2", Why::Label), Some(2));
    assert_eq!(it.store.log(&model("m")).unwrap(), before);
    assert_eq!(it.store.unlabel(&model("m"), &production).unwrap(), 2);
    let unknown = it.store.unlabel(&model("m"), &production).unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownLabel { .. }));
    let log = it.store.log(&model("m")).unwrap();
    let wanted = [(None, Some(1), Why::Label), (Some(1), Some(2), Why::Promote), (Some(2), None, Why::Label)];
    assert_eq!(moves(&log), wanted);
    assert!(log.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    assert!(log.is_sorted_by_key(|event| event.at));
    assert!(log[0].by.contains('@'));
}

#[test]
fn what_a_label_pointed_to_at_a_time() {
    let it = TestStore::with_versions(2);
    let production = label("production");
    it.store.label(&it.find("m@1"), &production, Why::Label).unwrap();
    let first = it.store.log(&model("m")).unwrap().last().unwrap().at;
    it.store.label(&it.find("m@2"), &production, Why::Promote).unwrap();
    let second = it.store.log(&model("m")).unwrap().last().unwrap().at;
    let at = |time: Timestamp| it.store.label_at(&model("m"), &production, time).unwrap();
    assert_eq!(at(first - SignedDuration::from_secs(1)), None);
    assert_eq!(at(first), Some(1));
    assert_eq!(at(second), Some(2));
    assert_eq!(at(Timestamp::MAX), Some(2));
}

#[test]
fn rollback_goes_back_a_version_each_time() {
    let it = TestStore::with_versions(4);
    let production = label("production");
    for version in ["m@1", "m@2", "m@3"] {
        it.store.label(&it.find(version), &production, Why::Promote).unwrap();
    }
    let back = |to: Option<&Selector>| it.store.rollback(&model("m"), None, to).map(|(_, from, to)| (from, to));
    assert_eq!(back(None).unwrap(), (3, 2));
    // A version promoted after a rollback goes back to the one that it replaced.
    it.store.label(&it.find("m@4"), &production, Why::Promote).unwrap();
    assert_eq!(back(None).unwrap(), (4, 2));
    assert_eq!(back(None).unwrap(), (2, 1));
    let error = back(None).unwrap_err();
    assert_eq!(error.to_string(), "before version 1, `production` of `m` pointed to no version that is still there");
    assert_eq!(back(Some(&Selector::Number(3))).unwrap(), (1, 3));
    assert!(matches!(back(Some(&Selector::Number(9))), Err(StoreError::UnknownVersion { version: 9, .. })));
    assert_eq!(it.find("m@production").number(), 3);
}

#[test]
fn rollback_passes_over_removed_versions_and_asks_which_label() {
    let it = TestStore::with_versions(3);
    let none = it.store.rollback(&model("m"), None, None).unwrap_err();
    assert!(matches!(none, StoreError::NoLabels { .. }));
    for version in ["m@1", "m@2", "m@3"] {
        it.store.label(&it.find(version), &label("production"), Why::Promote).unwrap();
    }
    it.store.remove(&it.find("m@2")).unwrap();
    it.store.label(&it.find("m@3"), &label("canary"), Why::Label).unwrap();
    let error = it.store.rollback(&model("m"), None, None).unwrap_err();
    assert_eq!(error.to_string(), "`m` has the labels `canary`, `production`: name the one to move");
    let moved = it.store.rollback(&model("m"), Some(&label("production")), None).unwrap();
    assert_eq!(moved, (label("production"), 3, 1));
}

/// Not a test of its own: a process that moves a label, for the test below.
#[test]
fn mover() {
    let (Ok(folder), Ok(count)) = (std::env::var("STORE_OF_MOVER"), std::env::var("MOVES")) else { return };
    let store = Store::open(folder).unwrap();
    let versions = ["m@1", "m@2"].map(|text| store.resolve(&crate::reference(text)).unwrap());
    let own = label(&format!("of-{}", std::process::id()));
    for number in 0..count.parse::<usize>().unwrap() {
        store.label(&versions[number % 2], &own, Why::Label).unwrap();
    }
}

#[test]
fn a_thousand_moves_by_eight_processes_are_all_in_the_log() {
    let it = TestStore::with_versions(2);
    let mut processes: Vec<_> = (0..8)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "labels::mover"]).stdout(Stdio::null());
            command.env("STORE_OF_MOVER", it.store.path()).env("MOVES", "125").spawn().unwrap()
        })
        .collect();
    assert!(processes.iter_mut().all(|process| process.wait().unwrap().success()));
    let log = it.store.log(&model("m")).unwrap();
    assert_eq!(log.len(), 2 + 1000);
    assert!(log.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    assert!(log.is_sorted_by_key(|event| event.at));
    // Each move begins where the one before of the same label ended.
    for (of, _) in it.store.overview(&model("m")).unwrap().labels {
        let own = log.iter().filter(|event| matches!(&event.what, What::Labelled { label, .. } if *label == of));
        let own = moves(&own.cloned().collect::<Vec<_>>());
        assert_eq!(own.len(), 125);
        assert!(own.windows(2).all(|pair| pair[0].1 == pair[1].0), "{of}");
    }
}

#[test]
fn lost_labels_are_those_of_the_log() {
    let it = TestStore::with_versions(3);
    it.store.label(&it.find("m@2"), &label("production"), Why::Label).unwrap();
    let before = it.store.overview(&model("m")).unwrap();
    let file = it.store.path().join("m/.store/labels.json");
    fs::remove_file(&file).unwrap();
    assert_eq!(it.store.overview(&model("m")).unwrap(), before);
    assert_eq!(it.store.verify(&it.find("m@production")).unwrap(), []);
    assert!(matches!(it.store.remove(&it.find("m@2")), Err(StoreError::Labelled { version: 2, .. })));
    it.store.label(&it.find("m@3"), &label("other"), Why::Label).unwrap();
    assert!(file.is_file());
    let log = it.store.log(&model("m")).unwrap();
    assert_eq!((log.len(), it.find("m@production").number()), (5, 2));
}

#[test]
fn nothing_is_changed_without_labels_and_log() {
    let it = TestStore::with_versions(3);
    for name in ["labels.json", "log.jsonl"] {
        fs::remove_file(it.store.path().join("m/.store").join(name)).unwrap();
    }
    let collected = it.store.gc(&model("m"), &GcOptions::default().keep(1));
    assert!(matches!(collected, Err(StoreError::Damaged { .. })), "{collected:?}");
    assert_eq!(it.find("m@1").number(), 1);
}

#[test]
fn numbers_that_no_version_can_have_are_damage() {
    let it = TestStore::with_versions(1);
    let file = it.store.path().join("m/.store/labels.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"highest\": 1", &format!("\"highest\": {}", u64::MAX))).unwrap();
    let published = it.store.publish(&model("m"), crate::model_folder("half_plus_two"), PublishOptions::default());
    assert!(matches!(published, Err(StoreError::Damaged { .. })), "{published:?}");
}
