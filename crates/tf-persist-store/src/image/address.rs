//! Where an image is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Result, StoreError};
use crate::oci::OciAddress;
use crate::oci::address::is_tag;
use crate::remote::{RemoteError, RemoteErrorKind, without_secrets};

/// The scheme of a folder, as skopeo, umoci and podman write it.
const LAYOUT: &str = "oci:";

/// An image in a folder or in a registry: `oci:DIR:TAG` or `oci://HOST/REPOSITORY:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageAddress {
    /// A folder that is an OCI image layout.
    Layout(LayoutAddress),
    /// A registry.
    Registry(OciAddress),
}

/// An image in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutAddress {
    folder: PathBuf,
    tag: Option<String>,
}

impl LayoutAddress {
    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the image in the folder, if the address has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

impl ImageAddress {
    /// Whether a text is an address of an image.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        text.starts_with(LAYOUT)
    }

    /// As [`ImageAddress::from_str`], and also names as Docker and podman write them, such as `debian:12-slim`.
    ///
    /// # Errors
    /// If it is not the name of an image.
    pub fn image(text: &str) -> Result<Self> {
        match Self::is_address(text) {
            true => text.parse(),
            false => OciAddress::image(text).map(Self::Registry),
        }
    }
}

impl fmt::Display for LayoutAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LAYOUT}{}", self.folder.display())?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl fmt::Display for ImageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(address) => address.fmt(f),
            Self::Registry(address) => address.fmt(f),
        }
    }
}

impl FromStr for ImageAddress {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        if OciAddress::is_address(text) {
            return text.parse().map(Self::Registry);
        }
        let invalid = |reason: &str| {
            let reason = reason.to_owned();
            StoreError::from(RemoteError::new(without_secrets(text), RemoteErrorKind::InvalidAddress { reason }))
        };
        let Some(rest) = text.strip_prefix(LAYOUT) else {
            return Err(invalid("it begins neither with `oci:` nor with `oci://`"));
        };
        let (folder, tag) = match rest.rsplit_once(':') {
            Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag)),
            _ => (rest, None),
        };
        if folder.is_empty() {
            return Err(invalid("it names no folder: `oci:DIR:TAG`"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("a tag has at most 128 letters, digits, `_`, `.` and `-`, the last two not first"));
        }
        Ok(Self::Layout(LayoutAddress { folder: PathBuf::from(folder), tag: tag.map(str::to_owned) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, folder, tag) in [
            ("oci:out", "out", None),
            ("oci:/a/b:v1", "/a/b", Some("v1")),
            ("oci:a:b/c", "a:b/c", None),
            ("oci:a:b/c:1.2", "a:b/c", Some("1.2")),
        ] {
            let Ok(ImageAddress::Layout(address)) = text.parse() else { panic!("{text}") };
            assert_eq!((address.folder(), address.tag()), (Path::new(folder), tag), "{text}");
            assert_eq!(address.to_string(), text);
        }
        assert!(matches!("oci://localhost:5000/a:b".parse(), Ok(ImageAddress::Registry(_))));
        assert!(matches!(ImageAddress::image("debian:12-slim"), Ok(ImageAddress::Registry(_))));
        for (text, reason) in [
            ("oci:", "no folder"),
            ("oci::a", "no folder"),
            ("oci:a:-b", "a tag has"),
            ("out", "begins neither"),
            ("oci://h", "no repository"),
        ] {
            let error = text.parse::<ImageAddress>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
