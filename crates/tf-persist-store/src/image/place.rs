//! Where an image is read from or written to.

use std::path::Path;

use tf_persist_savedmodel::scratch::Scratch;

use super::address::ImageAddress;
use super::config::Platform;
use super::layout::Layout;
use crate::error::{Result, StoreError};
use crate::oci::OciAddress;
use crate::oci::address::Target;
use crate::oci::manifest::{Descriptor, OCI_MANIFEST};
use crate::oci::objects::save;
use crate::oci::registry::{Access, Registry};
use crate::remote::api::wait;
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};

/// A folder or a repository.
#[derive(Debug)]
pub(super) enum Place {
    Layout { layout: Layout, tag: Option<String> },
    Registry(Box<Registry>),
}

impl Place {
    /// Opens where an image is read. Nothing is sent.
    pub(super) fn source(address: &ImageAddress, remote: &RemoteOptions) -> Result<Self> {
        Ok(match address {
            ImageAddress::Layout(address) => {
                Self::Layout { layout: Layout::open(address.folder())?, tag: address.tag().map(str::to_owned) }
            }
            ImageAddress::Registry(address) => Self::Registry(Box::new(Registry::new(address, Access::Pull, remote)?)),
        })
    }

    /// Opens where an image is written.
    pub(super) fn target(address: &ImageAddress, remote: &RemoteOptions) -> Result<Self> {
        Ok(match address {
            ImageAddress::Layout(address) => {
                let tag = Some(address.tag().unwrap_or("latest").to_owned());
                Self::Layout { layout: Layout::create(address.folder())?, tag }
            }
            ImageAddress::Registry(address) => {
                if matches!(address.target(), Target::Digest(_)) {
                    let reason = "an image is written to a tag, and this is a digest".to_owned();
                    return Err(RemoteError::new(address, RemoteErrorKind::InvalidAddress { reason }).into());
                }
                Self::Registry(Box::new(Registry::new(address, Access::Push, remote)?))
            }
        })
    }

    /// A folder for files that become blobs.
    pub(super) fn scratch(&self) -> Result<Scratch> {
        match self {
            Self::Layout { layout, .. } => layout.scratch(),
            Self::Registry(_) => {
                let folder = std::env::temp_dir();
                Scratch::beside(&folder.join("tf-persist-image")).map_err(StoreError::io("create a folder in", folder))
            }
        }
    }

    /// The first manifest or index.
    pub(super) fn first_manifest(&self, limit: u64) -> Result<Vec<u8>> {
        match self {
            Self::Layout { layout, tag } => layout.read(&layout.find(tag.as_deref())?, limit),
            Self::Registry(registry) => manifest(registry, &registry.address),
        }
    }

    /// A manifest that another one names.
    pub(super) fn manifest(&self, named: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        match self {
            Self::Layout { layout, .. } => layout.read(named, limit),
            Self::Registry(registry) => manifest(registry, &registry.address.at(named.sha256().unwrap_or_default())),
        }
    }

    /// A blob of at most `limit` bytes.
    pub(super) fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        match self {
            Self::Layout { layout, .. } => layout.read(blob, limit),
            Self::Registry(registry) => wait(registry.blob(blob, limit)).map(Into::into),
        }
    }

    pub(super) fn has(&self, blob: &Descriptor) -> Result<bool> {
        match self {
            Self::Layout { layout, .. } => layout.has(blob),
            Self::Registry(registry) => wait(registry.has_blob(blob)),
        }
    }

    /// Adds a blob that is a file in a folder of [`Place::scratch`], where it may be gone afterwards.
    pub(super) fn add(&self, blob: &Descriptor, file: &Path) -> Result<()> {
        match self {
            Self::Layout { layout, .. } => layout.take(blob, file),
            Self::Registry(registry) => wait(registry.upload(blob, file)),
        }
    }

    /// Adds a blob that is in memory.
    pub(super) fn add_bytes(&self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Layout { layout, .. } => layout.add(blob, bytes),
            Self::Registry(registry) => wait(registry.upload_bytes(blob, bytes.to_vec().into())),
        }
    }

    /// Adds a blob of another place, whose size and contents are compared with its digest.
    pub(super) fn bring(&self, blob: &Descriptor, from: &Self, scratch: &Path) -> Result<()> {
        let file = scratch.join("base");
        match (from, self) {
            // A file can be sent from where it is.
            (Self::Layout { layout, .. }, Self::Registry(registry)) => {
                wait(registry.upload(blob, &layout.checked(blob)?))
            }
            (Self::Layout { layout, .. }, Self::Layout { .. }) => {
                layout.copy(blob, &file)?;
                self.add(blob, &file)
            }
            (Self::Registry(from), Self::Registry(to)) if wait(to.mount(blob, &from.address))? => Ok(()),
            (Self::Registry(from), _) => {
                save(from, blob, &file)?;
                self.add(blob, &file)?;
                // A registry only reads it.
                let _ = std::fs::remove_file(&file);
                Ok(())
            }
        }
    }

    /// Makes an image the one of the tag, after all of its blobs are there. Returns what the tag pointed to, if that
    /// was another image.
    pub(super) fn publish(&self, bytes: &[u8], platform: &Platform) -> Result<Option<String>> {
        let manifest = Descriptor::of(OCI_MANIFEST, bytes);
        match self {
            Self::Layout { layout, tag } => {
                if !layout.has(&manifest)? {
                    layout.add(&manifest, bytes)?;
                }
                layout.publish(tag.as_deref().unwrap_or("latest"), &manifest, platform)
            }
            Self::Registry(registry) => {
                let before = wait(registry.digest_of(&registry.address))?;
                if before.as_deref() == manifest.sha256() {
                    return Ok(None);
                }
                wait(registry.put_manifest(bytes.to_vec().into()))?;
                Ok(before.map(|before| format!("sha256:{before}")))
            }
        }
    }
}

fn manifest(registry: &Registry, address: &OciAddress) -> Result<Vec<u8>> {
    let found = wait(registry.manifest(address))?;
    found.map(|(bytes, _)| bytes.into()).ok_or_else(|| RemoteError::new(address, RemoteErrorKind::Absent).into())
}
