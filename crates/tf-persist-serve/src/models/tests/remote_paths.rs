//! Base paths elsewhere. The files of a version are in a folder, which stands for a cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::harness::{Harness, Text, latest, states, wait, wait_states};
use crate::models::State::{Available, End};
use crate::models::config::{BasePath, Policy, check, read};
use crate::models::handle::Handle;
use crate::models::remote_paths::{RemoteModel, poll};
use crate::models::{ModelSettings, ModelSource, RemotePaths, RemoteVersion};

/// A bucket that a test changes: its folders, and the versions in them.
#[derive(Debug)]
struct Bucket {
    folders: Mutex<Result<BTreeMap<String, RemoteVersion>, String>>,
    /// The folders whose versions were looked at.
    looked: Mutex<Vec<String>>,
    in_use: Mutex<BTreeSet<PathBuf>>,
}

impl RemotePaths for Bucket {
    fn check(&self, base_path: &str) -> Result<(), String> {
        if base_path.starts_with("s3://") { Ok(()) } else { Err(format!("`{base_path}` is not a bucket")) }
    }

    fn folders(&self, _base_path: &str, in_use: &BTreeSet<PathBuf>) -> Result<Vec<String>, String> {
        self.in_use.lock().unwrap().clone_from(in_use);
        Ok(self.folders.lock().unwrap().clone()?.into_keys().collect())
    }

    fn version(&self, _base_path: &str, folder: &str) -> Result<RemoteVersion, String> {
        self.looked.lock().unwrap().push(folder.to_owned());
        Ok(self.folders.lock().unwrap().as_ref().map_err(Clone::clone)?[folder].clone())
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { folders: Mutex::new(Ok(BTreeMap::new())), looked: Mutex::default(), in_use: Mutex::default() }
    }
}

impl Bucket {
    fn put(&self, folder: &str, version: RemoteVersion) {
        let mut folders = self.folders.lock().unwrap();
        match &mut *folders {
            Ok(folders) => drop(folders.insert(folder.to_owned(), version)),
            gone => *gone = Ok(BTreeMap::from([(folder.to_owned(), version)])),
        }
    }

    fn set(&self, folders: Result<BTreeMap<String, RemoteVersion>, String>) {
        *self.folders.lock().unwrap() = folders;
    }
}

fn incomplete(reason: &str) -> RemoteVersion {
    RemoteVersion::Incomplete(reason.to_owned())
}

fn settings(harness: &Harness, bucket: &Arc<Bucket>) -> ModelSettings {
    let source = ModelSource::BasePath { name: "m".into(), path: "s3://bucket/m/".into() };
    harness
        .settings(source)
        .remote_paths(Arc::clone(bucket) as Arc<dyn RemotePaths>)
        .remote_poll(Duration::from_millis(10))
}

fn problem(models: &Handle<Text>) -> String {
    models.view().list()[0].problem.clone().unwrap_or_default()
}

#[test]
fn the_newest_complete_version_is_served() {
    let (it, bucket) = (Harness::new(), Arc::new(Bucket::default()));
    let complete = |number: i64, text: &str| RemoteVersion::Complete(it.put("cache", number, text));
    bucket.put("1", complete(1, "one"));
    bucket.put("2", incomplete("it has no `saved_model.pb`"));
    bucket.put("notes", incomplete("never looked at"));
    let models = it.serve(settings(&it, &bucket));
    assert_eq!(latest(&models, "m").unwrap(), "one");
    wait("the reason is known", || {
        problem(&models).contains("version 2 under `s3://bucket/m` is not complete: it has no")
    });
    bucket.put("2", complete(2, "two"));
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!((latest(&models, "m").unwrap().as_str(), problem(&models).as_str()), ("two", ""));
    assert!(!bucket.looked.lock().unwrap().iter().any(|folder| folder == "notes"));
    // The newest folder is deleted: back to the one before.
    bucket.set(Ok(BTreeMap::from([("1".to_owned(), complete(11, "one again"))])));
    wait("the version before is served", || latest(&models, "m").as_deref() == Some("one again"));
}

