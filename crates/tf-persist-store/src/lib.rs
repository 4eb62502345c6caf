//! A store of model versions: a folder that TensorFlow Serving can read as it lies, with what such a folder lacks.
//!
//! ```text
//! STORE/store.json                 marks the folder as a store
//! STORE/digits/1/                  a version: a plain SavedModel folder, whose files are read-only
//! STORE/digits/2/                  files that are equal to those of another version are hard links to them
//! STORE/digits/.store/1.json       the manifest of version 1; its SHA-256 is the identity of the version
//! STORE/digits/.store/labels.json  the labels, a counter of changes, and the last events
//! STORE/digits/.store/log.jsonl    all events in order
//! STORE/digits/.store/decisions.jsonl  the decisions of a loop, and STORE/digits/.store/loop what it keeps
//! ```
//!
//! A version exists from the moment on which its manifest does. Every change is made under a lock that dies with its
//! process, and what a killed process left half done is finished or undone by the next change.
//!
//! ```
//! use tf_persist_store::{Label, ModelName, PublishOptions, Reference, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let store = Store::init(folder.join("models.store"))?;
//! let (digits, production): (ModelName, Label) = ("digits".parse()?, "production".parse()?);
//!
//! let model = format!("{models}/digits/model");
//! let version = store.publish(&digits, &model, PublishOptions::default().label(production.clone()))?;
//! assert_eq!(version.number(), 1);
//!
//! let version = store.resolve(&"digits@production".parse::<Reference>()?)?;
//! assert!(store.verify(&version)?.is_empty());
//! println!("{} has {} files", version.path().display(), version.manifest().files.len());
//! # Ok(())
//! # }
//! ```

mod copy;
mod decision;
pub mod durable;
mod error;
mod event;
mod files;
mod follow;
#[cfg(feature = "remote")]
pub mod image;
mod intent;
mod labels;
mod layout;
mod lock;
mod manifest;
#[cfg(feature = "remote")]
pub mod mlflow;
mod model;
mod name;
#[cfg(feature = "remote")]
pub mod oci;
mod publish;
#[cfg(feature = "remote")]
pub mod remote;
mod remove;
pub mod signing;
mod store;
mod verify;

pub use decision::Decision;
pub use error::{Result, StoreError};
pub use event::{Event, What, Why};
pub use follow::{Follower, Heads};
pub use lock::{FileLock, Waiting, report_waiting};
pub use manifest::{FileEntry, Manifest, SignatureSummary, TensorSummary};
pub use name::{Label, ModelName, Reference, Selector};
pub use publish::PublishOptions;
pub use remove::{Collected, GcOptions};
pub use store::{Folder, ModelOverview, Store, Version};
pub use verify::Fault;
