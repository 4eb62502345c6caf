//! Reading a .npy array.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::descr::{Descr, Kind, Refusal};
use super::header::{Header, MAGIC, MAX_HEADER};
use crate::dtype::DType;
use crate::error::{Error, Hint, Result, TensorError};
use crate::shape::element_count;
use crate::tensor::aligned_buf::{AlignedBuf, FillError, read_full};
use crate::tensor::{Strings, Tensor};

/// Elements of no bytes (`S0`) take no space in the file and eight bytes in memory, so their number is limited.
const MAX_EMPTY_ELEMENTS: usize = 1 << 16;

/// The length of an array with its header, as far as it is known before reading.
#[derive(Debug, Clone, Copy)]
pub(in crate::tensor) struct Length {
    /// The declared length. An array that needs another is refused before memory is allocated.
    pub(in crate::tensor) declared: Option<u64>,
    /// The number of bytes that certainly exist; their memory is allocated at once.
    pub(in crate::tensor) present: u64,
}

/// Reads an array from a reader of `len` bytes. `source` names it in errors.
///
/// # Errors
/// [`TensorError::InvalidData`] if it is not a .npy array, is cut short or too long, or has an unsupported element
/// type; [`Error::Io`] if the reader fails.
pub fn read(source: &str, mut reader: impl Read, len: u64) -> Result<Tensor> {
    read_sized(source, &mut reader, Length { declared: Some(len), present: len })
}

/// Reads an array from memory. `source` names it in errors.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(source: &str, mut bytes: &[u8]) -> Result<Tensor> {
    let len = bytes.len() as u64;
    read_sized(source, &mut bytes, Length { declared: Some(len), present: len })
}

/// Reads an array from a file, or from a pipe of unknown length.
///
/// # Errors
/// As [`read`], and [`Error::Io`] if the file does not exist.
pub fn read_file(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let (mut file, length) = open(path)?;
    read_sized(&path.display().to_string(), &mut file, length)
}

/// Opens a file; a pipe has no length.
fn open(path: &Path) -> Result<(File, Length)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    let length = if metadata.is_file() {
        Length { declared: Some(metadata.len()), present: metadata.len() }
    } else {
        Length { declared: None, present: 0 }
    };
    Ok((file, length))
}

/// Reads an array with an untrusted length.
pub(in crate::tensor) fn read_sized(source: &str, reader: &mut dyn Read, length: Length) -> Result<Tensor> {
    ArrayReader::with_length(source.to_owned(), reader, length)?.read_all()
}

/// An array whose header was read, and whose rows are read in pieces, so that the whole need not fit in memory.
pub struct ArrayReader<R> {
    source: String,
    reader: R,
    header: Header,
    /// The number of elements of a row, which is everything but the first dimension; of all elements for a scalar.
    row_elements: usize,
    /// The rows that were read.
    done: usize,
    /// The bytes of data that certainly exist and were not read.
    present: u64,
}

impl<R> fmt::Debug for ArrayReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, shape, done) = (&self.source, &self.header.shape, self.done);
        f.debug_struct("ArrayReader").field("source", source).field("shape", shape).field("done", &done).finish()
    }
}

impl ArrayReader<BufReader<File>> {
    /// Opens a file, or a pipe of unknown length, and reads its header.
    ///
    /// # Errors
    /// As [`read_file`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        // Pieces that are larger than the buffer bypass it.
        Self::with_length(path.display().to_string(), BufReader::new(file), length)
    }
}

impl<R: Read> ArrayReader<R> {
    /// Reads the header, with an untrusted length of everything.
    pub(in crate::tensor) fn with_length(source: String, mut reader: R, length: Length) -> Result<Self> {
        let (header, header_len) = read_header(&source, &mut reader)?.map_err(|refusal| {
            let hint = refusal.hint.map(Hint::from);
            Error::Tensor(TensorError::InvalidData { source_name: source.clone(), reason: refusal.reason, hint })
        })?;
        let Header { descr, shape, .. } = &header;
        let count = element_count(shape).map_err(|error| Error::data(&source, error.to_string()))?;
        if descr.size == 0 && count > MAX_EMPTY_ELEMENTS {
            return Err(Error::data(source, format!("it claims {count} elements of no bytes")));
        }
        let needed = count.checked_mul(descr.size).filter(|bytes| isize::try_from(*bytes).is_ok());
        let needed =
            needed.ok_or_else(|| Error::data(&source, format!("the size of shape {shape:?} does not fit 63 bits")))?;
        if let Some(declared) = length.declared {
            let data = declared.saturating_sub(header_len);
            if data != needed as u64 {
                return Err(Error::data(&source, wrong_length(shape, needed, data)));
            }
        }
        let rows = shape.first().copied().unwrap_or(1);
        // Without rows, a row may be of any size; of a row without elements there is nothing to read.
        let row_elements = count.checked_div(rows).unwrap_or(0);
        let present = length.present.saturating_sub(header_len);
        Ok(Self { source, reader, header, row_elements, done: 0, present })
    }

