//! Manifests of registries, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::is_sha256;
use crate::manifest::hex;

/// Media types.
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// All that a manifest may be. A registry that is not asked for a type answers that there is none.
pub(super) const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Annotations: the name of a layer's file, for ORAS and for ModelPack; and the manifest of the store.
pub(super) const TITLE: &str = "org.opencontainers.image.title";
pub(super) const FILE_PATH: &str = "org.cncf.model.filepath";
pub(super) const VERSION: &str = "io.tf-persist.version.manifest";

/// A manifest with layers, or the beginning of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciManifest {
    pub(super) schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// Where the bytes of a part are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// A manifest for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct OciIndex {
    pub(super) manifests: Vec<Descriptor>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, sha256: &str, size: u64) -> Self {
        let digest = format!("sha256:{sha256}");
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None }
    }

    /// Of a blob in memory.
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, &hex(&Sha256::digest(bytes)), bytes.len() as u64)
    }

    /// The hexadecimal digits of the digest; `None` if it is not a SHA-256.
    pub(super) fn sha256(&self) -> Option<&str> {
        self.digest.strip_prefix("sha256:").filter(|digest| is_sha256(digest))
    }

    /// The name of the file in the layer.
    pub(super) fn file(&self) -> Option<&str> {
        [FILE_PATH, TITLE].into_iter().find_map(|key| self.annotations.get(key)).map(String::as_str)
    }
}
