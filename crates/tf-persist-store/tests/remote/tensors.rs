//! Of a version with one changed variable, only that variable comes.

use std::fs;
use std::path::Path;

use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_savedmodel::tensor::Tensor;
use tf_persist_store::PublishOptions;
use tf_persist_store::remote::{Cache, PullOptions, Transferred};

use super::server::{Request, Server, file};
use super::{TestStore, model, model_folder, open, reference};

/// A model with further variables of so many floats, whose values depend on a seed.
pub(crate) fn write_model(folder: &Path, variables: &[(&str, usize)], seed: f32) {
    let source = model_folder("half_plus_two");
    fs::create_dir_all(folder.join("variables")).unwrap();
    fs::copy(source.join("saved_model.pb"), folder.join("saved_model.pb")).unwrap();
    let reader = CheckpointReader::open(source.join("variables/variables")).unwrap();
    let mut writer = CheckpointWriter::create(folder.join("variables/variables")).unwrap();
    for entry in &reader.index().entries {
        writer.add_from(&entry.key, &reader, &entry.key).unwrap();
    }
    for (name, elements) in variables {
        let own = seed * name.len() as f32;
        let values: Vec<f32> = (0..*elements).map(|index| own + (index % 8191) as f32).collect();
        writer.add(&format!("z/{name}"), &Tensor::from_slice(&[*elements], &values).unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

/// A store with two versions, of which one variable of 16 MB and one of 40 bytes differ.
fn with_two_versions() -> TestStore {
    let here = TestStore::new();
    let (one, two, whole) = (here.folder.path().join("one"), here.folder.path().join("two"), PublishOptions::default);
    write_model(&one, &[("a", 4 << 20), ("bb", 4 << 20), ("ccc", 10)], 1.0);
    write_model(&two, &[("a", 4 << 20), ("bb", 4 << 20), ("ccc", 10)], 1.0);
    let (from, to) = (one.join("variables/variables"), two.join("variables/variables"));
    let reader = CheckpointReader::open(&from).unwrap();
    fs::remove_dir_all(two.join("variables")).unwrap();
    fs::create_dir_all(two.join("variables")).unwrap();
    let mut writer = CheckpointWriter::create(to).unwrap();
    for entry in &reader.index().entries {
        match entry.key.as_str() {
            "z/bb" => writer.add("z/bb", &Tensor::from_slice(&[4 << 20], &vec![7.5_f32; 4 << 20]).unwrap()).unwrap(),
            key => writer.add_from(key, &reader, key).unwrap(),
        }
    }
    writer.finish().unwrap();
    here.store.publish(&model("m"), &one, whole()).unwrap();
    here.store.publish(&model("m"), &two, whole()).unwrap();
    here
}

/// The bytes of data files that a server was asked for.
fn received(requests: &[Request]) -> u64 {
    let ranges = requests.iter().filter(|it| it.path.contains("variables.data")).map(|it| it.header("range").unwrap());
    ranges
        .map(|range| {
            let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            to.parse::<u64>().unwrap() + 1 - from.parse::<u64>().unwrap()
        })
        .sum()
}

#[test]
fn only_changed_tensors_are_pulled() {
    let here = with_two_versions();
    let server = Server::start(here.store.path(), |_| None);
    let (other, remote) = (TestStore::new(), open(&server.address));
    remote.pull(&reference("m@1"), &other.store, &PullOptions::default()).unwrap();
    assert_eq!(received(&server.requests.lock().unwrap()), here_size(&here, 1));
    server.requests.lock().unwrap().clear();
    let pulled = remote.pull(&reference("m@2"), &other.store, &PullOptions::default()).unwrap();
    assert!(matches!(pulled, Transferred::Done(_)));
    assert_eq!(other.store.verify(pulled.version()).unwrap(), []);
    // Strings have checksums of another kind, and come again.
    assert!((16 << 20..(16 << 20) + 1000).contains(&received(&server.requests.lock().unwrap())));
    // The graph is a link to that of the other version, which did not come again.
    assert!(server.requests.lock().unwrap().iter().all(|it| !it.path.ends_with("saved_model.pb")));
    // The same holds for the cache.
    let cache = Cache::at(other.folder.path().join("cache"));
    cache.get(&remote, &reference("m@1")).unwrap();
    server.requests.lock().unwrap().clear();
    cache.get(&remote, &reference("m@2")).unwrap();
    // Strings have checksums of another kind, and come again.
    assert!((16 << 20..(16 << 20) + 1000).contains(&received(&server.requests.lock().unwrap())));
}

fn here_size(here: &TestStore, version: u64) -> u64 {
    let version = here.store.find(&reference(&format!("m@{version}"))).unwrap();
    version.manifest().files.iter().find(|file| file.name.contains(".data-")).unwrap().size
}

#[test]
fn damaged_tensors_of_this_machine_are_not_taken() {
    let here = with_two_versions();
    let server = Server::start(here.store.path(), |_| None);
    let (other, remote) = (TestStore::new(), open(&server.address));
    let first = remote.pull(&reference("m@1"), &other.store, &PullOptions::default()).unwrap();
    let path = first.version().path().join("variables/variables.data-00000-of-00001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    server.requests.lock().unwrap().clear();
    let pulled = remote.pull(&reference("m@2"), &other.store, &PullOptions::default()).unwrap();
    assert_eq!(other.store.verify(pulled.version()).unwrap(), []);
    assert!(received(&server.requests.lock().unwrap()) >= 32 << 20);
}

#[test]
fn equal_checksums_of_other_bytes_are_found() {
    // The server tells of an index in which both large tensors have the checksum of one.
    let here = with_two_versions();
    let folder = here.store.path().to_path_buf();
    let server = Server::start(here.store.path(), move |request| {
        request.path.ends_with("/2/variables/variables.index").then(|| {
            let mut first = request.clone();
            first.path = first.path.replace("/2/", "/1/");
            file(&folder, &first)
        })
    });
    let (other, remote) = (TestStore::new(), open(&server.address));
    remote.pull(&reference("m@1"), &other.store, &PullOptions::default()).unwrap();
    let error = remote.pull(&reference("m@2"), &other.store, &PullOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("has other contents than the manifest says"), "{error}");
    assert!(other.store.find(&reference("m@2")).is_err());
}
