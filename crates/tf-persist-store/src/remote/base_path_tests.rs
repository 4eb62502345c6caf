//! Base paths in a bucket in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::base_path::BasePath;
use super::objects::{Answer, Body, Listed, Objects, Tag};
use super::{Cache, RemoteAddress, RemoteOptions};
use crate::error::Result;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");

/// What happens before the next answer with a file.
type Before = Box<dyn FnOnce(&mut BTreeMap<String, Object>) + Send>;

struct Object {
    bytes: Bytes,
    /// What the list says.
    size: u64,
    state: String,
}

/// A bucket that may lie.
#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Object>>,
    before: Mutex<Option<Before>>,
    gets: Mutex<Vec<String>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl Bucket {
    fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.objects.lock().unwrap().insert(key.to_owned(), object(bytes));
    }

    fn delete(&self, key: &str) {
        self.objects.lock().unwrap().remove(key).unwrap();
    }

    /// Puts a model of the repository under a number.
    fn put_model(&self, number: &str, model: &str) {
        let folder = format!("{MODELS}/{model}/model");
        for found in crate::files::walk(Path::new(&folder)).unwrap() {
            self.put(&format!("{number}/{}", found.name), fs::read(format!("{folder}/{}", found.name)).unwrap());
        }
    }
}

fn object(bytes: impl Into<Bytes>) -> Object {
    let bytes = bytes.into();
    let state = format!("{:x}", bytes.iter().fold(7_u64, |hash, byte| hash.wrapping_mul(31) ^ u64::from(*byte)));
    Object { size: bytes.len() as u64, bytes, state }
}

