//! The file with a signature, a Sigstore bundle.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tf_persist_savedmodel::printable;

use super::statement::{Binding, Statement};
use super::{SigningKey, Trusted, certificate};
use crate::durable;
use crate::error::{Result, StoreError};
use crate::files::{GIT, is_of_git, walk};
use crate::manifest::Manifest;
use crate::verify::{Fault, hash_all};

/// The signature in a model's folder.
pub const SIGNATURE_FILE: &str = "model.sig";

/// The most bytes of a signature.
pub(crate) const MAX_FILE: u64 = 256 << 20;

/// The digits of a key's digest that are shown, as in the log.
const SHOWN: usize = 12;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "verificationMaterial")]
    material: Material,
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Material {
    #[serde(rename = "publicKey")]
    public_key: Option<Hint>,
    #[serde(rename = "x509CertificateChain")]
    chain: Option<Chain>,
    certificate: Option<Value>,
}

#[derive(Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    #[serde(rename = "rawBytes")]
    raw_bytes: String,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

/// Who made a signature, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signer {
    /// The holder of a key: the SHA-256 of the PEM text of its public key.
    Key(String),
    /// The holder of a certificate.
    Certificate,
    /// It does not say.
    Unknown,
}

impl Signer {
    /// Who made the signature of these bytes.
    pub(crate) fn of(signature: &[u8]) -> Self {
        match serde_json::from_slice::<Wire>(signature).map(|wire| wire.material) {
            Ok(Material { certificate: Some(_), .. } | Material { chain: Some(_), .. }) => Self::Certificate,
            Ok(Material { public_key: Some(Hint { hint }), .. }) if !hint.is_empty() => Self::Key(hint),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hint) => write!(f, "key {}", printable(&hint.chars().take(SHOWN).collect::<String>())),
            Self::Certificate => f.write_str("a certificate"),
            Self::Unknown => f.write_str("an unknown key"),
        }
    }
}

/// Who made the signature in a file; `None` if there is no such file.
///
/// # Errors
/// If it cannot be read.
pub fn signer(signature: impl AsRef<Path>) -> Result<Option<Signer>> {
    Ok(durable::read(signature.as_ref(), MAX_FILE)?.map(|bytes| Signer::of(&bytes)))
}

/// What is signed: the statement with its type and lengths.
fn message(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Signs the files of a folder, but for `model.sig` and those of git. Returns the contents of the signature's file.
///
/// # Errors
/// If a file cannot be signed or read, or there is none.
pub fn sign_folder(folder: impl AsRef<Path>, key: &SigningKey, binding: Option<Binding>) -> Result<String> {
    let folder = folder.as_ref();
    let real = folder.canonicalize().map_err(StoreError::io("open", folder))?;
    let mut statement = Statement {
        name: real.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        files: Vec::new(),
        ignored: ignored(),
        binding,
    };
    let mut names = Vec::new();
    for found in walk(folder)? {
        let path = folder.join(&found.name);
        found.size.map_err(|kind| StoreError::refused(&path, format!("it is {kind}, which cannot be signed")))?;
        if !statement.ignores(&found.name) {
            names.push(found.name);
        }
    }
    if names.is_empty() {
        return Err(StoreError::refused(folder, "it has no file to sign"));
    }
    statement.files = hash_all(folder, names)?;
    sign(&statement, key)
}

/// Signs the files of a version that is about to be published, or was.
pub(crate) fn sign_version(manifest: &Manifest, digest: &str, key: &SigningKey) -> Result<String> {
    let files = manifest.files.iter().map(|file| (file.name.clone(), file.sha256.clone())).collect();
    let binding = Binding { model: manifest.model.clone(), version: manifest.version, manifest: digest.to_owned() };
    let name = manifest.version.to_string();
    sign(&Statement { name, files, ignored: ignored(), binding: Some(binding) }, key)
}

/// What a signature leaves out: itself, and the files of git.
fn ignored() -> Vec<String> {
    std::iter::once(SIGNATURE_FILE).chain(GIT).map(str::to_owned).collect()
}

fn sign(statement: &Statement, key: &SigningKey) -> Result<String> {
    let payload = statement.encode();
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public_key().hint()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": STANDARD.encode(key.sign(&message(&payload))?), "keyid": ""}],
        },
    });
    Ok(format!("{bundle}\n"))
}

