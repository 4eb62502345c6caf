//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::printable;

use crate::name::{Label, ModelName};
use crate::signing::Signer;
use crate::verify::Fault;

/// What functions of this crate return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What went wrong, with the name or path it is about. `Display` is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read", "create", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The folder has no `store.json`.
    #[error("`{}` is not a store of models{}", path.display(), nearby(instead.as_deref()))]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// A store in it, or the store that it is in.
        instead: Option<PathBuf>,
    },
    /// A store cannot be made of a folder with other contents.
    #[error("`{}` is not a store, and has {}", path.display(), first(others))]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// What is in it, but for models.
        others: Vec<String>,
    },
    /// The store was written by a later version of this library.
    #[error("`{}` has format {format}, and this version of tf-persist knows format 1", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        format: u64,
    },
    /// A name that models cannot have.
    #[error("`{}` cannot be the name of a model: {reason}", printable(name))]
    InvalidModelName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A name that labels cannot have.
    #[error("`{}` cannot be a label: {reason}", printable(label))]
    InvalidLabel {
        /// The label.
        label: String,
        /// Why not.
        reason: &'static str,
    },
    /// A number that versions cannot have.
    #[error(
        "`{}` cannot be the number of a version: it must be from 1 to 9223372036854775807, without leading zeros",
        printable(version)
    )]
    InvalidVersion {
        /// The number as it was given.
        version: String,
    },
    /// Two names that file systems without case cannot tell apart.
    #[error("the store has a model `{known}` already, whose name differs from `{model}` in case only")]
    SimilarModel {
        /// The new name.
        model: ModelName,
        /// The model that is there.
        known: String,
    },
    /// The store has no such model.
    #[error("the store `{}` has no model `{model}`{}", store.display(), known("models", known_models))]
    UnknownModel {
        /// The folder of the store.
        store: PathBuf,
        /// The name.
        model: ModelName,
        /// The models that it has.
        known_models: Vec<String>,
    },
    /// The model has no such version.
    #[error("`{model}` has no version {version}{}", known("versions", known_versions))]
    UnknownVersion {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
        /// The versions that it has.
        known_versions: Vec<u64>,
    },
    /// The model has no such label.
    #[error("`{model}` has no label `{label}`{}", known("labels", known_labels))]
    UnknownLabel {
        /// The model.
        model: ModelName,
        /// The label.
        label: Label,
        /// The labels that it has.
        known_labels: Vec<Label>,
    },
    /// Nothing was published under this name.
    #[error("`{model}` has no published version")]
    NoVersions {
        /// The model.
        model: ModelName,
    },
    /// The number is taken.
    #[error("`{model}` has a version {version} already")]
    VersionExists {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
    },
    /// A removed version had this number, which would make two versions look like one in the log.
    #[error("`{model}` had a version {version}, which was removed, and numbers are not used again")]
    VersionUsed {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
    },
    /// The folder of this number was not published.
    #[error("`{}` was not published: the store has no manifest of it", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
    },
    /// Something in the source that a version cannot have.
    #[error("`{}` cannot be published: {reason}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file of the store is damaged.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files of a version are not those of its manifest.
    #[error("version {version} of `{model}` is not what was published: {}", faults_text(faults))]
    Changed {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
        /// All differences.
        faults: Vec<Fault>,
    },
    /// A file has no key or certificate that can be used.
    #[error("`{}` cannot be used as a key: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is a signature already.
    #[error("version {version} of `{model}` is signed already, by {signer}")]
    Signed {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
        /// Who signed it, as the signature says.
        signer: Signer,
    },
    /// There is no signature.
    #[error("`{}` is not signed", path.display())]
    NotSigned {
        /// The folder.
        path: PathBuf,
    },
    /// A signature is not one of those that are trusted.
    #[error("the signature `{}` is not trusted: {reason}", path.display())]
    InvalidSignature {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The signature of a version is of another version, or does not say of which it is.
    #[error("the signature of version {version} of `{model}` {reason}")]
    OtherVersion {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
        /// What the signature says.
        reason: String,
    },
    /// The files are not those that were signed.
    #[error("`{}` is not what was signed: {}", path.display(), faults_text(faults))]
    NotWhatWasSigned {
        /// The folder.
        path: PathBuf,
        /// All differences.
        faults: Vec<Fault>,
    },
    /// A version with labels is not removed.
    #[error("version {version} of `{model}` is labelled {}", list(labels))]
    Labelled {
        /// The model.
        model: ModelName,
        /// The number.
        version: u64,
        /// Its labels.
        labels: Vec<Label>,
    },
    /// A label cannot be rolled back any further.
    #[error("before version {from}, `{label}` of `{model}` pointed to no version that is still there")]
    NothingBefore {
        /// The model.
        model: ModelName,
        /// The label.
        label: Label,
        /// The version that it points to.
        from: u64,
    },
    /// The model has several labels, and none was named.
    #[error("`{model}` has the labels {}: name the one to move", list(labels))]
    ChooseLabel {
        /// The model.
        model: ModelName,
        /// Its labels.
        labels: Vec<Label>,
    },
    /// The model has no labels.
    #[error("`{model}` has no labels")]
    NoLabels {
        /// The model.
        model: ModelName,
    },
    /// A store elsewhere cannot be used as it should be.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Remote(crate::remote::RemoteError),
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] tf_persist_savedmodel::Error),
    /// The caller's own check refused the version before it was published.
    #[error("the model did not pass the check, and was not published: {0}")]
    Check(Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// An operating system error at a path; for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    pub(crate) fn damaged(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn refused(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

/// "; its versions are 1, 2 and 3 more", or nothing.
fn known<T: ToString>(what: &str, known: &[T]) -> String {
    const SHOWN: usize = 10;
    if known.is_empty() {
        return String::new();
    }
    let first = &known[known.len().saturating_sub(SHOWN)..];
    let more = if known.len() > SHOWN { format!("{} more and ", known.len() - SHOWN) } else { String::new() };
    format!("; its {what} are {more}{}", list(first))
}

fn nearby(instead: Option<&Path>) -> String {
    instead.map_or_else(String::new, |instead| format!(", and `{}` is one", instead.display()))
}

/// The first of some names, and how many more there are.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = &names[..names.len().min(SHOWN)];
    match names.len() - shown.len() {
        0 => list(shown),
        more => format!("{} and {more} more", list(shown)),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(|item| format!("`{}`", printable(&item.to_string()))).collect::<Vec<_>>().join(", ")
}

fn faults_text(faults: &[Fault]) -> String {
    const SHOWN: usize = 3;
    let mut text = faults.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if faults.len() > SHOWN {
        text = format!("{text}; and {} more", faults.len() - SHOWN);
    }
    text
}
