//! Builds tensors out of nested lists. Elements are written straight into the tensor's memory while its shape is found
//! out. Anything that does not fit is [`Stop::Irregular`], for which `diagnose` finds the reason.

use tf_persist_core::tensor::{Strings, TensorBuilder};
use tf_persist_core::{DType, Element, MAX_RANK, ModelError, Tensor};

use super::cursor::{Cursor, SyntaxError};
use super::string::decode_base64;
use crate::status::Status;

/// Why a value could not become a tensor.
#[derive(Debug)]
pub(super) enum Stop {
    /// The value does not have the required shape or dtype, or is not valid JSON.
    Irregular,
    /// Memory could not be allocated.
    Status(Status),
}

impl From<SyntaxError> for Stop {
    fn from(_: SyntaxError) -> Self {
        Self::Irregular
    }
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Status(error.into())
    }
}

/// The sizes of nested lists, as far as they are known. The first list that ends at a level determines the size of all
/// others there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShapeBuilder {
    /// Sizes by level; `None` while the first list of a level is open.
    sizes: Vec<Option<usize>>,
    /// The number of levels, known after the first element or empty list.
    rank: Option<usize>,
    /// The numbers of elements so far of the open lists.
    open: Vec<usize>,
}

impl ShapeBuilder {
    /// The sizes of all levels.
    pub(super) fn shape(&self) -> Vec<usize> {
        self.sizes.iter().map(|size| size.unwrap_or(0)).collect()
    }

    /// Whether the number of levels is known.
    pub(super) fn is_known(&self) -> bool {
        self.rank.is_some()
    }

    /// Steps into the list at the cursor. Returns `false` for an empty list, which is skipped.
    fn enter(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Stop> {
        let level = self.open.len();
        match self.rank {
            Some(rank) if level >= rank => return Err(Stop::Irregular),
            Some(_) => {}
            None if level >= MAX_RANK => return Err(Stop::Irregular),
            None => self.sizes.push(None),
        }
        if cursor.enter() {
            self.open.push(0);
            return Ok(true);
        }
        self.rank.get_or_insert(level + 1);
        self.close(level, 0)?;
        Ok(false)
    }

    /// Notes that a list of this size has ended.
    fn close(&mut self, level: usize, size: usize) -> Result<(), Stop> {
        let known = self.sizes.get_mut(level).ok_or(Stop::Irregular)?;
        if *known.get_or_insert(size) == size { Ok(()) } else { Err(Stop::Irregular) }
    }

    /// Fast path: if a list of the expected size ends here and the next one begins after a comma and at most one space,
    /// as Python's `json` writes it, steps to its first element.
    #[inline]
    fn is_sibling_next(&mut self, cursor: &mut Cursor<'_>, size: usize) -> bool {
        let rest = cursor.text.get(cursor.at..).unwrap_or_default();
        let length = match rest {
            [b']', b',', b' ', b'[', b'-' | b'0'..=b'9', ..] => 4,
            [b']', b',', b'[', b'-' | b'0'..=b'9', ..] => 3,
            _ => return false,
        };
        let [.., around, _] = &mut self.open[..] else { return false };
        if self.sizes.last() != Some(&Some(size)) {
            return false;
        }
        *around += 1;
        cursor.at += length;
        true
    }

    /// Reads the value at the cursor. `leaf` reads each element.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut leaf: impl FnMut(&mut Cursor<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.open.clear();
        'value: loop {
            if cursor.peek() == b'[' {
                if self.enter(cursor)? {
                    continue;
                }
            } else {
                let level = self.open.len();
                if *self.rank.get_or_insert(level) != level {
                    return Err(Stop::Irregular);
                }
                // The innermost lists are most of the text. A copy of the cursor can be kept in registers.
                let (mut inner, mut size) = (*cursor, 0);
                loop {
                    leaf(&mut inner)?;
                    if level == 0 {
                        break;
                    }
                    size += 1;
                    inner.skip_space();
                    // Not `eat`: reading the next number must not depend on the comparison.
                    if inner.peek() == b',' {
                        inner.at += 1;
                        inner.skip_space();
                    } else if self.is_sibling_next(&mut inner, size) {
                        size = 0;
                    } else {
                        break;
                    }
                }
                *cursor = inner;
                if level == 0 {
                    return Ok(());
                }
                if !cursor.eat(b']') {
                    return Err(Stop::Irregular);
                }
                self.open.pop();
                self.close(level - 1, size)?;
            }
            // A list has ended, and perhaps those around it.
            loop {
                let level = self.open.len();
                let Some(count) = self.open.last_mut() else { return Ok(()) };
                *count += 1;
                if cursor.next_element()? {
                    continue 'value;
                }
                let size = self.open.pop().unwrap_or_default();
                self.close(level - 1, size)?;
            }
        }
    }
}

