//! `MODEL@REF` and `STORE/MODEL@REF` as the path of a model.

use std::path::{Path, PathBuf};

#[cfg(feature = "remote")]
use tf_persist_store::mlflow::{self, MlflowAddress};
#[cfg(feature = "remote")]
use tf_persist_store::oci::{self, OciAddress};
#[cfg(feature = "remote")]
use tf_persist_store::remote::{Cache, Remote, RemoteAddress, RemoteOptions};
#[cfg(feature = "runtime")]
use tf_persist_store::signing::{PublicKey, SIGNATURE_FILE, Trusted, verify_folder};
use tf_persist_store::{Reference, Selector, Store};

use crate::common_args::has_scheme;
use crate::error::Hinted;
#[cfg(feature = "remote")]
use crate::transfer_bar::TransferBar;

/// The folder that is a store without being named.
const DEFAULT: &str = "models.store";

/// The store that is named, or TF_PERSIST_STORE, or the one of this folder.
pub(crate) fn folder(named: Option<&Path>) -> PathBuf {
    let named = named.map(Path::to_path_buf);
    let from_environment = || std::env::var_os("TF_PERSIST_STORE").filter(|it| !it.is_empty()).map(PathBuf::from);
    named.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT))
}

/// An address without the secrets that it may have.
fn shown(address: &Path) -> String {
    let address = address.to_string_lossy();
    #[cfg(feature = "remote")]
    return tf_persist_store::remote::without_secrets(&address);
    #[cfg(not(feature = "remote"))]
    address.split_once("://").map_or_else(|| address.to_string(), |(scheme, _)| format!("{scheme}://…"))
}

/// Refuses an address where a folder is needed.
pub(crate) fn check_here(path: &Path) -> anyhow::Result<()> {
    if !has_scheme(path) {
        return Ok(());
    }
    let error = anyhow::anyhow!("`{}` is not a folder, which this needs", shown(path));
    Err(Hinted { error, hint: "name the store of this machine with --store DIR or TF_PERSIST_STORE".to_owned() }.into())
}

#[cfg(not(feature = "remote"))]
pub(crate) fn without_remotes(path: &Path) -> anyhow::Error {
    let error = anyhow::anyhow!("`{}` is a remote store, and this tf-persist was built without them", shown(path));
    Hinted { error, hint: "build it with the feature `remote`".to_owned() }.into()
}

/// A version of a remote store as a folder of the cache, where it stays as long as this process runs.
#[cfg(feature = "remote")]
fn cached(path: &Path) -> anyhow::Result<PathBuf> {
    let text = path.to_string_lossy();
    let bar = std::sync::Arc::new(TransferBar::new("pulling"));
    let options = RemoteOptions::default().progress(std::sync::Arc::clone(&bar) as _);
    let cache = Cache::of_user()?;
    let cached = if OciAddress::is_address(&text) {
        oci::cached(&cache, &text.parse()?, &options)
    } else if MlflowAddress::is_address(&text) {
        mlflow::cached(&cache, &text.parse()?, &options)
    } else {
        let (address, reference) = RemoteAddress::with_reference(&text)?;
        cache.get(&Remote::open(&address, options)?, &reference)
    };
    bar.finish();
    let cached = cached?;
    let path = cached.version().path().to_path_buf();
    // The end of the process releases its lock.
    std::mem::forget(cached);
    Ok(path)
}

#[cfg(not(feature = "remote"))]
fn cached(path: &Path) -> anyhow::Result<PathBuf> {
    Err(without_remotes(path))
}

/// The folder of a version, if the path names one; else the path. A path that exists is never taken for a reference.
pub(crate) fn resolve(path: PathBuf) -> anyhow::Result<PathBuf> {
    if has_scheme(&path) {
        return cached(&path);
    }
    let Some((store, reference)) = reference(&path) else { return Ok(path) };
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    if has_scheme(&store) {
        return cached(&store.join(reference.to_string()));
    }
    if !Store::is_at(&store) {
        let error = anyhow::anyhow!("`{}` does not exist, and `{}` is not a store", path.display(), store.display());
        let hint = "name the store with TF_PERSIST_STORE=DIR, or in the path: DIR/MODEL@REF".to_owned();
        return Err(Hinted { error, hint }.into());
    }
    Ok(Store::open(store)?.resolve(&reference)?.path().to_path_buf())
}

