//! Hints in terms of the command line: the library names its settings, and this module the flags for them.

use std::path::Path;

#[cfg(feature = "runtime")]
use tf_persist_core::Error;
#[cfg(feature = "runtime")]
use tf_persist_core::runtime::{Outcome, RuntimeError};
#[cfg(feature = "monitor")]
use tf_persist_monitor::MonitorError;
use tf_persist_savedmodel::saved_model::MissingOps;
use tf_persist_savedmodel::{Error as ModelError, Hint, SavedModelError, Setting, WarmupError};
use tf_persist_store::StoreError;
#[cfg(feature = "remote")]
use tf_persist_store::mlflow::MlflowAddress;
#[cfg(feature = "remote")]
use tf_persist_store::oci::OciAddress;
#[cfg(feature = "remote")]
use tf_persist_store::remote::RemoteErrorKind;

use crate::common_args::has_scheme;

/// Settings of the library whose flags have other names.
const RENAMED: [(&str, &str); 1] = [("object", "checkpoint-object")];

/// An error of the library, somewhere in a chain of causes.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    #[cfg(feature = "runtime")]
    Core(&'a Error),
    #[cfg(feature = "monitor")]
    Monitor(&'a MonitorError),
    Model(&'a ModelError),
}

impl<'a> Found<'a> {
    pub(crate) fn in_chain(error: &'a anyhow::Error) -> Option<Self> {
        error.chain().find_map(|cause| {
            #[cfg(feature = "runtime")]
            if let Some(error) = cause.downcast_ref() {
                return Some(Self::Core(error));
            }
            #[cfg(feature = "monitor")]
            if let Some(error) = cause.downcast_ref() {
                return Some(Self::Monitor(error));
            }
            match cause.downcast_ref() {
                Some(StoreError::Model(error)) => Some(Self::Model(error)),
                _ => cause.downcast_ref().map(Self::Model),
            }
        })
    }

    fn model(self) -> Option<&'a ModelError> {
        match self {
            #[cfg(feature = "runtime")]
            Self::Core(error) => error.model(),
            #[cfg(feature = "monitor")]
            Self::Monitor(MonitorError::Model(error)) => Some(error),
            #[cfg(feature = "monitor")]
            Self::Monitor(_) => None,
            Self::Model(error) => Some(error),
        }
    }

    fn hint(self) -> Option<Hint> {
        match self {
            #[cfg(feature = "runtime")]
            Self::Core(error) => error.hint(),
            #[cfg(feature = "monitor")]
            Self::Monitor(error) => error.hint(),
            Self::Model(error) => error.hint(),
        }
    }

    /// The rest of TensorFlow's message.
    pub(crate) fn detail(self) -> Option<String> {
        match self {
            #[cfg(feature = "runtime")]
            Self::Core(error) => error.detail(),
            #[cfg(feature = "monitor")]
            Self::Monitor(_) => None,
            Self::Model(_) => None,
        }
    }

    pub(crate) fn missing_ops(self) -> Option<&'a MissingOps> {
        match self.model() {
            Some(ModelError::SavedModel(SavedModelError::MissingOps(missing))) => Some(missing),
            _ => None,
        }
    }
}

/// The flags of all commands, and which command runs.
pub(crate) struct Flags {
    command: clap::Command,
    current: Option<String>,
}

impl Flags {
    pub(crate) fn new(command: clap::Command, current: Option<&str>) -> Self {
        Self { command, current: current.map(str::to_owned) }
    }

    /// The flag of a setting, and the command to give it to where the current one does not have it.
    fn name(&self, setting: &str) -> String {
        let renamed = RENAMED.iter().find(|(name, _)| *name == setting).map(|(_, flag)| (*flag).to_owned());
        let flag = renamed.unwrap_or_else(|| setting.replace('_', "-"));
        let has = |command: &&clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some(&flag));
        let current = self.current.as_deref().and_then(|name| self.command.find_subcommand(name));
        let other = || self.command.get_subcommands().find(has);
        match (current.filter(has), other()) {
            (None, Some(other)) => format!("`tf-persist {} --{flag}`", other.get_name()),
            _ => format!("--{flag}"),
        }
    }

    /// "--tags serve", "without --resume".
    fn text(&self, settings: &[Setting]) -> String {
        let (mut set, mut unset) = (Vec::new(), Vec::new());
        for setting in settings {
            match setting {
                Setting::Set(name) => set.push(self.name(name)),
                Setting::SetTo(name, value) if value.is_empty() => set.push(format!("{} \"\"", self.name(name))),
                Setting::SetTo(name, value) => set.push(format!("{} {value}", self.name(name))),
                Setting::Unset(name) => unset.push(self.name(name)),
                _ => {}
            }
        }
        let unset = (!unset.is_empty()).then(|| format!("without {}", unset.join(" and ")));
        set.into_iter().chain(unset).collect::<Vec<_>>().join(", ")
    }
}

