//! A store in a folder: publication, labels, removal, verification, processes that are killed.

mod follow;
mod kill;
mod labels;
mod publish;
mod remove;
mod sign;
mod verify;

use std::path::PathBuf;

use tempfile::TempDir;
use tf_persist_store::{Label, ModelName, PublishOptions, Reference, Store, Version};

/// A model of the repository.
fn model_folder(name: &str) -> PathBuf {
    tf_persist_testing::root().join("models").join(name).join("model")
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

fn label(label: &str) -> Label {
    label.parse().unwrap()
}

fn reference(reference: &str) -> Reference {
    reference.parse().unwrap()
}

/// An empty store, deleted at the end.
struct TestStore {
    store: Store,
    folder: TempDir,
}

impl TestStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::init(folder.path().join("models.store")).unwrap(), folder }
    }

    /// With versions 1 to `versions` of the model `m`.
    fn with_versions(versions: u64) -> Self {
        let store = Self::new();
        for number in 1..=versions {
            assert_eq!(store.publish().number(), number);
        }
        store
    }

    fn publish(&self) -> Version {
        self.store.publish(&model("m"), model_folder("half_plus_two"), PublishOptions::default()).unwrap()
    }

    fn find(&self, text: &str) -> Version {
        self.store.resolve(&reference(text)).unwrap()
    }
}
