//! Interop tests against Python TensorFlow, over the models of `models/` and, where `TF_PERSIST_CORPUS` names it, a
//! corpus of real models of TensorFlow 1.0 to 2.21.
//!
//! A test starts Python only once, because importing TensorFlow takes seconds.

mod bit_equality;
mod born;
#[path = "../../crates/tf-persist-core/examples/born_in_rust.rs"]
#[allow(dead_code, reason = "an example also has a main function")]
mod born_in_rust;
mod checkpoint;
mod compare;
mod diff;
mod export_options;
mod keras;
mod memory;
mod negative;
mod op_libraries;
mod optimize;
mod pack;
mod python;
mod recorded;
mod restore;
mod rewrites;
mod round_trip;
mod scan;
mod state;
mod tensorflow_rust;
mod threads;
mod train;
mod warmup;