/// The hint for an error, with the flags of the command line. `choose_signature` is the one for an unknown signature.
pub(crate) fn hint(found: Found<'_>, flags: &Flags, choose_signature: Option<String>) -> Option<String> {
    let special = match found.model() {
        Some(ModelError::SavedModel(SavedModelError::UnknownSignature { .. })) => choose_signature,
        Some(ModelError::SavedModel(SavedModelError::Untrusted { ops, .. })) => Some(trust(ops)),
        Some(ModelError::Warmup(WarmupError::NothingRecorded { path, in_order, .. })) => {
            let how = if *in_order { "--record FILE.jsonl --in-order" } else { "--record FILE.npz" };
            Some(format!("record some: tf-persist verify {} {how}", path.display()))
        }
        _ => match found {
            #[cfg(feature = "runtime")]
            Found::Core(Error::Runtime(error)) => Some(runtime(error)),
            _ => None,
        },
    };
    special.or_else(|| {
        let hint = found.hint()?;
        let settings = flags.text(hint.settings());
        Some(if settings.is_empty() { hint.to_string() } else { format!("{hint} ({settings})") })
    })
}

/// The hint for an error of a store.
pub(crate) fn of_store(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::NotAStore { instead: Some(store), .. } => {
            format!("write --store {0}, or {0}/MODEL@REF", store.display())
        }
        StoreError::NotAStore { path, .. } if has_scheme(path) => {
            format!("the first `tf-persist store push MODEL@REF {}` makes it one", path.display())
        }
        StoreError::NotAStore { path, .. } => {
            format!("make one with `tf-persist store init --store {}`, or name another with --store", path.display())
        }
        StoreError::NotEmpty { .. } => "name a folder that is empty, or does not exist, with --store".to_owned(),
        StoreError::Foreign { path, version, .. } if !path.ends_with(version.to_string()) => format!(
            "a version is named without leading zeros: rename it to `{}`, and adopt that with `tf-persist store publish`",
            path.with_file_name(version.to_string()).display()
        ),
        StoreError::Signed { model, version, .. } => {
            format!("`tf-persist store sign {model}@{version} --key KEY.pem --replace` replaces the signature")
        }
        StoreError::Foreign { path, model, .. } => {
            format!("if it is as it should be, adopt it with `tf-persist store publish {} {model}`", path.display())
        }
        StoreError::Labelled { model, labels, .. } => match labels.as_slice() {
            [label, ..] => format!(
                "move the label first, or take it away with `tf-persist store label {model} {label} --remove`; `gc` keeps \
                 such versions with --keep-labelled"
            ),
            [] => return None,
        },
        StoreError::NoLabels { model } => {
            format!("label a version with `tf-persist store label {model}@latest production`")
        }
        StoreError::ChooseLabel { .. } => "name it with --label".to_owned(),
        StoreError::NothingBefore { .. } => "name the version with --to REF".to_owned(),
        StoreError::VersionExists { .. } | StoreError::VersionUsed { .. } => {
            "leave out --version to take the next number".to_owned()
        }
        StoreError::Changed { model, version, .. } => format!(
            "`tf-persist store verify {model}@{version}` lists every change; do not use this version, and publish the \
             model again"
        ),
        StoreError::Damaged { path, .. } if is_lost_with_log(path) => format!(
            "delete `{}`: the labels come back from `log.jsonl` beside it, and the next change writes the file again",
            path.display()
        ),
        StoreError::NotSigned { .. } => "sign it with `tf-persist store sign MODEL@REF --key KEY.pem`".to_owned(),
        StoreError::OtherVersion { model, version, .. } => format!(
            "sign it with `tf-persist store sign {model}@{version} --key KEY.pem`; `store verify --like-model-signing` \
             accepts signatures that do not name a model"
        ),
        #[cfg(feature = "remote")]
        StoreError::Remote(error) if OciAddress::is_address(error.place()) => return of_registry(error.kind()),
        #[cfg(feature = "remote")]
        StoreError::Remote(error) if MlflowAddress::is_address(error.place()) => return of_mlflow(error.kind()),
        #[cfg(feature = "remote")]
        StoreError::Remote(error) => return of_remote(error.kind()),
        StoreError::UnknownModel { .. } => "`tf-persist store list` lists the models".to_owned(),
        _ => return None,
    })
}

/// Whether this is the file of labels of a store of this machine, with the log of the changes.
fn is_lost_with_log(path: &Path) -> bool {
    path.ends_with(".store/labels.json") && path.with_file_name("log.jsonl").is_file()
}

#[cfg(feature = "remote")]
fn of_registry(kind: &RemoteErrorKind) -> Option<String> {
    let hint = match kind {
        RemoteErrorKind::InvalidAddress { .. } => "addresses are oci://HOST/REPO:TAG and oci://HOST/REPO@sha256:DIGEST",
        RemoteErrorKind::Denied { .. } | RemoteErrorKind::Settings { .. } => {
            "log in with `docker login HOST`, or put the credentials into config.json of $DOCKER_CONFIG or ~/.docker"
        }
        RemoteErrorKind::Unreachable { .. } => "check the host and the port; a registry without TLS needs --plain-http",
        RemoteErrorKind::UploadRedirected { .. } => {
            "let the registry, or the proxy in front of it, send uploads to addresses with https (X-Forwarded-Proto)"
        }
        kind => return of_remote(kind),
    };
    Some(hint.to_owned())
}