#[test]
fn a_loaded_version_stays_as_it_is() {
    let (it, bucket) = (Harness::new(), Arc::new(Bucket::default()));
    let path = it.put("cache", 1, "one");
    bucket.put("1", RemoteVersion::Complete(path.clone()));
    let models = it.serve(settings(&it, &bucket));
    // The polls from before it was loaded are over.
    wait("the loaded version is in use", || *bucket.in_use.lock().unwrap() == BTreeSet::from([path.clone()]));
    bucket.looked.lock().unwrap().clear();
    bucket.put("1", RemoteVersion::Complete(it.put("cache", 10, "changed")));
    bucket.in_use.lock().unwrap().clear();
    wait("it is polled again", || *bucket.in_use.lock().unwrap() == BTreeSet::from([path.clone()]));
    bucket.set(Err("the bucket is gone".to_owned()));
    wait("the problem is known", || problem(&models) == "the bucket is gone");
    assert_eq!(latest(&models, "m").unwrap(), "one");
    assert_eq!(states(&models, "m"), [(1, Available)]);
    // It is not even asked for.
    assert!(bucket.looked.lock().unwrap().is_empty());
}

#[test]
fn a_version_that_failed_is_loaded_again_when_its_files_change() {
    let (it, bucket) = (Harness::new(), Arc::new(Bucket::default()));
    bucket.put("1", RemoteVersion::Complete(it.put("cache", 1, "one")));
    let models = it.serve(settings(&it, &bucket));
    bucket.put("2", RemoteVersion::Complete(it.put("cache", 20, "forbidden")));
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    bucket.put("2", RemoteVersion::Complete(it.put("cache", 21, "two")));
    wait("the new files are loaded", || latest(&models, "m").as_deref() == Some("two"));
}

#[test]
fn policies_choose_among_complete_versions() {
    let bucket = Bucket::default();
    for number in 1..=40 {
        bucket.put(&number.to_string(), RemoteVersion::Complete(format!("/{number}").into()));
    }
    bucket.put("00041", RemoteVersion::Complete("/41".into()));
    bucket.put("42", incomplete("no"));
    let found = |policy: Policy, loaded: &[i64]| {
        let loaded = loaded.iter().map(|number| (*number, PathBuf::from("/loaded"))).collect();
        let (name, base_path) = ("m".to_owned(), "s3://bucket/m".to_owned());
        let model = RemoteModel { name, base_path, policy, loaded, in_use: BTreeSet::new() };
        poll(&bucket, vec![model]).remove(0).found.unwrap().versions
    };
    let numbers = |policy: Policy| found(policy, &[]).into_keys().collect::<Vec<_>>();
    assert_eq!(numbers(Policy::Latest(2)), [40, 41]);
    assert_eq!(numbers(Policy::Specific(BTreeSet::from([3, 42, 77]))), [3]);
    assert_eq!(numbers(Policy::All).len(), 41);
    assert_eq!(found(Policy::Latest(1), &[42])[&42], PathBuf::from("/loaded"));
}

#[test]
fn a_bucket_with_many_numbers_is_asked_for_few() {
    let bucket = Bucket::default();
    bucket.set(Ok((1..=100_000).map(|number| (number.to_string(), incomplete("no"))).collect()));
    let model = |policy: Policy| RemoteModel {
        name: "m".into(),
        base_path: "s3://bucket/m".into(),
        policy,
        loaded: BTreeMap::new(),
        in_use: BTreeSet::new(),
    };
    let found = poll(&bucket, vec![model(Policy::Latest(1))]).remove(0).found.unwrap();
    assert!(found.versions.is_empty() && found.warning.unwrap().contains("version 100000"));
    assert!(bucket.looked.lock().unwrap().len() < 20);
    bucket.set(Ok((1..=100_000).map(|number| (number.to_string(), RemoteVersion::Complete("/x".into()))).collect()));
    let error = poll(&bucket, vec![model(Policy::All)]).remove(0).found.unwrap_err();
    assert!(error.contains("more than 1000 versions"), "{error}");
}

#[test]
fn schemes_are_checked() {
    let config = |path: &str| read(Some(&ModelSource::BasePath { name: "m".into(), path: path.into() })).unwrap();
    let bucket = Bucket::default();
    let checked =
        |path: &str| check(&config(path), None, Some(&bucket)).map(|mut it| it.remove("m").unwrap().base_path);
    assert_eq!(checked("s3://b/m/").unwrap(), Some(BasePath::Remote("s3://b/m".into())));
    assert_eq!(checked("file:///m").unwrap(), Some(BasePath::Folder("/m".into())));
    assert!(checked("hdfs://b/m").unwrap_err().message.ends_with("`hdfs://b/m` is not a bucket"));
}
