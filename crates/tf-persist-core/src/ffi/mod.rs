//! Safe types over TensorFlow's C API, with the only `unsafe` code of the library.
//!
//! Every status becomes a `Result`. Every pointer is freed by the type that holds it. Memory that TensorFlow adopts
//! lives until TensorFlow releases it. Dtype numbers are plain integers: the C enum of tensorflow-sys ends at 23, and a
//! Rust enum with another number is undefined behaviour.
//!
//! Functions without a [`Library`] argument need an open one as well: their types can only be created after it is open.

#![allow(unsafe_code)]

mod float_mode;
mod graph;
mod library;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod library_pages;
mod memory;
mod memory_folder;
mod op_library;
mod session;
mod status;
mod strings;
mod tensor;

pub(crate) use graph::{ImportedGraph, TensorType};
pub(crate) use library::{Library, OpenError};
pub use memory::{release_free_memory, release_library_pages};
pub(crate) use memory_folder::MemoryFolder;
pub(crate) use op_library::{all_ops, has_doubled_kernels, has_function, load_op_library};
pub(crate) use session::{Port, Session, Setup, Target};
