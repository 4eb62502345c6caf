//! Stores elsewhere: in a bucket of S3, Google Cloud Storage or Azure, on a web server, or in another folder.
//!
//! A remote store has the layout of a store in a folder, so that TensorFlow Serving reads its models as they lie. Every
//! change to a model ends with one object, `MODEL/.store/labels.json`, which is replaced only if nobody else has
//! replaced it meanwhile. A version is pulled by its manifest, whose files are checked by their SHA-256 before they get
//! their names.
//!
//! The functions wait for the network: within asynchronous code, call them from a thread of their own.
//!
//! ```
//! use tf_persist_store::remote::{PullOptions, PushOptions, Remote, RemoteOptions};
//! use tf_persist_store::{ModelName, PublishOptions, Reference, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let store = Store::init(folder.join("models.store"))?;
//! let digits: ModelName = "digits".parse()?;
//! let version = store.publish(&digits, format!("{models}/digits/model"), PublishOptions::default())?;
//!
//! // Or `s3://bucket/models`, `gs://bucket/models`, `az://container/models`, `https://host/models`.
//! let address = folder.join("elsewhere").display().to_string();
//! let remote = Remote::open(&address.parse()?, RemoteOptions::default())?;
//! let production = "production".parse()?;
//! remote.push(&store, &version, &PushOptions::default().label(production))?;
//!
//! let reference: Reference = "digits@production".parse()?;
//! let other = Store::init(folder.join("other.store"))?;
//! let pulled = remote.pull(&reference, &other, &PullOptions::default())?;
//! assert_eq!(pulled.version().digest(), version.digest());
//! # Ok(())
//! # }
//! ```

mod address;
pub(crate) mod api;
mod base_path;
#[cfg(test)]
mod base_path_tests;
mod cache;
mod claim;
pub(crate) mod client;
pub(crate) mod cloud;
mod credentials;
pub(crate) mod download;
mod error;
mod fetch;
pub(crate) mod file_body;
mod folder;
mod gc;
mod guard;
mod model;
pub(crate) mod objects;
pub(crate) mod parallel;
mod partial;
mod progress;
pub(crate) mod pull;
pub(crate) mod push;
mod store;
mod sync;
mod tensors;
#[cfg(test)]
mod tests;
mod upload;
mod watch;

pub use address::{RemoteAddress, without_secrets};
pub use base_path::{BasePath, ListedVersion};
pub use cache::{Cache, Cached, CachedFolder};
pub use client::{RemoteOptions, traffic};
pub use error::{RemoteError, RemoteErrorKind};
pub use progress::Progress;
pub use pull::{PullOptions, Transferred};
pub use push::PushOptions;
pub use store::Remote;
pub use sync::{SyncOptions, Synced};
pub use watch::Watch;
