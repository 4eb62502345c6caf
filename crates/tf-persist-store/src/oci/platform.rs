//! The image for one platform.

use super::manifest::{Descriptor, OciIndex, OciManifest};
use crate::error::{Result, StoreError};

/// Indexes in indexes: Docker's builder writes one into a layout.
const MAX_DEPTH: usize = 3;

/// The manifest of an image, or that for one platform (operating system and architecture) of an image for several.
/// `get` reads another manifest, and `invalid` makes an error of a reason.
pub(crate) fn image_manifest(
    mut bytes: Vec<u8>,
    (os, architecture): (&str, &str),
    get: impl Fn(&Descriptor) -> Result<Vec<u8>>,
    invalid: impl Fn(&str) -> StoreError,
) -> Result<OciManifest> {
    for _ in 0..MAX_DEPTH {
        let Ok(index) = serde_json::from_slice::<OciIndex>(&bytes) else {
            let manifest: OciManifest =
                serde_json::from_slice(&bytes).map_err(|_| invalid("its manifest has no config and layers"))?;
            return match manifest.config.sha256() {
                Some(_) => Ok(manifest),
                None => Err(invalid("its config has no SHA-256")),
            };
        };
        let is_wanted = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|it| (it.os.as_str(), it.architecture.as_str()) == (os, architecture))
        };
        // An index in a layout may name an index without a platform.
        let only = (index.manifests.len() == 1).then(|| index.manifests.first()).flatten();
        let entry = index.manifests.iter().find(is_wanted).or(only.filter(|only| only.platform.is_none()));
        let Some(entry) = entry.filter(|entry| entry.sha256().is_some()) else {
            return Err(invalid(&format!("it has no image for {os} on {architecture}")));
        };
        bytes = get(entry)?;
    }
    Err(invalid("it has indexes in indexes"))
}
