//! Attributes of groups and datasets, and texts of a variable length.

use std::sync::OnceLock;

use hdf5_reader::error::Result as ReaderResult;
use hdf5_reader::group::Group as RawGroup;
use hdf5_reader::messages::dataspace::DataspaceType;
use hdf5_reader::{Dataset as RawDataset, RawAttribute};
use tf_persist_savedmodel::{DType, Error, Result, Tensor, printable};

use super::Hdf5;
use super::element::{Elements, check_bools, swap_bytes, unpadded};
use crate::archive::Attribute;
use crate::reason::{self, Reason, refuse};

/// The attributes of an object as they are in the file, once they were asked for.
pub(super) type RawAttributes = OnceLock<Vec<RawAttribute>>;

/// A group or a dataset, with what both have.
pub(super) struct Object<'a> {
    pub(super) file: &'a Hdf5,
    pub(super) path: &'a str,
    pub(super) raw: Raw<'a>,
    pub(super) attributes: &'a RawAttributes,
}

pub(super) enum Raw<'a> {
    Group(&'a RawGroup),
    Dataset(&'a RawDataset),
}

impl Raw<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Group(_) => "group",
            Self::Dataset(_) => "dataset",
        }
    }

    fn attributes(&self) -> ReaderResult<Vec<RawAttribute>> {
        match self {
            Self::Group(group) => group.raw_attributes(),
            Self::Dataset(dataset) => dataset.raw_attributes(),
        }
    }

    /// The text that a reference into a global heap names.
    fn resolve(&self, reference: &[u8]) -> ReaderResult<Vec<u8>> {
        match self {
            Self::Group(group) => group.resolve_vlen_reference_bytes(reference, 1),
            Self::Dataset(dataset) => dataset.resolve_vlen_reference_bytes(reference, 1),
        }
    }
}

impl Object<'_> {
    /// The value of an attribute; `None` if there is none of the name.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<Attribute>> {
        let found = self.raw_attributes()?.iter().find(|attribute| attribute.name() == name);
        found.map(|raw| self.value(raw)).transpose()
    }

    /// The names and values of all attributes.
    pub(super) fn all(&self) -> Result<Vec<(String, Attribute)>> {
        self.raw_attributes()?.iter().map(|raw| Ok((raw.name().to_owned(), self.value(raw)?))).collect()
    }

    /// The size of a reference to a text in bytes.
    pub(super) fn reference_size(&self) -> usize {
        match self.raw {
            Raw::Group(group) => 4 + usize::from(group.offset_size()) + 4,
            Raw::Dataset(dataset) => dataset.vlen_reference_size(),
        }
    }

    /// The text of a reference, which begins with its length.
    pub(super) fn text(&self, reference: &[u8]) -> reason::Result<Vec<u8>> {
        let Some(length) = reference.first_chunk() else { refuse!("a reference to a text is cut short") };
        self.file.take_text(u64::from(u32::from_le_bytes(*length)))?;
        let mut text = self.raw.resolve(reference).map_err(|error| Reason::new(error.to_string()))?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    fn raw_attributes(&self) -> Result<&[RawAttribute]> {
        if self.attributes.get().is_none() {
            let read = self.raw.attributes().map_err(|error| self.file.failed(self.raw.kind(), self.path, error))?;
            let _ = self.attributes.set(read);
        }
        Ok(self.attributes.get().map_or(&[], Vec::as_slice))
    }

    fn value(&self, raw: &RawAttribute) -> Result<Attribute> {
        let name = printable(raw.name());
        let elements = Elements::new(&raw.message().datatype, raw.raw_datatype(), None).map_err(|what| {
            self.file.unsupported(self.raw.kind(), self.path, format!("an attribute `{name}` with {what}"))
        })?;
        self.decode(raw, elements).map_err(|reason| self.damaged(format!("its attribute `{name}`: {reason}")))
    }

    fn decode(&self, raw: &RawAttribute, elements: Elements) -> reason::Result<Attribute> {
        let message = raw.message();
        let is_scalar = message.dataspace.dataspace_type == DataspaceType::Scalar;
        let shape = match message.dataspace.dataspace_type {
            DataspaceType::Null => &[0][..],
            _ => &message.dataspace.dims,
        };
        let sizes = shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<usize>>>();
        let Some(shape) = sizes else { refuse!("its shape is too large") };
        let size = match elements {
            Elements::Numbers { dtype, big_endian } => return numbers(dtype, big_endian, &shape, &message.raw_data),
            Elements::FixedTexts { length, .. } => length,
            Elements::VariableTexts => self.reference_size(),
        };
        let count = match shape.as_slice() {
            [] => 1,
            [count] => *count,
            more => refuse!("its texts have {} dimensions", more.len()),
        };
        if size == 0 || count.checked_mul(size) != Some(message.raw_data.len()) {
            refuse!("its {} bytes are not {count} texts of {size} bytes each", message.raw_data.len());
        }
        let text = |element: &[u8]| {
            let text = match elements {
                Elements::FixedTexts { padding, .. } => unpadded(element, padding).to_vec(),
                _ => self.text(element)?,
            };
            String::from_utf8(text).map_err(|_| Reason::new("a text is not UTF-8"))
        };
        let mut texts = message.raw_data.chunks_exact(size).map(text).collect::<reason::Result<Vec<String>>>()?;
        Ok(match (elements, is_scalar) {
            (Elements::FixedTexts { .. }, true) => Attribute::FixedText(texts.pop().unwrap_or_default()),
            (Elements::FixedTexts { .. }, false) => Attribute::FixedTexts(texts),
            (_, true) => Attribute::Text(texts.pop().unwrap_or_default()),
            (_, false) => Attribute::Texts(texts),
        })
    }

    fn damaged(&self, reason: String) -> Error {
        self.file.damaged(self.raw.kind(), self.path, reason)
    }
}

fn numbers(dtype: DType, big_endian: bool, shape: &[usize], bytes: &[u8]) -> reason::Result<Attribute> {
    let mut bytes = bytes.to_vec();
    if big_endian {
        swap_bytes(&mut bytes, dtype.size().unwrap_or(1));
    }
    if dtype == DType::Bool {
        check_bools(&bytes)?;
    }
    Ok(Attribute::Numbers(Tensor::from_bytes(dtype, shape, &bytes)?))
}
