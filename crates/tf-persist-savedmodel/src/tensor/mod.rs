//! Tensors: dtype, shape and memory that TensorFlow can adopt without copying.

mod aligned_buf;
mod buffer;
mod builder;
mod compare;
mod decimal;
mod element;
pub mod json;
mod narrow;
pub mod npy;
pub mod npz;
pub mod proto;
mod rows;
pub mod serialized;
mod stats;
mod strings;

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};
use num_complex::Complex;

pub(crate) use aligned_buf::{AlignedBuf, FillError};
#[doc(hidden)]
pub use buffer::Buffer;
#[doc(hidden)]
pub use buffer::ForeignMemory;
pub use builder::TensorBuilder;
pub use compare::{Comparison, Tolerance, WorstElement};
pub(crate) use decimal::decimal;
pub use element::Element;
pub(crate) use narrow::widened;
pub use stats::{Number, Stats};
pub use strings::Strings;

use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::{InvalidShape, element_count};

/// The alignment of tensors in bytes, that of the widest vector unit (`EIGEN_MAX_ALIGN_BYTES` with AVX-512), so that
/// libtensorflow adopts the memory instead of copying it.
pub const ALIGNMENT: usize = 64;

/// A dense tensor: a dtype, a shape, and its elements in row-major order.
///
/// Cloning shares the memory. TensorFlow adopts the memory of an input, and an output stays in TensorFlow's memory
/// until it is dropped; neither way copies numbers. Strings are copied once each way, because TensorFlow has its own
/// string type.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone)]
enum Data {
    /// Little-endian elements, `element_count(shape) * dtype.size()` bytes.
    Bytes(Buffer),
    /// `element_count(shape)` strings.
    Strings(Arc<Strings>),
}

impl Tensor {
    /// A tensor of zeros (or of empty strings), to be filled through [`Tensor::view_mut`].
    ///
    /// # Errors
    /// If the dtype is unsupported or the shape too large.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let data = if dtype == DType::String {
            Data::Strings(Arc::new(Strings::empty(element_count(shape)?)))
        } else {
            Data::Bytes(Buffer::zeros(byte_len(dtype, shape)?)?)
        };
        Ok(Self { dtype, shape: shape.to_vec(), data })
    }

    /// A tensor of these elements, copied once into aligned memory.
    ///
    /// # Errors
    /// If the number of values does not match the shape.
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Self> {
        check_count(shape, values.len())?;
        let data = Data::Bytes(Buffer::copy_of(bytemuck::cast_slice(values))?);
        Ok(Self { dtype: T::DTYPES[0], shape: shape.to_vec(), data })
    }

    /// A tensor of a dtype's little-endian bytes, copied once into aligned memory.
    ///
    /// # Errors
    /// If the dtype has no fixed element size, or the number of bytes does not match dtype and shape.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        let expected = byte_len(dtype, shape)?;
        if bytes.len() != expected {
            let reason = format!("{dtype} of this shape has {expected} bytes, {} were given", bytes.len());
            return Err(Error::Tensor(TensorError::InvalidShape(InvalidShape { shape: shape.to_vec(), reason })));
        }
        Ok(Self { dtype, shape: shape.to_vec(), data: Data::Bytes(Buffer::copy_of(bytes)?) })
    }

    /// A tensor of rank 0.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_slice(&[], &[value])
    }

    /// A string tensor. Strings are bytes, not necessarily text: images and serialized `tf.Example`s, for example.
    ///
    /// # Errors
    /// If the number of strings is not that of the shape.
    pub fn from_strings<S: AsRef<[u8]>>(shape: &[usize], strings: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::from_string_array(shape, strings.into_iter().collect())
    }

    /// A string tensor of these strings.
    ///
    /// # Errors
    /// If the number of strings is not that of the shape.
    pub fn from_string_array(shape: &[usize], strings: Strings) -> Result<Self> {
        check_count(shape, strings.len())?;
        Ok(Self { dtype: DType::String, shape: shape.to_vec(), data: Data::Strings(Arc::new(strings)) })
    }

    /// A tensor over foreign memory. The caller has checked that dtype, shape and length match.
    #[doc(hidden)]
    pub fn from_foreign(dtype: DType, shape: Vec<usize>, memory: Arc<dyn ForeignMemory>) -> Self {
        Self { dtype, shape, data: Data::Bytes(Buffer::foreign(memory)) }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements; 1 for a scalar.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The memory of the elements in bytes, for strings including their ends.
    #[must_use]
    pub fn memory(&self) -> usize {
        match &self.data {
            Data::Bytes(buffer) => buffer.bytes().len(),
            Data::Strings(strings) => strings.total_bytes() + strings.len() * size_of::<usize>(),
        }
    }

    /// Whether it has no elements, because one of the sizes is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If the tensor holds another dtype, or a bool that is neither 0 nor 1.
    pub fn view<T: Element>(&self) -> Result<&[T]> {
        self.expect_element::<T>()?;
        T::view(self.bytes()?).ok_or_else(|| {
            Error::Tensor(TensorError::InvalidTensor { reason: format!("its bytes are not valid {}", self.dtype) })
        })
    }

    /// The mutable elements in row-major order. Copies first if the memory is shared or TensorFlow's.
    ///
    /// # Errors
    /// If the tensor holds another dtype, or a bool that is neither 0 nor 1.
    pub fn view_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        self.expect_element::<T>()?;
        let dtype = self.dtype;
        let invalid =
            || Error::Tensor(TensorError::InvalidTensor { reason: format!("its bytes are not valid {dtype}") });
        T::view_mut(self.bytes_mut()?).ok_or_else(invalid)
    }

    /// The elements' little-endian bytes.
    ///
    /// # Errors
    /// If this is a string tensor.
    pub fn bytes(&self) -> Result<&[u8]> {
        match &self.data {
            Data::Bytes(buffer) => Ok(buffer.bytes()),
            Data::Strings(_) => Err(Error::Tensor(TensorError::WrongElement { asked: "numbers", held: self.dtype })),
        }
    }

    /// The elements' mutable little-endian bytes. Copies first if the memory is shared or TensorFlow's.
    ///
    /// # Errors
    /// If this is a string tensor.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        match &mut self.data {
            Data::Bytes(buffer) => buffer.bytes_mut(),
            Data::Strings(_) => Err(Error::Tensor(TensorError::WrongElement { asked: "numbers", held: self.dtype })),
        }
    }

    /// The strings of a string tensor.
    ///
    /// # Errors
    /// If this is not a string tensor.
    pub fn strings(&self) -> Result<&Strings> {
        match &self.data {
            Data::Strings(strings) => Ok(strings),
            Data::Bytes(_) => Err(Error::Tensor(TensorError::WrongElement { asked: "strings", held: self.dtype })),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// If the number of elements would change.
    pub fn reshape(mut self, shape: &[usize]) -> Result<Self> {
        check_count(shape, self.len())?;
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// The memory of a numeric tensor, to be shared with TensorFlow.
    #[doc(hidden)]
    pub fn buffer(&self) -> Option<&Buffer> {
        match &self.data {
            Data::Bytes(buffer) => Some(buffer),
            Data::Strings(_) => None,
        }
    }

    fn expect_element<T: Element>(&self) -> Result<()> {
        if T::DTYPES.contains(&self.dtype) {
            return Ok(());
        }
        Err(Error::Tensor(TensorError::WrongElement { asked: T::DTYPES[0].name(), held: self.dtype }))
    }
}

/// Tensors are equal if dtype, shape and every byte are: NaN equals the same NaN, and 0.0 is not -0.0.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && match (&self.data, &other.data) {
                (Data::Bytes(a), Data::Bytes(b)) => a.bytes() == b.bytes(),
                (Data::Strings(a), Data::Strings(b)) => a == b,
                _ => false,
            }
    }
}

