//! The arguments of `tf-persist store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
#[cfg(feature = "remote")]
use tf_persist_store::mlflow::MlflowAddress;
#[cfg(feature = "remote")]
use tf_persist_store::oci::OciAddress;
#[cfg(feature = "remote")]
use tf_persist_store::remote::RemoteAddress;
use tf_persist_store::{Label, ModelName, Reference, Selector};

use crate::common_args::{Format, tolerance};
use crate::keras_args::KerasArgs;
#[cfg(feature = "runtime")]
use crate::load_args::LoadArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "REF is the number of a version, a label, or `latest`. Every command of tf-persist that takes a \
                        model takes MODEL@REF, and STORE/MODEL@REF for a store elsewhere."
)]
pub(crate) struct StoreArgs {
    /// The folder of the store, also TF_PERSIST_STORE [default: models.store, if it is there]. `list`, `show`, `label`,
    /// `promote`, `rollback`, `remove`, `gc` and `log` also take an address: s3://, gs://, az://, http://, https://
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) store: Option<PathBuf>,
    /// Also write to a remote store that does not keep preconditions, where two writers at the same time do not notice
    /// each other
    #[cfg(feature = "remote")]
    #[arg(long, global = true)]
    pub(crate) unguarded: bool,
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a store of a folder that is empty, or has models in folders by number
    Init,
    /// Copy a model into the store as a new version, whole or not at all
    Publish(Box<PublishArgs>),
    /// List the models, or the versions of a model
    List(ListArgs),
    /// Show a version: files, signatures, where it comes from
    Show(ShowArgs),
    /// Point a label to a version
    Label(LabelArgs),
    /// Check the files of a version, and point a label to it
    Promote(PromoteArgs),
    /// Point a label back to the version before
    Rollback(RollbackArgs),
    /// Remove a version
    Remove(VersionArgs),
    /// Remove old versions
    Gc(GcArgs),
    /// Check that versions are what was published, byte by byte
    Verify(StoreVerifyArgs),
    /// Sign a version with a private key
    Sign(SignArgs),
    /// Make keys that sign and verify
    Key(KeyArgs),
    /// Compare two versions
    Diff(StoreDiffArgs),
    /// Print what happened to a model: publications, moved labels, removals
    Log(LogArgs),
    /// Copy a version to a remote store, under the number that it has
    #[cfg(feature = "remote")]
    Push(PushArgs),
    /// Copy a version of a remote store into the store, under the number that it has
    #[cfg(feature = "remote")]
    Pull(PullArgs),
    /// Copy the versions and labels that only one of the store and a remote store has to the other
    #[cfg(feature = "remote")]
    Sync(SyncArgs),
}

impl StoreCommand {
    /// Whether it changes the store of `--store`, which may be elsewhere.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Label(_) | Self::Promote(_) | Self::Rollback(_) | Self::Remove(_) | Self::Gc(_))
    }
}

/// A reference that says which version it means, for what cannot be taken back easily.
fn exact(text: &str) -> Result<Reference, String> {
    let reference = text.parse::<Reference>().map_err(|error| error.to_string())?;
    match text.contains('@') {
        true => Ok(reference),
        false => Err(format!("it does not say which version: `{text}@latest` is the newest")),
    }
}

/// `store push`.
#[cfg(feature = "remote")]
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The version, as MODEL@REF
    #[arg(value_name = "MODEL@REF")]
    pub(crate) reference: Reference,
    /// The remote store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or a folder; the place in a
    /// registry, oci://HOST/REPO:TAG; or the model at an MLflow server, mlflow://HOST:PORT/MODEL. Credentials come from
    /// the environment, as for the tools of each service, and for registries from docker's config.json
    #[arg(value_name = "REMOTE")]
    pub(crate) to: String,
    /// Point these labels of the remote store, or these aliases of MLflow, to it in the same step (comma list)
    #[arg(long, value_name = "L,…", value_delimiter = ',')]
    pub(crate) label: Vec<Label>,
    /// Replace another signature that the version has there
    #[arg(long)]
    pub(crate) replace_signature: bool,
    /// Registries: push an image with the files below models/N/, as KServe takes it, instead of a ModelPack
    #[arg(long)]
    pub(crate) modelcar: bool,
    /// Registries: add the files to this image, which has a shell, for example
    #[arg(long, value_name = "IMAGE", requires = "modelcar")]
    pub(crate) base: Option<String>,
    /// Registries: compress the layer of the image
    #[arg(long, requires = "modelcar")]
    pub(crate) gzip: bool,
    /// Registries and MLflow: talk to the server without TLS; one on this machine is talked to so in any case
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// MLflow: the experiment that the model is logged in, also MLFLOW_EXPERIMENT_NAME [default: one with the name of
    /// the model]
    #[arg(long, value_name = "NAME")]
    pub(crate) experiment: Option<String>,
}