/// Refuses to change a published version.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    if published(path).is_none() {
        return Ok(());
    }
    let error = anyhow::anyhow!("`{}` is a published version, which stays as it is", path.display());
    let hint = "write to a folder outside the store, and publish that as a new version".to_owned();
    Err(Hinted { error, hint }.into())
}

/// Refuses a model that was not signed with the private key of this public one. The signature of a version in a store
/// must say of which version of which model it is.
#[cfg(feature = "runtime")]
pub(crate) fn check_signature(path: &Path, key: &Path) -> anyhow::Result<()> {
    check_signed_by(path, &Trusted::Key(PublicKey::read(key)?))
}

/// As [`check_signature`], of a model that somebody who is trusted must have signed.
#[cfg(feature = "runtime")]
pub(crate) fn check_signed_by(path: &Path, trusted: &Trusted) -> anyhow::Result<()> {
    if let Some((store, reference)) = published(path) {
        Store::open(store)?.resolve(&reference)?.verify_signature(trusted, false)?;
    } else if let Some(version) = cached_at(path) {
        version.verify_signature(trusted, false)?;
    } else if path.is_file() {
        anyhow::bail!("`{}` is a file, and only the folder of a SavedModel can be signed", path.display());
    } else {
        verify_folder(path, path.join(SIGNATURE_FILE), trusted)?;
    }
    Ok(())
}

/// Whether a path names a version of a store, or a store, and not a folder of versions.
#[cfg(feature = "serve")]
pub(crate) fn is_in_store(path: &Path) -> bool {
    let is_reference =
        reference(path).is_some_and(|(store, _)| Store::is_at(&store)) && path.symlink_metadata().is_err();
    is_reference || Store::is_at(path)
}

/// Where the manifest of a version at this path is, or would be, if it is in a store.
#[cfg(feature = "serve")]
pub(crate) fn manifest_of(path: &Path) -> Option<PathBuf> {
    let Selector::Number(number) = path.file_name()?.to_str()?.parse().ok()? else { return None };
    let model = path.parent()?;
    let store = model.parent().filter(|store| Store::is_at(store))?;
    Some(Store::open(store).ok()?.manifest_path(&model.file_name()?.to_str()?.parse().ok()?, number))
}

/// The version of the cache at a path that is one.
#[cfg(all(feature = "remote", any(feature = "deploy", feature = "runtime")))]
fn cached_at(path: &Path) -> Option<tf_persist_store::Version> {
    Cache::version_at(path)
}

#[cfg(all(not(feature = "remote"), feature = "runtime"))]
fn cached_at(_path: &Path) -> Option<tf_persist_store::Version> {
    None
}

/// The version at a path that is one of a store or of the cache.
#[cfg(any(feature = "deploy", feature = "image"))]
pub(crate) fn version_at(path: &Path) -> anyhow::Result<Option<tf_persist_store::Version>> {
    match published(path) {
        Some((store, reference)) => Ok(Some(Store::open(store)?.find(&reference)?)),
        None => Ok(cached_at(path)),
    }
}

/// The store and the version at a path that is one.
fn published(path: &Path) -> Option<(PathBuf, Reference)> {
    let path = path.canonicalize().ok()?;
    let selector: Selector = path.file_name()?.to_str()?.parse().ok()?;
    let (Selector::Number(number), model) = (&selector, path.parent()?) else { return None };
    let store = model.parent().filter(|store| Store::is_at(store))?;
    let has_manifest = model.join(".store").join(format!("{number}.json")).is_file();
    let model = model.file_name()?.to_str()?.parse().ok().filter(|_| has_manifest)?;
    Some((store.to_path_buf(), Reference { model, selector }))
}

fn reference(path: &Path) -> Option<(PathBuf, Reference)> {
    let name = path.file_name()?.to_str().filter(|name| name.contains('@'))?;
    let reference = name.parse().ok()?;
    let store = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => folder(None),
    };
    Some((store, reference))
}