    /// The name of the array in errors.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The dtype of the tensors that are read.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self.header.descr.kind {
            Kind::Number(dtype) => dtype,
            Kind::Bytes | Kind::Text => DType::String,
        }
    }

    /// The shape of the whole array.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The same with a reader whose type is not known.
    #[must_use]
    pub fn into_boxed(self) -> ArrayReader<Box<dyn Read + Send>>
    where
        R: Send + 'static,
    {
        let Self { source, reader, header, row_elements, done, present } = self;
        ArrayReader { source, reader: Box::new(reader), header, row_elements, done, present }
    }

    /// Reads the next rows, at most `count` of them. After the last row it returns a tensor without rows, and the
    /// checksum of an archive has been compared by then.
    ///
    /// # Errors
    /// As [`read`]; also if the array is a scalar, or in Fortran order, in which rows do not lie one after the other.
    pub fn read_rows(&mut self, count: usize) -> Result<Tensor> {
        let Some((rows, _)) = self.header.shape.split_first() else {
            return Err(Error::data(&self.source, "it is a scalar without rows"));
        };
        if self.header.fortran_order && is_order_visible(&self.header.shape) {
            let hint = Some("save it in row-major order: `np.save(file, np.ascontiguousarray(array))`".into());
            let reason = "it is in Fortran order, in which rows do not lie one after the other".to_owned();
            return Err(Error::Tensor(TensorError::InvalidData { source_name: self.source.clone(), reason, hint }));
        }
        let count = count.min(rows - self.done);
        let is_last = self.done + count == *rows;
        let mut shape = self.header.shape.clone();
        shape[0] = count;
        let data = self.read_elements(count * self.row_elements, is_last)?;
        let tensor = self.tensor(data, &shape)?;
        self.done += count;
        Ok(tensor)
    }

    /// Reads the whole array, of which no row has been read.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read_all(mut self) -> Result<Tensor> {
        let shape = self.header.shape.clone();
        let mut data = self.read_elements(shape.iter().product(), true)?;
        if self.header.fortran_order {
            data = row_major(data, &shape, self.header.descr.size)?;
        }
        self.tensor(data, &shape)
    }

    /// Reads elements as they are in the file; after the last ones, nothing may follow.
    fn read_elements(&mut self, count: usize, is_last: bool) -> Result<AlignedBuf> {
        let (source, shape) = (&self.source, &self.header.shape);
        let size = self.header.descr.size;
        let (wanted, before) = (count * size, self.done * self.row_elements * size);
        let mut data = AlignedBuf::new();
        let present = self.present.try_into().unwrap_or(usize::MAX);
        data.fill(&mut self.reader, wanted, present).map_err(|shortfall| match shortfall {
            FillError::Ended(data) => {
                let needed = shape.iter().product::<usize>() * size;
                Error::data(source, wrong_length(shape, needed, (before + data) as u64))
            }
            FillError::Io(error) => failed(source, error),
            FillError::Memory(error) => error,
        })?;
        self.present = self.present.saturating_sub(wanted as u64);
        // Reading on to the end also lets an archive compare its checksum.
        if is_last && read_full(&mut self.reader, &mut [0]).map_err(|error| failed(source, error))? > 0 {
            return Err(Error::data(source, "it goes on after its last element"));
        }
        Ok(data)
    }

    /// The tensor of elements in row-major order.
    fn tensor(&self, mut data: AlignedBuf, shape: &[usize]) -> Result<Tensor> {
        let descr = self.header.descr;
        if descr.swap > 1 {
            data.bytes_mut().chunks_exact_mut(descr.swap).for_each(<[u8]>::reverse);
        }
        match descr.kind {
            Kind::Number(dtype) => numbers(&self.source, data, dtype, shape),
            Kind::Bytes | Kind::Text => {
                let first = self.done * self.row_elements;
                strings(&self.source, data.bytes(), descr, first, shape)
            }
        }
    }
}

/// Whether an array of this shape lies differently in row-major and in Fortran order: with at most one size above 1,
/// both are the same.
fn is_order_visible(shape: &[usize]) -> bool {
    shape.iter().filter(|size| **size > 1).count() > 1
}

