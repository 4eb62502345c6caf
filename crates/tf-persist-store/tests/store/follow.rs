//! Labels, as a server follows them.

use std::fs;
use std::process::Command;

use tf_persist_store::{Follower, GcOptions, Heads, StoreError, Why};

use crate::{TestStore, label, model};

/// What the model `m` has now; `None` if it is not listed.
fn look(follower: &mut Follower) -> Option<Heads> {
    follower.look().unwrap().remove(&model("m")).map(Result::unwrap)
}

fn heads(follower: &mut Follower) -> (u64, Vec<(String, u64)>) {
    let heads = look(follower).unwrap();
    (heads.latest, heads.labels.into_iter().map(|(label, version)| (label.to_string(), version)).collect())
}

#[test]
fn models_labels_and_versions_are_followed() {
    let it = TestStore::new();
    let mut follower = Follower::new(it.store.clone());
    assert!(follower.look().unwrap().is_empty());
    it.publish("half_plus_two");
    assert_eq!(heads(&mut follower), (1, vec![]));
    it.publish("half_plus_two");
    it.store.label(&it.find("m@1"), &label("stable"), Why::Label).unwrap();
    assert_eq!(heads(&mut follower), (2, vec![("stable".to_owned(), 1)]));
    // However fast labels move, the last state is seen.
    for step in 0..200 {
        let version = 1 + step % 2;
        it.store.label(&it.find(&format!("m@{version}")), &label("stable"), Why::Label).unwrap();
        assert_eq!(heads(&mut follower), (2, vec![("stable".to_owned(), version)]));
        assert_eq!(heads(&mut follower), (2, vec![("stable".to_owned(), version)]));
    }
    // A foreign folder is nothing to serve.
    fs::create_dir(it.store.version_path(&model("m"), 7)).unwrap();
    it.store.unlabel(&model("m"), &label("stable")).unwrap();
    assert_eq!(heads(&mut follower), (2, vec![]));
    it.store.remove(&it.find("m@2")).unwrap();
    assert_eq!(heads(&mut follower), (1, vec![]));
    it.store.gc(&model("m"), &GcOptions::default().keep(0)).unwrap();
    assert_eq!(look(&mut follower), None);
    fs::remove_dir_all(it.store.path().join("m")).unwrap();
    assert_eq!(look(&mut follower), None);
}

#[test]
fn damage_is_an_error_of_its_model_until_it_is_repaired() {
    let it = TestStore::with_versions(2);
    it.store.label(&it.find("m@1"), &label("stable"), Why::Label).unwrap();
    let mut follower = Follower::new(it.store.clone());
    let before = look(&mut follower);
    let labels = it.store.path().join("m/.store/labels.json");
    let text = fs::read(&labels).unwrap();
    let error = |follower: &mut Follower| follower.look().unwrap().remove(&model("m")).unwrap().unwrap_err();
    fs::write(&labels, "{\"format\": 1, \"counter\"").unwrap();
    assert!(matches!(error(&mut follower), StoreError::Damaged { .. }));
    assert!(matches!(error(&mut follower), StoreError::Damaged { .. }), "again, though nothing has changed");
    fs::remove_file(&labels).unwrap();
    assert!(error(&mut follower).to_string().contains("it is missing"));
    assert!(error(&mut Follower::new(it.store.clone())).to_string().contains("it is missing"));
    // Nobody writes to the pipe, and a look does not wait.
    assert!(Command::new("mkfifo").arg(&labels).status().unwrap().success());
    assert!(error(&mut follower).to_string().contains("it is not a file"));
    fs::remove_file(&labels).unwrap();
    fs::write(&labels, text).unwrap();
    assert_eq!(look(&mut follower), before);
    // The store is gone: another folder is in its place.
    let elsewhere = it.folder.path().join("elsewhere");
    fs::rename(it.store.path(), &elsewhere).unwrap();
    follower.look().unwrap_err();
    fs::create_dir(it.store.path()).unwrap();
    assert!(matches!(follower.look().unwrap_err(), StoreError::NotAStore { .. }));
    fs::remove_dir(it.store.path()).unwrap();
    fs::rename(&elsewhere, it.store.path()).unwrap();
    assert_eq!(look(&mut follower), before);
}
