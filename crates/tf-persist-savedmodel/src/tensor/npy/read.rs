//! Reading a .npy array.

use std::fs::File;
use std::io::{self, Read};
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
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    let length = if metadata.is_file() {
        Length { declared: Some(metadata.len()), present: metadata.len() }
    } else {
        Length { declared: None, present: 0 }
    };
    read_sized(&path.display().to_string(), &mut file, length)
}

/// Reads an array with an untrusted length.
pub(in crate::tensor) fn read_sized(source: &str, reader: &mut dyn Read, length: Length) -> Result<Tensor> {
    let refuse = |refusal: Refusal| {
        let hint = refusal.hint.map(Hint::from);
        Error::Tensor(TensorError::InvalidData { source_name: source.into(), reason: refusal.reason, hint })
    };
    let (header, header_len) = read_header(source, reader)?.map_err(refuse)?;
    let Header { descr, fortran_order, shape } = header;
    let count = element_count(&shape).map_err(|error| Error::data(source, error.to_string()))?;
    if descr.size == 0 && count > MAX_EMPTY_ELEMENTS {
        return Err(Error::data(source, format!("it claims {count} elements of no bytes")));
    }
    let needed = count.checked_mul(descr.size).filter(|bytes| isize::try_from(*bytes).is_ok());
    let needed =
        needed.ok_or_else(|| Error::data(source, format!("the size of shape {shape:?} does not fit 63 bits")))?;
    if let Some(declared) = length.declared {
        let data = declared.saturating_sub(header_len);
        if data != needed as u64 {
            return Err(Error::data(source, wrong_length(&shape, needed, data)));
        }
    }
    let mut data = AlignedBuf::new();
    let present = length.present.saturating_sub(header_len).try_into().unwrap_or(usize::MAX);
    data.fill(reader, needed, present).map_err(|shortfall| match shortfall {
        FillError::Ended(data) => Error::data(source, wrong_length(&shape, needed, data as u64)),
        FillError::Io(error) => failed(source, error),
        FillError::Memory(error) => error,
    })?;
    // Reading on to the end also lets a zip archive compare its checksum.
    if read_full(reader, &mut [0]).map_err(|error| failed(source, error))? > 0 {
        return Err(Error::data(source, "it goes on after its last element"));
    }
    if fortran_order {
        data = row_major(data, &shape, descr.size)?;
    }
    if descr.swap > 1 {
        data.bytes_mut().chunks_exact_mut(descr.swap).for_each(<[u8]>::reverse);
    }
    match descr.kind {
        Kind::Number(dtype) => numbers(source, data, dtype, &shape),
        Kind::Bytes | Kind::Text => strings(source, data.bytes(), descr, count, &shape),
    }
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

/// The strings of fixed-size elements.
fn strings(source: &str, data: &[u8], descr: Descr, count: usize, shape: &[usize]) -> Result<Tensor> {
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
                Error::data(source, format!("element {index} holds {number:#x}, which is no Unicode character"))
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
    // With at most one size above 1, both orders are the same; without elements or bytes there is nothing to order.
    if shape.iter().filter(|size| **size > 1).count() < 2 || data.bytes().is_empty() {
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