/// The header and its length in bytes. The outer error is the reader's, the inner one the header's.
fn read_header(source: &str, reader: &mut dyn Read) -> Result<Result<(Header, u64), Refusal>> {
    let mut get = |buffer: &mut [u8]| match read_full(reader, buffer) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(Error::data(source, "it is not a .npy file, or is cut short in its header")),
        Err(error) => Err(failed(source, error)),
    };
    let mut start = [0; MAGIC.len() + 2];
    get(&mut start)?;
    let (magic, version) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::data(source, "it is not a .npy file"));
    }
    // 2.0 has a longer length field, and 3.0 a header in UTF-8 for the names of fields, which are refused anyway.
    let (len, width) = match version {
        [1, _] => {
            let mut len = [0; 2];
            get(&mut len)?;
            (usize::from(u16::from_le_bytes(len)), len.len())
        }
        [2 | 3, _] => {
            let mut len = [0; 4];
            get(&mut len)?;
            (u32::from_le_bytes(len) as usize, len.len())
        }
        _ => {
            let [major, minor] = [version[0], version[1]];
            return Ok(Err(format!("version {major}.{minor} of the .npy form is not known").into()));
        }
    };
    if len > MAX_HEADER {
        return Ok(Err(format!("its header claims {len} bytes, more than {MAX_HEADER}").into()));
    }
    let mut text = vec![0; len];
    get(&mut text)?;
    let read = start.len() + width + len;
    Ok(Header::parse(&text).map(|header| (header, read as u64)))
}

fn wrong_length(shape: &[usize], needed: usize, data: u64) -> String {
    let what = if data < needed as u64 { "is cut short" } else { "goes on after its last element" };
    format!("it {what}: shape {shape:?} takes {needed} bytes of data, and there are {data}")
}

/// Converts an error of the reader. A zip archive reports damage as invalid data; other errors are the operating
/// system's.
fn failed(source: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::data(source, format!("it is damaged: {error}"))
        }
        _ => Error::io("read", source)(error),
    }
}

fn numbers(source: &str, data: AlignedBuf, dtype: DType, shape: &[usize]) -> Result<Tensor> {
    if dtype == DType::Bool
        && let Some(wrong) = data.bytes().iter().find(|byte| **byte > 1)
    {
        return Err(Error::data(source, format!("it holds the byte {wrong} as a bool, which is neither 0 nor 1")));
    }
    data.into_tensor(dtype, shape)
}

/// The strings of fixed-size elements. `first` is the index of the first one in the whole array.
fn strings(source: &str, data: &[u8], descr: Descr, first: usize, shape: &[usize]) -> Result<Tensor> {
    let count = element_count(shape)?;
    let mut strings = Strings::with_capacity(count, 0);
    let mut text = String::new();
    for index in 0..count {
        let element = &data[index * descr.size..][..descr.size];
        if descr.kind == Kind::Bytes {
            strings.push(trimmed(element));
            continue;
        }
        text.clear();
        for point in element.as_chunks::<4>().0 {
            let number = u32::from_le_bytes(*point);
            let point = char::from_u32(number).ok_or_else(|| {
                Error::data(
                    source,
                    format!("element {} holds {number:#x}, which is no Unicode character", first + index),
                )
            })?;
            text.push(point);
        }
        strings.push(trimmed(text.as_bytes()));
    }
    Tensor::from_string_array(shape, strings)
}

/// The bytes without trailing NULs.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// Converts elements in Fortran order, whose first index runs fastest, to row-major order.
fn row_major(data: AlignedBuf, shape: &[usize], size: usize) -> Result<AlignedBuf> {
    // Without elements or bytes there is nothing to order.
    if !is_order_visible(shape) || data.bytes().is_empty() {
        return Ok(data);
    }
    let (Some((last, outer)), source) = (shape.split_last(), data.bytes()) else { return Ok(data) };
    // The stride of each dimension in the source, in bytes.
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for size in shape {
        strides.push(stride);
        stride *= size;
    }
    let last_stride = strides[outer.len()];
    let mut target = AlignedBuf::zeros(source.len())?;
    let mut index = vec![0_usize; outer.len()];
    let mut start = 0;
    for row in target.bytes_mut().chunks_exact_mut(last * size) {
        for (position, element) in row.chunks_exact_mut(size).enumerate() {
            element.copy_from_slice(&source[start + position * last_stride..][..size]);
        }
        // Counts up the outer indices, the last of them fastest. `start` is the sum of index times stride throughout.
        for dimension in (0..outer.len()).rev() {
            index[dimension] += 1;
            start += strides[dimension];
            if index[dimension] < outer[dimension] {
                break;
            }
            start -= index[dimension] * strides[dimension];
            index[dimension] = 0;
        }
    }
    Ok(target)
}
