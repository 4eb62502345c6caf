//! `TF_Tensor`: TensorFlow adopts our memory, and we view its memory.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use tensorflow_sys_runtime as tf;
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::{Buffer, ForeignMemory, byte_len};
use tf_persist_savedmodel::tensor::Tensor;

use super::library::symbols;
use super::strings::{self, StringArray};
use crate::error::{Error, ModelError, Result, TensorError};

/// A live `TF_Tensor`.
pub(super) struct TfTensor(NonNull<tf::TF_Tensor>);

// SAFETY: a TF_Tensor is a reference-counted buffer with a shape. This type only reads it, and TensorFlow counts
// atomically.
unsafe impl Send for TfTensor {}
// SAFETY: as above; reading from several threads is fine.
unsafe impl Sync for TfTensor {}

impl TfTensor {
    /// Passes a tensor to TensorFlow. Numbers are not copied: their memory stays alive until TensorFlow releases it.
    /// Strings are copied.
    ///
    /// TensorFlow never writes to adopted memory: `TF_NewTensor` marks it as not owned, so no op takes it over for its
    /// output.
    pub(super) fn adopt(tensor: &Tensor) -> Result<Self> {
        match tensor.buffer() {
            Some(buffer) => {
                let bytes = buffer.bytes();
                let (data, len) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
                Self::new(tensor, data, len, release::<Buffer>, Box::into_raw(Box::new(buffer.clone())).cast())
            }
            None => {
                let mut array = Box::new(StringArray::copy_of(tensor.strings()?)?);
                let (data, len) = (array.data(), array.byte_len());
                Self::new(tensor, data, len, release::<StringArray>, Box::into_raw(array).cast())
            }
        }
    }

    fn new(
        tensor: &Tensor,
        data: *mut c_void,
        len: usize,
        deallocator: super::library::Deallocator,
        owner: *mut c_void,
    ) -> Result<Self> {
        let dims: Vec<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
        // SAFETY: `data` is readable for `len` bytes until `deallocator` is called with `owner`, which happens exactly
        // once, failure included. Rank and element count are within TensorFlow's limits: `Tensor` cannot be made
        // otherwise.
        let raw = unsafe {
            let dtype = tensor.dtype().number();
            (symbols().new_tensor)(dtype, dims.as_ptr(), dims.len() as c_int, data, len, deallocator, owner)
        };
        let refused = || {
            Error::Model(ModelError::Tensor(TensorError::InvalidTensor {
                reason: format!("TensorFlow refused {tensor:?}"),
            }))
        };
        NonNull::new(raw).map(Self).ok_or_else(refused)
    }

    /// Takes over a tensor that a C call returned.
    ///
    /// # Safety
    /// `raw` is a live tensor that nobody else frees.
    pub(super) unsafe fn from_raw(raw: NonNull<tf::TF_Tensor>) -> Self {
        Self(raw)
    }

    pub(super) fn raw(&self) -> *mut tf::TF_Tensor {
        self.0.as_ptr()
    }

    /// Converts to a `Tensor`. Numbers are copied only if `copy` is set; strings always are.
    ///
    /// `copy` is required if the memory may be that of a reference variable of TensorFlow 1, which ops write in place.
    pub(super) fn into_tensor(self, copy: bool) -> Result<Tensor> {
        let raw = self.raw();
        // SAFETY: the tensor is live.
        let rank = unsafe { (symbols().tensor_rank)(raw) };
        // SAFETY: the tensor is live, and the index is below the rank.
        let dim = |index| unsafe { (symbols().tensor_dim)(raw, index) };
        let shape: Vec<usize> = (0..rank).map(|index| dim(index) as usize).collect();
        // SAFETY: the tensor is live.
        let dtype = DType::from_number(unsafe { (symbols().tensor_type)(raw) });
        if dtype == DType::String {
            let count = tf_persist_savedmodel::element_count(&shape)?;
            // SAFETY: the tensor is live.
            let data = unsafe { (symbols().tensor_data)(raw) };
            // SAFETY: a string tensor has one TF_TString for each element.
            let strings = unsafe { strings::read(data, count) };
            return Ok(Tensor::from_string_array(&shape, strings)?);
        }
        let expected = byte_len(dtype, &shape)?;
        if self.bytes().len() != expected {
            let reason = format!("TensorFlow gave {} bytes for {dtype} {shape:?}", self.bytes().len());
            return Err(Error::Model(ModelError::Tensor(TensorError::InvalidTensor { reason })));
        }
        if copy {
            return Ok(Tensor::from_bytes(dtype, &shape, self.bytes())?);
        }
        Ok(Tensor::from_foreign(dtype, shape, Arc::new(self)))
    }
}

impl ForeignMemory for TfTensor {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the tensor is live.
        let len = unsafe { (symbols().tensor_bytes)(self.raw()) };
        if len == 0 {
            return &[];
        }
        // SAFETY: the tensor is live.
        let data = unsafe { (symbols().tensor_data)(self.raw()) };
        // SAFETY: the data are readable for their size as long as the tensor lives, and are not written to while it
        // does: an output's buffer is shared by then, so no op takes it over, and resource variables are copied before
        // they are written to. Reference variables are not, which is why `into_tensor` copies where a graph has any.
        unsafe { slice::from_raw_parts(data.cast::<u8>(), len) }
    }
}

impl Drop for TfTensor {
    fn drop(&mut self) {
        // SAFETY: live, and deleted once.
        unsafe { (symbols().delete_tensor)(self.raw()) }
    }
}

/// The deallocator of adopted memory: drops the `Box` that kept it alive. TensorFlow calls it from any of its threads.
unsafe extern "C" fn release<T: Send>(_data: *mut c_void, _len: usize, owner: *mut c_void) {
    // SAFETY: `owner` came from `Box::into_raw` of a `Box<T>`, and TensorFlow calls this once.
    drop(unsafe { Box::from_raw(owner.cast::<T>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots hold raw pointers as integers, so the compiler cannot check this itself.
    #[test]
    fn adopted_memory_may_be_freed_from_any_thread() {
        fn may_cross_threads<T: Send>() {}
        may_cross_threads::<Buffer>();
        may_cross_threads::<StringArray>();
    }
}
