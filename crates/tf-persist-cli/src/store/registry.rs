//! Pushes versions to OCI registries, and pulls them.

use std::path::Path;
use std::sync::Arc;

use tf_persist_store::Store;
use tf_persist_store::oci::{self, OciAddress, OciOptions};
use tf_persist_store::remote::{PullOptions, RemoteOptions, Transferred, traffic};
use tf_persist_store::signing::{PublicKey, Trusted};

use super::args::{PullArgs, PushArgs};
use super::run::print;
use super::transfer::{name, size};
use crate::error::UsageError;
use crate::format::bytes;
use crate::transfer_bar::TransferBar;

pub(super) fn push(store: &Store, args: &PushArgs, to: &OciAddress) -> anyhow::Result<()> {
    if !args.label.is_empty() {
        return Err(
            UsageError("a registry has no labels: the tag of the address is one, OCI://HOST/REPO:TAG".into()).into()
        );
    }
    let version = store.resolve(&args.reference)?;
    let bar = Arc::new(TransferBar::new("pushing"));
    let remote = RemoteOptions::default().plain_http(args.plain_http);
    let mut options =
        OciOptions::default().remote(remote).modelcar(args.modelcar).gzip(args.gzip).progress(Arc::clone(&bar) as _);
    if let Some(base) = &args.base {
        options = options.base(OciAddress::image(base)?);
    }
    let pushed = store.push_oci(&version, to, &options);
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
    let mut options = PullOptions::default().progress(Arc::clone(&bar) as _);
    for label in &args.label {
        options = options.label(label.clone());
    }
    if let Some(key) = &args.require_signature {
        options = options.require_signature(Trusted::Key(PublicKey::read(key)?));
    }
    let remote = RemoteOptions::default().plain_http(args.plain_http);
    // What is not there makes no store.
    let from = oci::resolve(from, &remote)?;
    let store = Store::init(store)?;
    let pulled = store.pull_oci(&from, args.model.as_ref(), &options, &remote);
    bar.finish();
    let here = store.path().display();
    match pulled? {
        Transferred::WasThere(version) => print(&format!("{} is in `{here}` already", name(&version))),
        done => {
            let version = done.version();
            let received = bytes(traffic().1);
            print(&format!("{} is in `{here}` now: {}, {received} received", name(version), size(version)))
        }
    }
}
