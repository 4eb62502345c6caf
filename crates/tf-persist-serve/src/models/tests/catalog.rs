//! Models of a catalog: labels move only to versions that answer.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tf_persist_core::Code;

use super::harness::{Harness, Text, answer, error, latest, states, wait, wait_for_polls, wait_states};
use crate::models::State::{Available, End, Loading};
use crate::models::catalog::Listed;
use crate::models::handle::Handle;
use crate::models::view::Readiness;
use crate::models::{Catalog, CatalogModel, ModelSettings, ModelSource, Version};
use crate::status::Status;

/// A catalog that a test changes.
#[derive(Debug)]
struct Listing(Mutex<Result<Listed, String>>);

impl Catalog for Listing {
    fn name(&self) -> String {
        "the test's list".to_owned()
    }

    fn look(&self) -> Result<Listed, String> {
        self.0.lock().unwrap().clone()
    }
}

/// A catalog of folders.
struct Listings {
    harness: Harness,
    catalog: Arc<Listing>,
}

impl Listings {
    fn new() -> Self {
        Self { harness: Harness::new(), catalog: Arc::new(Listing(Mutex::new(Ok(Listed::new())))) }
    }

    fn model(&self, model: &str, versions: &[i64], labels: &[(&str, i64)]) -> CatalogModel {
        let path = |version: &i64| (*version, self.harness.base(model).join(version.to_string()));
        CatalogModel {
            versions: versions.iter().map(path).collect(),
            labels: labels.iter().map(|(label, version)| ((*label).to_owned(), *version)).collect(),
        }
    }

    /// Lists these versions and labels of the model `m`.
    fn list(&self, versions: &[i64], labels: &[(&str, i64)]) {
        self.set(Ok([("m".to_owned(), Ok(self.model("m", versions, labels)))].into()));
    }

    fn set(&self, listed: Result<Listed, String>) {
        *self.catalog.0.lock().unwrap() = listed;
    }

    fn settings(&self) -> ModelSettings {
        self.harness.settings(ModelSource::Catalog(self.catalog.clone()))
    }

    fn serve(&self) -> Handle<Text> {
        self.harness.serve(self.settings())
    }
}

fn labelled(models: &Handle<Text>, label: &str) -> Result<String, Status> {
    answer(models, "m", &Version::Label(label.to_owned()))
}

fn labels(models: &Handle<Text>) -> BTreeMap<String, i64> {
    models.view().list().into_iter().flat_map(|model| model.labels).collect()
}

#[test]
fn a_label_moves_once_its_version_is_available() {
    let it = Listings::new();
    it.harness.put("m", 1, "one");
    it.list(&[1], &[("stable", 1)]);
    let models = it.serve();
    assert_eq!(labelled(&models, "stable").unwrap(), "one");
    let two = it.harness.put("m", 2, "slow");
    it.list(&[2], &[("stable", 2)]);
    wait_states(&models, "m", &[(2, Loading), (1, Available)]);
    assert_eq!(labelled(&models, "stable").unwrap(), "one");
    assert_eq!(latest(&models, "m").unwrap(), "one");
    assert_eq!(models.view().list()[0].pending_labels, [("stable".to_owned(), 2)]);
    fs::write(two.join("go"), "").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!((labelled(&models, "stable").unwrap(), latest(&models, "m").unwrap()), ("slow".into(), "slow".into()));
    assert!(models.view().list()[0].pending_labels.is_empty());
    // A label that is taken away is gone at once; one for a version that is loading waits for it.
    it.list(&[1, 2], &[("canary", 1)]);
    wait_states(&models, "m", &[(2, Available), (1, Available)]);
    assert_eq!(labels(&models), [("canary".to_owned(), 1)].into());
    let unknown = Status::invalid_argument("Unrecognized servable version label: stable");
    assert_eq!(labelled(&models, "stable").unwrap_err(), unknown);
    // Without versions, the model is unloaded.
    it.set(Ok(Listed::new()));
    wait_states(&models, "m", &[(2, End), (1, End)]);
    assert!(models.view().list().is_empty());
}

#[test]
fn a_failed_version_leaves_its_labels_where_they_were() {
    let it = Listings::new();
    it.harness.put("m", 1, "one");
    it.list(&[1], &[("stable", 1)]);
    let models = it.serve();
    let two = it.harness.put("m", 2, "broken");
    let three = it.harness.put("m", 3, "three");
    fs::write(three.join("unsigned"), "").unwrap();
    it.list(&[2, 3], &[("stable", 2), ("canary", 3)]);
    wait_states(&models, "m", &[(3, End), (2, End), (1, Available)]);
    assert_eq!(error(&models, "m", 2).code, Code::DataLoss);
    assert_eq!(error(&models, "m", 3), Status::new(Code::PermissionDenied, "m@3 is not signed"));
    assert_eq!(it.harness.loads(&three), 0, "it is refused before it is loaded");
    assert_eq!((labelled(&models, "stable").unwrap(), latest(&models, "m").unwrap()), ("one".into(), "one".into()));
    assert_eq!(labelled(&models, "canary").unwrap_err().code, Code::NotFound);
    // Repaired, and signed.
    it.harness.change(&two, "two");
    wait("stable is two", || labelled(&models, "stable").as_deref() == Ok("two"));
    assert_eq!(latest(&models, "m").unwrap(), "two");
    fs::remove_file(three.join("unsigned")).unwrap();
    wait_states(&models, "m", &[(3, Available), (2, Available), (1, End)]);
    assert_eq!(labelled(&models, "canary").unwrap(), "three");
}

