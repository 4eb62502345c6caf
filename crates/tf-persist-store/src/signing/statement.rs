//! What a signature says: the SHA-256 of every file.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::files::is_safe;
use crate::manifest::hex;

/// The kind of statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What is stated.
const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The name of the model's folder when it was signed, which proves nothing.
    pub name: String,
    /// The files with their SHA-256, in hexadecimal digits.
    pub files: Vec<(String, String)>,
    /// Files and folders that are not signed.
    pub ignored: Vec<String>,
    /// Which version of which model the files are; signatures of other tools do not say it.
    pub binding: Option<Binding>,
}

/// Which version of which model is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The model.
    pub model: String,
    /// The number of the version.
    pub version: u64,
    /// The SHA-256 of its manifest.
    pub manifest: String,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
    tf_persist: Option<Binding>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

impl Statement {
    /// The bytes that are signed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let one = |(name, digest): &(String, String)| json!({"name": name, "algorithm": "sha256", "digest": digest});
        let mut predicate = json!({
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": self.ignored,
            },
            "resources": self.files.iter().map(one).collect::<Vec<_>>(),
        });
        if let Some(Binding { model, version, manifest }) = &self.binding {
            predicate["tf_persist"] = json!({"model": model, "version": version, "manifest": manifest});
        }
        let root = root(self.files.iter().map(|(_, digest)| digest.as_str())).unwrap_or_default();
        let statement: Value = json!({
            "_type": STATEMENT,
            "subject": [{"name": self.name, "digest": {"sha256": root}}],
            "predicateType": PREDICATE,
            "predicate": predicate,
        });
        statement.to_string().into_bytes()
    }

    /// Reads a statement; an error is the reason why it cannot be used.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, String> {
        let wire: Wire =
            serde_json::from_slice(payload).map_err(|error| format!("its statement is invalid: {error}"))?;
        let Predicate { serialization, resources, tf_persist } = wire.predicate;
        if wire.kind != STATEMENT || wire.predicate_type != PREDICATE {
            return Err(format!("it signs a `{}`, and `{PREDICATE}` is supported", wire.predicate_type));
        }
        if serialization.method != "files" {
            return Err(format!(
                "it signs `{}`, and only signatures of whole `files` are supported",
                serialization.method
            ));
        }
        let hashes = std::iter::once(&serialization.hash_type).chain(resources.iter().map(|it| &it.algorithm));
        if let Some(other) = hashes.into_iter().find(|hash| *hash != "sha256") {
            return Err(format!("its files are hashed with `{other}`, and only `sha256` is supported"));
        }
        if serialization.allow_symlinks {
            return Err("it allows symbolic links, whose targets may change".to_owned());
        }
        let [subject] = wire.subject.as_slice() else { return Err("it has not one subject".to_owned()) };
        if resources.is_empty() {
            return Err("it signs no file".to_owned());
        }
        if root(resources.iter().map(|it| it.digest.as_str())).as_ref() != Some(&subject.digest.sha256) {
            return Err("the digest of its subject is not that of its files".to_owned());
        }
        let mut files: Vec<(String, String)> = resources.into_iter().map(|it| (it.name, it.digest)).collect();
        files.sort();
        if let Some((name, _)) = files.iter().find(|(name, _)| !is_safe(name)) {
            return Err(format!("it signs `{name}`, which is not a name in the model's folder"));
        }
        if files.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("it signs a file twice".to_owned());
        }
        Ok(Self { name: subject.name.clone(), files, ignored: serialization.ignore_paths, binding: tf_persist })
    }

    /// Whether a file is not signed.
    pub(super) fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| {
            let ignored = ignored.trim_end_matches('/');
            name.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The SHA-256 of digests in this order; `None` if one is not a SHA-256.
fn root<'a>(digests: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut hasher = Sha256::new();
    for digest in digests {
        if digest.len() != 64 || !digest.is_ascii() {
            return None;
        }
        for index in (0..64).step_by(2) {
            hasher.update([u8::from_str_radix(&digest[index..index + 2], 16).ok()?]);
        }
    }
    Some(hex(&hasher.finalize()))
}
