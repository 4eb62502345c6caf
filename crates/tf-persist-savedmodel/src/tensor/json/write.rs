//! Writing responses.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use num_complex::Complex;

use super::cell::{Cell, write_string, write_text};
use super::read::Form;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::tensor::{Strings, Tensor};

/// Text is written in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// Numbers are written in groups of this size, between which the text may be flushed.
const GROUP: usize = 1024;

/// The most empty lists of a tensor without elements (`[1000000, 0]`), each of which is text.
const MAX_EMPTY_LISTS: usize = 1 << 24;

/// Outputs whose names end in this are bytes, as in TensorFlow Serving, even if they are text.
const BYTES_SUFFIX: &str = "_bytes";

/// The layout of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The form of the request.
    pub form: Form,
    /// Whether a single output is written without its name, as in TensorFlow Serving.
    pub bare_single: bool,
}

/// Writes outputs as `{"outputs": …}` or `{"predictions": […]}`, on one line without a line break.
///
/// Numbers have the fewest digits that parse to the same bits. A string is written as text if it is UTF-8 and its
/// output's name does not end in `_bytes`, and as `{"b64": "…"}` otherwise. Errors name `target`.
///
/// # Errors
/// [`TensorError::InvalidData`] if the row form is impossible because an output is a scalar or first sizes differ:
/// nothing is written then. [`Error::Io`] if the writer fails.
pub fn write_outputs<'a>(
    target: impl AsRef<Path>,
    writer: &mut impl Write,
    outputs: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    layout: Layout,
) -> Result<()> {
    let outputs: Vec<Output<'a>> =
        outputs.into_iter().map(|(name, tensor)| Output::new(name, tensor)).collect::<Result<_>>()?;
    let bare = layout.bare_single && outputs.len() == 1;
    let rows = if layout.form == Form::Row { Some(count_rows(&outputs)?) } else { None };
    let mut pieces = Pieces { writer, text: Vec::with_capacity(PIECE) };
    let written = match rows {
        None => pieces.columns(&outputs, bare),
        Some(rows) => pieces.rows(&outputs, rows, bare),
    };
    written.and_then(|()| pieces.flush()).map_err(Error::io("write", target))
}

/// Writes the rows of outputs, one object by the outputs' names a line. Numbers and strings are written as by
/// [`write_outputs`]. Errors name `target`.
///
/// # Errors
/// As [`write_outputs`].
pub fn write_lines<'a>(
    target: impl AsRef<Path>,
    writer: &mut impl Write,
    outputs: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    let outputs: Vec<Output<'a>> =
        outputs.into_iter().map(|(name, tensor)| Output::new(name, tensor)).collect::<Result<_>>()?;
    let rows = count_rows(&outputs)?;
    let mut pieces = Pieces { writer, text: Vec::with_capacity(PIECE) };
    let mut line = |row| {
        pieces.row(&outputs, row, false)?;
        pieces.add(b"\n");
        if pieces.text.len() >= PIECE { pieces.flush() } else { Ok(()) }
    };
    (0..rows).try_for_each(&mut line).and_then(|()| pieces.flush()).map_err(Error::io("write", target))
}

/// Writes one tensor in the form of [`read_value`](super::read_value), on one line without a line break. Errors name
/// `target`.
///
/// # Errors
/// [`TensorError::UnsupportedDType`] for dtypes without JSON values; [`Error::Io`] if the writer fails.
pub fn write_value(target: impl AsRef<Path>, writer: &mut impl Write, tensor: &Tensor) -> Result<()> {
    let output = Output::new("value", tensor)?;
    let mut pieces = Pieces { writer, text: Vec::new() };
    let written = pieces.value(&output, output.shape, 0);
    written.and_then(|()| pieces.flush()).map_err(Error::io("write", target))
}

/// An output and its elements.
struct Output<'a> {
    name: &'a str,
    shape: &'a [usize],
    elements: Elements<'a>,
}

enum Elements<'a> {
    Numbers(Box<dyn Numbers + 'a>),
    /// The strings, and whether they may be written as text.
    Strings(&'a Strings, bool),
}

/// Elements of one Rust type.
trait Numbers {
    /// Appends one of them to a text.
    fn write(&self, index: usize, text: &mut Vec<u8>);

    /// Appends those of a range, with commas between them.
    fn write_range(&self, range: Range<usize>, text: &mut Vec<u8>);
}

impl<T: Cell> Numbers for &[T] {
    fn write(&self, index: usize, text: &mut Vec<u8>) {
        self[index].write(text);
    }

    fn write_range(&self, range: Range<usize>, text: &mut Vec<u8>) {
        for (number, element) in self[range].iter().enumerate() {
            if number > 0 {
                text.extend_from_slice(b", ");
            }
            element.write(text);
        }
    }
}

impl<'a> Output<'a> {
    fn new(name: &'a str, tensor: &'a Tensor) -> Result<Self> {
        fn numbers<'a, T: Cell>(tensor: &'a Tensor) -> Result<Elements<'a>> {
            Ok(Elements::Numbers(Box::new(tensor.view::<T>()?)))
        }
        let elements = match tensor.dtype() {
            DType::Float16 => numbers::<f16>(tensor),
            DType::BFloat16 => numbers::<bf16>(tensor),
            DType::Float32 => numbers::<f32>(tensor),
            DType::Float64 => numbers::<f64>(tensor),
            DType::Int8 | DType::QInt8 => numbers::<i8>(tensor),
            DType::Int16 | DType::QInt16 => numbers::<i16>(tensor),
            DType::Int32 | DType::QInt32 => numbers::<i32>(tensor),
            DType::Int64 => numbers::<i64>(tensor),
            DType::UInt8 | DType::QUInt8 => numbers::<u8>(tensor),
            DType::UInt16 | DType::QUInt16 => numbers::<u16>(tensor),
            DType::UInt32 => numbers::<u32>(tensor),
            DType::UInt64 => numbers::<u64>(tensor),
            DType::Bool => numbers::<bool>(tensor),
            DType::Complex64 => numbers::<Complex<f32>>(tensor),
            DType::Complex128 => numbers::<Complex<f64>>(tensor),
            DType::String => Ok(Elements::Strings(tensor.strings()?, !name.ends_with(BYTES_SUFFIX))),
            DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => {
                Err(Error::Tensor(TensorError::UnsupportedDType { name: Some(name.into()), dtype: tensor.dtype() }))
            }
        }?;
        let shape = tensor.shape();
        if tensor.is_empty() {
            let lists =
                shape.iter().take_while(|size| **size > 0).try_fold(1_usize, |lists, size| lists.checked_mul(*size));
            if lists.is_none_or(|lists| lists > MAX_EMPTY_LISTS) {
                let reason = format!("shape {shape:?} is too many empty lists for JSON");
                return Err(Error::data(format!("output `{name}`"), reason));
            }
        }
        Ok(Self { name, shape, elements })
    }
}