impl Objects for Bucket {
    fn place(&self, key: &str) -> String {
        format!("mem://bucket/m/{key}")
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Answer> {
        let mut objects = self.objects.lock().unwrap();
        if let Some(act) = self.before.lock().unwrap().take() {
            act(&mut objects);
        }
        self.gets.lock().unwrap().push(key.to_owned());
        let Some(object) = objects.get(key) else { return Ok(Answer::Absent) };
        let range = range.map_or(0..object.bytes.len(), |range| range.start as usize..range.end as usize);
        let chunks = Box::new(std::iter::once(Ok(object.bytes.slice(range))));
        Ok(Answer::Found(Body { size: object.size, tag: Tag::default(), chunks }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let objects = self.objects.lock().unwrap();
        let found = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = |(key, object): (&String, &Object)| Listed {
            key: key.clone(),
            size: object.size,
            state: object.state.clone(),
        };
        Ok(found.map(listed).collect())
    }

    fn folders(&self) -> Result<Vec<String>> {
        let objects = self.objects.lock().unwrap();
        let mut folders: Vec<String> =
            objects.keys().filter_map(|key| Some(key.split_once('/')?.0.to_owned())).collect();
        folders.dedup();
        Ok(folders)
    }
}

struct Here {
    bucket: Arc<Bucket>,
    base_path: BasePath,
    folder: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let bucket = Arc::new(Bucket::default());
        let base_path =
            BasePath::of("s3://bucket/m".parse().unwrap(), Arc::clone(&bucket) as _, RemoteOptions::default());
        Self { bucket, base_path, folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path().join("cache"))
    }

    /// Why a version is incomplete, or cannot be one; empty if it is complete.
    fn reason(&self, folder: &str) -> String {
        let version = match self.base_path.version(folder) {
            Ok(version) => version,
            Err(error) => return error.to_string(),
        };
        self.base_path.incomplete(&version, &self.cache().scratch().unwrap()).unwrap().unwrap_or_default()
    }
}

#[test]
fn a_version_is_complete_with_all_files_that_its_index_names() {
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    assert_eq!(it.reason("1"), "");
    // The order of `aws s3 cp`, of a sequential upload by names, and of one that is cut off.
    let data = "1/variables/variables.data-00000-of-00001";
    let bytes = it.bucket.objects.lock().unwrap()[data].bytes.clone();
    it.bucket.put(data, bytes.slice(..bytes.len() - 1));
    assert!(it.reason("1").contains("variables.data-00000-of-00001"), "{}", it.reason("1"));
    it.bucket.delete(data);
    let reason = it.reason("1");
    assert!(reason.contains("variables.data-00000-of-00001") && !reason.contains("/tmp"), "{reason}");
    it.bucket.delete("1/variables/variables.index");
    assert!(it.reason("1").contains("variables"), "{}", it.reason("1"));
    it.bucket.delete("1/saved_model.pb");
    assert_eq!(it.reason("1"), "it has no `saved_model.pb`");
    // A graph of constants needs no variables; a Keras file is one object.
    let frozen = it.folder.path().join("frozen");
    let model = tf_persist_savedmodel::SavedModel::open(format!("{MODELS}/digits/model")).unwrap();
    model.save(&frozen, tf_persist_savedmodel::SaveOptions::default().frozen(true)).unwrap();
    it.bucket.put("2/saved_model.pb", fs::read(frozen.join("saved_model.pb")).unwrap());
    it.bucket.put("3/model.keras", "whatever");
    assert_eq!((it.reason("2"), it.reason("3")), (String::new(), String::new()));
}

#[test]
fn what_was_checked_is_not_read_again() {
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    for _ in 0..3 {
        assert_eq!(it.reason("1"), "");
    }
    assert_eq!(*it.bucket.gets.lock().unwrap(), ["1/variables/variables.index"]);
}

#[test]
fn names_that_are_hostile() {
    let reason = |names: &[&str]| {
        let it = Here::new();
        names.iter().for_each(|name| it.bucket.put(&format!("1/{name}"), "x"));
        it.reason("1")
    };
    for name in ["../../x", "a/../../x", "a//b", "a\\..\\b", "."] {
        assert!(reason(&["saved_model.pb", name]).contains("leads out of its folder"), "{name}");
    }
    assert!(reason(&["A", "a"]).contains("in case only"));
    assert!(reason(&["a", "a/b"]).contains("is a file and a folder"));
    // A console's folders are no files.
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    for folder in ["1/variables", "1/assets", "1"] {
        it.bucket.put(folder, "");
    }
    assert_eq!(it.reason("1"), "");
    let version = it.base_path.version("1").unwrap();
    assert!(version.files.iter().all(|file| file.name.contains('.')));
}

#[test]
fn lies_about_sizes() {
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    let name = "1/fingerprint.pb";
    let set = |bytes: usize, size: u64| {
        let mut objects = it.bucket.objects.lock().unwrap();
        let object = objects.get_mut(name).unwrap();
        (object.bytes, object.size) = (vec![0; bytes].into(), size);
    };
    let get = || it.cache().get_listed(&it.base_path, &it.base_path.version("1").unwrap()).map_err(|it| it.to_string());
    set(1 << 20, 10);
    assert!(get().unwrap_err().contains("instead of 10"));
    set(10, 1000);
    assert!(get().unwrap_err().contains("instead of 1000"));
    set(10, u64::MAX);
    assert!(it.base_path.version("1").unwrap_err().to_string().contains("bytes"));
    // An index that is too large is not read.
    set(10, 10);
    it.bucket.objects.lock().unwrap().get_mut("1/variables/variables.index").unwrap().size = 1 << 40;
    assert!(it.reason("1").contains("has more than"), "{}", it.reason("1"));
}

#[test]
fn other_contents_are_another_version() {
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    it.bucket.put_model("2", "digits");
    let cache = it.cache();
    let one = it.base_path.version("1").unwrap();
    let cached = cache.get_listed(&it.base_path, &one).unwrap();
    assert_eq!(cached.path(), cache.folder_of_listed(&one));
    tf_persist_savedmodel::SavedModel::open(cached.path()).unwrap().variables().unwrap();
    it.bucket.gets.lock().unwrap().clear();
    drop(cache.get_listed(&it.base_path, &one).unwrap());
    assert!(it.bucket.gets.lock().unwrap().is_empty());
    it.bucket.put("1/fingerprint.pb", "other");
    let changed = it.base_path.version("1").unwrap();
    assert_ne!(cache.folder_of_listed(&changed), cache.folder_of_listed(&one));
    // Files that are replaced while others come may not belong together.
    *it.bucket.before.lock().unwrap() = Some(Box::new(|objects| {
        objects.insert("1/saved_model.pb".to_owned(), object("another graph"));
    }));
    let error = cache.get_listed(&it.base_path, &changed).unwrap_err().to_string();
    assert!(error.contains("instead of") || error.contains("were replaced while they were fetched"), "{error}");
    assert!(!cache.folder_of_listed(&changed).join("saved_model.pb").exists() || error.contains("instead of"));
}

#[test]
fn versions_without_manifests_are_deleted_when_the_cache_is_full() {
    let it = Here::new();
    it.bucket.put_model("1", "digits");
    it.bucket.put_model("2", "digits");
    let cache = it.cache().limit(1);
    let (one, two) = (it.base_path.version("1").unwrap(), it.base_path.version("2").unwrap());
    let held = cache.get_listed(&it.base_path, &one).unwrap();
    drop(cache.get_listed(&it.base_path, &two).unwrap());
    // In use.
    assert!(cache.folder_of_listed(&one).exists());
    drop(held);
    it.bucket.put("2/fingerprint.pb", "other");
    drop(cache.get_listed(&it.base_path, &it.base_path.version("2").unwrap()).unwrap());
    assert!(!cache.folder_of_listed(&one).exists() && !cache.folder_of_listed(&two).exists());
}

#[test]
fn places_that_cannot_be_listed() {
    let check = |text: &str| BasePath::check_address(&text.parse::<RemoteAddress>().unwrap());
    for bucket in ["s3://b/m", "gs://b/m", "az://c/m"] {
        check(bucket).unwrap();
    }
    assert!(check("https://host/m").unwrap_err().to_string().contains("cannot be listed"));
    assert!(check("models").is_err());
    // Nothing there is like a folder that does not exist: what is served stays.
    assert!(Here::new().base_path.folders().unwrap_err().to_string().contains("does not exist"));
}
