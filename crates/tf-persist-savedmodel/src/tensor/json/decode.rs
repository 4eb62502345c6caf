//! Decoding a value of a request directly into the memory of its tensor.

use half::{bf16, f16};
use jiter::{Jiter, Peek};
use num_complex::Complex;

use super::cell::{Cell, Refusal, Refused, read_string};
use super::plain;
use super::shape_builder::ShapeBuilder;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::tensor::aligned_buf::AlignedBuf;
use crate::tensor::{Strings, Tensor};

/// The tensor of an input while its values are read. The values of several rows follow each other.
pub(super) struct Builder {
    dtype: DType,
    elements: Box<dyn Elements>,
    shape: ShapeBuilder,
    /// The number of complete values.
    values: usize,
}

/// The elements read so far, of one Rust type.
trait Elements {
    /// Reserves memory for more elements, if the dtype has fixed-size elements.
    fn reserve(&mut self, count: usize) -> Result<()>;

    /// Reads one value of plain numbers, and returns the number of its bytes. Does nothing if it is anything else.
    fn read_plain(&mut self, text: &[u8], shape: &mut ShapeBuilder) -> Option<usize>;

    /// Reads one value: an element, or nested lists of elements.
    fn read(&mut self, jiter: &mut Jiter<'_>, shape: &mut ShapeBuilder) -> Result<(), Refused>;

    fn finish(self: Box<Self>, dtype: DType, shape: &[usize]) -> Result<Tensor>;
}

impl Builder {
    /// `name` is the input's, for the error.
    pub(super) fn new(name: &str, dtype: DType) -> Result<Self> {
        let elements: Box<dyn Elements> = match dtype {
            DType::Float16 => Box::new(Numbers::<f16>::new()),
            DType::BFloat16 => Box::new(Numbers::<bf16>::new()),
            DType::Float32 => Box::new(Numbers::<f32>::new()),
            DType::Float64 => Box::new(Numbers::<f64>::new()),
            DType::Int8 | DType::QInt8 => Box::new(Numbers::<i8>::new()),
            DType::Int16 | DType::QInt16 => Box::new(Numbers::<i16>::new()),
            DType::Int32 | DType::QInt32 => Box::new(Numbers::<i32>::new()),
            DType::Int64 => Box::new(Numbers::<i64>::new()),
            DType::UInt8 | DType::QUInt8 => Box::new(Numbers::<u8>::new()),
            DType::UInt16 | DType::QUInt16 => Box::new(Numbers::<u16>::new()),
            DType::UInt32 => Box::new(Numbers::<u32>::new()),
            DType::UInt64 => Box::new(Numbers::<u64>::new()),
            DType::Bool => Box::new(Numbers::<bool>::new()),
            DType::Complex64 => Box::new(Numbers::<Complex<f32>>::new()),
            DType::Complex128 => Box::new(Numbers::<Complex<f64>>::new()),
            DType::String => Box::<Bytes>::default(),
            DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => {
                return Err(Error::Tensor(TensorError::UnsupportedDType { name: Some(name.into()), dtype }));
            }
        };
        Ok(Self { dtype, elements, shape: ShapeBuilder::default(), values: 0 })
    }

    /// The number of values so far.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// The position of a failure.
    pub(super) fn path(&self) -> String {
        self.shape.path()
    }

    /// Reserves memory for the elements of a valid JSON text by counting commas. The memory is at most a few times that
    /// of the text.
    pub(super) fn reserve_for(&mut self, text: &[u8]) -> Result<()> {
        // The runs are so short that a byte holds the count of each, which makes it fast.
        let in_run = |run: &[u8]| usize::from(run.iter().map(|byte| u8::from(*byte == b',')).sum::<u8>());
        let commas: usize = text.chunks(u8::MAX.into()).map(in_run).sum();
        self.elements.reserve(commas + 1)
    }

    /// Reads the next value from the begin of a text, if it consists of plain numbers: then it is counted, and the
    /// number of its bytes is returned. Otherwise nothing has changed.
    pub(super) fn read_plain(&mut self, text: &[u8]) -> Option<usize> {
        self.shape.restart();
        let taken = self.elements.read_plain(text, &mut self.shape)?;
        self.values += 1;
        Some(taken)
    }

