//! The folder from which TensorFlow loads a model: its own, or one with the unpacked files of a pack.
//!
//! TensorFlow loads from a folder. Its file system in memory, `ram://`, works for the graph, the variables and the
//! files of tables, with three exceptions. A graph in text form cannot be read to its end, so it is written in binary
//! form. `ImmutableConst` cannot map a file, and op libraries cannot open files themselves: such models are unpacked to
//! a private folder on disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tf_persist_savedmodel::internals::{Entry, Files, FrozenModel, Pack};
use tf_persist_savedmodel::saved_model::layout::GRAPH_FILE;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};
use tf_persist_savedmodel::scratch::Scratch;

use super::options::LoadOptions;
use crate::error::{Code, Error, ModelError, Result};
use crate::ffi::{Library, MemoryFolder};

/// The folder of the variables, and of the files that the graph reads.
const VARIABLES: &str = "variables";
const ASSETS: &str = "assets";

/// An op that maps a file into memory, which `ram://` does not support.
const MAPS_FILES: &str = "ImmutableConst";

/// The bytes of an asset that is copied to memory.
const MAX_ASSET_BYTES: u64 = 1 << 30;

/// Where the files of a pack are unpacked for TensorFlow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnpackTarget {
    /// TensorFlow's file system in memory, `ram://`. Assets are kept as long as the model; other files are deleted once
    /// it is loaded.
    Memory,
    /// A private folder below the system's temporary folder, deleted in the same way.
    Disk,
}

/// The folder from which TensorFlow loads a model.
pub(super) enum LoadFolder {
    Folder,
    Memory(Option<MemoryFolder>),
    /// One in memory with a changed graph, and the assets that it reads.
    Changed(MemoryFolder),
    Disk(Option<Scratch>),
}

impl LoadFolder {
    /// The folder of a model, or a new one with the files of its pack.
    pub(super) fn create(
        model: &SavedModel,
        meta_graph: &MetaGraph,
        options: &LoadOptions,
        library: &Library,
    ) -> Result<Self> {
        let Files::Pack(pack) = model.files() else { return Ok(Self::Folder) };
        let chosen = options.unpack_target;
        match chosen.unwrap_or_else(|| default_target(pack, meta_graph)) {
            UnpackTarget::Disk => Self::on_disk(model, pack),
            UnpackTarget::Memory => match Self::in_memory(model, pack, library) {
                // The disk may work where `ram://` does not; a damaged pack fails either way.
                Err(Error::TensorFlow { .. } | Error::Model(ModelError::Unsupported { .. })) if chosen.is_none() => {
                    Self::on_disk(model, pack)
                }
                created => created,
            },
        }
    }

    /// A folder in memory with a changed graph of a model.
    ///
    /// # Errors
    /// If its ops cannot read their files from there, or the assets are too large for it.
    pub(super) fn changed(
        model: &SavedModel,
        meta_graph: &MetaGraph,
        graph: &FrozenModel,
        library: &Library,
    ) -> Result<Self> {
        if needs_disk(meta_graph, !graph.assets.is_empty()) {
            let reason = "its ops read files by themselves".to_owned();
            return Err(ModelError::Unsupported { path: model.path().to_path_buf(), reason, hint: None }.into());
        }
        let folder = MemoryFolder::new(library)?;
        folder.write(GRAPH_FILE, &graph.bytes)?;
        for asset in &graph.assets {
            let name = format!("{ASSETS}/{asset}");
            let Some(bytes) = model.files().read(&name, MAX_ASSET_BYTES, "what is copied to memory")? else { continue };
            folder.write(&name, &bytes)?;
        }
        Ok(Self::Changed(folder))
    }

    /// A folder on disk, if TensorFlow reports that this one does not support an operation.
    pub(super) fn fallback(&self, error: &Error, model: &SavedModel, options: &LoadOptions) -> Option<Result<Self>> {
        let Files::Pack(pack) = model.files() else { return None };
        let lacks = matches!(error, Error::TensorFlow { code: Code::Unimplemented, .. });
        (lacks && matches!(self, Self::Memory(_)) && options.unpack_target.is_none())
            .then(|| Self::on_disk(model, pack))
    }

    fn in_memory(model: &SavedModel, pack: &Arc<Pack>, library: &Library) -> Result<Self> {
        let folder = MemoryFolder::new(library)?;
        // In binary form: this file system fails at the end of a text.
        folder.write(GRAPH_FILE, model.bytes())?;
        for (number, entry) in needed(pack, None) {
            let mut file = folder.create(&entry.name)?;
            pack.for_each_piece(number, |piece| Ok(file.append(piece.bytes())?))?;
            file.close()?;
        }
        Ok(Self::Memory(Some(folder)))
    }

    fn on_disk(model: &SavedModel, pack: &Arc<Pack>) -> Result<Self> {
        let graph = model.file().file_name().unwrap_or_default().to_string_lossy();
        let creating = |error: std::io::Error| {
            Error::io("create a folder for temporary files in", std::env::temp_dir())(error.kind().into())
        };
        let folder = Scratch::within(&std::env::temp_dir(), "tf-persist").map_err(creating)?;
        for (number, entry) in needed(pack, Some(&graph)) {
            pack.take_out(number, folder.path(), &folder.path().join(&entry.name))?;
        }
        Ok(Self::Disk(Some(folder)))
    }

