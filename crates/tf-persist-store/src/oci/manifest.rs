//! Manifests of registries, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::is_sha256;
use crate::manifest::hex;

/// Media types.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// All that a manifest may be. A registry that is not asked for a type answers that there is none.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Annotations: the name of a layer's file, for ORAS and for ModelPack; and the manifest of the store.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
pub(crate) const FILE_PATH: &str = "org.cncf.model.filepath";
pub(crate) const VERSION: &str = "io.tf-persist.version.manifest";

/// A manifest with layers, or the beginning of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OciManifest {
    pub(crate) schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Where the bytes of a part are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// A manifest for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct OciIndex {
    pub(crate) manifests: Vec<Descriptor>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, sha256: &str, size: u64) -> Self {
        let digest = format!("sha256:{sha256}");
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None }
    }

    /// Of a blob in memory.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, &hex(&Sha256::digest(bytes)), bytes.len() as u64)
    }

    /// The hexadecimal digits of the digest; `None` if it is not a SHA-256.
    pub(crate) fn sha256(&self) -> Option<&str> {
        self.digest.strip_prefix("sha256:").filter(|digest| is_sha256(digest))
    }

    /// The name of the file in the layer.
    pub(crate) fn file(&self) -> Option<&str> {
        [FILE_PATH, TITLE].into_iter().find_map(|key| self.annotations.get(key)).map(String::as_str)
    }
}
