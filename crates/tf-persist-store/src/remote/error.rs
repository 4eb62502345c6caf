//! What can go wrong with a remote store.

use std::fmt;

use tf_persist_savedmodel::printable;

use crate::error::StoreError;
use crate::signing::Signer;

/// What went wrong at a remote store, with the address or the object it is about. Credentials are never part of it.
#[derive(Debug, Clone)]
pub struct RemoteError {
    place: String,
    kind: RemoteErrorKind,
}

/// The kinds of errors of remote stores.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteErrorKind {
    /// The address cannot be used.
    InvalidAddress {
        /// Why not.
        reason: String,
    },
    /// The client cannot be set up, for lack of credentials or because of an invalid setting.
    Settings {
        /// What is wrong.
        reason: String,
    },
    /// The server refused the credentials, or their owner may not do this.
    Denied {
        /// The server's word for it, such as `SignatureDoesNotMatch`.
        code: String,
    },
    /// The bucket or the object does not exist.
    Absent,
    /// No connection, or no answer in time.
    Unreachable {
        /// What was the matter.
        reason: String,
    },
    /// The server answered with an error after all retries.
    Failed {
        /// The status and the server's word for it.
        reason: String,
    },
    /// The server wanted the request to be sent to another host, which would get the credentials.
    Redirected {
        /// The other host.
        host: String,
    },
    /// The server sends the whole object where a part of it is needed.
    IgnoresRanges,
    /// Fewer or more bytes came than there should be.
    WrongSize {
        /// In bytes.
        expected: u64,
        /// In bytes.
        found: u64,
    },
    /// An object has more bytes than such an object may have.
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// There are more objects than are read from a list.
    TooMany {
        /// How many may be there.
        limit: usize,
    },
    /// The bytes of an object are not those of the manifest.
    WrongContents,
    /// The store can only be read.
    ReadOnly,
    /// The store cannot be listed.
    NoListing,
    /// The server overwrites what it should leave as it is, so that two writers would not notice each other.
    Unguarded {
        /// What it did.
        reason: &'static str,
    },
    /// Somebody else is pushing or deleting other files under this number.
    Claimed {
        /// Who.
        by: String,
        /// Since when.
        at: String,
    },
    /// The number belongs to another version.
    OtherVersion {
        /// The SHA-256 of the manifest that is there.
        there: String,
        /// The SHA-256 of the manifest that should get there.
        here: String,
    },
    /// The version is there with another signature.
    OtherSignature {
        /// Who made it, as it says.
        there: Signer,
        /// Who made the one that should get there.
        here: Signer,
    },
    /// Somebody else deleted the files of an interrupted push, or replaced them, after this process had begun with it.
    Superseded,
    /// The registry wants an upload to go on at another host without TLS.
    UploadRedirected {
        /// The other host.
        host: String,
    },
    /// The server does not answer requests for its own host name, so that pages elsewhere cannot send any.
    HostRefused {
        /// The name.
        host: String,
    },
    /// Files of a version were replaced while they were fetched.
    Replaced,
    /// Other writers were faster each time.
    Contended,
}

impl RemoteError {
    pub(crate) fn new(place: impl fmt::Display, kind: RemoteErrorKind) -> Self {
        Self { place: place.to_string(), kind }
    }

    /// The address or the object that it is about.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> &RemoteErrorKind {
        &self.kind
    }
}

impl std::error::Error for RemoteError {}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = printable(&self.place);
        match &self.kind {
            RemoteErrorKind::InvalidAddress { reason } => {
                write!(f, "`{place}` is not the address of a store: {}", printable(reason))
            }
            RemoteErrorKind::Settings { reason } => write!(f, "cannot use `{place}`: {}", printable(reason)),
            RemoteErrorKind::Denied { code } => {
                write!(f, "the server refuses access to `{place}` ({})", printable(code))
            }
            RemoteErrorKind::Absent => write!(f, "`{place}` does not exist"),
            RemoteErrorKind::Unreachable { reason } => write!(f, "cannot reach `{place}`: {}", printable(reason)),
            RemoteErrorKind::Failed { reason } => write!(f, "the request for `{place}` failed: {}", printable(reason)),
            RemoteErrorKind::Redirected { host } => {
                write!(f, "the server of `{place}` redirects to `{}`, which would get the credentials", printable(host))
            }
            RemoteErrorKind::IgnoresRanges => {
                write!(f, "the server of `{place}` sends whole files where a part was requested")
            }
            RemoteErrorKind::WrongSize { expected, found } => {
                write!(f, "`{place}` has {found} bytes instead of {expected}")
            }
            RemoteErrorKind::TooLarge { limit } => write!(f, "`{place}` has more than {limit} bytes"),
            RemoteErrorKind::TooMany { limit } => write!(f, "`{place}` has more than {limit} objects"),
            RemoteErrorKind::WrongContents => write!(f, "`{place}` has other contents than the manifest says"),
            RemoteErrorKind::ReadOnly => write!(f, "`{place}` can only be read"),
            RemoteErrorKind::NoListing => write!(f, "`{place}` cannot be listed"),
            RemoteErrorKind::Unguarded { reason } => write!(
                f,
                "`{place}` does not keep preconditions: {reason}, so that two writers at the same time would not notice \
                 each other"
            ),
            RemoteErrorKind::Claimed { by, at } => {
                write!(
                    f,
                    "{} has been pushing or deleting other files as `{place}` since {}",
                    printable(by),
                    printable(at)
                )
            }
            RemoteErrorKind::OtherVersion { there, here } => write!(
                f,
                "`{place}` is another version of the same number: manifest {}, and not {}",
                there.get(..12).unwrap_or(there),
                here.get(..12).unwrap_or(here)
            ),
            RemoteErrorKind::OtherSignature { there, here } => {
                write!(f, "`{place}` is a signature by {there} already, and another one by {here} here")
            }
            RemoteErrorKind::Superseded => {
                write!(f, "another writer deleted or replaced what was pushed as `{place}`")
            }
            RemoteErrorKind::UploadRedirected { host } => {
                write!(f, "the registry of `{place}` sends the upload to `{}`, without TLS", printable(host))
            }
            RemoteErrorKind::HostRefused { host } => {
                write!(f, "the server of `{place}` takes no requests for the host name `{}`", printable(host))
            }
            RemoteErrorKind::Replaced => write!(f, "files of `{place}` were replaced while they were fetched"),
            RemoteErrorKind::Contended => write!(f, "other writers changed `{place}` each time before this one could"),
        }
    }
}

impl From<RemoteError> for StoreError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}
