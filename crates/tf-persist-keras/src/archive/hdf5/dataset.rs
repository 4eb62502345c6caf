//! Datasets.

use std::fmt;

use hdf5_reader::Dataset as RawDataset;
use hdf5_reader::error::Error as ReaderError;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::datatype::{Datatype, StringPadding};
use hdf5_reader::messages::layout::DataLayout;

use tf_persist_savedmodel::{DType, Error, Result, Strings, Tensor};

use super::Hdf5;
use super::element::{Elements, check_bools, swap_bytes, unpadded};
use super::value::{Object, Raw, RawAttributes};
use crate::archive::Attribute;

/// How much of a dataset is read at once where its elements are in the file as they are.
const PIECE: usize = 256 << 10;

/// A dataset of an HDF5 file. Its elements are not read before [`Dataset::read`].
#[derive(Clone)]
pub(crate) struct Dataset {
    file: Hdf5,
    dataset: RawDataset,
    path: String,
    shape: Vec<usize>,
    attributes: RawAttributes,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("path", &self.path).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A dataset of numbers that lie in the file as a tensor has them.
pub(crate) struct PlainDataset {
    dataset: Dataset,
    dtype: DType,
    address: u64,
    length: usize,
}

impl PlainDataset {
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.dataset.shape
    }

    /// Calls a function with the bytes of the elements, piece by piece.
    ///
    /// # Errors
    /// If the file ends before them, cannot be read or was changed, and those of the function.
    pub(crate) fn for_each_piece(&self, use_piece: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.dataset.for_each_piece_at(self.address, self.length, use_piece)
    }
}

impl Dataset {
    pub(super) fn new(file: Hdf5, dataset: RawDataset, path: String) -> Result<Self> {
        file.enter(dataset.address(), &path)?;
        let fail = |reason: &str| file.damaged("dataset", &path, reason);
        let sizes = dataset.shape().iter().map(|size| usize::try_from(*size).ok());
        let shape: Vec<usize> = sizes.collect::<Option<_>>().ok_or_else(|| fail("its shape is too large"))?;
        let elements = dataset.num_elements().map_err(|error| file.failed("dataset", &path, error))?;
        if shape.is_empty() && elements == 0 {
            return Err(fail("it has no shape"));
        }
        Ok(Self { file, dataset, path, shape, attributes: RawAttributes::new() })
    }

    /// The path from the root, without a slash in front.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The sizes of its dimensions; empty for a scalar.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The dtype of the tensor that [`Dataset::read`] gives.
    ///
    /// # Errors
    /// If no dtype fits its elements.
    pub(crate) fn dtype(&self) -> Result<DType> {
        Ok(self.elements()?.dtype())
    }

    /// Reads all elements.
    ///
    /// # Errors
    /// If no dtype fits its elements, the file ends before them, they cannot be decompressed, or they declare more
    /// bytes than the file can have.
    pub(crate) fn read(&self) -> Result<Tensor> {
        let elements = self.elements()?;
        let length = self.dataset.raw_byte_len().map_err(|error| self.failed(error))?;
        let is_chunked = self.dataset.chunks().is_some();
        self.file.count(self.dataset.address(), length as u64, is_chunked).map_err(|reason| self.damaged(reason))?;
        match elements {
            Elements::Numbers { dtype, big_endian } => {
                let numbers = self.numbers(dtype, big_endian)?;
                if dtype == DType::Bool {
                    check_bools(numbers.bytes()?).map_err(|reason| self.damaged(reason))?;
                }
                Ok(numbers)
            }
            Elements::FixedTexts { length, padding } => self.fixed_texts(length, padding),
            Elements::VariableTexts => self.variable_texts(),
        }
    }