/// Checks that somebody who is trusted has signed the files of a folder, all of them and as they are. Files of git are
/// not ignored, whatever the signature says.
///
/// # Errors
/// If there is no signature, it is another's, or the files are not those that were signed.
pub fn verify_folder(folder: impl AsRef<Path>, signature: impl AsRef<Path>, trusted: &Trusted) -> Result<Statement> {
    let (folder, path) = (folder.as_ref(), signature.as_ref());
    let Some(bytes) = durable::read(path, MAX_FILE)? else {
        return Err(StoreError::NotSigned { path: folder.to_path_buf() });
    };
    let refused = |reason: String| StoreError::InvalidSignature { path: path.to_path_buf(), reason };
    let statement = verified(&bytes, trusted).map_err(refused)?;
    let (mut expected, mut faults) = (statement.files.iter().peekable(), Vec::new());
    let mut names = Vec::new();
    for found in walk(folder)? {
        if statement.ignores(&found.name) && !is_of_git(&found.name) {
            continue;
        }
        while let Some((name, _)) = expected.next_if(|(name, _)| *name < found.name) {
            faults.push(Fault::Missing(name.clone()));
        }
        match (expected.next_if(|(name, _)| *name == found.name), found.size) {
            (Some(_), Ok(_)) => names.push(found.name),
            (Some(_), Err(_)) => faults.push(Fault::Contents(found.name)),
            (None, _) => faults.push(Fault::Extra(found.name)),
        }
    }
    faults.extend(expected.map(|(name, _)| Fault::Missing(name.clone())));
    for (name, digest) in hash_all(folder, names)? {
        let signed = statement.files.binary_search_by(|(known, _)| known.cmp(&name));
        if signed.is_ok_and(|index| statement.files[index].1 != digest) {
            faults.push(Fault::Contents(name));
        }
    }
    match faults.is_empty() {
        true => Ok(statement),
        false => Err(StoreError::NotWhatWasSigned { path: folder.to_path_buf(), faults }),
    }
}

/// The statement of a signature, if somebody who is trusted made it; else the reason.
fn verified(bundle: &[u8], trusted: &Trusted) -> Result<Statement, String> {
    let wire: Wire = serde_json::from_slice(bundle).map_err(|error| format!("it is not a Sigstore bundle: {error}"))?;
    let Wire { material, envelope } = wire;
    if material.certificate.is_some() {
        return Err(
            "it is a keyless signature, which needs the servers of Sigstore; only keys and certificate chains are \
                    supported"
                .to_owned(),
        );
    }
    if envelope.payload_type != PAYLOAD {
        return Err(format!("it signs `{}`, and `{PAYLOAD}` is supported", envelope.payload_type));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| "it is not valid base64".to_owned());
    let payload = decode(&envelope.payload)?;
    let [signature] = envelope.signatures.as_slice() else { return Err("it has not one signature".to_owned()) };
    let (signature, message) = (decode(&signature.sig)?, message(&payload));
    match (trusted, material.public_key, material.chain) {
        (Trusted::Key(key), Some(Hint { hint }), _) => {
            if !hint.is_empty() && hint != key.hint() {
                return Err("it was made by another key".to_owned());
            }
            if !key.verifies(&message, &signature) {
                return Err("it was not made by this key, or the statement was changed".to_owned());
            }
        }
        (Trusted::Authorities(authorities), _, Some(chain)) => {
            let chain = chain.certificates.iter().map(|it| decode(&it.raw_bytes)).collect::<Result<Vec<_>, _>>()?;
            certificate::check(chain, authorities, &message, &signature)?;
        }
        (Trusted::Key(_), None, _) => return Err("it was made with a certificate, and not with a key alone".to_owned()),
        (Trusted::Authorities(_), _, None) => {
            return Err("it was made with a key alone, and not with a certificate".to_owned());
        }
    }
    Statement::decode(&payload)
}
