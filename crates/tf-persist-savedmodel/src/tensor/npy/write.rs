//! Writing a .npy array.

use std::io::{self, Write};
use std::path::Path;

use super::descr::Descr;
use super::header::Header;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::element_count;
use crate::tensor::{Strings, Tensor};

/// The largest string array. Strings are padded to the longest, so one long string among many short ones makes a huge
/// file.
const MAX_PADDED: u64 = 16 << 30;

/// Strings are written in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// Writes a tensor as numpy's `np.save` would.
///
/// bfloat16 is written as uint16 bits and a quantised integer as its raw number, because numpy alone has neither;
/// strings as `S` of the longest one's length. Errors name `target`.
///
/// # Errors
/// [`TensorError::InvalidData`] if a string ends in NUL, which the format cannot express, or the padded strings are too
/// large; [`Error::Io`] if the writer fails.
pub fn write(target: impl AsRef<Path>, writer: &mut impl Write, tensor: &Tensor) -> Result<()> {
    let target = target.as_ref();
    let plan = Plan::of(&target.display().to_string(), tensor)?;
    plan.write_header(writer).and_then(|()| plan.write_elements(writer, tensor)).map_err(Error::io("write", target))
}

/// An array that can be written, whole or in pieces of rows: everything that could fail before the first byte has been
/// checked.
#[derive(Debug, Clone)]
pub struct Plan {
    header: Vec<u8>,
    /// The bytes of the elements.
    body: u64,
    /// To how many bytes strings are padded.
    padded: usize,
}

impl Plan {
    /// The plan for a tensor. `source` names it in errors.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`] as [`write()`].
    pub fn of(source: &str, tensor: &Tensor) -> Result<Self> {
        let longest = match tensor.strings() {
            Ok(strings) => {
                check_strings(source, strings, 0)?;
                strings.iter().map(<[u8]>::len).max().unwrap_or(0)
            }
            Err(_) => 0,
        };
        Self::new(source, tensor.dtype(), tensor.shape(), longest)
    }

    /// The plan for an array of a dtype and a shape, whose longest string has this many bytes. `source` names it in
    /// errors. [`check_strings`] checks the strings.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`] if the padded strings are too large; [`TensorError::UnsupportedDType`].
    pub fn new(source: &str, dtype: DType, shape: &[usize], longest: usize) -> Result<Self> {
        let count = element_count(shape)? as u64;
        let (descr, size, padded) = if dtype == DType::String {
            // At least 1, as in numpy.
            let padded = longest.max(1);
            (format!("|S{padded}"), padded as u64, padded)
        } else {
            let unsupported = || Error::Tensor(TensorError::UnsupportedDType { name: Some(source.into()), dtype });
            (Descr::written(dtype).ok_or_else(unsupported)?.to_owned(), dtype.size().unwrap_or(0) as u64, 0)
        };
        let body = count.checked_mul(size).filter(|bytes| dtype != DType::String || *bytes <= MAX_PADDED);
        let body = body.ok_or_else(|| {
            refuse(source, format!("{count} strings filled up to the longest, of {size} bytes, take too much"))
        })?;
        let header =
            Header::write(&descr, shape).ok_or_else(|| Error::data(source, "its shape does not fit a .npy header"))?;
        Ok(Self { header, body, padded })
    }

    /// The bytes of the whole file.
    pub(in crate::tensor) fn len(&self) -> u64 {
        self.header.len() as u64 + self.body
    }

    /// Writes what comes before the elements.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn write_header(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&self.header)
    }

    /// Writes the elements of a tensor: of the whole array, or of its next rows.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn write_elements(&self, writer: &mut impl Write, tensor: &Tensor) -> io::Result<()> {
        match (tensor.bytes(), tensor.strings()) {
            (Ok(bytes), _) => writer.write_all(bytes),
            (_, Ok(strings)) => write_strings(writer, strings, self.padded),
            _ => Ok(()),
        }
    }
}

/// Checks that numpy can express these strings. The first one is element `first` of the whole array.
///
/// # Errors
/// [`TensorError::InvalidData`] if one ends in NUL.
pub fn check_strings(source: &str, strings: &Strings, first: usize) -> Result<()> {
    match strings.iter().position(|string| string.last() == Some(&0)) {
        None => Ok(()),
        Some(index) => {
            Err(refuse(source, format!("string {} ends in NUL, which numpy would take for filling", first + index)))
        }
    }
}

fn refuse(source: &str, reason: String) -> Error {
    let hint = Some("write it as JSON, which carries strings of any bytes and lengths".into());
    Error::Tensor(TensorError::InvalidData { source_name: source.into(), reason, hint })
}

fn write_strings(writer: &mut impl Write, strings: &Strings, size: usize) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE.max(size));
    for string in strings.iter() {
        if !piece.is_empty() && piece.len() + size > PIECE {
            writer.write_all(&piece)?;
            piece.clear();
        }
        let end = piece.len() + size;
        piece.extend_from_slice(string);
        piece.resize(end, 0);
    }
    writer.write_all(&piece)
}