    /// The folder as TensorFlow names it. Call it before [`LoadFolder::delete_temporary`].
    pub(super) fn folder<'a>(&'a self, model: &'a SavedModel) -> &'a Path {
        match self {
            Self::Memory(Some(folder)) | Self::Changed(folder) => folder.path(),
            Self::Disk(Some(folder)) => folder.path(),
            _ => model.path(),
        }
    }

    /// Whether TensorFlow finds the graph in text form there.
    pub(super) fn has_text(&self, model: &SavedModel) -> bool {
        !matches!(self, Self::Memory(_) | Self::Changed(_))
            && model.file().extension().is_some_and(|extension| extension == "pbtxt")
    }

    /// Deletes the files that only loading needs. Assets stay: ops of the graph may have kept their paths.
    pub(super) fn delete_temporary(&mut self, model: &SavedModel) {
        if let Self::Changed(folder) = self {
            folder.delete_file(GRAPH_FILE);
        }
        let Files::Pack(pack) = model.files() else { return };
        let keep = pack.has_folder(ASSETS);
        let graph = model.file().file_name().unwrap_or_default().to_string_lossy();
        let rest = || needed(pack, Some(&graph)).filter(|(_, entry)| !is_in(ASSETS, entry));
        // Files that cannot be deleted now are deleted with the folder.
        match self {
            Self::Folder | Self::Changed(_) => {}
            Self::Memory(folder) if !keep => drop(folder.take()),
            Self::Disk(folder) if !keep => drop(folder.take()),
            Self::Memory(folder) => {
                let Some(folder) = folder else { return };
                folder.delete_file(GRAPH_FILE);
                rest().for_each(|(_, entry)| folder.delete_file(&entry.name));
            }
            Self::Disk(folder) => {
                let Some(folder) = folder else { return };
                rest().for_each(|(_, entry)| drop(fs::remove_file(folder.path().join(&entry.name))));
            }
        }
    }

    /// Where the files of a pack were unpacked.
    pub(super) fn unpack_target(&self) -> Option<UnpackTarget> {
        match self {
            Self::Folder | Self::Changed(_) => None,
            Self::Memory(_) => Some(UnpackTarget::Memory),
            Self::Disk(_) => Some(UnpackTarget::Disk),
        }
    }

    /// Names the model instead of the folder in an error of TensorFlow.
    pub(super) fn rename_in_error(folder: &Path, error: Error, model: &SavedModel) -> Error {
        match error {
            Error::TensorFlow { action, code, message, hint } if folder != model.path() => {
                let (from, to) = (folder.display().to_string(), model.path().display().to_string());
                Error::TensorFlow {
                    action: action.replace(&from, &to),
                    code,
                    message: message.replace(&from, &to),
                    hint,
                }
            }
            other => other,
        }
    }
}

/// Where the files are unpacked by default.
fn default_target(pack: &Pack, meta_graph: &MetaGraph) -> UnpackTarget {
    if needs_disk(meta_graph, pack.has_folder(ASSETS)) { UnpackTarget::Disk } else { UnpackTarget::Memory }
}

/// Whether ops of the graph read files without TensorFlow's file system.
fn needs_disk(meta_graph: &MetaGraph, has_assets: bool) -> bool {
    let reads_itself = !meta_graph.custom_ops().is_empty() && has_assets;
    reads_itself || meta_graph.ops().contains_key(MAPS_FILES)
}

/// The files that TensorFlow reads: variables, assets, and the graph if it is named.
fn needed<'a>(pack: &'a Pack, graph: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Entry)> {
    let entries = pack.entries().iter().enumerate();
    entries
        .filter(move |(_, entry)| Some(entry.name.as_str()) == graph || is_in(VARIABLES, entry) || is_in(ASSETS, entry))
}

fn is_in(folder: &str, entry: &Entry) -> bool {
    entry.name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assets_stay_on_disk_until_the_model_is_dropped() {
        for (name, stays) in [("text", &["assets/vocabulary.txt"][..]), ("digits", &[])] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("model");
            let model = SavedModel::from_bytes(SavedModel::open(source).unwrap().to_bytes().unwrap()).unwrap();
            let Files::Pack(pack) = model.files() else { panic!("it is a pack") };
            let mut load_folder = LoadFolder::on_disk(&model, pack).unwrap();
            let folder = load_folder.folder(&model).to_path_buf();
            let files = || {
                let all = needed(pack, Some("saved_model.pb")).map(|(_, entry)| entry.name.clone());
                all.filter(|name| folder.join(name).is_file()).collect::<Vec<_>>()
            };
            assert_eq!(files().len(), 3 + stays.len(), "{name}");
            assert!(!folder.join("fingerprint.pb").exists(), "TensorFlow does not need it");
            load_folder.delete_temporary(&model);
            assert_eq!(files(), stays, "{name}");
            assert_eq!(folder.exists(), !stays.is_empty(), "{name}");
            drop(load_folder);
            assert!(!folder.exists(), "{name}");
        }
    }
}