/// A tensor under construction, by dtype.
pub(super) enum ColumnBuilder {
    F32(TensorBuilder<f32>),
    F64(TensorBuilder<f64>),
    I8(TensorBuilder<i8>),
    I16(TensorBuilder<i16>),
    I32(TensorBuilder<i32>),
    I64(TensorBuilder<i64>),
    U8(TensorBuilder<u8>),
    U32(TensorBuilder<u32>),
    U64(TensorBuilder<u64>),
    Bool(TensorBuilder<bool>),
    Strings(Strings),
    /// A dtype without JSON elements: only an empty tensor is possible.
    Unsupported,
}

/// How many elements this many bytes of JSON may hold, if they have few digits and no spaces. Buffers grow if there are
/// more; memory that is not written to is never resident.
pub(super) fn estimated_elements(bytes: usize) -> usize {
    const BYTES_AN_ELEMENT: usize = 4;
    bytes / BYTES_AN_ELEMENT + 1
}

impl ColumnBuilder {
    /// A builder for a tensor of this dtype, read from this many bytes of JSON.
    pub(super) fn new(dtype: DType, bytes: usize) -> Result<Self, Status> {
        let capacity = estimated_elements(bytes);
        Ok(match dtype {
            DType::Float32 => Self::F32(TensorBuilder::with_capacity(capacity)?),
            DType::Float64 => Self::F64(TensorBuilder::with_capacity(capacity)?),
            DType::Int8 => Self::I8(TensorBuilder::with_capacity(capacity)?),
            DType::Int16 => Self::I16(TensorBuilder::with_capacity(capacity)?),
            DType::Int32 => Self::I32(TensorBuilder::with_capacity(capacity)?),
            DType::Int64 => Self::I64(TensorBuilder::with_capacity(capacity)?),
            DType::UInt8 => Self::U8(TensorBuilder::with_capacity(capacity)?),
            DType::UInt32 => Self::U32(TensorBuilder::with_capacity(capacity)?),
            DType::UInt64 => Self::U64(TensorBuilder::with_capacity(capacity)?),
            DType::Bool => Self::Bool(TensorBuilder::with_capacity(capacity)?),
            DType::String => Self::Strings(Strings::default()),
            _ => Self::Unsupported,
        })
    }