/// Where a version is pushed. It is not parsed with the arguments, since clap prints what cannot be parsed, passwords
/// among it.
#[cfg(feature = "remote")]
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Store(RemoteAddress),
    Registry(OciAddress),
    Mlflow(MlflowAddress),
}

#[cfg(feature = "remote")]
impl std::str::FromStr for Destination {
    type Err = tf_persist_store::StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if OciAddress::is_address(text) {
            text.parse().map(Self::Registry)
        } else if MlflowAddress::is_address(text) {
            text.parse().map(Self::Mlflow)
        } else {
            text.parse().map(Self::Store)
        }
    }
}

/// `store pull`.
#[cfg(feature = "remote")]
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct PullArgs {
    /// The version, as REMOTE/MODEL@REF, such as s3://BUCKET/PREFIX/MODEL@REF or https://HOST/PATH/MODEL@REF; the place
    /// in a registry, oci://HOST/REPO:TAG or oci://HOST/REPO@sha256:…; or a version at an MLflow server by its number
    /// there or an alias, mlflow://HOST:PORT/MODEL@REF
    #[arg(value_name = "REMOTE/MODEL@REF")]
    pub(crate) what: String,
    /// Registries and MLflow: the name of the model, for files that did not come from a store
    pub(crate) model: Option<ModelName>,
    /// Point these labels of the store to it in the same step (comma list)
    #[arg(long, value_name = "L,…", value_delimiter = ',')]
    pub(crate) label: Vec<Label>,
    /// Refuse the version unless it was signed with the private key of this public one
    #[arg(long, value_name = "KEY.pub")]
    pub(crate) require_signature: Option<PathBuf>,
    /// Registries and MLflow: talk to the server without TLS; one on this machine is talked to so in any case
    #[arg(long)]
    pub(crate) plain_http: bool,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

/// `store sync`.
#[cfg(feature = "remote")]
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The remote store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or a folder
    pub(crate) remote: String,
    /// The model [default: the models of both]
    pub(crate) model: Option<ModelName>,
    /// Copy nothing, and print what would be copied
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct PublishArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5), which becomes a SavedModel.
    /// A folder STORE/MODEL/N is adopted as version N
    pub(crate) path: PathBuf,
    /// The name under which it is published
    pub(crate) model: ModelName,
    /// The number of the version [default: one more than the largest so far]
    #[arg(long, value_name = "N", conflicts_with = "timestamp")]
    pub(crate) version: Option<u64>,
    /// Take the seconds since 1970 as the number
    #[arg(long)]
    pub(crate) timestamp: bool,
    /// Point these labels to it in the same step (comma list)
    #[arg(long, value_name = "L,…", value_delimiter = ',')]
    pub(crate) label: Vec<Label>,
    /// A note, which `show` prints
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// A JSON object with metrics or other data, which `show` prints
    #[arg(long, value_name = "FILE.json")]
    pub(crate) metadata: Option<PathBuf>,
    /// Sign the version with this private key (PEM, on P-256 or P-384) in the same step
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) sign: Option<PathBuf>,
    /// Write equal tensors of the checkpoint as often as they are there, instead of once
    #[arg(long)]
    pub(crate) plain: bool,
    /// Make hard links to the model's files instead of copies. They become read-only, and must not be changed
    #[arg(long)]
    pub(crate) link: bool,
    /// Replay the requests that are recorded in the model first, and publish it only if the answers are the same
    #[cfg(feature = "runtime")]
    #[arg(long)]
    pub(crate) check: bool,
    #[cfg(feature = "runtime")]
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The model whose versions are listed [default: all models]
    pub(crate) model: Option<ModelName>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The version, as MODEL@REF; MODEL alone is its newest version
    #[arg(value_name = "MODEL@REF")]
    pub(crate) reference: Reference,
    /// Where REF is a label: the version that it pointed to at this time, such as 2026-11-24T12:00 (local time)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// The version, as MODEL@REF
    #[arg(value_name = "MODEL@REF", value_parser = exact)]
    pub(crate) reference: Reference,
}

