//! Removal and garbage collection.

use std::fs;

use tf_persist_store::{Folder, GcOptions, StoreError, What, Why};

use crate::{TestStore, label, model};

#[test]
fn a_version_is_removed_unless_a_label_points_to_it() {
    let it = TestStore::with_versions(2);
    let first = it.find("m@1");
    it.store.label(&first, &label("production"), Why::Label).unwrap();
    let error = it.store.remove(&first).unwrap_err();
    assert_eq!(error.to_string(), "version 1 of `m` is labelled `production`");
    it.store.unlabel(&model("m"), &label("production")).unwrap();
    it.store.remove(&first).unwrap();
    assert!(!first.path().exists());
    assert_eq!(fs::read_dir(it.store.path().join("m/.store/trash")).map_or(0, Iterator::count), 0);
    assert!(matches!(it.store.remove(&first), Err(StoreError::UnknownVersion { version: 1, .. })));
    // A label cannot be given to a version that was found before it was removed.
    assert!(it.store.label(&first, &label("production"), Why::Label).is_err());
    let last = it.store.log(&model("m")).unwrap().pop().unwrap();
    assert_eq!(last.what, What::Removed { version: 1, manifest: first.digest().to_owned() });
    // What the two versions shared is still there for the other.
    assert_eq!(it.store.verify(&it.find("m@2")).unwrap(), []);
}

#[test]
fn gc_keeps_the_newest_and_the_labelled() {
    let it = TestStore::with_versions(5);
    it.store.label(&it.find("m@2"), &label("production"), Why::Label).unwrap();
    let options = GcOptions::default().keep(2);
    let error = it.store.gc(&model("m"), &options).unwrap_err();
    assert!(matches!(error, StoreError::Labelled { version: 2, .. }), "{error}");
    let options = options.keep_labelled(true);
    let dry = it.store.gc(&model("m"), &options.clone().dry_run(true)).unwrap();
    assert_eq!(dry.versions, [1, 3]);
    assert_eq!(it.store.overview(&model("m")).unwrap().folders.len(), 5);
    assert_eq!(it.store.gc(&model("m"), &options).unwrap(), dry);
    let left = [2, 4, 5].map(Folder::Published);
    assert_eq!(it.store.overview(&model("m")).unwrap().folders, left);
    assert_eq!(it.store.gc(&model("m"), &GcOptions::default()).unwrap().versions, [] as [u64; 0]);
}

#[test]
fn a_lost_folder_is_shown() {
    let it = TestStore::with_versions(2);
    fs::remove_dir_all(it.store.path().join("m/1")).unwrap();
    let folders = it.store.overview(&model("m")).unwrap().folders;
    assert_eq!(folders, [Folder::Missing(1), Folder::Published(2)]);
}

#[test]
fn the_log_has_every_event_of_a_large_change() {
    // More removals than the labels file keeps events.
    let it = TestStore::with_versions(70);
    let collected = it.store.gc(&model("m"), &GcOptions::default().keep(1)).unwrap();
    assert_eq!(collected.versions.len(), 69);
    let sequences: Vec<u64> = it.store.log(&model("m")).unwrap().iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=139).collect::<Vec<_>>());
    it.store.label(&it.find("m@70"), &label("production"), Why::Label).unwrap();
    it.store.label(&it.find("m@70"), &label("other"), Why::Label).unwrap();
    assert_eq!(it.store.log(&model("m")).unwrap().len(), 141);
    assert_eq!(it.store.verify(&it.find("m@70")).unwrap(), []);
}
