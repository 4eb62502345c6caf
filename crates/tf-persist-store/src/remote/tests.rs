//! Pushes and gc that meet each other. The bucket is in memory, so that a writer can act between two requests of
//! another.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;

use super::model::RemoteModel;
use super::objects::{Answer, Body, Listed, Objects, Tag, Written};
use super::push::push;
use super::{PullOptions, PushOptions, Remote, RemoteErrorKind, RemoteOptions, Transferred};
use crate::error::{Result, StoreError};
use crate::labels::Labels;
use crate::{ModelName, PublishOptions, Store, Version};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");

/// A request that something precedes: its name and key, and what.
type Before<'a> = (&'static str, &'static str, Box<dyn FnOnce() -> Result<()> + Send + 'a>);

/// A bucket that keeps preconditions.
#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
}

impl Bucket {
    fn write(&self, key: &str, bytes: Bytes, is_wanted: impl Fn(Option<u64>) -> bool) -> Written {
        let mut objects = self.objects.lock().unwrap();
        let state = objects.get(key).map(|(_, state)| *state);
        if !is_wanted(state) {
            return Written::Refused;
        }
        objects.insert(key.to_owned(), (bytes, state.unwrap_or(0) + 1));
        Written::Yes
    }

    /// The keys and bytes of the files of version 1 and its manifest.
    fn version(&self) -> Vec<(String, Bytes)> {
        let objects = self.objects.lock().unwrap();
        let files = objects.iter().filter(|(key, _)| key.starts_with("m/1/") || *key == "m/.store/1.json");
        files.map(|(key, (bytes, _))| (key.clone(), bytes.clone())).collect()
    }

    fn has(&self, key: &str) -> bool {
        self.objects.lock().unwrap().contains_key(key)
    }

    /// Makes the claim one of two days ago.
    fn age(&self) {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
        self.change_claim("at", &then.to_string());
    }

    fn change_claim(&self, field: &str, value: &str) {
        let mut objects = self.objects.lock().unwrap();
        let (bytes, state) = objects.get_mut("m/.store/1.claim").unwrap();
        let mut claim: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        claim[field] = value.into();
        (*bytes, *state) = (serde_json::to_vec(&claim).unwrap().into(), *state + 1);
    }
}

/// A client of a bucket.
struct Client<'a> {
    bucket: &'a Bucket,
    before: Mutex<Option<Before<'a>>>,
    /// A key that the server says exists and does not exist.
    contradicted: Option<&'static str>,
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl<'a> Client<'a> {
    fn new(bucket: &'a Bucket) -> Self {
        Self { bucket, before: Mutex::new(None), contradicted: None }
    }

    /// Does something before a request, once. If that fails, so does the request.
    fn before(self, request: &'static str, key: &'static str, act: impl FnOnce() -> Result<()> + Send + 'a) -> Self {
        *self.before.lock().unwrap() = Some((request, key, Box::new(act)));
        self
    }

    fn cut_off(self, request: &'static str, key: &'static str) -> Self {
        let kind = RemoteErrorKind::Failed { reason: "cut off".to_owned() };
        let error = self.refuse(key, kind);
        self.before(request, key, move || Err(error))
    }

    fn meet(&self, request: &str, key: &str) -> Result<()> {
        let act = self.before.lock().unwrap().take_if(|before| (before.0, before.1) == (request, key));
        act.map_or(Ok(()), |(.., act)| act())
    }

    fn push(&self, here: &Here) -> Result<Transferred> {
        let name = model();
        let model = RemoteModel { objects: self, name: &name };
        push(model, &here.store, &here.version, &PushOptions::default(), &RemoteOptions::default())
    }

    /// Removes version 1.
    fn remove(&self) -> Result<()> {
        let name = model();
        RemoteModel { objects: self, name: &name }.remove(&[1])
    }

    /// Collects what is left. Returns the numbers.
    fn gc(&self) -> Result<Vec<u64>> {
        let name = model();
        let model = RemoteModel { objects: self, name: &name };
        let labels = model.labels()?.map_or_else(Labels::default, |(labels, _)| labels);
        let mut collected = model.leftovers(&labels)?;
        collected.retain(|number| model.collect(*number).unwrap());
        Ok(collected)
    }
}