/// The batch that the outputs have in common.
fn count_rows(outputs: &[Output<'_>]) -> Result<usize> {
    let mut rows = None;
    for Output { name, shape, .. } in outputs {
        let refuse = |reason: String| {
            Error::Tensor(TensorError::InvalidData {
                source_name: format!("output `{name}`"),
                reason,
                hint: Some("ask in the column form, with `inputs`".into()),
            })
        };
        let size = *shape.first().ok_or_else(|| refuse("a scalar has no rows".into()))?;
        let expected = *rows.get_or_insert(size);
        if size != expected {
            return Err(refuse(format!("it has {size} rows, and the first output has {expected}")));
        }
    }
    Ok(rows.unwrap_or(0))
}

/// A text that is written piece by piece.
struct Pieces<'w, W: Write> {
    writer: &'w mut W,
    text: Vec<u8>,
}

impl<W: Write> Pieces<'_, W> {
    fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    fn add(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    fn columns(&mut self, outputs: &[Output<'_>], bare: bool) -> io::Result<()> {
        self.add(b"{\"outputs\": ");
        self.object(outputs, bare, |pieces, output| pieces.value(output, output.shape, 0))?;
        self.add(b"}");
        Ok(())
    }

    fn rows(&mut self, outputs: &[Output<'_>], rows: usize, bare: bool) -> io::Result<()> {
        self.add(b"{\"predictions\": ");
        self.list(rows, |pieces, row| pieces.row(outputs, row, bare))?;
        self.add(b"}");
        Ok(())
    }

    fn row(&mut self, outputs: &[Output<'_>], row: usize, bare: bool) -> io::Result<()> {
        self.object(outputs, bare, |pieces, output| {
            let shape = output.shape.get(1..).unwrap_or_default();
            pieces.value(output, shape, row * shape.iter().product::<usize>())
        })
    }

    /// An object of all outputs, or the only output without its name.
    fn object<'o>(
        &mut self,
        outputs: &'o [Output<'o>],
        bare: bool,
        mut write: impl FnMut(&mut Self, &'o Output<'o>) -> io::Result<()>,
    ) -> io::Result<()> {
        if let ([only], true) = (outputs, bare) {
            return write(self, only);
        }
        self.add(b"{");
        for (index, output) in outputs.iter().enumerate() {
            if index > 0 {
                self.add(b", ");
            }
            write_text(output.name, &mut self.text);
            self.add(b": ");
            write(self, output)?;
        }
        self.add(b"}");
        Ok(())
    }

    fn list(&mut self, len: usize, mut write: impl FnMut(&mut Self, usize) -> io::Result<()>) -> io::Result<()> {
        self.add(b"[");
        for index in 0..len {
            if index > 0 {
                self.add(b", ");
            }
            write(self, index)?;
            if self.text.len() >= PIECE {
                self.flush()?;
            }
        }
        self.add(b"]");
        Ok(())
    }

    /// Writes a list of numbers.
    fn numbers(&mut self, numbers: &dyn Numbers, range: Range<usize>) -> io::Result<()> {
        self.add(b"[");
        let mut start = range.start;
        while start < range.end {
            if start > range.start {
                self.add(b", ");
            }
            let end = range.end.min(start + GROUP);
            numbers.write_range(start..end, &mut self.text);
            start = end;
            if self.text.len() >= PIECE {
                self.flush()?;
            }
        }
        self.add(b"]");
        Ok(())
    }

    /// Writes the part of an output from element `start` on with this shape. It recurses once for each dimension, at
    /// most [`MAX_RANK`](crate::MAX_RANK) times.
    fn value(&mut self, output: &Output<'_>, shape: &[usize], start: usize) -> io::Result<()> {
        let Some((size, inner)) = shape.split_first() else {
            match &output.elements {
                Elements::Numbers(numbers) => numbers.write(start, &mut self.text),
                Elements::Strings(strings, may_be_text) => {
                    write_string(strings.get(start).unwrap_or_default(), *may_be_text, &mut self.text);
                }
            }
            return Ok(());
        };
        if let (Elements::Numbers(numbers), []) = (&output.elements, inner) {
            return self.numbers(&**numbers, start..start + size);
        }
        let stride: usize = inner.iter().product();
        self.list(*size, |pieces, index| pieces.value(output, inner, start + index * stride))
    }
}
