//! Keys on the curves P-256 and P-384.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, UnparsedPublicKey,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::manifest::hex;

/// The most bytes of a file with a key.
const MAX_FILE: u64 = 1 << 16;

/// What stands before the point in a public key.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// An elliptic curve, with the hash that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

const CURVES: [Curve; 2] = [Curve::P256, Curve::P384];

impl Curve {
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
        }
    }

    fn prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => &P256_PREFIX,
            Self::P384 => &P384_PREFIX,
        }
    }

    /// The bytes of a coordinate.
    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// A key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    curve: Curve,
    /// Uncompressed.
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads a PEM file (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// If it has no public key on P-256 or P-384.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read(path)?;
        let invalid = |reason: &str| StoreError::Key { path: path.to_path_buf(), reason: reason.to_owned() };
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&text)
            .map_err(|_| invalid("it has no public key in PEM (`BEGIN PUBLIC KEY`)"))?;
        let of = |curve: Curve| {
            let point = der.strip_prefix(curve.prefix())?;
            (point.len() == 1 + 2 * curve.size() && point[0] == 4).then(|| Self { curve, point: point.to_vec() })
        };
        CURVES.into_iter().find_map(of).ok_or_else(|| invalid("only keys on the curves P-256 and P-384 are supported"))
    }

    /// The key as the text of a PEM file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[self.curve.prefix(), &self.point].concat())
    }

    /// What a signature calls the key by: the SHA-256 of its PEM text, in hexadecimal digits.
    #[must_use]
    pub fn hint(&self) -> String {
        hex(&Sha256::digest(self.to_pem()))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.curve.verification(), &self.point).verify(message, signature).is_ok()
    }
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    curve: Curve,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// Makes a key on P-256, and writes it to a new file that only its owner can read, and its public key to another,
    /// with `.pub` behind the name. Returns the public key.
    ///
    /// # Errors
    /// If one of the files exists, or cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<PublicKey> {
        let path = path.as_ref();
        let failed = |reason: &str| StoreError::Key { path: path.to_path_buf(), reason: reason.to_owned() };
        let curve = Curve::P256;
        let document = EcdsaKeyPair::generate_pkcs8(curve.signing(), &SystemRandom::new());
        let document = document.map_err(|_| failed("the system has no random numbers"))?;
        let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), document.as_ref(), &SystemRandom::new());
        let key = Self { curve, pair: pair.map_err(|_| failed("the new key is not valid"))? };
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let write = |path: &Path, text: &str, mode: u32| {
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(mode).open(path);
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
            written.map_err(StoreError::io("write", path))
        };
        write(path, &pem("PRIVATE KEY", document.as_ref()), 0o600)?;
        let public_key = key.public_key();
        write(public_path.as_ref(), &public_key.to_pem(), 0o644).inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(public_key)
    }

    /// Reads a PEM file: PKCS#8 (`BEGIN PRIVATE KEY`) or SEC1 (`BEGIN EC PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// If it has no private key on P-256 or P-384.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read(path)?;
        let invalid = |reason: &str| StoreError::Key { path: path.to_path_buf(), reason: reason.to_owned() };
        if text.windows(9).any(|it| it == b"ENCRYPTED") {
            return Err(invalid("it is encrypted; `openssl pkcs8 -topk8 -nocrypt` writes one that is not"));
        }
        let der = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| invalid("it has no private key in PEM (`BEGIN PRIVATE KEY`)"))?;
        let random = SystemRandom::new();
        let of = |curve: Curve| {
            let pair = match &der {
                PrivateKeyDer::Pkcs8(der) => {
                    EcdsaKeyPair::from_pkcs8(curve.signing(), der.secret_pkcs8_der(), &random).ok()?
                }
                PrivateKeyDer::Sec1(der) => {
                    let (private, public) = sec1(der.secret_sec1_der())?;
                    EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), private, public, &random).ok()?
                }
                _ => return None,
            };
            Some(Self { curve, pair })
        };
        CURVES.into_iter().find_map(of).ok_or_else(|| invalid("only keys on the curves P-256 and P-384 are supported"))
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey { curve: self.curve, point: self.pair.public_key().as_ref().to_vec() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let failed = |_| StoreError::Key { path: "".into(), reason: "the system has no random numbers".to_owned() };
        Ok(signature.map_err(failed)?.as_ref().to_vec())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let missing = || StoreError::io("open", path)(rustix::io::Errno::NOENT.into());
    durable::read(path, MAX_FILE)?.ok_or_else(missing)
}

/// The private and the public key of a SEC1 structure: version, private key, curve, public key.
fn sec1(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (0x30, mut rest, _) = element(der)? else { return None };
    let (mut private, mut public) = (None, None);
    while !rest.is_empty() {
        let (tag, value, after) = element(rest)?;
        match tag {
            0x04 => private = Some(value),
            0xa1 => public = element(value).and_then(|(tag, bits, _)| bits.strip_prefix(&[0]).filter(|_| tag == 0x03)),
            _ => {}
        }
        rest = after;
    }
    Some((private?, public?))
}

/// The first element of DER: its tag, its value, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = match der {
        [tag, length @ 0..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
        [tag, 0x81, length, rest @ ..] => (*tag, usize::from(*length), rest),
        _ => return None,
    };
    let (value, after) = rest.split_at_checked(length)?;
    Some((tag, value, after))
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + &format!("-----END {label}-----\n")
}
