//! The layout of a file: its structures first, then the texts, then the elements of its datasets.

use std::io::{self, Write};

use tf_persist_savedmodel::{DType, Tensor, printable};

use super::global_heap::GlobalHeap;
use super::message::{Header, references};
use super::symbol_table::{Symbol, SymbolTable};
use super::{Attributes, Dataset, Group, Member};
use crate::archive::Attribute;
use crate::reason::{Result, refuse};

/// Half of the most symbols of a node, and of the most children of a node of a group's B-tree: what libhdf5 takes where
/// it is not told otherwise.
pub(super) const LEAF_K: u16 = 4;
pub(super) const INTERNAL_K: u16 = 16;

/// The most groups within each other, which the reader has, too.
const MAX_DEPTH: usize = 128;

const SUPERBLOCK: usize = 96;

/// A file that is laid out, and not written yet.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Everything but the elements of datasets.
    structures: Vec<u8>,
    collections: Vec<Vec<u8>>,
    /// In their order; each begins at a multiple of 8 bytes.
    elements: Vec<Tensor>,
    length: u64,
}

/// Something whose address is known once all structures have theirs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// The collection of this index.
    Collection(usize),
    /// The elements of the dataset of this index.
    Elements(usize),
}

/// Where something is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// At an address.
    Known(u64),
    /// Where a target will be.
    Later(Target),
}

/// The structures so far.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    pub(super) heap: GlobalHeap,
    elements: Vec<Tensor>,
    unresolved: Vec<(u64, Target)>,
    /// The names of the member that is being written, from the root on.
    path: Vec<String>,
}

impl Builder {
    /// The address of what is appended next.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends a structure and returns its address. Structures are padded to 8 bytes.
    pub(super) fn append(&mut self, structure: &[u8]) -> u64 {
        let address = self.len();
        self.bytes.extend_from_slice(structure);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        address
    }

    /// Notes that the 8 bytes at an address take the address of a target.
    pub(super) fn resolve_later(&mut self, address: u64, target: Target) {
        self.unresolved.push((address, target));
    }

    fn dataset(&mut self, dataset: &Dataset) -> Result<u64> {
        let tensor = &dataset.tensor;
        let elements = if tensor.is_empty() {
            None
        } else if tensor.dtype() == DType::String {
            // References are among the structures: they have addresses in them.
            let (bytes, addresses) = references(tensor.strings()?.iter(), self)?;
            let address = self.append(&bytes);
            addresses.iter().for_each(|(offset, target)| self.resolve_later(address + *offset as u64, *target));
            Some((Place::Known(address), bytes.len()))
        } else {
            self.elements.push(tensor.clone());
            Some((Place::Later(Target::Elements(self.elements.len() - 1)), tensor.memory()))
        };
        let header = Header::of_dataset(tensor, elements)?;
        let mut attributes = dataset.attributes.clone();
        if tensor.dtype() == DType::BFloat16 && attributes.iter().all(|(name, _)| name != "dtype") {
            attributes.push(("dtype".into(), Attribute::Text("bfloat16".into())));
        }
        self.finish(header, &attributes)
    }

    fn group(&mut self, group: &Group) -> Result<(u64, SymbolTable)> {
        if self.path.len() > MAX_DEPTH {
            refuse!("groups are nested deeper than {MAX_DEPTH}");
        }
        let mut symbols = Vec::with_capacity(group.members.len());
        for (name, member) in &group.members {
            self.path.push(name.clone());
            let (header, table) = match member {
                Member::Group(group) => self.group(group).map(|(header, table)| (header, Some(table)))?,
                Member::Dataset(dataset) => (self.dataset(dataset)?, None),
            };
            self.path.pop();
            symbols.push(Symbol { name, header, table });
        }
        let table = SymbolTable::write(&symbols, self);
        let header = self.finish(Header::of_group(table.btree, table.heap), &group.attributes)?;
        Ok((header, table))
    }

    fn finish(&mut self, mut header: Header, attributes: &Attributes) -> Result<u64> {
        for (name, value) in attributes {
            header.attribute(name, value, self)?;
        }
        Ok(header.write(self))
    }
}

impl Plan {
    pub(super) fn new(root: &Group) -> Result<Self> {
        let mut builder = Builder { bytes: vec![0; SUPERBLOCK], ..Builder::default() };
        let written = builder.group(root);
        let Builder { bytes: mut structures, heap, elements, unresolved, path } = builder;
        let (header, table) = written.map_err(|reason| format!("`/{}`: {reason}", printable(&path.join("/"))))?;
        let mut end = structures.len() as u64;
        let mut place = |size: usize| {
            let address = end;
            end += size.next_multiple_of(8) as u64;
            address
        };
        let collections = heap.into_collections();
        let texts: Vec<u64> = collections.iter().map(|collection| place(collection.len())).collect();
        let data: Vec<u64> = elements.iter().map(|tensor| place(tensor.memory())).collect();
        for (at, target) in unresolved {
            let address = match target {
                Target::Collection(index) => texts[index],
                Target::Elements(index) => data[index],
            };
            let at = at as usize;
            structures[at..at + 8].copy_from_slice(&address.to_le_bytes());
        }
        let superblock = superblock(&Symbol { name: "", header, table: Some(table) }, end);
        structures[..SUPERBLOCK].copy_from_slice(&superblock);
        Ok(Self { structures, collections, elements, length: end })
    }

    /// The length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If the target cannot be written.
    pub(crate) fn write(&self, target: &mut dyn Write) -> io::Result<()> {
        target.write_all(&self.structures)?;
        for collection in &self.collections {
            target.write_all(collection)?;
        }
        for tensor in &self.elements {
            let bytes = tensor.bytes().map_err(io::Error::other)?;
            target.write_all(bytes)?;
            target.write_all(&[0; 8][..bytes.len().next_multiple_of(8) - bytes.len()])?;
        }
        Ok(())
    }
}

/// The superblock, version 0, of a file of this length.
fn superblock(root: &Symbol<'_>, length: u64) -> Vec<u8> {
    // The signature; versions of the superblock, of free space, of the root's entry, of shared headers; sizes of
    // addresses and lengths.
    let mut bytes = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0".to_vec();
    bytes.extend_from_slice(&LEAF_K.to_le_bytes());
    bytes.extend_from_slice(&INTERNAL_K.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    // Where addresses begin, no list of free space, the length, no driver.
    for number in [0, u64::MAX, length, u64::MAX] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    root.encode(0, &mut bytes);
    bytes
}
