//! The `data` of an input: a flat list in row-major order, or lists in the shape of the tensor.

use half::{bf16, f16};
use tf_persist_core::tensor::{Strings, TensorBuilder};
use tf_persist_core::{DType, Element, Tensor, element_count};

use super::super::builders::{self, ShapeBuilder, Stop, estimated_elements};
use super::super::cursor::{Cursor, Parsed};
use super::super::json_snippet::json_snippet;
use crate::status::Status;
use crate::v2::{datatype_name, shape_error};

/// An input whose data is read.
#[derive(Clone, Copy)]
pub(super) struct Declared<'d> {
    pub(super) name: &'d str,
    pub(super) dtype: DType,
    pub(super) shape: &'d [usize],
}

/// Reads the elements here.
///
/// # Errors
/// `INVALID_ARGUMENT` if their number or their lists do not match the shape, or one is not of the datatype.
pub(super) fn tensor(declared: Declared<'_>, cursor: &mut Cursor<'_>) -> Result<Tensor, Status> {
    match declared.dtype {
        DType::Float32 => declared.numbers(cursor, |at| float(at, |at| at.float_fast(), |value| value as f32)),
        DType::Float64 => declared.numbers(cursor, |at| float(at, |at| Ok(at.number()?.as_f64()), |value| value)),
        DType::Float16 => {
            declared.numbers(cursor, |at| float(at, |at| Ok(f16::from_f64(at.number()?.as_f64())), f16::from_f64))
        }
        DType::BFloat16 => {
            declared.numbers(cursor, |at| float(at, |at| Ok(bf16::from_f64(at.number()?.as_f64())), bf16::from_f64))
        }
        DType::Int8 => declared.numbers(cursor, integer::<i8>),
        DType::Int16 => declared.numbers(cursor, integer::<i16>),
        DType::Int32 => declared.numbers(cursor, integer::<i32>),
        DType::Int64 => declared.numbers(cursor, integer::<i64>),
        DType::UInt8 => declared.numbers(cursor, integer::<u8>),
        DType::UInt16 => declared.numbers(cursor, integer::<u16>),
        DType::UInt32 => declared.numbers(cursor, integer::<u32>),
        DType::UInt64 => declared.numbers(cursor, |at| Ok(at.number()?.as_u64())),
        DType::Bool => declared.numbers(cursor, boolean),
        _ => declared.strings(cursor),
    }
}

/// Reads a float: a number, or one that is not finite as a word, or `null`, which counts as NaN.
#[inline(always)]
fn float<T>(
    at: &mut Cursor<'_>,
    number: impl FnOnce(&mut Cursor<'_>) -> Parsed<T>,
    special: impl FnOnce(f64) -> T,
) -> Parsed<Option<T>> {
    match at.peek() {
        b'n' => {
            at.word(b"null")?;
            Ok(Some(special(f64::NAN)))
        }
        b'"' => Ok(match at.string()?.as_ref() {
            b"NaN" => Some(special(f64::NAN)),
            b"Infinity" => Some(special(f64::INFINITY)),
            b"-Infinity" => Some(special(f64::NEG_INFINITY)),
            _ => None,
        }),
        _ => number(at).map(Some),
    }
}

/// Reads an integer that fits.
fn integer<T: TryFrom<i64>>(at: &mut Cursor<'_>) -> Parsed<Option<T>> {
    Ok(at.number()?.as_i64().and_then(|value| T::try_from(value).ok()))
}

/// Reads `true` or `false`; some clients send 1 or 0.
fn boolean(at: &mut Cursor<'_>) -> Parsed<Option<bool>> {
    if let Some(value) = builders::boolean(at)? {
        return Ok(Some(value));
    }
    Ok(match at.number()?.as_u64() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    })
}

impl Declared<'_> {
    /// Reads numbers. `leaf` reads one; it returns `None` for one that is not of the datatype.
    fn numbers<T: Element>(
        self,
        cursor: &mut Cursor<'_>,
        mut leaf: impl FnMut(&mut Cursor<'_>) -> Parsed<Option<T>>,
    ) -> Result<Tensor, Status> {
        let count = element_count(self.shape).map_err(|error| shape_error(self.name, &error))?;
        // The shape may lie.
        let mut elements = TensorBuilder::with_capacity(count.min(estimated_elements(cursor.text.len() - cursor.at)))?;
        self.read(cursor, |at| match leaf(at)? {
            Some(value) => Ok(elements.push(value)?),
            None => Err(Stop::Irregular),
        })?;
        self.check_count(elements.len(), count)?;
        Ok(elements.finish(self.dtype, self.shape)?)
    }

    fn strings(self, cursor: &mut Cursor<'_>) -> Result<Tensor, Status> {
        let count = element_count(self.shape).map_err(|error| shape_error(self.name, &error))?;
        let mut strings = Strings::default();
        self.read(cursor, |at| match at.peek() {
            b'"' => {
                strings.push(&at.string()?);
                Ok(())
            }
            _ => Err(Stop::Irregular),
        })?;
        self.check_count(strings.len(), count)?;
        Ok(Tensor::from_string_array(self.shape, strings)?)
    }

    /// Reads all elements, and compares the lists with the shape.
    fn read(
        self,
        cursor: &mut Cursor<'_>,
        mut leaf: impl FnMut(&mut Cursor<'_>) -> Result<(), Stop>,
    ) -> Result<(), Status> {
        let start = *cursor;
        let mut found = ShapeBuilder::default();
        // The index of an element that cannot be read, and where it is.
        let (mut index, mut refused) = (0_usize, None);
        let taken = found.take(cursor, |at| {
            let element = at.at;
            let read = leaf(at);
            match read {
                Ok(()) => index += 1,
                Err(_) => refused = Some(element),
            }
            read
        });
        match taken {
            Ok(()) => {}
            Err(Stop::Status(status)) => return Err(status),
            Err(Stop::Irregular) => {
                let refused = refused.map(|at| Cursor { at, ..start });
                return Err(self.diagnose(start, index, refused));
            }
        }
        let found = found.shape();
        // A flat list may have the elements of any shape, and empty lists have no lists in them.
        let is_empty = found.last() == Some(&0) && self.shape.starts_with(&found);
        if found.len() > 1 && found != self.shape && !is_empty {
            return Err(self.refuse(&format!("`data` has the shape {found:?}, not {:?}", self.shape)));
        }
        Ok(())
    }

    fn check_count(self, found: usize, wanted: usize) -> Result<(), Status> {
        if found == wanted {
            return Ok(());
        }
        let shape = self.shape;
        Err(self.refuse(&format!("`data` has {found} elements, and the shape {shape:?} has {wanted}")))
    }

    /// Why data was refused.
    fn diagnose(self, start: Cursor<'_>, index: usize, refused: Option<Cursor<'_>>) -> Status {
        let mut whole = start;
        if let Err(error) = whole.skip_value() {
            return error.into();
        }
        let datatype = datatype_name(self.dtype);
        match refused {
            Some(element) => {
                self.refuse(&format!("element {index} of `data` is not {datatype}: {}", json_snippet(element)))
            }
            None if matches!(start.peek(), b'[') => {
                self.refuse(&format!("the lists of `data` do not have the shape {:?}", self.shape))
            }
            None => self.refuse("`data` must be a list"),
        }
    }

    fn refuse(self, reason: &str) -> Status {
        Status::invalid_argument(format!("input `{}`: {reason}", self.name))
    }
}
