//! Where a remote store is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

use super::error::{RemoteError, RemoteErrorKind};
use crate::error::{Result, StoreError};
use crate::name::{ModelName, Reference, version_number};

/// The address of a store: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `http://…`,
/// `https://…`, or a folder. `Display` leaves out credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    pub(crate) kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Bucket { scheme: Scheme, bucket: String, prefix: String },
    Http(Box<Url>),
    Folder(PathBuf),
}

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    S3,
    Gcs,
    Azure,
}

impl Scheme {
    /// Every name of it in an address, the usual one first.
    const NAMES: [(&'static str, Self); 6] = [
        ("s3", Self::S3),
        ("s3a", Self::S3),
        ("gs", Self::Gcs),
        ("az", Self::Azure),
        ("azure", Self::Azure),
        ("abfs", Self::Azure),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

impl RemoteAddress {
    /// Whether a text is an address with a scheme, such as `s3://…`, rather than a folder.
    #[must_use]
    pub fn has_scheme(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| {
            scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        })
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// The address of the whole bucket, if it is in one.
    pub(crate) fn bucket(&self) -> Option<Self> {
        match &self.kind {
            Kind::Bucket { scheme, bucket, .. } => {
                let (scheme, bucket) = (*scheme, bucket.clone());
                Some(Self { kind: Kind::Bucket { scheme, bucket, prefix: String::new() } })
            }
            _ => None,
        }
    }

    /// Reads `ADDRESS/MODEL@REF`, or `ADDRESS/MODEL` for the newest version.
    ///
    /// # Errors
    /// If it is not an address with a reference at its end.
    pub fn with_reference(text: &str) -> Result<(Self, Reference)> {
        let text = text.trim_end_matches('/');
        let (address, reference) = text.rsplit_once('/').unwrap_or((".", text));
        if text.starts_with("http") && Self::has_scheme(text) && text.contains(['?', '#']) {
            return Err(invalid(text, "it has a query or a fragment"));
        }
        // In `s3://digits@1` the reference is where the bucket should be.
        if address.ends_with(":/") {
            return Err(invalid(text, "it has no MODEL@REF after the place of the store"));
        }
        // The folder of a version.
        if let Some((store, model)) = address.rsplit_once('/')
            && version_number(reference).is_some()
            && model.parse::<ModelName>().is_ok()
        {
            let version = without_secrets(&format!("{store}/{model}@{reference}"));
            return Err(invalid(text, &format!("the version is `{version}`")));
        }
        Ok((address.parse()?, reference.parse()?))
    }
}

impl From<PathBuf> for RemoteAddress {
    fn from(folder: PathBuf) -> Self {
        Self { kind: Kind::Folder(folder) }
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bucket { scheme, bucket, prefix } if prefix.is_empty() => write!(f, "{}://{bucket}", scheme.name()),
            Kind::Bucket { scheme, bucket, prefix } => write!(f, "{}://{bucket}/{prefix}", scheme.name()),
            Kind::Http(url) => {
                let port = url.port().map_or(String::new(), |port| format!(":{port}"));
                let host = url.host_str().unwrap_or_default();
                write!(f, "{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'))
            }
            Kind::Folder(folder) => folder.display().fmt(f),
        }
    }
}

impl fmt::Debug for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAddress({self})")
    }
}

impl FromStr for RemoteAddress {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        if !Self::has_scheme(text) {
            let is_scheme = |name: &str| {
                matches!(name, "http" | "https" | "mlflow" | "oci")
                    || Scheme::NAMES.iter().any(|(known, _)| *known == name)
            };
            return match text.split_once(":/") {
                _ if text.is_empty() => Err(invalid(text, "it is empty")),
                Some((name, _)) if is_scheme(name) => Err(invalid(text, "a scheme ends with `://`")),
                _ => Ok(PathBuf::from(text).into()),
            };
        }
        let (name, rest) = text.split_once("://").unwrap_or_default();
        if matches!(name, "http" | "https") {
            let url = Url::parse(text).map_err(|error| invalid(text, &error.to_string()))?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(invalid(text, "it has a query or a fragment"));
            }
            if url.path().contains('@') {
                // Also what is behind a password with a slash.
                return Err(invalid(text, "its path has an `@`; write `/` in a password as %2F"));
            }
            return Ok(Self { kind: Kind::Http(Box::new(url)) });
        }
        let scheme = Scheme::NAMES.iter().find(|(known, _)| *known == name).map(|(_, scheme)| *scheme);
        let Some(scheme) = scheme else {
            return Err(invalid(text, "the schemes are s3, gs, az, http and https"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(invalid(text, "it names no bucket"));
        }
        if bucket.contains('@') {
            return Err(invalid(text, "credentials come from the environment, not from the address"));
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() && object_store::path::Path::parse(prefix).is_err() {
            return Err(invalid(text, "its path has an empty part, `.` or `..`"));
        }
        Ok(Self { kind: Kind::Bucket { scheme, bucket: bucket.to_owned(), prefix: prefix.to_owned() } })
    }
}

/// An address that cannot be used. What may be a password is left out.
fn invalid(text: &str, reason: &str) -> StoreError {
    RemoteError::new(without_secrets(text), RemoteErrorKind::InvalidAddress { reason: reason.to_owned() }).into()
}

/// An address for messages: without name and password, and without a query, which may be a signature.
#[must_use]
pub fn without_secrets(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (rest, query) = match rest.find(['?', '#']) {
        Some(at) => (&rest[..at], "?…"),
        None => (rest, ""),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let rest = match (authority.rsplit_once('@'), authority.rsplit_once(':'), rest.rsplit_once('@')) {
        (Some((secret, _)), _, _) => format!("…{}", &rest[secret.len()..]),
        // A password with a slash, which is not allowed there.
        (None, Some((_, port)), Some((_, after))) if !is_port(port) => format!("…@{after}"),
        _ => rest.to_owned(),
    };
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| text.parse::<RemoteAddress>().map(|it| it.to_string());
        for text in
            ["s3://bucket", "s3://bucket/a/b", "gs://b/ü", "az://c/d", "http://h:80801/x", "models.store", "/a/b"]
        {
            match text.contains("80801") {
                true => assert!(shown(text).is_err(), "{text}"),
                false => assert_eq!(shown(text).unwrap(), text),
            }
        }
        assert_eq!(shown("s3a://bucket/a/").unwrap(), "s3://bucket/a");
        assert_eq!(shown("https://ada:secret@host/x/").unwrap(), "https://host/x");
        for bad in [
            "",
            "s3://",
            "s3:/b/x",
            "s3:///a",
            "s3://b/a/../c",
            "ftp://host/x",
            "https://h/x?sig=secret",
            "s3://key:secret@b/x",
            "https://ada:/secret@h/x",
            "ftp://ada:secret@host:1/x@1",
            "https://h/x#secret",
        ] {
            let error = shown(bad).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn references_at_the_end() {
        let parts = |text: &str| RemoteAddress::with_reference(text).map(|(a, r)| (a.to_string(), r.to_string()));
        let wanted = |a: &str, r: &str| (a.to_owned(), r.to_owned());
        assert_eq!(parts("s3://b/p/digits@production").unwrap(), wanted("s3://b/p", "digits@production"));
        assert_eq!(parts("s3://b/digits").unwrap(), wanted("s3://b", "digits@latest"));
        assert_eq!(parts("digits@1").unwrap(), wanted(".", "digits@1"));
        assert_eq!(parts("../x/digits@1").unwrap(), wanted("../x", "digits@1"));
        assert!(parts("s3://digits@1").is_err());
        for (folder, version) in [("s3://b/p/digits/1", "`s3://b/p/digits@1`"), ("x/digits/7/", "`x/digits@7`")] {
            let error = parts(folder).unwrap_err().to_string();
            assert!(error.ends_with(version), "{error}");
        }
        let error = parts("https://host/digits@1?sig=secret").unwrap_err().to_string();
        assert!(error.contains("https://host/digits@1?…") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn what_is_not_secret_is_shown() {
        for text in ["a@b://c", "https://host:80/m/digits@1", "s3://b/digits@1", "models.store/digits@1"] {
            assert_eq!(without_secrets(text), text);
        }
        assert_eq!(without_secrets("https://ada:secret@host:80/m/digits@1"), "https://…@host:80/m/digits@1");
    }
}