impl Objects for Client<'_> {
    fn place(&self, key: &str) -> String {
        format!("mem://bucket/{key}")
    }

    fn get(&self, key: &str, _range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Answer> {
        self.meet("get", key)?;
        let objects = self.bucket.objects.lock().unwrap();
        let found = objects.get(key).filter(|_| self.contradicted != Some(key));
        let Some((bytes, state)) = found else { return Ok(Answer::Absent) };
        let tag = Tag { e_tag: Some(state.to_string()), version: None };
        let (size, bytes) = (bytes.len() as u64, bytes.clone());
        Ok(Answer::Found(Body { size, tag, chunks: Box::new(std::iter::once(Ok(bytes))) }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.meet("list", prefix)?;
        let objects = self.bucket.objects.lock().unwrap();
        let found = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = found.map(|(key, (bytes, state))| Listed {
            key: key.clone(),
            size: bytes.len() as u64,
            state: state.to_string(),
        });
        Ok(listed.collect())
    }

    fn create(&self, key: &str, bytes: Bytes) -> Result<Written> {
        self.meet("create", key)?;
        Ok(self.bucket.write(key, bytes, |state| state.is_none() && self.contradicted != Some(key)))
    }

    fn replace(&self, key: &str, bytes: Bytes, unchanged: &Tag) -> Result<Written> {
        self.meet("replace", key)?;
        Ok(self.bucket.write(key, bytes, |state| state.map(|state| state.to_string()) == unchanged.e_tag))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.meet("put", key)?;
        self.bucket.write(key, bytes, |_| true);
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.meet("delete", key)?;
        self.bucket.objects.lock().unwrap().remove(key);
        Ok(())
    }
}

/// A machine with version 1 of `m`.
struct Here {
    store: Store,
    version: Version,
    folder: tempfile::TempDir,
}

fn model() -> ModelName {
    "m".parse().unwrap()
}

impl Here {
    fn new(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path().join("store")).unwrap();
        let source = format!("{MODELS}/{source}/model");
        let version = store.publish(&model(), source, PublishOptions::default()).unwrap();
        Self { store, version, folder }
    }

    /// Another machine with the same version.
    fn twin(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path().join("store")).unwrap();
        let address = self.folder.path().join("store").display().to_string();
        let remote = Remote::open(&address.parse().unwrap(), RemoteOptions::default()).unwrap();
        let pulled = remote.pull(&"m@1".parse().unwrap(), &store, &PullOptions::default()).unwrap();
        let version = pulled.version().clone();
        Self { store, version, folder }
    }

    /// The objects of the version after a push without others.
    fn whole(&self) -> Vec<(String, Bytes)> {
        let (bucket, twin) = (Bucket::default(), self.twin());
        Client::new(&bucket).push(&twin).unwrap();
        bucket.version()
    }
}

fn kind<T>(pushed: Result<T>) -> RemoteErrorKind {
    match pushed {
        Err(StoreError::Remote(error)) => error.kind().clone(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was pushed"),
    }
}

const CLAIM: &str = "m/.store/1.claim";
const MANIFEST: &str = "m/.store/1.json";
const LAST: &str = "m/1/saved_model.pb";

#[test]
fn a_version_committed_before_the_claim_stays() {
    let (first, second, bucket) = (Here::new("half_plus_two"), Here::new("digits"), Bucket::default());
    let late = Client::new(&bucket).before("create", CLAIM, || Client::new(&bucket).push(&first).map(|_| ()));
    assert!(matches!(kind(late.push(&second)), RemoteErrorKind::OtherVersion { .. }));
    assert_eq!(bucket.version(), first.whole());
    assert!(!bucket.has(CLAIM));
    // The same version from another machine is there already.
    let (bucket, twin) = (Bucket::default(), first.twin());
    let late = Client::new(&bucket).before("create", CLAIM, || Client::new(&bucket).push(&twin).map(|_| ()));
    assert!(matches!(late.push(&first).unwrap(), Transferred::WasThere(_)));
    assert!(!bucket.has(CLAIM));
}

#[test]
fn a_version_committed_before_a_takeover_stays() {
    let (first, second, bucket) = (Here::new("half_plus_two"), Here::new("digits"), Bucket::default());
    let cut_off = Client::new(&bucket).cut_off("create", MANIFEST);
    assert!(matches!(kind(cut_off.push(&first)), RemoteErrorKind::Failed { .. }));
    bucket.age();
    // The first writer commits between the second's first look and its claim, as an older release may, which does not
    // renew its claim.
    let whole = first.whole();
    let manifest = whole.iter().find(|(key, _)| key == MANIFEST).unwrap().1.clone();
    let late = Client::new(&bucket).before("replace", CLAIM, || Client::new(&bucket).put(MANIFEST, manifest));
    assert!(matches!(kind(late.push(&second)), RemoteErrorKind::OtherVersion { .. }));
    assert_eq!(bucket.version(), whole);
}

#[test]
fn gc_leaves_a_push_that_goes_on() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    Client::new(&bucket).cut_off("put", LAST).push(&here).unwrap_err();
    bucket.age();
    // It goes on while gc looks, and is cut off again.
    let gc = Client::new(&bucket).before("replace", CLAIM, || {
        Client::new(&bucket).cut_off("put", LAST).push(&here).unwrap_err();
        Ok(())
    });
    assert_eq!(gc.gc().unwrap(), Vec::<u64>::new());
    assert!(bucket.has("m/1/variables/variables.index"));
    bucket.age();
    // It ends while gc looks.
    let gc = Client::new(&bucket).before("replace", CLAIM, || Client::new(&bucket).push(&here).map(|_| ()));
    assert_eq!(gc.gc().unwrap(), Vec::<u64>::new());
    assert_eq!(bucket.version(), here.whole());
    assert!(!bucket.has(CLAIM));
}

