//! Pushes versions to OCI registries, and pulls them.

use std::path::Path;
use std::sync::Arc;

use tf_persist_store::Store;
use tf_persist_store::oci::{self, OciAddress, OciOptions};
use tf_persist_store::remote::{RemoteOptions, traffic};

use super::args::{PullArgs, PushArgs};
use super::run::print;
use super::transfer::{name, print_pulled, pull_options, size};
use crate::error::UsageError;
use crate::format::bytes;
use crate::transfer_bar::TransferBar;

pub(super) fn push(store: &Store, args: &PushArgs, to: &OciAddress) -> anyhow::Result<()> {
    if !args.label.is_empty() {
        return Err(
            UsageError("a registry has no labels: the tag of the address is one, OCI://HOST/REPO:TAG".into()).into()
        );
    }
    if args.experiment.is_some() {
        return Err(UsageError("--experiment is for MLflow: mlflow://HOST/MODEL".into()).into());
    }
    let version = store.resolve(&args.reference)?;
    let bar = Arc::new(TransferBar::new("pushing"));
    let remote = RemoteOptions::default().plain_http(args.plain_http).progress(Arc::clone(&bar) as _);
    let mut options = OciOptions::default().modelcar(args.modelcar).gzip(args.gzip);
    if let Some(base) = &args.base {
        options = options.base(OciAddress::image(base)?);
    }
    let pushed = store.push_oci(&version, to, &options, &remote);
    bar.finish();
    let pushed = pushed?;
    let all = pushed.sent + pushed.skipped;
    print(&format!(
        "{} is at `{to}` now: {}, {} of {all} blobs sent, {}",
        name(&version),
        size(&version),
        pushed.sent,
        bytes(traffic().0)
    ))?;
    if let Some(before) = &pushed.moved_from {
        print(&format!("the tag pointed to sha256:{before} before"))?;
    }
    print(&format!("sha256:{}", pushed.digest))
}

pub(super) fn pull(store: &Path, args: &PullArgs, from: &OciAddress) -> anyhow::Result<()> {
    let bar = Arc::new(TransferBar::new("pulling"));
    let options = pull_options(args)?;
    let remote = RemoteOptions::default().plain_http(args.plain_http).progress(Arc::clone(&bar) as _);
    // What is not there makes no store.
    let from = oci::resolve(from, &remote)?;
    let store = Store::init(store)?;
    let pulled = store.pull_oci(&from, args.model.as_ref(), &options, &remote);
    bar.finish();
    print_pulled(&store, &pulled?, true)
}
