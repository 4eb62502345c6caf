//! The memory of numeric tensors: aligned memory of this library, or foreign memory that is kept alive.

use std::fmt;
use std::sync::Arc;

use aligned_vec::{AVec, ConstAlign};

use super::ALIGNMENT;
use crate::error::{Error, Result};

/// Memory that was not allocated here, such as an output that stays in TensorFlow's memory.
pub trait ForeignMemory: Send + Sync {
    /// The bytes; the same ones on every call, and never written to while `self` lives.
    fn bytes(&self) -> &[u8];
}

pub(super) type Aligned = AVec<u8, ConstAlign<ALIGNMENT>>;

/// Shared, read-only bytes. A writer that is not the only owner gets a copy.
#[derive(Clone)]
pub enum Buffer {
    /// Memory of this library.
    Owned(Arc<Aligned>),
    /// Foreign memory.
    Foreign(Arc<dyn ForeignMemory>),
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Owned(_)) { "Owned" } else { "Foreign" };
        write!(f, "Buffer::{kind}({} bytes)", self.bytes().len())
    }
}

impl Buffer {
    pub(crate) fn zeros(len: usize) -> Result<Self> {
        let mut memory = reserve(len)?;
        memory.resize(len, 0);
        Ok(Self::Owned(Arc::new(memory)))
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut memory = reserve(bytes.len())?;
        memory.extend_from_slice(bytes);
        Ok(Self::Owned(Arc::new(memory)))
    }

    #[doc(hidden)]
    pub fn foreign(memory: Arc<dyn ForeignMemory>) -> Self {
        Self::Foreign(memory)
    }

    #[doc(hidden)]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(memory) => memory,
            Self::Foreign(memory) => memory.bytes(),
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        let sole = match self {
            Self::Owned(memory) => Arc::get_mut(memory).is_some(),
            Self::Foreign(_) => false,
        };
        if !sole {
            *self = Self::copy_of(self.bytes())?;
        }
        match self {
            Self::Owned(memory) => Ok(Arc::get_mut(memory).map_or(&mut [], |memory| memory.as_mut_slice())),
            Self::Foreign(_) => Ok(&mut []),
        }
    }
}

/// Aligned memory of this capacity, or an error where the allocator would abort.
fn reserve(len: usize) -> Result<Aligned> {
    let mut memory = Aligned::new(ALIGNMENT);
    memory.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes: len })?;
    Ok(memory)
}
