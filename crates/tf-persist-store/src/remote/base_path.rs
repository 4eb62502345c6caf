//! Numbered folders of models in a bucket, as TensorFlow Serving has them under a base path. No store wrote them: there
//! are no manifests, so names, sizes and tags in the bucket's list say what a version consists of.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tf_persist_savedmodel::checkpoint::{CheckpointIndex, MAX_INDEX_BYTES};
use tf_persist_savedmodel::saved_model::layout::{GRAPH_FILE, VARIABLES_PREFIX};
use tf_persist_savedmodel::{Error, SavedModel, printable};

use super::address::{Kind, RemoteAddress};
use super::client::RemoteOptions;
use super::cloud::Cloud;
use super::error::{RemoteError, RemoteErrorKind};
use super::objects::{Listed, Objects, read};
use crate::error::{Result, StoreError};
use crate::files::is_safe;
use crate::manifest::{FileEntry, MAX_BYTES, hex};

/// More files than this are no model.
const MAX_FILES: usize = 100_000;

/// A graph without variables beside it is read to find out whether it needs some, unless it is larger than this: then
/// its weights are constants.
const MAX_READ_GRAPH: u64 = 256 << 20;

/// How many results of [`BasePath::check`] are remembered.
const MAX_REMEMBERED: usize = 1000;

/// Models in one file, which a bucket has whole or not at all.
const MODELS: [&str; 3] = [".keras", ".h5", ".tfpack"];

/// A base path elsewhere: `s3://…`, `gs://…` or `az://…`.
#[derive(Debug)]
pub struct BasePath {
    address: RemoteAddress,
    objects: Arc<dyn Objects>,
    pub(crate) options: RemoteOptions,
    /// Why versions are incomplete, if they are, by their digests.
    checked: Mutex<BTreeMap<String, Option<String>>>,
}

/// What the bucket lists of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedVersion {
    address: String,
    pub(crate) folder: String,
    pub(crate) files: Vec<ListedFile>,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedFile {
    /// Relative to the version's folder.
    pub(crate) name: String,
    pub(crate) size: u64,
    /// The tag that the bucket gave to these contents.
    state: String,
}

impl ListedVersion {
    /// What identifies the version and its contents: the SHA-256 of what is listed.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        [&self.address, &self.folder].into_iter().for_each(|text| add(text));
        for file in &self.files {
            [&file.name, &file.size.to_string(), &file.state].into_iter().for_each(|text| add(text));
        }
        hex(&hasher.finalize())
    }

    /// The size of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    pub(crate) fn entries(&self) -> Vec<FileEntry> {
        let entry = |file: &ListedFile| FileEntry { name: file.name.clone(), size: file.size, sha256: String::new() };
        self.files.iter().map(entry).collect()
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.files.iter().find(|file| file.name == name).map(|file| file.size)
    }
}

impl BasePath {
    /// Sets up the client. Nothing is sent. Credentials come from the environment, as for a store.
    ///
    /// # Errors
    /// If the settings cannot be used, or it is a place that cannot be listed.
    pub fn open(address: &RemoteAddress, options: &RemoteOptions) -> Result<Self> {
        Self::check_address(address)?;
        let objects = Arc::new(Cloud::open(address, options)?);
        Ok(Self::of(address.clone(), objects, options.clone()))
    }

    pub(crate) fn of(address: RemoteAddress, objects: Arc<dyn Objects>, options: RemoteOptions) -> Self {
        Self { address, objects, options, checked: Mutex::default() }
    }

    /// Checks that the place can be listed, without a request.
    ///
    /// # Errors
    /// If it is a web server or a folder.
    pub fn check_address(address: &RemoteAddress) -> Result<()> {
        match &address.kind {
            Kind::Bucket { .. } => Ok(()),
            Kind::Http(_) => Err(RemoteError::new(address, RemoteErrorKind::NoListing).into()),
            Kind::Folder(_) => {
                let reason = "it is a folder".to_owned();
                Err(RemoteError::new(address, RemoteErrorKind::InvalidAddress { reason }).into())
            }
        }
    }

    /// The names of the folders.
    ///
    /// # Errors
    /// If the bucket cannot be listed, or nothing is under the base path.
    pub fn folders(&self) -> Result<Vec<String>> {
        let folders = self.objects.folders()?;
        match folders.is_empty() {
            true => Err(self.objects.refuse("", RemoteErrorKind::Absent)),
            false => Ok(folders),
        }
    }

    /// Lists the files of a version in one of the folders.
    ///
    /// # Errors
    /// If the bucket cannot be listed, or a file cannot be one of a model.
    pub fn version(&self, folder: &str) -> Result<ListedVersion> {
        let prefix = format!("{folder}/");
        let listed = self.objects.list(&prefix)?;
        let files = files(&prefix, listed).map_err(|reason| StoreError::damaged(self.place(folder), reason))?;
        Ok(ListedVersion { address: self.address.to_string(), folder: folder.to_owned(), files })
    }

