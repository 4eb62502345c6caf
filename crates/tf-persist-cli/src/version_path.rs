//! `MODEL@REF` and `STORE/MODEL@REF` as the path of a model.

use std::path::{Path, PathBuf};

use tf_persist_store::{Reference, Store};

use crate::error::Hinted;

/// The folder that is a store without being named.
const DEFAULT: &str = "models.store";

/// The store that is named, or TF_PERSIST_STORE, or the one of this folder.
pub(crate) fn folder(named: Option<&Path>) -> PathBuf {
    let named = named.map(Path::to_path_buf);
    let from_environment = || std::env::var_os("TF_PERSIST_STORE").filter(|it| !it.is_empty()).map(PathBuf::from);
    named.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT))
}

/// The folder of a version, if the path names one; else the path. A path that exists is never taken for a reference.
pub(crate) fn resolve(path: PathBuf) -> anyhow::Result<PathBuf> {
    let Some((store, reference)) = reference(&path) else { return Ok(path) };
    if path.symlink_metadata().is_ok() {
        return Ok(path);
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
    if !is_published(path) {
        return Ok(());
    }
    let error = anyhow::anyhow!("`{}` is a published version, which stays as it is", path.display());
    let hint = "write to a folder outside the store, and publish that as a new version".to_owned();
    Err(Hinted { error, hint }.into())
}

/// Whether a path is that of a published version.
fn is_published(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let number =
        path.file_name().and_then(|name| name.to_str()).filter(|name| name.bytes().all(|it| it.is_ascii_digit()));
    let (Some(number), Some(model)) = (number, path.parent()) else { return false };
    model.parent().is_some_and(Store::is_at) && model.join(".store").join(format!("{number}.json")).is_file()
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