#[test]
fn a_push_that_goes_on_is_not_abandoned() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    Client::new(&bucket).cut_off("put", LAST).push(&here).unwrap_err();
    bucket.age();
    let again = Client::new(&bucket).before("list", "m/1/", || {
        assert_eq!(Client::new(&bucket).gc()?, Vec::<u64>::new());
        let other = Client::new(&bucket).push(&Here::new("digits"));
        assert!(matches!(kind(other), RemoteErrorKind::Claimed { .. }));
        Ok(())
    });
    assert!(matches!(again.push(&here).unwrap(), Transferred::Done(_)));
    assert_eq!(bucket.version(), here.whole());
}

#[test]
fn a_push_notices_that_its_files_were_deleted() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    let slow = Client::new(&bucket).before("put", "m/1/variables/variables.index", || {
        bucket.age();
        let other = Here::new("digits");
        Client::new(&bucket).cut_off("put", LAST).push(&other).unwrap_err();
        Ok(())
    });
    assert_eq!(kind(slow.push(&here)), RemoteErrorKind::Superseded);
    assert!(!bucket.has(MANIFEST) && !bucket.has(LAST));
}

#[test]
fn what_was_sent_under_another_claim_is_sent_again() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    Client::new(&bucket).cut_off("put", LAST).push(&here).unwrap_err();
    // The number was cleared, and another machine has begun with the same version.
    let file = "m/1/variables/variables.index";
    let size = bucket.objects.lock().unwrap()[file].0.len();
    Client::new(&bucket).put(file, vec![0; size].into()).unwrap();
    bucket.change_claim("id", "another");
    Client::new(&bucket).push(&here).unwrap();
    assert_eq!(bucket.version(), here.whole());
}

#[test]
fn files_that_vanish_are_sent_again() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    Client::new(&bucket).cut_off("put", LAST).push(&here).unwrap_err();
    bucket.objects.lock().unwrap().remove("m/1/variables/variables.index");
    Client::new(&bucket).push(&here).unwrap();
    assert_eq!(bucket.version(), here.whole());
}

#[test]
fn a_version_removed_meanwhile_is_not_noted_again() {
    let (here, bucket) = (Here::new("half_plus_two"), Bucket::default());
    Client::new(&bucket).push(&here).unwrap();
    let name = model();
    let remover = Client::new(&bucket);
    let again = Client::new(&bucket).before("get", MANIFEST, || {
        let model = RemoteModel { objects: &remover, name: &name };
        model.change(|labels| {
            labels.remove("test", 1, here.version.digest().to_owned());
            Ok(())
        })
    });
    // The manifest is still there while its removal goes on.
    assert!(matches!(again.push(&here), Err(StoreError::VersionUsed { .. })));
}

#[test]
fn contradictory_servers_are_left() {
    let here = Here::new("half_plus_two");
    for key in [CLAIM, MANIFEST] {
        let bucket = Bucket::default();
        let client = Client { contradicted: Some(key), ..Client::new(&bucket) };
        assert_eq!(kind(client.push(&here)), RemoteErrorKind::Contended, "{key}");
    }
}

/// Whatever is deleted last, `gc` finds the rest by it.
#[test]
fn a_removal_that_was_cut_off_is_finished() {
    for key in ["m/1/saved_model.pb", "m/1/variables/variables.index", "m/.store/1.json"] {
        let (bucket, here) = (Bucket::default(), Here::new("half_plus_two"));
        Client::new(&bucket).push(&here).unwrap();
        Client::new(&bucket).cut_off("delete", key).remove().unwrap_err();
        assert_ne!(bucket.version(), [], "{key}");
        assert_eq!(Client::new(&bucket).gc().unwrap(), [1], "{key}");
        assert_eq!(bucket.version(), [], "{key}");
        assert!(!bucket.has("m/.store/1.claim"));
    }
}
