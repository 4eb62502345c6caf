//! Publication: files, numbers, links, adoption.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;

use serde_json::{Value, json};
use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_savedmodel::{SavedModel, Tensor};
use tf_persist_store::{Folder, PublishOptions, Store, StoreError, Version};
use tf_persist_testing::copy_folder;

use crate::{TestStore, label, model, model_folder, reference};

#[test]
fn a_version_is_a_plain_model_with_a_manifest() {
    let it = TestStore::new();
    let metadata = json!({"accuracy": 0.97});
    let options = PublishOptions::default()
        .label(label("production"))
        .note("first")
        .metadata(metadata.as_object().unwrap().clone());
    let version = it.store.publish(&model("digits"), model_folder("digits"), options).unwrap();
    assert_eq!(version.path(), it.store.path().join("digits/1"));
    assert!(SavedModel::open(version.path()).unwrap().signature("serving_default").is_ok());

    let manifest = version.manifest();
    assert_eq!((manifest.model.as_str(), manifest.version, manifest.parent), ("digits", 1, None));
    assert_eq!((manifest.note.as_deref(), &manifest.metadata["accuracy"]), (Some("first"), &json!(0.97)));
    assert!(manifest.source.ends_with("models/digits/model"), "{}", manifest.source);
    assert!(manifest.tensorflow_version.starts_with("2."), "{}", manifest.tensorflow_version);
    let signature = &manifest.signatures[0];
    assert_eq!((signature.name.as_str(), signature.inputs[0].name.as_str()), ("serving_default", "image"));
    assert!(manifest.files.iter().any(|file| file.name == "variables/variables.index"));
    for file in &manifest.files {
        let found = fs::metadata(version.path().join(&file.name)).unwrap();
        assert_eq!(found.len(), file.size);
        assert_eq!(found.permissions().mode() & 0o222, 0, "{} can be written to", file.name);
    }
    assert_eq!(it.store.resolve(&reference("digits@production")).unwrap(), version);
    assert_eq!(it.store.verify(&version).unwrap(), []);
    // Nothing is left of the staging.
    assert_eq!(fs::read_dir(it.store.path().join("digits/.store/staging")).unwrap().count(), 0);
}

#[test]
fn equal_files_of_versions_are_one_file() {
    let it = TestStore::new();
    let source = it.folder.path().join("source");
    copy_folder(&model_folder("digits"), &source);
    let publish = || it.store.publish(&model("digits"), &source, PublishOptions::default()).unwrap();
    let note = source.join("assets.extra/note");
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, "one").unwrap();
    let first = publish();
    fs::write(&note, "two").unwrap();
    let second = publish();
    assert_eq!(second.manifest().parent, Some(1));
    let inode = |path: &Path, name: &str| fs::metadata(path.join(name)).unwrap().ino();
    for file in &second.manifest().files {
        let is_linked = inode(first.path(), &file.name) == inode(second.path(), &file.name);
        assert_eq!(is_linked, file.name != "assets.extra/note", "{}", file.name);
    }
    // The source stays its owner's.
    let permissions = fs::metadata(&note).unwrap().permissions();
    assert_ne!(permissions.mode() & 0o200, 0);
    let linked = it.store.publish(&model("other"), &source, PublishOptions::default().link(true)).unwrap();
    assert_eq!(inode(linked.path(), "saved_model.pb"), inode(&source, "saved_model.pb"));
}

#[test]
fn a_model_with_a_damaged_tensor_is_refused() {
    let it = TestStore::new();
    let source = it.folder.path().join("source");
    copy_folder(&model_folder("digits"), &source);
    let shard = source.join("variables/variables.data-00000-of-00001");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    fs::write(&shard, bytes).unwrap();
    for plain in [false, true] {
        let options = PublishOptions::default().plain(plain);
        let error = it.store.publish(&model("digits"), &source, options).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
    }
    // Not even a name is taken.
    assert!(matches!(it.store.overview(&model("digits")), Err(StoreError::UnknownModel { .. })));
}

