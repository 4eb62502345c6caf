//! Writing HDF5 files of the kind that h5py writes for Keras: superblock 0, version-1 object headers, groups with
//! symbol tables, datasets whose elements follow one another.
//!
//! A file is laid out before its first byte is written, so it can be written to a stream, and tensors are not copied.
//! Equal trees give equal bytes. Where this module cites `H5*`, it means the files of libhdf5 1.14.

mod global_heap;
mod message;
mod plan;
mod symbol_table;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tf_persist_savedmodel::{DType, Tensor};

pub(crate) use self::plan::Plan;

use super::Attribute;
use crate::reason::{Result, refuse};

/// The size of a list of texts from which on Keras splits it (its `HDF5_OBJECT_HEADER_LIMIT`).
const MAX_LIST: usize = 64_512;

/// The size of a reference to a text of a variable length.
const REFERENCE: usize = 16;

/// A group to be written. The format keeps members sorted by name, and attributes in the order in which they were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    attributes: Attributes,
    members: BTreeMap<String, Member>,
}

/// A dataset to be written.
///
/// Bools are written as h5py's enumeration, and bfloat16 as Keras has it: opaque, with an attribute `dtype`, which is
/// added where it is not set.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    tensor: Tensor,
    attributes: Attributes,
}

#[derive(Debug, Clone)]
enum Member {
    Group(Group),
    Dataset(Dataset),
}

type Attributes = Vec<(String, Attribute)>;

impl Group {
    /// The group at a path below this one. Groups that are missing are added.
    ///
    /// # Errors
    /// If there is a dataset on the way, or a name has a NUL.
    pub(crate) fn group(&mut self, path: &str) -> Result<&mut Self> {
        let mut group = self;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            check_name(name)?;
            let member = group.members.entry(name.to_owned()).or_insert_with(|| Member::Group(Self::default()));
            group = match member {
                Member::Group(group) => group,
                Member::Dataset(_) => refuse!("`{name}` of `{path}` is a dataset, not a group"),
            };
        }
        Ok(group)
    }

    /// Adds a dataset at a path below this group, and the groups on the way. The tensor's memory is shared.
    ///
    /// # Errors
    /// As [`Group::group`], or if something is at the path already.
    pub(crate) fn insert(&mut self, path: &str, tensor: Tensor) -> Result<&mut Dataset> {
        let (groups, name) = path.rsplit_once('/').unwrap_or(("", path));
        check_name(name)?;
        match self.group(groups)?.members.entry(name.to_owned()) {
            Entry::Occupied(_) => refuse!("`{path}` is written twice"),
            Entry::Vacant(vacant) => match vacant.insert(Member::Dataset(Dataset { tensor, attributes: Vec::new() })) {
                Member::Dataset(dataset) => Ok(dataset),
                Member::Group(_) => refuse!("`{path}` is a group"),
            },
        }
    }

    /// Removes a member, if there is one of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        self.members.remove(name);
    }

    /// Whether there is an attribute of this name, or it is split.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(known, _)| known == name || known.strip_prefix(name) == Some("0"))
    }

    /// Sets an attribute, in place of one of the same name.
    pub(crate) fn set(&mut self, name: &str, value: Attribute) {
        set(&mut self.attributes, name, value);
    }

    /// Sets an attribute that is a list of texts, as Keras writes it: one that is too long for an attribute becomes
    /// several, `name0`, `name1` and so on; an empty one becomes an array of floats.
    ///
    /// # Errors
    /// If one of the texts is too long for an attribute.
    pub(crate) fn set_texts(&mut self, name: &str, texts: Vec<String>) -> Result<()> {
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        if longest > MAX_LIST {
            refuse!("a text of the attribute `{name}` has {longest} bytes, more than {MAX_LIST}");
        }
        let count = texts.len();
        let parts = count.div_ceil(MAX_LIST / longest.max(REFERENCE));
        match parts {
            0 => self.set(name, Attribute::Numbers(Tensor::zeros(DType::Float64, &[0])?)),
            1 => self.set(name, Attribute::Texts(texts)),
            _ => {
                let mut texts = texts.into_iter();
                for part in 0..parts {
                    // The first parts have one more, where the texts cannot be shared out evenly.
                    let size = count / parts + usize::from(part < count % parts);
                    let some = texts.by_ref().take(size).collect();
                    self.set(&format!("{name}{part}"), Attribute::FixedTexts(some));
                }
            }
        }
        Ok(())
    }

    /// Lays out a file with this group as its root.
    ///
    /// # Errors
    /// If a tensor has a dtype or a rank that Keras's files do not have, a text has a NUL, an attribute is larger than
    /// 64 kB, an attribute has no name, or groups are nested too deep.
    pub(crate) fn plan(&self) -> Result<Plan> {
        Plan::new(self)
    }

    /// The bytes of a file with this group as its root.
    ///
    /// # Errors
    /// As [`Group::plan`].
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let plan = self.plan()?;
        let mut bytes = Vec::new();
        super::file::reserve(&mut bytes, plan.len())?;
        plan.write(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

impl Dataset {
    /// Sets an attribute, in place of one of the same name.
    pub(crate) fn set(&mut self, name: &str, value: Attribute) {
        set(&mut self.attributes, name, value);
    }
}

fn set(attributes: &mut Attributes, name: &str, value: Attribute) {
    match attributes.iter_mut().find(|attribute| attribute.0 == name) {
        Some(attribute) => attribute.1 = value,
        None => attributes.push((name.to_owned(), value)),
    }
}

/// Refuses names that cannot be in a symbol table, or that mean the group itself.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name == "." || name.contains('\0') {
        refuse!("`{}` cannot be the name of a dataset or a group", tf_persist_savedmodel::printable(name));
    }
    Ok(())
}

#[cfg(test)]
pub(in crate::archive) mod tests;
