//! Decisions of a loop, and labels that move only from where they are expected.

use std::fs::{self, OpenOptions};
use std::io::Write;

use jiff::Timestamp;
use tf_persist_store::{Decision, FileLock, Why};

use crate::{TestStore, label, model};

#[test]
fn decisions_are_noted_once_and_in_order() {
    let it = TestStore::with_versions(1);
    let m = model("m");
    assert!(it.store.decisions(&m).unwrap().is_empty());
    let log = it.store.log(&m).unwrap();
    let mut first = Decision::new(1, "train", "drift of 3 features");
    first.at = Timestamp::MAX;
    first.numbers.insert("requests".into(), 120.into());
    assert!(it.store.decide(&m, &first).unwrap());
    assert!(!it.store.decide(&m, &Decision::new(1, "train", "the same again")).unwrap());
    let gap = it.store.decide(&m, &Decision::new(3, "refuse", "worse")).unwrap_err().to_string();
    assert!(gap.contains("its last decision is 1, and the next one is 3"), "{gap}");
    assert!(it.store.decide(&m, &Decision::new(2, "refuse", "worse")).unwrap());
    let found = it.store.decisions(&m).unwrap();
    assert_eq!(found.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>(), ["drift of 3 features", "worse"]);
    assert_eq!(found[0].numbers["requests"], 120);
    assert!(found[1].at >= found[0].at, "times do not go back, even if a clock was ahead");
    assert_eq!(it.store.log(&m).unwrap(), log, "decisions are no changes");
    // Somebody deletes the file.
    fs::remove_file(it.store.path().join("m/.store/decisions.jsonl")).unwrap();
    assert!(it.store.decide(&m, &Decision::new(3, "train", "age")).unwrap());
    assert_eq!(it.store.decisions(&m).unwrap().len(), 1);
}

#[test]
fn a_half_written_decision_is_cut_off() {
    let it = TestStore::with_versions(1);
    let m = model("m");
    it.store.decide(&m, &Decision::new(1, "train", "age")).unwrap();
    let path = it.store.path().join("m/.store/decisions.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"number\": 2, \"at\"").unwrap();
    assert_eq!(it.store.decisions(&m).unwrap().len(), 1);
    it.store.decide(&m, &Decision::new(2, "publish", "gates passed")).unwrap();
    assert_eq!(it.store.decisions(&m).unwrap().len(), 2);
    fs::write(&path, "{}\n").unwrap();
    let error = it.store.decisions(&m).unwrap_err().to_string();
    assert!(error.contains("a decision is invalid"), "{error}");
}

#[test]
fn a_label_moves_only_from_where_it_is_expected() {
    let it = TestStore::with_versions(3);
    let production = label("production");
    let moved = |version: &str, from| it.store.move_label(&it.find(version), &production, from, Why::Promote).unwrap();
    assert_eq!(moved("m@1", None), None);
    assert_eq!(moved("m@2", Some(1)), Some(1));
    let log = it.store.log(&model("m")).unwrap();
    // Where it was moved already, and where somebody else moved it.
    assert_eq!(moved("m@2", Some(1)), Some(2));
    assert_eq!(moved("m@3", Some(1)), Some(2));
    assert_eq!(it.store.log(&model("m")).unwrap(), log);
    assert_eq!(it.find("m@production").number(), 2);
    assert!(!it.store.take_label(&it.find("m@1"), &production).unwrap());
    assert!(it.store.take_label(&it.find("m@2"), &production).unwrap());
    assert!(!it.store.take_label(&it.find("m@2"), &production).unwrap());
}

#[test]
fn one_holder_of_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let held = FileLock::take(&path).unwrap();
    assert!(held.is_some());
    assert!(FileLock::take(&path).unwrap().is_none());
    if cfg!(target_os = "linux") {
        assert_eq!(FileLock::holder(&path), Some(std::process::id()));
    }
    drop(held);
    assert!(FileLock::take(&path).unwrap().is_some());
}