#[test]
fn numbers_are_chosen_or_given_and_never_used_again() {
    let it = TestStore::with_versions(2);
    let publish = |options| it.store.publish(&model("m"), model_folder("half_plus_two"), options);
    assert_eq!(publish(PublishOptions::default().version(7)).unwrap().number(), 7);
    assert_eq!(it.publish("half_plus_two").number(), 8);
    let taken = publish(PublishOptions::default().version(7)).unwrap_err();
    assert_eq!(taken.to_string(), "`m` has a version 7 already");
    assert!(publish(PublishOptions::default().version(0)).is_err());
    // A number between that was never used.
    assert_eq!(publish(PublishOptions::default().version(5)).unwrap().number(), 5);
    it.store.remove(&it.find("m@8")).unwrap();
    assert!(matches!(publish(PublishOptions::default().version(8)), Err(StoreError::VersionUsed { version: 8, .. })));
    assert_eq!(it.publish("half_plus_two").number(), 9);
    let by_time = publish(PublishOptions::default().timestamp()).unwrap().number();
    assert!(by_time > 1_700_000_000, "{by_time}");
}

#[test]
fn foreign_folders_are_shown_and_can_be_adopted() {
    let it = TestStore::with_versions(1);
    copy_folder(&model_folder("half_plus_two"), &it.store.path().join("m/4"));
    copy_folder(&model_folder("half_plus_two"), &it.store.path().join("m/007"));
    let overview = it.store.overview(&model("m")).unwrap();
    let foreign = |name: &str| Folder::Foreign(name.to_owned());
    assert_eq!(overview.folders, [Folder::Published(1), foreign("4"), foreign("007")]);
    let error = it.store.resolve(&reference("m@4")).unwrap_err();
    assert!(error.to_string().ends_with("was not published: the store has no manifest of it"), "{error}");
    let error = it.store.publish(&model("m"), model_folder("half_plus_two"), PublishOptions::default().version(4));
    assert!(matches!(error, Err(StoreError::Foreign { version: 4, .. })));
    // It counts for the next number, which TensorFlow Serving is to take for the newest.
    assert_eq!(it.publish("half_plus_two").number(), 8);
    let adopted = it.store.publish(&model("m"), it.store.path().join("m/4"), PublishOptions::default()).unwrap();
    assert_eq!(adopted.number(), 4);
    assert_eq!(it.store.verify(&adopted).unwrap(), []);
    // A published version can be published once more.
    let again = it.store.publish(&model("m"), it.store.path().join("m/4"), PublishOptions::default()).unwrap();
    assert_eq!((again.number(), &again.manifest().files), (9, &adopted.manifest().files));
}