    /// Reads the next value, which must have the shape of those before it.
    pub(super) fn read(&mut self, jiter: &mut Jiter<'_>) -> Result<(), Refused> {
        self.shape.restart();
        self.elements.read(jiter, &mut self.shape)?;
        self.values += 1;
        Ok(())
    }

    /// The tensor of the value, or of all values, whose number is then the first size.
    pub(super) fn finish(self, rows: bool) -> Result<Tensor> {
        let shape: Vec<usize> = rows.then_some(self.values).into_iter().chain(self.shape.shape()).collect();
        self.elements.finish(self.dtype, &shape)
    }
}

struct Numbers<T> {
    memory: AlignedBuf,
    element: std::marker::PhantomData<T>,
}

impl<T: Cell> Numbers<T> {
    fn new() -> Self {
        Self { memory: AlignedBuf::new(), element: std::marker::PhantomData }
    }
}

impl<T: Cell> Elements for Numbers<T> {
    fn reserve(&mut self, count: usize) -> Result<()> {
        self.memory.reserve(count.saturating_mul(size_of::<T>()))
    }

    fn read_plain(&mut self, text: &[u8], shape: &mut ShapeBuilder) -> Option<usize> {
        plain::read::<T>(text, shape, &mut self.memory)
    }

    fn read(&mut self, jiter: &mut Jiter<'_>, shape: &mut ShapeBuilder) -> Result<(), Refused> {
        walk(jiter, shape, |jiter, peek| {
            let value = T::read(jiter, peek)?;
            self.memory.push(&value).map_err(|error| Box::new(Refusal::Memory(error)))
        })
    }

    fn finish(self: Box<Self>, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        self.memory.into_tensor(dtype, shape)
    }
}

#[derive(Default)]
struct Bytes {
    strings: Strings,
    /// The string that is being decoded; kept for its memory.
    string: Vec<u8>,
}

impl Elements for Bytes {
    fn reserve(&mut self, _: usize) -> Result<()> {
        // A text may be all commas.
        Ok(())
    }

    fn read_plain(&mut self, _: &[u8], _: &mut ShapeBuilder) -> Option<usize> {
        None
    }

    fn read(&mut self, jiter: &mut Jiter<'_>, shape: &mut ShapeBuilder) -> Result<(), Refused> {
        walk(jiter, shape, |jiter, peek| {
            read_string(jiter, peek, &mut self.string)?;
            self.strings.push(&self.string);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, _: DType, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_string_array(shape, self.strings)
    }
}

/// Walks nested lists without recursion and calls `take` with every element.
fn walk<'j>(
    jiter: &mut Jiter<'j>,
    shape: &mut ShapeBuilder,
    mut take: impl FnMut(&mut Jiter<'j>, Peek) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut peek = jiter.peek()?;
    loop {
        if peek == Peek::Array {
            shape.open()?;
            if let Some(first) = jiter.known_array()? {
                shape.check_not_full()?;
                peek = first;
                continue;
            }
            shape.close()?;
        } else {
            shape.element()?;
            if shape.depth() == 0 {
                return take(jiter, peek);
            }
            elements(jiter, shape, peek, &mut take)?;
            shape.close()?;
        }
        // The value that just ended was one of the list around it.
        loop {
            if shape.depth() == 0 {
                return Ok(());
            }
            shape.count(1);
            if let Some(next) = jiter.array_step()? {
                shape.check_not_full()?;
                peek = next;
                break;
            }
            shape.close()?;
        }
    }
}

/// Reads all elements of the innermost list; `peek` is the first byte of the first one. Large requests spend their time
/// here.
fn elements<'j>(
    jiter: &mut Jiter<'j>,
    shape: &mut ShapeBuilder,
    mut peek: Peek,
    take: &mut impl FnMut(&mut Jiter<'j>, Peek) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let remaining = shape.remaining();
    let mut taken = 0;
    let outcome = loop {
        if taken == remaining {
            break Ok(true);
        }
        if let Err(refused) = take(jiter, peek) {
            break Err(refused);
        }
        taken += 1;
        match jiter.array_step() {
            Ok(Some(next)) => peek = next,
            Ok(None) => break Ok(false),
            Err(error) => break Err(error.into()),
        }
    };
    shape.count(taken);
    // Reported after counting, so that the path names the position.
    if outcome? { Ok(shape.check_not_full()?) } else { Ok(()) }
}
