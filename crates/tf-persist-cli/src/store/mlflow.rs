//! Pushes versions to MLflow servers, and pulls them.

use std::path::Path;
use std::sync::Arc;

use tf_persist_savedmodel::SaveOptions;
use tf_persist_store::Store;
use tf_persist_store::mlflow::{self, MlflowAddress, MlflowOptions};
use tf_persist_store::remote::{RemoteOptions, traffic};

use super::args::{PullArgs, PushArgs};
use super::run::print;
use super::transfer::{name, print_pulled, pull_options, size};
use crate::error::UsageError;
use crate::format::bytes;
use crate::transfer_bar::TransferBar;

pub(super) fn push(store: &Store, args: &PushArgs, to: &MlflowAddress) -> anyhow::Result<()> {
    if args.modelcar {
        return Err(UsageError("--modelcar is for registries: oci://HOST/REPO:TAG".into()).into());
    }
    let version = store.resolve(&args.reference)?;
    let bar = Arc::new(TransferBar::new("pushing"));
    let remote = RemoteOptions::default().plain_http(args.plain_http).progress(Arc::clone(&bar) as _);
    let mut options = MlflowOptions::default().replace_signature(args.replace_signature);
    let from_environment = || std::env::var("MLFLOW_EXPERIMENT_NAME").ok().filter(|name| !name.is_empty());
    if let Some(experiment) = args.experiment.clone().or_else(from_environment) {
        options = options.experiment(experiment);
    }
    for label in &args.label {
        options = options.alias(label.clone());
    }
    let pushed = store.push_mlflow(&version, to, &options, &remote);
    bar.finish();
    let pushed = pushed?;
    let there = to.at(pushed.number);
    print(&match pushed.was_there {
        true => format!("{} is `{there}` already", name(&version)),
        false => format!("{} is `{there}` now: {}, {} sent", name(&version), size(&version), bytes(traffic().0)),
    })?;
    for (alias, before) in &pushed.moved {
        let before = before.map_or_else(|| "nothing".to_owned(), |before| format!("version {before}"));
        print(&format!("the alias `{alias}` pointed to {before} before"))?;
    }
    Ok(())
}

pub(super) fn pull(store: &Path, args: &PullArgs, from: &MlflowAddress) -> anyhow::Result<()> {
    let bar = Arc::new(TransferBar::new("pulling"));
    let options = pull_options(args)?;
    let remote = RemoteOptions::default().plain_http(args.plain_http).progress(Arc::clone(&bar) as _);
    // What is not there makes no store.
    let from = mlflow::resolve(from, &remote)?;
    let store = Store::init(store)?;
    let convert = |file: &Path, folder: &Path| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        args.keras.open(file)?.save(folder, SaveOptions::default())?;
        Ok(())
    };
    let pulled = store.pull_mlflow(&from, args.model.as_ref(), &options, &remote, convert);
    bar.finish();
    let pulled = pulled?;
    print(&format!("{} is `{from}`", name(pulled.version())))?;
    print_pulled(&store, &pulled, true)
}
