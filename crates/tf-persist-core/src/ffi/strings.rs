//! `TF_TString`: the string type of TensorFlow, 24 bytes that may point to the heap.

use std::ffi::c_void;
use std::slice;

use aligned_vec::{AVec, ConstAlign};
use tensorflow_sys_runtime as tf;
use tf_persist_savedmodel::tensor::{ALIGNMENT, Strings};

use super::library::symbols;
use crate::error::{Error, ModelError, Result};

/// The memory of one `TF_TString`, laid out by TensorFlow (`tensorflow/c/tf_tstring.h`): all zero is the empty string.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Slot([u64; 3]);

const _: () =
    assert!(size_of::<Slot>() == size_of::<tf::TF_TString>() && align_of::<Slot>() >= align_of::<tf::TF_TString>());

/// An array of `TF_TString`s that frees their heap memory.
pub(super) struct StringArray(AVec<Slot, ConstAlign<ALIGNMENT>>);

impl StringArray {
    pub(super) fn copy_of(strings: &Strings) -> Result<Self> {
        let mut slots = AVec::new(ALIGNMENT);
        let bytes = strings.len().saturating_mul(size_of::<Slot>());
        slots.try_reserve_exact(strings.len()).map_err(|_| Error::Model(ModelError::OutOfMemory { bytes }))?;
        slots.resize(strings.len(), Slot([0; 3]));
        let mut array = Self(slots);
        for (slot, string) in array.0.iter_mut().zip(strings.iter()) {
            // SAFETY: the slot is a valid empty string, and the bytes are readable for their length.
            unsafe { (symbols().string_copy)(std::ptr::from_mut(slot).cast(), string.as_ptr().cast(), string.len()) };
        }
        Ok(array)
    }

    pub(super) fn data(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    pub(super) fn byte_len(&self) -> usize {
        self.0.len() * size_of::<Slot>()
    }
}

impl Drop for StringArray {
    fn drop(&mut self) {
        for slot in self.0.iter_mut() {
            // SAFETY: each slot is a valid string, freed once.
            unsafe { (symbols().string_dealloc)(std::ptr::from_mut(slot).cast()) };
        }
    }
}

/// Copies the strings out of a string tensor's memory.
///
/// # Safety
/// `data` points to `count` valid `TF_TString`s.
pub(super) unsafe fn read(data: *const c_void, count: usize) -> Strings {
    let first = data.cast::<tf::TF_TString>();
    let mut strings = Strings::with_capacity(count, 0);
    for index in 0..count {
        // SAFETY: the caller promises `count` strings.
        let string = unsafe { first.add(index) };
        // SAFETY: a valid string, as the caller promises.
        let size = unsafe { (symbols().string_size)(string) };
        if size == 0 {
            strings.push(&[]);
            continue;
        }
        // SAFETY: as above.
        let data = unsafe { (symbols().string_data)(string) };
        // SAFETY: a string's bytes are readable for its size.
        strings.push(unsafe { slice::from_raw_parts(data.cast::<u8>(), size) });
    }
    strings
}