#[test]
fn the_newest_version_answers_until_another_does() {
    let it = Listings::new();
    it.harness.put("m", 1, "one");
    it.harness.put("m", 3, "three");
    it.list(&[1, 3], &[("stable", 1)]);
    let models = it.serve();
    assert_eq!(latest(&models, "m").unwrap(), "three");
    // Version 3 was removed.
    let two = it.harness.put("m", 2, "slow");
    it.harness.remove("m", 3);
    it.list(&[1, 2], &[("stable", 1)]);
    wait_states(&models, "m", &[(3, Available), (2, Loading), (1, Available)]);
    assert_eq!(latest(&models, "m").unwrap(), "three");
    fs::write(two.join("go"), "").unwrap();
    wait_states(&models, "m", &[(3, End), (2, Available), (1, Available)]);
}

#[test]
fn what_cannot_be_listed_stays() {
    let it = Listings::new();
    it.harness.put("m", 1, "one");
    it.harness.put("n", 1, "other");
    let listed = |m: Result<CatalogModel, String>| {
        it.set(Ok([("m".to_owned(), m), ("n".to_owned(), Ok(it.model("n", &[1], &[])))].into()));
    };
    listed(Ok(it.model("m", &[1], &[("stable", 1)])));
    let models = it.serve();
    let stays = || {
        wait_for_polls(&models);
        assert_eq!(labelled(&models, "stable").unwrap(), "one");
        assert_eq!(latest(&models, "n").unwrap(), "other");
    };
    listed(Err("labels.json is damaged".to_owned()));
    stays();
    it.set(Err("it is gone".to_owned()));
    stays();
    it.harness.put("m", 2, "two");
    listed(Ok(it.model("m", &[2], &[("stable", 2)])));
    wait("stable is two", || labelled(&models, "stable").as_deref() == Ok("two"));
    // A request cannot change the models.
    let refused = it.harness.reload(&models, it.harness.config(&[("n", "")])).unwrap_err();
    assert_eq!(refused.code, Code::FailedPrecondition);
    assert!(refused.message.contains("the test's list"), "{refused}");
}

#[test]
fn one_damaged_model_does_not_end_a_server_that_has_others() {
    let it = Listings::new();
    it.harness.put("m", 1, "broken");
    it.harness.put("n", 1, "other");
    it.set(Ok([
        ("l".to_owned(), Err("labels.json is damaged".to_owned())),
        ("m".to_owned(), Ok(it.model("m", &[1], &[("stable", 1)]))),
        ("n".to_owned(), Ok(it.model("n", &[1], &[]))),
    ]
    .into()));
    let models = it.harness.start(it.settings());
    wait("n answers", || latest(&models, "n").is_some());
    wait_states(&models, "m", &[(1, End)]);
    assert_eq!(models.view().readiness, Readiness::Waiting);
    it.list(&[1], &[("stable", 1)]);
    it.harness.change(&it.harness.base("m").join("1"), "one");
    it.harness.ready(&models).unwrap();
    assert_eq!(labelled(&models, "stable").unwrap(), "one");
    drop(models);
    // Nothing at all can be served.
    it.harness.put("m", 2, "broken");
    it.list(&[2], &[]);
    let models = it.harness.start(it.settings());
    let failed = it.harness.ready(&models).unwrap_err();
    assert!(failed.message.contains("it is broken"), "{failed}");
    it.set(Err("it is gone".to_owned()));
    let gone = Handle::start(it.settings(), it.harness.texts.clone()).err().unwrap();
    assert_eq!(gone.message, "it is gone");
}

/// Refused for a reason that may pass, such as a network that is gone.
#[test]
fn a_refusal_that_may_pass_is_tried_again() {
    let it = Listings::new();
    let one = it.harness.put("m", 1, "one");
    fs::write(one.join("unreachable"), "").unwrap();
    it.list(&[1], &[("stable", 1)]);
    let models = it.harness.start(it.settings());
    wait("it was refused", || it.harness.texts.refusals() > 3);
    assert_eq!(models.view().readiness, Readiness::Waiting);
    fs::remove_file(one.join("unreachable")).unwrap();
    it.harness.ready(&models).unwrap();
    assert_eq!(labelled(&models, "stable").unwrap(), "one");
}

#[test]
fn readers_of_a_label_always_find_a_version() {
    let it = Listings::new();
    (1..=3).for_each(|version| drop(it.harness.put("m", version, &version.to_string())));
    it.list(&[1, 3], &[("stable", 1)]);
    let models = it.serve();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        assert!(labelled(&models, "stable").is_ok());
                        assert_eq!(latest(&models, "m").unwrap(), "3");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for step in 0..200 {
            let version = [2, 1, 3][step % 3];
            it.list(&[version, 3], &[("stable", version)]);
            // Some changes come faster than polls.
            if step % 5 == 0 {
                wait("the label has moved", || labelled(&models, "stable") == Ok(version.to_string()));
            }
        }
        it.list(&[1, 3], &[("stable", 1)]);
        wait_states(&models, "m", &[(3, Available), (2, End), (1, Available)]);
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 10));
    });
    assert_eq!(states(&models, "m"), [(3, Available), (2, End), (1, Available)]);
}
