//! The model at an address in a bucket (`AIP_STORAGE_URI`): a folder of versions, or a model itself, as version 1.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tf_persist_serve::{RemotePaths, RemoteVersion};

use super::buckets::Buckets;

/// The number of a model that is not in a folder with a number.
const ONLY_VERSION: &str = "1";

/// Finds the versions of a model. A model at the address itself is found as one in the folder above.
#[derive(Debug)]
pub(super) struct StorageUri {
    pub(super) buckets: Arc<Buckets>,
    /// Whether the address is a model itself.
    is_model: AtomicBool,
}

impl StorageUri {
    pub(super) fn new(buckets: Arc<Buckets>) -> Self {
        Self { buckets, is_model: AtomicBool::new(false) }
    }
}

/// The folder in which an address is, and its name there; `None` for a whole bucket.
fn split(address: &str) -> Option<(&str, &str)> {
    let (above, name) = address.trim_end_matches('/').rsplit_once('/')?;
    let (_, place) = above.split_once("://")?;
    (!place.is_empty()).then_some((above, name))
}

impl RemotePaths for StorageUri {
    fn check(&self, base_path: &str) -> Result<(), String> {
        self.buckets.check(base_path)
    }

    fn folders(&self, base_path: &str, in_use: &BTreeSet<std::path::PathBuf>) -> Result<Vec<String>, String> {
        let listed = self.buckets.folders(base_path, in_use);
        let has_versions = |names: &[String]| names.iter().any(|name| name.parse::<i64>().is_ok());
        let listed = match listed {
            Ok(names) if has_versions(&names) => {
                self.is_model.store(false, Ordering::Relaxed);
                return Ok(names);
            }
            listed => listed,
        };
        let Some((above, name)) = split(base_path) else { return listed };
        match self.buckets.version(above, name)? {
            RemoteVersion::Complete(_) => {
                self.is_model.store(true, Ordering::Relaxed);
                Ok(vec![ONLY_VERSION.into()])
            }
            RemoteVersion::Incomplete(reason) => {
                Err(format!("`{base_path}` has no folders of versions, and is not a model itself: {reason}"))
            }
        }
    }

    fn version(&self, base_path: &str, folder: &str) -> Result<RemoteVersion, String> {
        match split(base_path) {
            Some((above, name)) if self.is_model.load(Ordering::Relaxed) => self.buckets.version(above, name),
            _ => self.buckets.version(base_path, folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_model_is_in_the_folder_above() {
        assert_eq!(split("gs://bucket/a/b"), Some(("gs://bucket/a", "b")));
        assert_eq!(split("gs://bucket/a/"), Some(("gs://bucket", "a")));
        assert_eq!(split("gs://bucket"), None);
        assert_eq!(split("gs://bucket/"), None);
    }
}
