//! Remote stores: one suite for all kinds, and servers that do not behave.
//!
//! The suite runs for a folder always, and for the places in `TF_PERSIST_REMOTES`, separated by blanks, such as
//! `s3://models az://models gs://models`, each with a server and credentials in the environment.
//! `python/checks/check_remotes.py` starts such servers.

mod cache;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod server;
mod suite;
mod tensors;

use std::time::Duration;

use tf_persist_store::remote::{Remote, RemoteOptions};

use crate::common::{TestStore, label, model, model_folder, reference};

/// A remote store whose failures show soon.
fn open(address: &str) -> Remote {
    let options = RemoteOptions::default().timeout(Duration::from_secs(5)).retries(1);
    Remote::open(&address.parse().unwrap(), options).unwrap()
}
