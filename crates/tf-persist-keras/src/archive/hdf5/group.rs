//! Groups.

use std::collections::HashSet;
use std::fmt;

use hdf5_reader::error::Error as ReaderError;
use hdf5_reader::group::Group as RawGroup;
use tf_persist_savedmodel::{Error, Result, printable};

use super::value::{Object, Raw, RawAttributes};
use super::{Dataset, Hdf5};
use crate::archive::Attribute;

/// The most groups within each other. Each nested model takes two.
const MAX_DEPTH: usize = 128;

/// A group of an HDF5 file.
#[derive(Clone)]
pub(crate) struct Group {
    file: Hdf5,
    group: RawGroup,
    path: String,
    depth: usize,
    attributes: RawAttributes,
}

/// The names of a group's members, sorted by bytes in files as h5py writes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Members {
    pub(crate) groups: Vec<String>,
    pub(crate) datasets: Vec<String>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Group {
    pub(super) fn new(file: Hdf5, group: RawGroup, path: String, depth: usize) -> Result<Self> {
        file.enter(group.address(), &path)?;
        Ok(Self { file, group, path, depth, attributes: RawAttributes::new() })
    }

    /// The path from the root, without a slash in front; empty for the root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file that it is in.
    pub(crate) fn file(&self) -> &Hdf5 {
        &self.file
    }

    /// The names of its groups and datasets.
    ///
    /// # Errors
    /// If the group or a member's header cannot be read, or names are impossible or occur twice.
    pub(crate) fn members(&self) -> Result<Members> {
        let names = self.group.member_names().map_err(|error| self.failed(error))?;
        let members = Members { groups: names.0, datasets: names.1 };
        let mut seen = HashSet::new();
        for name in members.groups.iter().chain(&members.datasets) {
            if name.is_empty() || name.contains('/') || !seen.insert(name) {
                let place = printable(&self.path);
                let reason = format!("its group `/{place}` has a member `{}` twice or by mistake", printable(name));
                return Err(Error::flawed(self.file.path(), reason));
            }
        }
        Ok(members)
    }

    /// A group in it, by its name or by a path such as `layers/dense`; `None` if there is none.
    ///
    /// # Errors
    /// If a header on the way cannot be read, the group is the same as another one, or lies too deep.
    pub(crate) fn group(&self, path: &str) -> Result<Option<Self>> {
        let mut found = self.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let group = match found.group.group(name) {
                Ok(group) => group,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(found.failed(error)),
            };
            if found.depth == MAX_DEPTH {
                let place = printable(&found.path);
                let reason = format!("its groups are nested deeper than {MAX_DEPTH} at `/{place}`");
                return Err(Error::flawed(self.file.path(), reason));
            }
            found = Self::new(self.file.clone(), group, found.path_of(name), found.depth + 1)?;
        }
        Ok(Some(found))
    }

    /// A dataset in it, by its name or by a path such as `vars/0`; `None` if there is none.
    ///
    /// # Errors
    /// If a header on the way cannot be read, or an object is the same as another one.
    pub(crate) fn dataset(&self, path: &str) -> Result<Option<Dataset>> {
        let path = path.trim_matches('/');
        let (groups, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(group) = self.group(groups)? else { return Ok(None) };
        match group.group.dataset(name) {
            Ok(dataset) => Dataset::new(self.file.clone(), dataset, group.path_of(name)).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.file.failed("dataset", &group.path_of(name), error)),
        }
    }

    /// An attribute; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is of a type that Keras does not write.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<Attribute>> {
        self.object().attribute(name)
    }

    /// All attributes, in the file's order.
    ///
    /// # Errors
    /// As [`Group::attribute`], for any of them.
    pub(crate) fn attributes(&self) -> Result<Vec<(String, Attribute)>> {
        self.object().all()
    }

    /// An attribute that is a text; `None` if there is none.
    ///
    /// # Errors
    /// As [`Group::attribute`], or if it is no text.
    #[cfg(test)]
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.attribute(name)? else { return Ok(None) };
        value.text().map(|text| Some(text.to_owned())).ok_or_else(|| self.no_text(name))
    }

    /// An attribute that is a list of texts; `None` if there is none. Keras splits a list that is too long for one
    /// attribute into `name0`, `name1` and so on.
    ///
    /// # Errors
    /// As [`Group::attribute`], or if it is no list of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let texts = |name: &str| -> Result<Option<Vec<String>>> {
            let Some(value) = self.attribute(name)? else { return Ok(None) };
            value.texts().map(|texts| Some(texts.to_vec())).ok_or_else(|| self.no_text(name))
        };
        if let Some(whole) = texts(name)? {
            return Ok(Some(whole));
        }
        let mut all = None;
        for part in 0_usize.. {
            let Some(texts) = texts(&format!("{name}{part}"))? else { break };
            all.get_or_insert_with(Vec::new).extend(texts);
        }
        Ok(all)
    }

    fn no_text(&self, name: &str) -> Error {
        let what = format!("an attribute `{}` that is no text", printable(name));
        self.file.unsupported("group", &self.path, what)
    }

    fn object(&self) -> Object<'_> {
        Object { file: &self.file, path: &self.path, raw: Raw::Group(&self.group), attributes: &self.attributes }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn failed(&self, error: ReaderError) -> Error {
        self.file.failed("group", &self.path, error)
    }
}

/// Whether the error only says that there is no such object.
fn is_absent(error: &ReaderError) -> bool {
    match error {
        ReaderError::GroupNotFound(_) | ReaderError::DatasetNotFound(_) => true,
        ReaderError::Context { source, .. } => is_absent(source),
        _ => false,
    }
}
