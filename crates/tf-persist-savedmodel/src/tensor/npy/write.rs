//! Writing a .npy array.

use std::io::{self, Write};
use std::path::Path;

use super::descr::Descr;
use super::header::Header;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
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
    Plan::new(&target.display().to_string(), tensor)?.write(writer).map_err(Error::io("write", target))
}

/// A tensor that can be written: everything that could fail before the first byte has been checked.
pub(in crate::tensor) struct Plan<'a> {
    header: Vec<u8>,
    body: Body<'a>,
}

enum Body<'a> {
    Numbers(&'a [u8]),
    /// The strings, and their padded size.
    Strings(&'a Strings, usize),
}

impl<'a> Plan<'a> {
    /// `source` names the tensor in errors.
    pub(in crate::tensor) fn new(source: &str, tensor: &'a Tensor) -> Result<Self> {
        let (descr, body) = if tensor.dtype() == DType::String {
            let strings = tensor.strings()?;
            let size = element_size(source, strings)?;
            (format!("|S{size}"), Body::Strings(strings, size))
        } else {
            let unsupported =
                || Error::Tensor(TensorError::UnsupportedDType { name: Some(source.into()), dtype: tensor.dtype() });
            let descr = Descr::written(tensor.dtype()).ok_or_else(unsupported)?;
            (descr.into(), Body::Numbers(tensor.bytes()?))
        };
        let header = Header::write(&descr, tensor.shape())
            .ok_or_else(|| Error::data(source, "its shape does not fit a .npy header"))?;
        Ok(Self { header, body })
    }

    /// The bytes that [`Plan::write`] will write.
    pub(in crate::tensor) fn len(&self) -> u64 {
        let body = match self.body {
            Body::Numbers(bytes) => bytes.len() as u64,
            Body::Strings(strings, size) => strings.len() as u64 * size as u64,
        };
        self.header.len() as u64 + body
    }

    pub(in crate::tensor) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&self.header)?;
        match self.body {
            Body::Numbers(bytes) => writer.write_all(bytes),
            Body::Strings(strings, size) => write_strings(writer, strings, size),
        }
    }
}

/// The length of the longest string, at least 1, as in numpy.
fn element_size(source: &str, strings: &Strings) -> Result<usize> {
    let refuse = |reason: String| {
        let hint = Some("write it as JSON, which carries strings of any bytes and lengths".into());
        Error::Tensor(TensorError::InvalidData { source_name: source.into(), reason, hint })
    };
    if let Some(index) = strings.iter().position(|string| string.last() == Some(&0)) {
        return Err(refuse(format!("string {index} ends in NUL, which numpy would take for filling")));
    }
    let size = strings.iter().map(<[u8]>::len).max().unwrap_or(0).max(1);
    let padded = (size as u64).checked_mul(strings.len() as u64).filter(|padded| *padded <= MAX_PADDED);
    padded.ok_or_else(|| {
        refuse(format!("{} strings filled up to the longest, of {size} bytes, take too much", strings.len()))
    })?;
    Ok(size)
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
