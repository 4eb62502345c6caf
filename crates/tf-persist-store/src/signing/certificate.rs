//! Signatures by keys that have a certificate.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::Authorities;
use crate::durable;
use crate::error::{Result, StoreError};

/// The most bytes of a file with certificates.
const MAX_FILE: u64 = 1 << 20;

/// The object identifier of code signing, 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// How certificates may be signed.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
];

impl Authorities {
    /// Reads a PEM file with the certificates of authorities.
    ///
    /// # Errors
    /// If it has none.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let invalid = || StoreError::Key {
            path: path.to_path_buf(),
            reason: "it has no certificate in PEM (`BEGIN CERTIFICATE`)".to_owned(),
        };
        let missing = || StoreError::io("open", path)(rustix::io::Errno::NOENT.into());
        let text = durable::read(path, MAX_FILE)?.ok_or_else(missing)?;
        let all: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| invalid())?;
        if all.is_empty() {
            return Err(invalid());
        }
        Ok(Self(all))
    }
}

/// Checks a signature by the first certificate of a chain; an error is the reason why it is not trusted.
pub(super) fn check(
    chain: Vec<Vec<u8>>,
    authorities: &Authorities,
    message: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(CertificateDer::from).collect();
    let [leaf, intermediates @ ..] = chain.as_slice() else { return Err("it has no certificate".to_owned()) };
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| format!("its certificate is invalid: {error}"))?;
    let anchors = authorities.0.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|error| format!("the certificate of an authority is invalid: {error}"))?;
    let usage = KeyUsage::required(CODE_SIGNING);
    leaf.verify_for_usage(ALGORITHMS, &anchors, intermediates, UnixTime::now(), usage, None, None)
        .map_err(|error| format!("its certificate is not trusted for code signing now: {error}"))?;
    let is_by =
        |algorithm: &dyn SignatureVerificationAlgorithm| leaf.verify_signature(algorithm, message, signature).is_ok();
    match [ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA384].into_iter().any(is_by) {
        true => Ok(()),
        false => Err("it was not made by the key of its certificate, or the statement was changed".to_owned()),
    }
}
