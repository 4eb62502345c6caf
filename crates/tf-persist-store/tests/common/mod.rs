//! What the tests of stores here and elsewhere share.

use tempfile::TempDir;
use tf_persist_store::{Label, ModelName, PublishOptions, Reference, Store, Version};

pub(crate) use tf_persist_testing::model as model_folder;

pub(crate) fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

pub(crate) fn label(label: &str) -> Label {
    label.parse().unwrap()
}

pub(crate) fn reference(reference: &str) -> Reference {
    reference.parse().unwrap()
}

/// An empty store, deleted at the end.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::init(folder.path().join("models.store")).unwrap(), folder }
    }

    /// Publishes one of the repository's models as the next version of `m`.
    pub(crate) fn publish(&self, source: &str) -> Version {
        self.store.publish(&model("m"), model_folder(source), PublishOptions::default()).unwrap()
    }
}