    /// Why a version is incomplete; `None` if all of its files are there: the graph, the index of its variables, and
    /// every data file that the index names, in its size.
    ///
    /// # Errors
    /// If the bucket cannot be read. `scratch` is a folder for files of this function.
    pub fn incomplete(&self, version: &ListedVersion, scratch: &Path) -> Result<Option<String>> {
        let digest = version.digest();
        if let Some(known) = self.checked().get(&digest) {
            return Ok(known.clone());
        }
        let found = self.check(version, scratch)?;
        let mut checked = self.checked();
        if checked.len() >= MAX_REMEMBERED {
            checked.clear();
        }
        checked.insert(digest, found.clone());
        Ok(found)
    }

    fn check(&self, version: &ListedVersion, scratch: &Path) -> Result<Option<String>> {
        let Some(graph) = version.size(GRAPH_FILE) else {
            let is_model = |file: &ListedFile| {
                !file.name.contains('/') && MODELS.iter().any(|extension| file.name.ends_with(extension))
            };
            return Ok(match version.files.iter().any(is_model) {
                true => None,
                false => Some(format!("it has no `{GRAPH_FILE}`")),
            });
        };
        let index = format!("{VARIABLES_PREFIX}.index");
        let (name, limit) = match version.size(&index) {
            Some(_) => (index.as_str(), MAX_INDEX_BYTES),
            None if graph > MAX_READ_GRAPH => return Ok(None),
            None => (GRAPH_FILE, MAX_READ_GRAPH),
        };
        let bytes = match read(self.objects.as_ref(), &format!("{}/{name}", version.folder), limit) {
            Ok(Some((bytes, _))) => bytes,
            Ok(None) => return Ok(Some(format!("`{name}` is listed and does not exist"))),
            Err(StoreError::Remote(error)) if is_of_file(error.kind()) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let folder = tempfile::tempdir_in(scratch).map_err(StoreError::io("create a folder in", scratch))?;
        stand_in(version, folder.path(), name, &bytes)?;
        let checked = match name == GRAPH_FILE {
            true => check_graph(folder.path()),
            // It is checked against the sizes of the data files.
            false => CheckpointIndex::open(folder.path().join(VARIABLES_PREFIX)).map(drop),
        };
        Ok(checked.err().map(|error| without_folder(&error.to_string(), folder.path())))
    }

    pub(crate) fn objects(&self) -> &dyn Objects {
        self.objects.as_ref()
    }

    /// The address of a version.
    #[must_use]
    pub fn place(&self, folder: &str) -> String {
        self.objects.place(folder)
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is about a file, and not about the bucket.
fn is_of_file(kind: &RemoteErrorKind) -> bool {
    matches!(kind, RemoteErrorKind::TooLarge { .. } | RemoteErrorKind::WrongSize { .. })
}

/// The files of a version, checked: a stranger may have written the list.
fn files(prefix: &str, listed: Vec<Listed>) -> Result<Vec<ListedFile>, String> {
    if listed.len() > MAX_FILES {
        return Err(format!("it has more than {MAX_FILES} files"));
    }
    let named = listed.into_iter().filter_map(|object| {
        let name = object.key.strip_prefix(prefix)?.to_owned();
        Some(ListedFile { name, size: object.size, state: object.state })
    });
    let mut files: Vec<ListedFile> = named.collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    // Consoles make folders by empty objects.
    let folders: HashSet<String> = files.iter().flat_map(|file| parents(&file.name)).map(str::to_owned).collect();
    let is_folder = |file: &ListedFile| {
        file.size == 0
            && (folders.contains(&file.name) || ["assets", "variables", "assets.extra"].contains(&&*file.name))
    };
    files.retain(|file| !is_folder(file));
    let mut folded = HashSet::new();
    for file in &files {
        if !is_safe(&file.name) {
            return Err(format!("the name `{}` leads out of its folder", printable(&file.name)));
        }
        if folders.contains(&file.name) {
            return Err(format!("`{}` is a file and a folder", printable(&file.name)));
        }
        // They would be one file where the file system ignores case.
        if !folded.insert(file.name.to_lowercase()) {
            return Err(format!("`{}` differs from another name in case only", printable(&file.name)));
        }
    }
    if files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size)) > MAX_BYTES {
        return Err(format!("its files have more than {MAX_BYTES} bytes"));
    }
    Ok(files)
}

/// The folders in which a file is, by their names.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Makes a folder with one file of a version, and with empty ones of the sizes of the variables' data files.
fn stand_in(version: &ListedVersion, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let variables = folder.join("variables");
    fs::create_dir(&variables).map_err(StoreError::io("create", &variables))?;
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(StoreError::io("write", &path))?;
    let data = format!("{VARIABLES_PREFIX}.data-");
    for file in version.files.iter().filter(|file| file.name.starts_with(&data)) {
        let path: PathBuf = folder.join(&file.name);
        let made = File::create(&path).and_then(|made| made.set_len(file.size));
        made.map_err(StoreError::io("write", path))?;
    }
    Ok(())
}

/// Checks that a graph needs no variables, of which there are none.
fn check_graph(folder: &Path) -> Result<(), Error> {
    let model = SavedModel::open(folder)?;
    model.meta_graphs().iter().try_for_each(|meta_graph| model.check(meta_graph))
}

/// The reason with names as the bucket has them.
fn without_folder(reason: &str, folder: &Path) -> String {
    reason.replace(&format!("{}/", folder.display()), "")
}