#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// The version, as MODEL@REF; with --remove the model
    #[arg(value_name = "MODEL@REF")]
    pub(crate) reference: Reference,
    /// The label
    pub(crate) label: Label,
    /// Take the label away
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The version, as MODEL@REF
    #[arg(value_name = "MODEL@REF", value_parser = exact)]
    pub(crate) reference: Reference,
    /// The label
    #[arg(long, value_name = "L")]
    pub(crate) to: Label,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The model
    pub(crate) model: ModelName,
    /// The label [default: the model's only one]
    #[arg(long, value_name = "L")]
    pub(crate) label: Option<Label>,
    /// Go back to this version [default: the one before, that is still there]
    #[arg(long, value_name = "REF")]
    pub(crate) to: Option<Selector>,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// The model [default: all models]
    pub(crate) model: Option<ModelName>,
    /// Keep this number of the newest versions of each model
    #[arg(long, value_name = "N")]
    pub(crate) keep: usize,
    /// Keep versions with labels; without it, a label on a version that would be removed is an error
    #[arg(long)]
    pub(crate) keep_labelled: bool,
    /// Remove nothing, and print what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StoreVerifyArgs {
    /// A version as MODEL@REF, or a model [default: all versions of all models]
    #[arg(value_name = "MODEL[@REF]")]
    pub(crate) what: Option<String>,
    /// Check that each version was signed with the private key of this public one
    #[arg(long, value_name = "KEY.pub", conflicts_with = "certificate_chain")]
    pub(crate) public_key: Option<PathBuf>,
    /// Check that each version was signed with a certificate for code signing that these authorities issued
    #[arg(long, value_name = "CA.crt")]
    pub(crate) certificate_chain: Option<PathBuf>,
    /// Accept signatures that do not say of which model they are, such as those of Python's model-signing
    #[arg(long)]
    pub(crate) like_model_signing: bool,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The version, as MODEL@REF
    #[arg(value_name = "MODEL@REF", value_parser = exact)]
    pub(crate) reference: Reference,
    /// The private key (PEM, on P-256 or P-384)
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) key: PathBuf,
    /// Replace the signature that the version has
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write a new private key to FILE, which only its owner can read, and its public key to FILE.pub
    New {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StoreDiffArgs {
    /// A version, as MODEL@REF
    #[arg(value_name = "MODEL@REF")]
    pub(crate) a: Reference,
    /// The version to compare it with, as MODEL@REF, or REF of the same model
    #[arg(value_name = "REF")]
    pub(crate) b: String,
    /// Treat floats of variables as the same up to this absolute and relative difference
    #[arg(long, value_name = "T", value_parser = tolerance, default_value = "0")]
    pub(crate) tolerance: f64,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The model
    pub(crate) model: ModelName,
    /// Only the moves of this label
    #[arg(long, value_name = "L")]
    pub(crate) label: Option<Label>,
    /// Only what happened up to this time, such as 2026-11-24T12:00 (local time)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

/// A time: with an offset, such as `2026-11-24T12:00:00Z`, or local.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    let time = local.and_then(|time| time.to_zoned(TimeZone::system())).map(|time| time.timestamp());
    time.map_err(|_| "not a time, such as 2026-11-24T12:00 or 2026-11-24T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let utc = time("2026-11-24T12:00:00Z").unwrap();
        assert_eq!(time("2026-11-24T13:00:00+01:00").unwrap(), utc);
        assert!(time("2026-11-24").unwrap() < time("2026-11-24T12:00").unwrap());
        assert_eq!(time("2026-11-24 12:00").unwrap(), time("2026-11-24T12:00:00").unwrap());
        assert!(time("tuesday").is_err() && time("2026-13-01").is_err());
    }
}
