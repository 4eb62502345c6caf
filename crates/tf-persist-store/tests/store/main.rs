//! A store in a folder: publication, labels, removal, verification, processes that are killed.

#[path = "../common/mod.rs"]
mod common;
mod decisions;
mod follow;
mod kill;
mod labels;
mod publish;
mod remove;
mod sign;
mod verify;

use tf_persist_store::Version;

use crate::common::{TestStore, label, model, model_folder, reference};

impl TestStore {
    /// With versions 1 to `versions` of the model `m`.
    fn with_versions(versions: u64) -> Self {
        let store = Self::new();
        for number in 1..=versions {
            assert_eq!(store.publish("half_plus_two").number(), number);
        }
        store
    }

    fn find(&self, text: &str) -> Version {
        self.store.resolve(&reference(text)).unwrap()
    }
}
