//! Where TensorFlow reads the files of a model: its folder, or where those of a pack are put for it.
//!
//! TensorFlow wants a folder. It has a file system in memory, `ram://`, which everything of its own can read: the graph, the
//! variables, and the files that tables are filled from. It cannot read a graph in text form to its end, and gets it in binary
//! form. It cannot hand out a file as a region of memory (`ImmutableConst`), nor can a library of further ops read it that opens
//! files with its own hands: such models get a private folder on disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tf_persist_savedmodel::internals::{Entry, Files, Pack};
use tf_persist_savedmodel::saved_model::layout::GRAPH_FILE;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};
use tf_persist_savedmodel::scratch::Scratch;

use super::options::LoadOptions;
use crate::error::{Code, Error, ModelError, Result};
use crate::ffi::{Library, MemoryFolder};

/// The folder of the variables, and of the files that the graph reads.
const VARIABLES: &str = "variables";
const ASSETS: &str = "assets";

/// An operation that maps a file into memory, which `ram://` cannot.
const MAPS_FILES: &str = "ImmutableConst";

/// Where the files of a pack are put for TensorFlow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unpacked {
    /// Into memory: TensorFlow's file system `ram://`. They are deleted as soon as the model is loaded, but for assets, which are
    /// kept while it is.
    Memory,
    /// Into a private folder in the system's place for temporary files, which is deleted in the same way.
    Disk,
}

/// Where TensorFlow reads a model.
pub(super) enum Place {
    Folder,
    Memory(Option<MemoryFolder>),
    Disk(Option<Scratch>),
}

impl Place {
    /// The place for a model, with its files there.
    pub(super) fn of(
        model: &SavedModel,
        meta_graph: &MetaGraph,
        options: &LoadOptions,
        library: &Library,
    ) -> Result<Self> {
        let Files::Pack(pack) = model.files() else { return Ok(Self::Folder) };
        let asked = options.unpacked;
        match asked.unwrap_or_else(|| choice(pack, meta_graph)) {
            Unpacked::Disk => Self::on_disk(model, pack),
            Unpacked::Memory => match Self::in_memory(model, pack, library) {
                // What TensorFlow refuses, the disk may do; what is wrong with the pack stays wrong.
                Err(Error::TensorFlow { .. } | Error::Model(ModelError::Unsupported { .. })) if asked.is_none() => {
                    Self::on_disk(model, pack)
                }
                place => place,
            },
        }
    }

    /// Another place to try, if TensorFlow said that this one cannot do something.
    pub(super) fn instead(&self, error: &Error, model: &SavedModel, options: &LoadOptions) -> Option<Result<Self>> {
        let Files::Pack(pack) = model.files() else { return None };
        let lacks = matches!(error, Error::TensorFlow { code: Code::Unimplemented, .. });
        (lacks && matches!(self, Self::Memory(_)) && options.unpacked.is_none()).then(|| Self::on_disk(model, pack))
    }

    fn in_memory(model: &SavedModel, pack: &Arc<Pack>, library: &Library) -> Result<Self> {
        let folder = MemoryFolder::new(library)?;
        // As it was read, and in binary form: of a text, this file system says at its end that there is an error.
        let mut graph = folder.create(GRAPH_FILE)?;
        graph.append(model.bytes())?;
        graph.close()?;
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

    /// The folder as TensorFlow calls it. To be asked before [`Place::loaded`].
    pub(super) fn folder<'a>(&'a self, model: &'a SavedModel) -> &'a Path {
        match self {
            Self::Memory(Some(folder)) => folder.path(),
            Self::Disk(Some(folder)) => folder.path(),
            _ => model.path(),
        }
    }

    /// Whether TensorFlow finds the graph in text form there.
    pub(super) fn has_text(&self, model: &SavedModel) -> bool {
        !matches!(self, Self::Memory(_)) && model.file().extension().is_some_and(|extension| extension == "pbtxt")
    }

    /// Deletes what was only needed for loading. Assets stay: ops of the graph may have kept their paths.
    pub(super) fn loaded(&mut self, model: &SavedModel) {
        let Files::Pack(pack) = model.files() else { return };
        let keep = pack.has_folder(ASSETS);
        let graph = model.file().file_name().unwrap_or_default().to_string_lossy();
        let rest = || needed(pack, Some(&graph)).filter(|(_, entry)| !is_in(ASSETS, entry));
        // What cannot be deleted now goes with the folder.
        match self {
            Self::Folder => {}
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

    /// Where the files of a pack were put.
    pub(super) fn unpacked(&self) -> Option<Unpacked> {
        match self {
            Self::Folder => None,
            Self::Memory(_) => Some(Unpacked::Memory),
            Self::Disk(_) => Some(Unpacked::Disk),
        }
    }

    /// What TensorFlow said of its folder, said of the model.
    pub(super) fn rename(folder: &Path, error: Error, model: &SavedModel) -> Error {
        match error {
            Error::TensorFlow { action, code, message, hint } if model.is_packed() => {
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

/// Where the files go if nobody said.
fn choice(pack: &Pack, meta_graph: &MetaGraph) -> Unpacked {
    let reads_itself = !meta_graph.custom_ops().is_empty() && pack.has_folder(ASSETS);
    if reads_itself || meta_graph.ops().contains_key(MAPS_FILES) { Unpacked::Disk } else { Unpacked::Memory }
}

/// The files that TensorFlow reads: variables, assets and the graph, if that is named.
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
    fn of_what_is_on_disk_only_assets_stay_and_they_vanish_with_the_model() {
        for (name, stays) in [("text", &["assets/vocabulary.txt"][..]), ("digits", &[])] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("model");
            let model = SavedModel::from_bytes(SavedModel::open(source).unwrap().to_bytes().unwrap()).unwrap();
            let Files::Pack(pack) = model.files() else { panic!("it is a pack") };
            let mut place = Place::on_disk(&model, pack).unwrap();
            let folder = place.folder(&model).to_path_buf();
            let files = || {
                let all = needed(pack, Some("saved_model.pb")).map(|(_, entry)| entry.name.clone());
                all.filter(|name| folder.join(name).is_file()).collect::<Vec<_>>()
            };
            assert_eq!(files().len(), 3 + stays.len(), "{name}");
            assert!(!folder.join("fingerprint.pb").exists(), "TensorFlow does not need it");
            place.loaded(&model);
            assert_eq!(files(), stays, "{name}");
            assert_eq!(folder.exists(), !stays.is_empty(), "{name}");
            drop(place);
            assert!(!folder.exists(), "{name}");
        }
    }
}
