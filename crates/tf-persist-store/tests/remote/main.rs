//! Remote stores: one suite for all kinds, and servers that do not behave.
//!
//! The suite runs for a folder always, and for the places in `TF_PERSIST_REMOTES`, separated by blanks, such as
//! `s3://models az://models gs://models`, each with a server and credentials in the environment.
//! `python/checks/check_remotes.py` starts such servers.

mod cache;
mod hostile;
mod server;
mod suite;
mod tensors;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tf_persist_store::remote::{Remote, RemoteOptions};
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

/// An empty store of this machine, deleted at the end.
struct Here {
    store: Store,
    folder: TempDir,
}

impl Here {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::init(folder.path().join("models.store")).unwrap(), folder }
    }

    /// Publishes one of the models as the next version of `m`.
    fn publish(&self, source: &str) -> Version {
        self.store.publish(&model("m"), model_folder(source), PublishOptions::default()).unwrap()
    }
}

/// A remote store whose failures show soon.
fn open(address: &str) -> Remote {
    let options = RemoteOptions::default().timeout(Duration::from_secs(5)).retries(1);
    Remote::open(&address.parse().unwrap(), options).unwrap()
}