#[cfg(feature = "remote")]
fn of_mlflow(kind: &RemoteErrorKind) -> Option<String> {
    Some(match kind {
        RemoteErrorKind::InvalidAddress { .. } => {
            "addresses are mlflow://HOST:PORT/MODEL and mlflow://HOST:PORT/MODEL@REF".to_owned()
        }
        RemoteErrorKind::Denied { .. } | RemoteErrorKind::Settings { .. } => {
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN".to_owned()
        }
        RemoteErrorKind::HostRefused { host } => {
            format!("start the server with `mlflow server --allowed-hosts {host}`, or name it by an address")
        }
        RemoteErrorKind::Unreachable { .. } => {
            "check the host and the port; a server without TLS needs --plain-http".to_owned()
        }
        kind => return of_remote(kind),
    })
}

#[cfg(feature = "remote")]
fn of_remote(kind: &RemoteErrorKind) -> Option<String> {
    let hint = match kind {
        RemoteErrorKind::InvalidAddress { .. } => {
            "addresses are s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/PATH or a folder"
        }
        RemoteErrorKind::Denied { .. } | RemoteErrorKind::Settings { .. } => {
            "set the credentials in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
        }
        RemoteErrorKind::Unguarded { .. } => {
            "if nobody else writes to it at the same time, write to it all the same with --unguarded"
        }
        RemoteErrorKind::OtherVersion { .. } => {
            "numbers are kept on the way: publish the model under another number, or use another store"
        }
        RemoteErrorKind::OtherSignature { .. } => "replace it with --replace-signature",
        RemoteErrorKind::Claimed { .. } => "wait until it is there; a claim that is older than a day is ignored",
        RemoteErrorKind::Superseded => "push the version again",
        RemoteErrorKind::ReadOnly => "write to it by another address, such as s3://BUCKET/PREFIX",
        RemoteErrorKind::NoListing => "name the model",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn trust(ops: &[String]) -> String {
    let only = match ops {
        [] => String::new(),
        [op] => format!(", or with --trust={op} for this op alone"),
        ops => format!(", or with --trust={} for these ops alone", ops.join(",")),
    };
    format!("`tf-persist scan` lists everything that it may do; if you trust it, load it with --trust{only}")
}

#[cfg(feature = "runtime")]
fn runtime(error: &RuntimeError) -> String {
    match error.found().map(|attempt| &attempt.outcome) {
        Some(Outcome::NoFramework { .. } | Outcome::NotOpened { .. }) => {
            "install it again with `tf-persist runtime install`, or name another folder with --libtensorflow".into()
        }
        Some(Outcome::NoTemporaryFolder { .. }) => error.hint().to_string(),
        Some(_) => "name the folder of another one with --libtensorflow DIR or TF_PERSIST_LIBTENSORFLOW".into(),
        None => "install it with `tf-persist runtime install`, or name its folder with --libtensorflow DIR or \
                 TF_PERSIST_LIBTENSORFLOW; `tf-persist runtime` lists where it is searched for"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn text(error: &ModelError, current: &str) -> String {
        let export = Command::new("export").arg(Arg::new("o").long("overwrite")).arg(Arg::new("t").long("tags"));
        let flags = Flags::new(Command::new("x").subcommand(export).subcommand(Command::new("run")), Some(current));
        hint(Found::Model(error), &flags, None).unwrap()
    }

    #[test]
    fn settings_become_flags() {
        let exists = ModelError::Exists { path: "m".into() };
        assert_eq!(text(&exists, "export"), "name another target, or let this one be replaced (--overwrite)");
        assert!(text(&exists, "run").ends_with(" (`tf-persist export --overwrite`)"), "{}", text(&exists, "run"));
        let unknown = |tags: &[&str]| {
            let available = vec![tags.iter().map(|tag| (*tag).to_owned()).collect()];
            ModelError::from(SavedModelError::UnknownTags { path: "m".into(), asked: vec![], available })
        };
        assert!(text(&unknown(&["serve", "gpu"]), "export").ends_with("(--tags serve,gpu)"));
        assert!(text(&unknown(&[]), "export").ends_with("(--tags \"\")"));
        let hint = Hint::new("change it").set("tags").unset("overwrite").unset("tags");
        let both = ModelError::CannotExport { path: "m".into(), reason: "no".into(), hint: Some(hint) };
        assert_eq!(text(&both, "export"), "change it (--tags, without --overwrite and --tags)");
    }

    #[test]
    fn untrusted_ops_are_named() {
        let untrusted = |ops: &[&str]| {
            let ops = ops.iter().map(|op| (*op).to_owned()).collect();
            ModelError::from(SavedModelError::Untrusted { path: "m".into(), what: "w".into(), more: 0, ops })
        };
        assert!(text(&untrusted(&[]), "run").ends_with("load it with --trust"));
        assert!(text(&untrusted(&["A", "B"]), "run").ends_with("--trust, or with --trust=A,B for these ops alone"));
    }
}
