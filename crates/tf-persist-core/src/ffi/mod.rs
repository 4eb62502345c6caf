//! The only `unsafe` of the library: TensorFlow's C API as types that cannot be misused.
//!
//! Rules kept here, so that nobody outside has to know them: every status becomes a `Result`; every pointer is freed by the
//! type that holds it; memory that TensorFlow adopts lives until TensorFlow lets it go; and a dtype number leaves as a plain
//! integer, because the C enum of tensorflow-sys stops at 23 and a Rust enum that holds another number is undefined behaviour.
//!
//! Functions on types that take no [`Library`] still need one: these types can only be made after it is open.

#![allow(unsafe_code)]

mod float_mode;
mod graph;
mod library;
mod memory;
mod memory_folder;
mod op_library;
mod session;
mod status;
mod strings;
mod tensor;

pub(crate) use graph::{ImportedGraph, TensorType};
pub(crate) use library::{Library, OpenError};
pub use memory::release_free_memory;
pub(crate) use memory_folder::MemoryFolder;
pub(crate) use op_library::{all_ops, has_doubled_kernels, has_function, load_op_library};
pub(crate) use session::{Port, Session, Setup, Target};
