//! Signatures in the format of OpenSSF Model Signing, which Python's `model-signing` verifies, and the other way round.
//!
//! A signature is a Sigstore bundle: a statement with the SHA-256 of every file, signed by an elliptic-curve key. The
//! statement does not say which version of which model the files are; for versions of a store, an extension does.

mod bundle;
mod certificate;
mod key;
mod statement;

#[cfg(feature = "remote")]
pub(crate) use bundle::MAX_FILE;
pub(crate) use bundle::sign_version;
pub use bundle::{SIGNATURE_FILE, Signer, sign_folder, signer, verify_folder};
pub use key::{PublicKey, SigningKey};
pub use statement::{Binding, Statement};

use rustls_pki_types::CertificateDer;

/// Whose signatures are trusted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trusted {
    /// Those of a key.
    Key(PublicKey),
    /// Those of keys whose certificates these authorities have issued for code signing.
    Authorities(Authorities),
}

/// Certificate authorities.
#[derive(Debug, Clone)]
pub struct Authorities(pub(crate) Vec<CertificateDer<'static>>);