    /// The dataset as bytes in the file, if its elements are numbers of this dtype and lie there as a tensor has them.
    /// Others are read by [`Dataset::read`].
    ///
    /// # Errors
    /// As [`Dataset::dtype`], or if it declares more bytes than the file can have.
    pub(crate) fn plain(&self, dtype: DType) -> Result<Option<PlainDataset>> {
        // Bools are checked as a whole.
        let is_plain = self.elements()? == Elements::Numbers { dtype, big_endian: false } && dtype != DType::Bool;
        let length = self.dataset.raw_byte_len().map_err(|error| self.failed(error))?;
        let expected = self.shape.iter().try_fold(dtype.size().unwrap_or(0), |bytes, size| bytes.checked_mul(*size));
        let Some(address) = self.plain_address(length)?.filter(|_| is_plain && expected == Some(length)) else {
            return Ok(None);
        };
        self.file.count(self.dataset.address(), length as u64, false).map_err(|reason| self.damaged(reason))?;
        Ok(Some(PlainDataset { dataset: self.clone(), dtype, address, length }))
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
    /// As [`Dataset::attribute`], for any of them.
    pub(crate) fn attributes(&self) -> Result<Vec<(String, Attribute)>> {
        self.object().all()
    }

    fn elements(&self) -> Result<Elements> {
        let encoded = self.dataset.raw_datatype().map_err(|error| self.failed(error))?;
        let name = match self.dataset.dtype() {
            Datatype::Opaque { .. } => self.attribute("dtype")?,
            _ => None,
        };
        let name = name.as_ref().and_then(Attribute::text);
        let elements = Elements::new(self.dataset.dtype(), &encoded, name);
        elements.map_err(|what| self.file.unsupported("dataset", &self.path, what))
    }

    fn numbers(&self, dtype: DType, big_endian: bool) -> Result<Tensor> {
        let length = self.dataset.raw_byte_len().map_err(|error| self.failed(error))?;
        let address = self.plain_address(length)?;
        let mut tensor = Tensor::zeros(dtype, &self.shape)?;
        let bytes = tensor.bytes_mut()?;
        match address {
            // The elements go to the tensor's memory directly.
            Some(address) if bytes.len() == length => {
                let mut filled = 0;
                self.for_each_piece_at(address, length, &mut |piece| {
                    bytes[filled..filled + piece.len()].copy_from_slice(piece);
                    filled += piece.len();
                    Ok(())
                })?;
            }
            _ => self.dataset.read_raw_bytes_into(bytes).map_err(|error| self.failed(error))?,
        }
        if big_endian {
            swap_bytes(bytes, dtype.size().unwrap_or(1));
        }
        Ok(tensor)
    }

    fn for_each_piece_at(
        &self,
        address: u64,
        length: usize,
        use_piece: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let storage = self.file.shared.file.storage();
        for offset in (0..length).step_by(PIECE) {
            let end = ReaderError::OffsetOutOfBounds(address);
            let address = address.checked_add(offset as u64).ok_or(end).map_err(|error| self.failed(error))?;
            let piece = storage.read_range(address, PIECE.min(length - offset));
            use_piece(&piece.map_err(|error| self.failed(error))?)?;
        }
        Ok(())
    }

    /// The address of the elements, if they are in the file one after another.
    fn plain_address(&self, length: usize) -> Result<Option<u64>> {
        let header = self.file.shared.file.get_or_parse_header(self.dataset.address());
        let mut address = None;
        for message in &header.map_err(|error| self.failed(error))?.messages {
            match message {
                HdfMessage::DataLayout(layout) => {
                    address = match layout.layout {
                        DataLayout::Contiguous { address, size } if size == length as u64 && size > 0 => Some(address),
                        _ => None,
                    };
                }
                HdfMessage::ExternalFiles(_) => {
                    return Err(self.file.unsupported("dataset", &self.path, "its elements in another file"));
                }
                _ => {}
            }
        }
        // Every bit set: nothing was written yet, and the parser knows the value that elements have then.
        Ok(address.filter(|address| *address != u64::MAX))
    }

    fn fixed_texts(&self, length: usize, padding: StringPadding) -> Result<Tensor> {
        let raw = self.raw_elements()?;
        let mut texts = Strings::with_capacity(raw.len() / length.max(1), raw.len());
        raw.chunks_exact(length.max(1)).for_each(|text| texts.push(unpadded(text, padding)));
        Tensor::from_string_array(&self.shape, texts)
    }

    fn variable_texts(&self) -> Result<Tensor> {
        let raw = self.raw_elements()?;
        let object = self.object();
        let mut texts = Strings::with_capacity(raw.len() / object.reference_size(), 0);
        for reference in raw.chunks_exact(object.reference_size()) {
            texts.push(&object.text(reference).map_err(|reason| self.damaged(reason))?);
        }
        Tensor::from_string_array(&self.shape, texts)
    }

    /// The elements as they are in the file. The caller has checked their length.
    fn raw_elements(&self) -> Result<Vec<u8>> {
        self.plain_address(0)?;
        self.dataset.read_raw_bytes().map_err(|error| self.failed(error))
    }

    fn object(&self) -> Object<'_> {
        Object { file: &self.file, path: &self.path, raw: Raw::Dataset(&self.dataset), attributes: &self.attributes }
    }

    fn failed(&self, error: ReaderError) -> Error {
        self.file.failed("dataset", &self.path, error)
    }

    fn damaged(&self, reason: impl fmt::Display) -> Error {
        self.file.damaged("dataset", &self.path, reason)
    }
}
