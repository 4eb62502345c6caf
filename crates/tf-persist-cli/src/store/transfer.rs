//! Pushes, pulls and synchronizes versions.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tf_persist_store::mlflow::MlflowAddress;
use tf_persist_store::oci::OciAddress;
use tf_persist_store::remote::{
    PullOptions, PushOptions, Remote, RemoteAddress, RemoteOptions, SyncOptions, Synced, Transferred, traffic,
};
use tf_persist_store::signing::{PublicKey, Trusted};
use tf_persist_store::{Store, StoreError, Version};

use super::args::{Destination, PullArgs, PushArgs, SyncArgs};
use super::run::print;
use super::{mlflow, registry};
use crate::error::{Differs, UsageError};
use crate::format::{bytes, count};
use crate::transfer_bar::TransferBar;

fn open(address: &RemoteAddress, unguarded: bool, bar: &Arc<TransferBar>) -> anyhow::Result<Remote> {
    let options = RemoteOptions::default().unguarded(unguarded).progress(Arc::clone(bar) as _);
    Ok(Remote::open(address, options)?)
}

/// An address that cannot be used, which is wrong usage.
fn misused(error: StoreError) -> UsageError {
    UsageError(error.to_string())
}

/// "4 files, 132.4 kB".
pub(super) fn size(version: &Version) -> String {
    let manifest = version.manifest();
    format!("{}, {}", count(manifest.files.len() as u64, "file"), bytes(manifest.bytes()))
}

pub(super) fn name(version: &Version) -> String {
    format!("{}@{}", version.model(), version.number())
}

pub(super) fn push(store: &Store, args: &PushArgs, unguarded: bool) -> anyhow::Result<()> {
    let to = args.to.parse::<Destination>().map_err(misused)?;
    let address = match &to {
        Destination::Registry(address) => return registry::push(store, args, address),
        Destination::Mlflow(address) => return mlflow::push(store, args, address),
        Destination::Store(_) if args.modelcar || args.plain_http || args.experiment.is_some() => {
            let reason = "--modelcar is for registries, oci://HOST/REPO:TAG; --experiment for mlflow://HOST/MODEL; and \
                          --plain-http for both";
            return Err(UsageError(reason.into()).into());
        }
        Destination::Store(address) => address,
    };
    let bar = Arc::new(TransferBar::new("pushing"));
    let remote = open(address, unguarded, &bar)?;
    let version = store.resolve(&args.reference)?;
    let options = PushOptions::default().replace_signature(args.replace_signature);
    let options = args.label.iter().cloned().fold(options, PushOptions::label);
    let pushed = remote.push(store, &version, &options);
    bar.finish();
    match pushed? {
        Transferred::WasThere(version) => print(&format!("{} is at `{}` already", name(&version), address)),
        done => {
            let version = done.version();
            let sent =
                if address.folder().is_some() { String::new() } else { format!(", {} sent", bytes(traffic().0)) };
            print(&format!("{} is at `{}` now: {}{sent}", name(version), address, size(version)))
        }
    }
}

pub(super) fn pull(store: &Path, args: &PullArgs) -> anyhow::Result<()> {
    if OciAddress::is_address(&args.what) {
        return registry::pull(store, args, &args.what.parse()?);
    }
    if MlflowAddress::is_address(&args.what) {
        return mlflow::pull(store, args, &args.what.parse()?);
    }
    if args.model.is_some() || args.plain_http {
        let reason = "the name of a model and --plain-http are for registries, oci://HOST/REPO:TAG, and for \
                      mlflow://HOST/MODEL";
        return Err(UsageError(reason.into()).into());
    }
    let (address, reference) = RemoteAddress::with_reference(&args.what)?;
    let bar = Arc::new(TransferBar::new("pulling"));
    let remote = open(&address, false, &bar)?;
    // What is not there makes no store.
    remote.find(&reference)?;
    let options = pull_options(args)?;
    let store = Store::init(store)?;
    let pulled = remote.pull(&reference, &store, &options);
    bar.finish();
    print_pulled(&store, &pulled?, address.folder().is_none())
}

/// How a version is pulled from a remote store or a registry.
pub(super) fn pull_options(args: &PullArgs) -> anyhow::Result<PullOptions> {
    let options = args.label.iter().cloned().fold(PullOptions::default(), PullOptions::label);
    Ok(match &args.require_signature {
        Some(key) => options.require_signature(Trusted::Key(PublicKey::read(key)?)),
        None => options,
    })
}

/// Prints what was pulled, and the bytes that were received if that was over a network.
pub(super) fn print_pulled(store: &Store, pulled: &Transferred, over_network: bool) -> anyhow::Result<()> {
    let here = store.path().display();
    match pulled {
        Transferred::WasThere(version) => print(&format!("{} is in `{here}` already", name(version))),
        done => {
            let version = done.version();
            let received = if over_network { format!(", {} received", bytes(traffic().1)) } else { String::new() };
            print(&format!("{} is in `{here}` now: {}{received}", name(version), size(version)))
        }
    }
}

pub(super) fn sync(store: &Store, args: &SyncArgs, unguarded: bool) -> anyhow::Result<()> {
    let address: RemoteAddress = args.remote.parse().map_err(misused)?;
    let bar = Arc::new(TransferBar::new("transferring"));
    let remote = open(&address, unguarded, &bar)?;
    let models = match &args.model {
        Some(model) => vec![model.clone()],
        None => remote.models_of_both(store)?,
    };
    if models.is_empty() {
        bail!("neither `{}` nor `{}` has a model", store.path().display(), address);
    }
    let options = SyncOptions::default().dry_run(args.dry_run);
    let mut is_same = true;
    for model in models {
        let synced = remote.sync(store, &model, &options).with_context(|| format!("cannot synchronize `{model}`"));
        if synced.is_err() {
            bar.finish();
        }
        let synced = synced?;
        is_same &= synced.different_versions.is_empty();
        report(&synced, &address, args.dry_run)?;
    }
    bar.finish();
    if is_same { Ok(()) } else { bail!(Differs) }
}

fn report(synced: &Synced, remote: &RemoteAddress, dry_run: bool) -> anyhow::Result<()> {
    let model = &synced.model;
    let would = if dry_run { "would be " } else { "" };
    let mut lines = Vec::new();
    lines.extend(synced.pushed.iter().map(|number| format!("{model}@{number}: {would}pushed")));
    lines.extend(synced.pulled.iter().map(|number| format!("{model}@{number}: {would}pulled")));
    let there = |(label, to): &(_, u64)| format!("{model}@{label}: {would}{to} at `{remote}`, as here");
    lines.extend(synced.labelled_there.iter().map(there));
    let here = |(label, to): &(_, u64)| format!("{model}@{label}: {would}{to} here, as at `{remote}`");
    lines.extend(synced.labelled_here.iter().map(here));
    for (label, here, there) in &synced.different_labels {
        lines.push(format!("{model}@{label}: {here} here, {there} at `{remote}`; it stays so"));
    }
    for number in &synced.different_versions {
        lines.push(format!("{model}@{number}: another version here than at `{remote}`; it stays so"));
    }
    if lines.is_empty() {
        lines.push(format!("{model}: the same here and at `{remote}`"));
    }
    lines.iter().try_for_each(|line| print(line))
}
