//! Where a model is in a registry.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, StoreError};
use crate::remote::api::is_host;
use crate::remote::{RemoteError, RemoteErrorKind, without_secrets};

/// The scheme of an address.
const SCHEME: &str = "oci://";

/// The most bytes of a repository's name, and of a tag.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// A model in an OCI registry: `oci://HOST/REPOSITORY:TAG`, or `oci://HOST/REPOSITORY@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciAddress {
    host: String,
    repository: String,
    target: Target,
}

/// What is meant within a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A movable name.
    Tag(String),
    /// The SHA-256 of a manifest in hexadecimal digits.
    Digest(String),
}

impl OciAddress {
    /// Whether a text is an address of this kind.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The registry, such as `ghcr.io` or `localhost:5000`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository, such as `team/digits`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The same repository, by the digest of a manifest.
    pub(crate) fn at(&self, digest: &str) -> Self {
        Self { target: Target::Digest(digest.to_owned()), ..self.clone() }
    }

    /// Reads an image name as Docker and podman write it, such as `alpine`, `ghcr.io/team/image:1` or
    /// `oci://localhost:5000/image`. Without a registry it is one of Docker Hub.
    ///
    /// # Errors
    /// If it is not the name of an image.
    pub fn image(text: &str) -> Result<Self> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        match name.split_once('/') {
            Some((host, _)) if is_host(host) => format!("{SCHEME}{name}").parse(),
            Some(_) => format!("{SCHEME}docker.io/{name}").parse(),
            None => format!("{SCHEME}docker.io/library/{name}").parse(),
        }
    }
}

impl fmt::Display for OciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        match &self.target {
            Target::Tag(tag) => write!(f, ":{tag}"),
            Target::Digest(digest) => write!(f, "@sha256:{digest}"),
        }
    }
}

impl FromStr for OciAddress {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason: &str| {
            let reason = reason.to_owned();
            StoreError::from(RemoteError::new(without_secrets(text), RemoteErrorKind::InvalidAddress { reason }))
        };
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(invalid("it does not begin with `oci://`"));
        };
        let Some((host, rest)) = rest.split_once('/') else {
            return Err(invalid("it has no repository: `oci://HOST/REPOSITORY:TAG`"));
        };
        if host.contains('@') {
            return Err(invalid("it has a user or password, which belong into docker's `config.json`"));
        }
        if !is_host(host) {
            return Err(invalid("its host is not a name or a number, perhaps with a port"));
        }
        let (repository, target) = match rest.split_once('@') {
            Some((repository, digest)) => {
                let Some(digest) = digest.strip_prefix("sha256:").filter(|digest| is_sha256(digest)) else {
                    return Err(invalid("its digest is not `sha256:` with 64 digits in lower case"));
                };
                // A tag beside a digest says nothing.
                let repository = repository.rsplit_once(':').map_or(repository, |(repository, _)| repository);
                (repository, Target::Digest(digest.to_owned()))
            }
            None => {
                let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
                (repository, Target::Tag(tag.to_owned()))
            }
        };
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("registries have no names with upper case: write the repository in lower case"));
        }
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_part) {
            return Err(invalid(
                "the name of its repository needs letters and digits, with single `.`, `_`, `-` or `/` between them",
            ));
        }
        if let Target::Tag(tag) = &target
            && !is_tag(tag)
        {
            return Err(invalid("a tag has at most 128 letters, digits, `_`, `.` and `-`, the last two not first"));
        }
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), target })
    }
}

/// `[a-z0-9]+([._-][a-z0-9]+)*`, where `__` and any number of `-` count as one.
fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let is_separator = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    let runs = bytes.split(|byte| is_word(*byte)).filter(|run| !run.is_empty());
    is_word(*first) && is_word(*last) && runs.into_iter().all(is_separator)
}

pub(crate) fn is_tag(tag: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_other = |byte: u8| is_first(byte) || byte == b'.' || byte == b'-';
    (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().next().is_some_and(is_first) && tag.bytes().all(is_other)
}

/// Whether a text is a SHA-256 as registries write it.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<String, String> {
        text.parse::<OciAddress>().map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let digest = "a".repeat(64);
        for (text, shown) in [
            ("oci://localhost:5000/digits", "oci://localhost:5000/digits:latest"),
            ("oci://ghcr.io/team/digits-model:v1.2", "oci://ghcr.io/team/digits-model:v1.2"),
            ("oci://[::1]:5000/a__b/c---d:_", "oci://[::1]:5000/a__b/c---d:_"),
            (&format!("oci://h/a:tag@sha256:{digest}"), &format!("oci://h/a@sha256:{digest}")),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(shown), "{text}");
        }
        for (text, reason) in [
            ("oci://localhost:5000", "it has no repository"),
            ("oci://ghcr.io/Team/digits:1", "upper case"),
            ("oci://ghcr.io/a//b", "the name of its repository"),
            ("oci://ghcr.io/../b", "the name of its repository"),
            ("oci://ghcr.io/a_.b", "the name of its repository"),
            ("oci://ghcr.io/a:-b", "a tag has"),
            (&format!("oci://ghcr.io/a:{}", "b".repeat(129)), "a tag has"),
            ("oci://ghcr.io/a@sha256:abc", "its digest"),
            ("oci://user:secret@ghcr.io/a", "docker's `config.json`"),
            ("oci://ghcr.io:x/a", "its host"),
            ("s3://a/b", "it does not begin with `oci://`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in ["oci://ada:secret@host/digits:1", "oci://ada:secret@host"] {
            let error = text.parse::<OciAddress>().unwrap_err().to_string();
            assert!(!error.contains("secret") && error.contains("host"), "{error}");
        }
    }

    #[test]
    fn images_of_docker_hub_need_no_host() {
        let image = |text: &str| OciAddress::image(text).unwrap().to_string();
        assert_eq!(image("alpine:3"), "oci://docker.io/library/alpine:3");
        assert_eq!(image("team/image"), "oci://docker.io/team/image:latest");
        assert_eq!(image("localhost:5000/a:b"), "oci://localhost:5000/a:b");
        assert_eq!(image("oci://ghcr.io/a/b"), "oci://ghcr.io/a/b:latest");
    }
}