#[test]
fn what_cannot_be_published_changes_nothing() {
    let it = TestStore::with_versions(1);
    let refused = |change: &dyn Fn(&Path)| {
        let source = it.folder.path().join("source");
        copy_folder(&model_folder("half_plus_two"), &source);
        change(&source);
        let error = it.store.publish(&model("m"), &source, PublishOptions::default()).unwrap_err().to_string();
        fs::remove_dir_all(&source).unwrap();
        assert_eq!(it.store.overview(&model("m")).unwrap().folders, [Folder::Published(1)]);
        error
    };
    let half = refused(&|it| fs::remove_file(it.join("variables/variables.index")).unwrap());
    assert!(half.contains("variables"), "{half}");
    let cut = refused(&|it| {
        let shard = it.join("variables/variables.data-00000-of-00001");
        let bytes = fs::read(&shard).unwrap();
        fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(cut.contains("variables.data"), "{cut}");
    assert!(refused(&|it| fs::remove_file(it.join("saved_model.pb")).unwrap()).contains("saved_model.pb"));
    assert!(refused(&|it| symlink("saved_model.pb", it.join("link")).unwrap()).contains("symbolic link"));
    let checked = it.store.publish_checked(
        &model("m"),
        model_folder("half_plus_two"),
        PublishOptions::default().label(label("production")),
        |folder| {
            assert!(folder.join("saved_model.pb").is_file());
            Err("answers differ".into())
        },
    );
    assert!(checked.unwrap_err().to_string().ends_with("answers differ"));
    assert_eq!(it.store.overview(&model("m")).unwrap().labels, []);
}

#[test]
fn two_publishers_of_one_version_make_one() {
    let it = TestStore::new();
    let barrier = Barrier::new(2);
    let publish = || {
        barrier.wait();
        it.store.publish(&model("m"), model_folder("half_plus_two"), PublishOptions::default().version(3)).is_ok()
    };
    let won = std::thread::scope(|scope| {
        let threads = [scope.spawn(publish), scope.spawn(publish)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(it.store.log(&model("m")).unwrap().len(), 1);
}

#[test]
fn a_folder_of_tensorflow_serving_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&model_folder("half_plus_two"), &folder.path().join("m/1"));
    let store = Store::init(folder.path()).unwrap();
    assert_eq!(store.overview(&model("m")).unwrap().folders, [Folder::Foreign("1".to_owned())]);
    store.publish(&model("m"), folder.path().join("m/1"), PublishOptions::default()).unwrap();
    assert!(store.resolve(&reference("m")).is_ok());
    // A second init opens what is there.
    assert_eq!(Store::init(folder.path()).unwrap().models().unwrap(), [model("m")]);

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("file"), "").unwrap();
    assert!(matches!(Store::init(other.path()), Err(StoreError::NotEmpty { others, .. }) if others == ["file"]));
    assert!(matches!(Store::open(other.path()), Err(StoreError::NotAStore { instead: None, .. })));
    let instead = |path: &Path| match Store::open(path) {
        Err(StoreError::NotAStore { instead, .. }) => instead,
        opened => panic!("{opened:?}"),
    };
    assert_eq!(instead(&folder.path().join("m")).as_deref(), Some(folder.path()));
    std::os::unix::fs::symlink(folder.path(), other.path().join("inside")).unwrap();
    assert_eq!(instead(other.path()), Some(other.path().join("inside")));
    fs::write(folder.path().join("store.json"), "{\"format\":2}").unwrap();
    assert!(Store::open(folder.path()).unwrap_err().to_string().contains("has format 2"));
}

#[test]
fn names_that_differ_in_case_only_are_refused() {
    let it = TestStore::with_versions(1);
    let error = it.store.publish(&model("M"), model_folder("half_plus_two"), PublishOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::SimilarModel { .. }), "{error}");
}

#[test]
fn tensors_that_are_stored_twice_are_published_once() {
    let it = TestStore::new();
    let source = it.folder.path().join("source");
    copy_folder(&model_folder("half_plus_two"), &source);
    fs::write(source.join("README"), "text").unwrap();
    let shard = |folder: &Path| fs::metadata(folder.join("variables/variables.data-00000-of-00001")).unwrap().len();
    // The two variables of the model, and a large tensor under two keys.
    let reader = CheckpointReader::open(source.join("variables/variables")).unwrap();
    let mut writer = CheckpointWriter::create(it.folder.path().join("new/variables")).unwrap();
    for entry in &reader.index().entries {
        writer.add_from(&entry.key, &reader, &entry.key).unwrap();
    }
    let large = Tensor::from_slice(&[1000], &[0.5_f32; 1000]).unwrap();
    writer.add("variables/0", &large).unwrap();
    writer.add("_all_variables/0", &large).unwrap();
    writer.finish().unwrap();
    fs::remove_dir_all(source.join("variables")).unwrap();
    fs::rename(it.folder.path().join("new"), source.join("variables")).unwrap();
    fs::remove_file(source.join("fingerprint.pb")).unwrap();

    let publish = |options| it.store.publish(&model("m"), &source, options).unwrap();
    let once = publish(PublishOptions::default());
    assert_eq!(shard(once.path()), shard(&source) - 4000);
    assert_eq!(fs::read(once.path().join("README")).unwrap(), b"text");
    assert_eq!(it.store.verify(&once).unwrap(), []);
    // Published once more, it is the same file.
    let again = publish(PublishOptions::default());
    let inode = |path: &Path| fs::metadata(path.join("variables/variables.data-00000-of-00001")).unwrap().ino();
    assert_eq!(inode(again.path()), inode(once.path()));
    assert_eq!(shard(publish(PublishOptions::default().plain(true)).path()), shard(&source));
}

#[test]
fn a_change_that_a_stranger_wrote_down_moves_nothing_from_elsewhere() {
    let it = TestStore::with_versions(1);
    let elsewhere = it.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let hidden = it.store.path().join("m/.store");
    let labels: Value = serde_json::from_str(&fs::read_to_string(hidden.join("labels.json")).unwrap()).unwrap();
    for staged in ["../../../../elsewhere", elsewhere.to_str().unwrap()] {
        let step = json!({"publish": {"version": 2, "staged": staged, "manifest": "{}"}});
        fs::write(hidden.join("intent.json"), json!({"step": step, "labels": labels}).to_string()).unwrap();
        let error = it.store.publish(&model("m"), model_folder("half_plus_two"), PublishOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("it names a folder that is not in the staging folder"), "{error}");
        assert!(elsewhere.is_dir() && !it.store.path().join("m/2").exists());
    }
}

/// `M` would be the same folder where file systems ignore case.
#[test]
fn a_publication_that_fails_leaves_no_model() {
    let it = TestStore::new();
    let source = model_folder("half_plus_two");
    let refuse = |_: &Path| Err("no".into());
    let failed = it.store.publish_checked(&model("M"), &source, PublishOptions::default(), refuse);
    assert!(matches!(failed, Err(StoreError::Check(_))));
    let failed = it.store.publish(&model("M"), &source, PublishOptions::default().version(u64::MAX));
    assert!(matches!(failed, Err(StoreError::InvalidVersion { .. })));
    assert!(!it.store.path().join("M").exists());
    // A killed process leaves more, and so does a pull that can be gone on with.
    fs::create_dir_all(it.store.path().join("M/.store/staging/pull-0")).unwrap();
    assert_eq!(it.store.models().unwrap(), []);
    assert!(
        matches!(it.store.log(&model("M")), Err(StoreError::UnknownModel { known_models, .. }) if known_models.is_empty())
    );
    it.publish("half_plus_two");
    assert_eq!(it.store.models().unwrap(), [model("m")]);
    let similar = it.store.publish(&model("M"), &source, PublishOptions::default());
    assert!(matches!(similar, Err(StoreError::SimilarModel { .. })));
    fs::remove_dir(it.store.path().join("M/.store/staging/pull-0")).unwrap();
    let similar = it.store.publish(&model("m-M"), &source, PublishOptions::default());
    assert_eq!(similar.unwrap().number(), 1);
}

#[test]
fn a_folder_with_leading_zeros_is_the_same_version_for_tensorflow_serving() {
    let it = TestStore::with_versions(1);
    copy_folder(&model_folder("half_plus_two"), &it.store.path().join("m/007"));
    let folder = it.store.path().join("m/007");
    let is_it = |result: Result<Version, StoreError>| match result {
        Err(StoreError::Foreign { path, version: 7, .. }) => assert_eq!(path, folder),
        result => panic!("{result:?}"),
    };
    let publish = |source: &Path, options| it.store.publish(&model("m"), source, options);
    is_it(it.store.find(&reference("m@7")));
    is_it(publish(&folder, PublishOptions::default()));
    is_it(publish(&model_folder("half_plus_two"), PublishOptions::default().version(7)));
    fs::rename(&folder, it.store.path().join("m/7")).unwrap();
    assert_eq!(publish(&it.store.path().join("m/7"), PublishOptions::default()).unwrap().number(), 7);
}

/// The first pushes of several processes make the store together.
#[test]
fn several_make_one_store() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/store");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Store::init(&path).unwrap());
            }
        });
        assert_eq!(Store::open(&path).unwrap().models().unwrap(), []);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }
}