/// Dtype, shape and the first elements.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        fn some<T: Element + fmt::Debug>(tensor: &Tensor, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match tensor.view::<T>() {
                Ok(values) => write!(f, "{:?}", &values[..values.len().min(SHOWN)]),
                Err(error) => write!(f, "<{error}>"),
            }
        }
        write!(f, "Tensor {}{:?} ", self.dtype, self.shape)?;
        match self.dtype {
            DType::Float32 => some::<f32>(self, f),
            DType::Float64 => some::<f64>(self, f),
            DType::Float16 => some::<f16>(self, f),
            DType::BFloat16 => some::<bf16>(self, f),
            DType::Int8 | DType::QInt8 => some::<i8>(self, f),
            DType::Int16 | DType::QInt16 => some::<i16>(self, f),
            DType::Int32 | DType::QInt32 => some::<i32>(self, f),
            DType::Int64 => some::<i64>(self, f),
            DType::UInt8 | DType::QUInt8 => some::<u8>(self, f),
            DType::UInt16 | DType::QUInt16 => some::<u16>(self, f),
            DType::UInt32 => some::<u32>(self, f),
            DType::UInt64 => some::<u64>(self, f),
            DType::Bool => some::<bool>(self, f),
            DType::Complex64 => some::<Complex<f32>>(self, f),
            DType::Complex128 => some::<Complex<f64>>(self, f),
            DType::String => match self.strings() {
                Ok(strings) => f.debug_list().entries(strings.iter().take(SHOWN).map(String::from_utf8_lossy)).finish(),
                Err(error) => write!(f, "<{error}>"),
            },
            DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => Ok(()),
        }?;
        if self.len() > SHOWN { write!(f, " …") } else { Ok(()) }
    }
}

/// The size in bytes of a tensor of this dtype and shape.
pub fn byte_len(dtype: DType, shape: &[usize]) -> Result<usize> {
    let size = match dtype.size() {
        Some(size) if dtype.is_supported() => size,
        _ => return Err(Error::Tensor(TensorError::UnsupportedDType { name: None, dtype })),
    };
    let overflow = || {
        Error::Tensor(TensorError::InvalidShape(InvalidShape {
            shape: shape.to_vec(),
            reason: "its bytes do not fit 63 bits".into(),
        }))
    };
    element_count(shape)?.checked_mul(size).filter(|len| isize::try_from(*len).is_ok()).ok_or_else(overflow)
}

fn check_count(shape: &[usize], given: usize) -> Result<()> {
    let expected = element_count(shape)?;
    if expected == given {
        return Ok(());
    }
    let reason = format!("it has {expected} elements, {given} were given");
    Err(Error::Tensor(TensorError::InvalidShape(InvalidShape { shape: shape.to_vec(), reason })))
}

#[cfg(test)]
mod tests;