    /// Reads the value at the cursor, and finds or checks its shape.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, shape_builder: &mut ShapeBuilder) -> Result<(), Stop> {
        match self {
            Self::F32(to) => floats(cursor, shape_builder, to),
            Self::F64(to) => shape_builder.take(cursor, |at| Ok(to.push(at.number()?.as_f64())?)),
            // TensorFlow Serving accepts anything that fits 32 bits, and TensorFlow drops the upper bits.
            Self::I8(to) => shape_builder.take(cursor, |at| Ok(to.push(int32(at)? as i8)?)),
            Self::I16(to) => shape_builder.take(cursor, |at| Ok(to.push(int32(at)? as i16)?)),
            Self::U8(to) => shape_builder.take(cursor, |at| Ok(to.push(int32(at)? as u8)?)),
            Self::I32(to) => shape_builder.take(cursor, |at| Ok(to.push(int32(at)?)?)),
            Self::I64(to) => shape_builder.take(cursor, |at| push(to, at.number()?.as_i64())),
            Self::U32(to) => shape_builder
                .take(cursor, |at| push(to, at.number()?.as_u64().and_then(|value| u32::try_from(value).ok()))),
            Self::U64(to) => shape_builder.take(cursor, |at| push(to, at.number()?.as_u64())),
            Self::Bool(to) => shape_builder.take(cursor, |at| push(to, boolean(at)?)),
            Self::Strings(to) => shape_builder.take(cursor, |at| string(at, to)),
            Self::Unsupported => shape_builder.take(cursor, |_| Err(Stop::Irregular)),
        }
    }

    /// The tensor. Elements beyond its shape are dropped, as in TensorFlow: there are some if an object has a name
    /// twice.
    pub(super) fn finish(self, dtype: DType, shape: &[usize]) -> Result<Tensor, Status> {
        Ok(match self {
            Self::F32(from) => from.finish(dtype, shape)?,
            Self::F64(from) => from.finish(dtype, shape)?,
            Self::I8(from) => from.finish(dtype, shape)?,
            Self::I16(from) => from.finish(dtype, shape)?,
            Self::I32(from) => from.finish(dtype, shape)?,
            Self::I64(from) => from.finish(dtype, shape)?,
            Self::U8(from) => from.finish(dtype, shape)?,
            Self::U32(from) => from.finish(dtype, shape)?,
            Self::U64(from) => from.finish(dtype, shape)?,
            Self::Bool(from) => from.finish(dtype, shape)?,
            Self::Strings(from) => {
                let wanted = tf_persist_core::element_count(shape)?;
                if wanted < from.len() {
                    Tensor::from_strings(shape, from.iter().take(wanted))?
                } else {
                    Tensor::from_string_array(shape, from)?
                }
            }
            Self::Unsupported => Tensor::zeros(dtype, shape)?,
        })
    }
}

/// Reads nested lists of numbers as 32-bit floats.
pub(super) fn floats(
    cursor: &mut Cursor<'_>,
    shape_builder: &mut ShapeBuilder,
    to: &mut TensorBuilder<f32>,
) -> Result<(), Stop> {
    shape_builder.take(cursor, |at| Ok(to.push(at.float_fast()?)?))
}

#[inline]
fn push<T: Element>(to: &mut TensorBuilder<T>, value: Option<T>) -> Result<(), Stop> {
    Ok(to.push(value.ok_or(Stop::Irregular)?)?)
}

#[inline]
fn int32(cursor: &mut Cursor<'_>) -> Result<i32, Stop> {
    let value = cursor.number()?.as_i64().ok_or(Stop::Irregular)?;
    i32::try_from(value).map_err(|_| Stop::Irregular)
}

#[inline]
pub(super) fn boolean(cursor: &mut Cursor<'_>) -> Result<Option<bool>, SyntaxError> {
    Ok(match cursor.peek() {
        b't' => cursor.word(b"true").map(|()| Some(true))?,
        b'f' => cursor.word(b"false").map(|()| Some(false))?,
        _ => None,
    })
}

fn string(cursor: &mut Cursor<'_>, to: &mut Strings) -> Result<(), Stop> {
    match cursor.peek() {
        b'"' => to.push(&cursor.string()?),
        b'{' => {
            let mut text = cursor.base64_object()?.ok_or(Stop::Irregular)?;
            to.push(&decode_base64(&text.string()?).ok_or(Stop::Irregular)?);
            text.skip_space();
            text.at += 1;
            cursor.at = text.at;
        }
        _ => return Err(Stop::Irregular),
    }
    Ok(())
}
