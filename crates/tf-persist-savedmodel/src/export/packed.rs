//! Writes unchanged models without TensorFlow: as a pack, as bytes, or as a folder. Packs are written atomically as
//! well.

use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use super::save::{SaveReport, check_separate};
use super::staging::{Parents, Staging, check_absent, resolve, sync};
use crate::container::pack::{self, Item, is_pack};
use crate::error::{Error, Result};
use crate::saved_model::SavedModel;
use crate::saved_model::layout::{GRAPH_FILE, TEXT_GRAPH_FILE, parts_with};
use crate::scratch::NewFile;

impl SavedModel {
    /// Returns the model as the bytes of a [pack], which [`SavedModel::from_bytes`] opens. Equal models give equal
    /// bytes.
    ///
    /// ```no_run
    /// # fn main() -> tf_persist_savedmodel::Result<()> {
    /// use tf_persist_savedmodel::SavedModel;
    ///
    /// let bytes = SavedModel::open("models/digits/model")?.to_bytes()?;
    /// let model = SavedModel::from_bytes(bytes)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`SavedModel::save`]; [`Error::OutOfMemory`] if they do not fit into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.variables()?;
        let items = files_of(self)?;
        let length = pack::packed_length(&items)?;
        let length = usize::try_from(length).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { bytes: length })?;
        let mut bytes = Cursor::new(bytes);
        pack::write(&mut bytes, &items, |error| Error::io("write", self.path())(error))?;
        Ok(bytes.into_inner())
    }

    /// Writes the unchanged model to a [pack], with every meta graph and the fingerprint. Equal models give equal
    /// packs.
    pub(super) fn pack(&self, target: &Path, overwrite: bool) -> Result<SaveReport> {
        let variables = self.variables()?;
        check_separate(self.path(), target)?;
        StagedPack::begin(target, overwrite)?.publish(&files_of(self)?)?;
        Ok(SaveReport::new(self.meta_graphs(), variables))
    }

    /// Writes the unchanged model to a folder, with the files of [`SavedModel::pack`].
    pub(super) fn unpack(&self, target: &Path, overwrite: bool) -> Result<SaveReport> {
        let variables = self.variables()?;
        check_separate(self.path(), target)?;
        let staging = Staging::begin(target, overwrite)?;
        files_of(self)?.iter().try_for_each(|item| take_out(item, &staging))?;
        staging.publish()?;
        Ok(SaveReport::new(self.meta_graphs(), variables))
    }
}

/// The files of a model, sorted: the graph as it was read, and other files as they are now.
fn files_of(model: &SavedModel) -> Result<Vec<Item>> {
    let graph = model.file().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut items = pack::of_files(model.files(), &parts_with(&graph))?;
    if !model.is_text()
        && let Some(item) = items.iter_mut().find(|item| item.name() == graph)
    {
        // The bytes that were opened: the file may have changed. Texts are not kept in memory.
        item.replace(model.bytes().clone());
    }
    Ok(items)
}

/// Writes a file to a staged folder.
fn take_out(item: &Item, to: &Staging) -> Result<()> {
    let path = to.path().join(item.name());
    let writing = || Error::io("write", to.shown(item.name()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(writing())?;
    }
    let mut file = File::create_new(path).map_err(writing())?;
    item.for_each_piece(|piece| file.write_all(piece).map_err(writing()))
}

/// Packs the model of a staged folder.
pub(super) fn publish_folder(folder: &Path, target: &Path, overwrite: bool) -> Result<()> {
    let graph = [GRAPH_FILE, TEXT_GRAPH_FILE].into_iter().find(|name| folder.join(name).is_file());
    let graph = graph.ok_or_else(|| Error::flawed(target, "it would be without a graph"))?;
    StagedPack::begin(target, overwrite)?.publish(&pack::of_folder(folder, &parts_with(graph))?)
}

/// Checks that `target` does not exist, or is a pack that may be overwritten.
pub(super) fn check(target: &Path, overwrite: bool) -> Result<()> {
    match fs::metadata(target) {
        Ok(found) if found.is_dir() => {
            let source = io::ErrorKind::IsADirectory.into();
            Err(Error::Io { action: "write a pack to", path: target.to_path_buf(), source })
        }
        Ok(_) if !overwrite => Err(Error::Exists { path: target.to_path_buf() }),
        Ok(_) if is_pack(target) => Ok(()),
        Ok(_) => Err(Error::Unsupported {
            path: target.to_path_buf(),
            reason: "it is not a complete pack, so it is not overwritten".into(),
            hint: Some("name another target, or delete the file yourself".into()),
        }),
        Err(error) => check_absent(target, error),
    }
}

/// A file in a hidden folder beside its target. It is deleted when dropped without [`StagedPack::publish`].
struct StagedPack {
    file: NewFile,
    /// Dropped after the file inside them.
    parents: Parents,
    target: PathBuf,
    overwrite: bool,
}

impl StagedPack {
    fn begin(target: &Path, overwrite: bool) -> Result<Self> {
        check(target, overwrite)?;
        let target = resolve(target)?;
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(Error::Io { action: "write a pack to", path: target, source });
        };
        let parents = Parents::make(parent)?;
        // The error itself names the hidden folder.
        let creating = |error: io::Error| Error::io("create a file in", parent)(error.kind().into());
        let file = NewFile::beside(&target).map_err(creating)?;
        Ok(Self { file, parents, target, overwrite })
    }

    /// Writes these files, syncs the pack to disk, and renames it to the target.
    fn publish(self, items: &[Item]) -> Result<()> {
        // Dropped in reverse order: the file, then the folders above it.
        let Self { parents: _parents, mut file, target, overwrite } = self;
        pack::write(&mut file, items, |error| Error::io("write", &target)(error))?;
        file.as_file().sync_all().map_err(Error::io("write to disk", &target))?;
        file.publish(overwrite).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: target.clone() },
            _ => Error::io("move the finished pack to", &target)(error),
        })?;
        sync(target.parent().unwrap_or(Path::new("/")))
    }
}
