//! What others did to the cache, or to a version that a pull starts from, is found and mended.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tf_persist_store::PublishOptions;
use tf_persist_store::remote::{Cache, PullOptions};
use tf_persist_store::signing::{SigningKey, Trusted};

use super::server::{Server, answer};
use super::{TestStore, model, model_folder, open, reference};

/// A file with other bytes of the same number, at its old name.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_files_are_fetched_again_while_others_use_the_version() {
    let here = TestStore::new();
    here.publish("digits");
    let server = Server::start(here.store.path(), |_| None);
    let (remote, cache) = (open(&server.address), Cache::at(here.folder.path().join("cache")));
    let held = cache.get(&remote, &reference("m")).unwrap();
    let path = |name: &str| held.version().path().join(name);
    damage(&path("saved_model.pb"));
    fs::remove_file(path("variables/variables.index")).unwrap();
    fs::write(path("assets.txt"), "added").unwrap();
    assert_eq!(held.version().faults().unwrap().len(), 3);
    server.requests.lock().unwrap().clear();
    let repaired = cache.repair(&remote, &reference("m")).unwrap();
    assert_eq!(repaired.version(), held.version());
    assert_eq!(held.version().faults().unwrap(), []);
    let requests = server.requests.lock().unwrap().iter().map(|it| it.path.clone()).collect::<Vec<_>>();
    let of_model = |path: &&String| path.starts_with("/m/1/") && !path.ends_with("/model.sig");
    let mut fetched: Vec<_> = requests.iter().filter(of_model).collect();
    fetched.sort();
    assert_eq!(fetched, ["/m/1/saved_model.pb", "/m/1/variables/variables.index"]);
}

#[test]
fn another_manifest_in_the_cache_is_replaced() {
    let here = TestStore::new();
    let published = here.publish("digits");
    let server = Server::start(here.store.path(), |_| None);
    let (remote, cache) = (open(&server.address), Cache::at(here.folder.path().join("cache")));
    let held = cache.get(&remote, &reference("m")).unwrap();
    // The files of another model, with the manifest that is right for them.
    let other = TestStore::new();
    let strange = other.publish("half_plus_two");
    let folder = held.version().path().parent().unwrap();
    fs::copy(other.store.path().join("m/.store/1.json"), folder.join("manifest.json")).unwrap();
    fs::remove_dir_all(held.version().path()).unwrap();
    for file in &strange.manifest().files {
        let to = held.version().path().join(&file.name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(strange.path().join(&file.name), to).unwrap();
    }
    assert_eq!(Cache::version_at(held.version().path()), None);
    let cached = cache.get(&remote, &reference("m")).unwrap();
    assert_eq!(cached.version().digest(), published.digest());
    assert_eq!(cached.version().faults().unwrap(), []);
    assert_eq!(Cache::version_at(held.version().path()).as_ref(), Some(cached.version()));
}

#[test]
fn a_store_without_a_signature_does_not_take_that_of_another() {
    let here = TestStore::new();
    let path = here.folder.path().join("key.pem");
    let trusted = Trusted::Key(SigningKey::create(&path).unwrap());
    let options = PublishOptions::default().sign(SigningKey::read(&path).unwrap());
    here.store.publish(&model("m"), model_folder("digits"), options).unwrap();
    let signed = Server::start(here.store.path(), |_| None);
    let unsigned = Server::start(here.store.path(), |request| {
        request.path.ends_with("/model.sig").then(|| answer("404 Not Found", &[], b""))
    });
    let cache = Cache::at(here.folder.path().join("cache"));
    cache.get(&open(&signed.address), &reference("m")).unwrap();
    let cached = cache.get(&open(&unsigned.address), &reference("m")).unwrap();
    cached.version().verify_signature(&trusted, false).unwrap();
    let mut names: Vec<_> = fs::read_dir(cached.version().path().parent().unwrap()).unwrap().flatten().collect();
    names.retain(|entry| entry.file_name().to_string_lossy().ends_with(".new"));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_link_in_the_place_of_a_known_file_is_not_taken() {
    let here = TestStore::new();
    here.publish("digits");
    here.publish("digits");
    let server = Server::start(here.store.path(), |_| None);
    let (remote, other) = (open(&server.address), TestStore::new());
    let first = remote.pull(&reference("m@1"), &other.store, &PullOptions::default()).unwrap();
    // Its bytes are right now, and may be others at any time.
    let (path, aside) = (first.version().path().join("saved_model.pb"), other.folder.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    let second = remote.pull(&reference("m@2"), &other.store, &PullOptions::default()).unwrap();
    assert_eq!(other.store.verify(second.version()).unwrap(), []);
}
