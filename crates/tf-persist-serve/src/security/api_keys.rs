//! API keys.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tf_persist_core::Code;

use crate::status::Status;

/// The header whose value is a key.
const API_KEY: &str = "x-api-key";
/// The largest file of keys, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The longest key, in bytes.
const MAX_KEY: usize = 4096;

/// The accepted API keys. Only their digests are kept. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApiKeys {
    file: Option<PathBuf>,
    digests: Arc<ArcSwapOption<Vec<[u8; 32]>>>,
}

/// Why API keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// The file cannot be read.
    #[error("cannot read the API keys in `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The content of the file is invalid.
    #[error("`{}` is not a file of API keys: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ApiKeys {
    /// Reads a file of keys, one a line. Empty lines and lines that begin with `#` are ignored. Without a file every
    /// client is accepted.
    ///
    /// # Errors
    /// If the file cannot be read, or has no key.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, ApiKeysError> {
        let keys = Self { file: file.map(Path::to_owned), digests: Arc::default() };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// If the file cannot be read, or has no key. The previous keys then stay in effect.
    pub(crate) fn reload(&self) -> Result<(), ApiKeysError> {
        let Some(path) = &self.file else { return Ok(()) };
        let digests = read(path).map_err(|source| ApiKeysError::Read { path: path.clone(), source })?;
        let digests = digests.map_err(|why| ApiKeysError::Invalid { path: path.clone(), why })?;
        let old = self.digests.swap(Some(Arc::new(digests)));
        self.log_changes(old.as_deref());
        Ok(())
    }

    /// Logs the number of keys.
    pub(crate) fn log_active(&self) {
        if let (Some(path), Some(digests)) = (&self.file, self.digests.load().as_ref()) {
            tracing::info!(file = %path.display(), keys = digests.len(), "API keys in effect");
        }
    }

    fn log_changes(&self, old: Option<&Vec<[u8; 32]>>) {
        let (Some(path), Some(old), Some(new)) = (&self.file, old, self.digests.load_full()) else { return };
        let count = |these: &[[u8; 32]], others: &[[u8; 32]]| these.iter().filter(|key| !others.contains(key)).count();
        let (added, removed) = (count(&new, old), count(old, &new));
        tracing::info!(file = %path.display(), added, removed, "the API keys were read again");
    }

    /// Checks the key of a request: `Authorization: Bearer KEY` or `X-Api-Key: KEY`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if the request has no key, or an unknown one.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        let digests = self.digests.load();
        let Some(digests) = digests.as_ref() else { return Ok(()) };
        let refused = |message: &str| Err(Status::new(Code::Unauthenticated, message));
        let Some(key) = key(headers) else {
            return refused("An API key is needed: `Authorization: Bearer KEY` or `X-Api-Key: KEY`");
        };
        if key.len() > MAX_KEY {
            return refused("The API key is not known");
        }
        let digest: [u8; 32] = Sha256::digest(key).into();
        // The key is compared with all digests in constant time, so that the time reveals nothing.
        let known = digests.iter().fold(Choice::from(0), |known, one| known | one.ct_eq(&digest));
        if known.into() { Ok(()) } else { refused("The API key is not known") }
    }
}

fn key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let bearer = bearer.filter(|value| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")));
    let key = bearer.map(|value| &value[7..]).or_else(|| headers.get(API_KEY).map(|value| value.as_bytes()));
    key.map(<[u8]>::trim_ascii)
}

fn read(path: &Path) -> io::Result<Result<Vec<[u8; 32]>, &'static str>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Ok(Err("it is longer than 1 MiB"));
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let keys: Vec<&[u8]> = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
    if keys.is_empty() {
        return Ok(Err("it has no key"));
    }
    if keys.iter().any(|key| key.len() > MAX_KEY) {
        return Ok(Err("a key is longer than 4096 bytes"));
    }
    Ok(Ok(keys.into_iter().map(|key| Sha256::digest(key).into()).collect()))
}
