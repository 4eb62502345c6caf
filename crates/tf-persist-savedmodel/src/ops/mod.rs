//! The catalogue of TensorFlow's ops: every fact about an op that the library relies on is here, once.
//!
//! | fact | file |
//! |---|---|
//! | TensorFlow 2.21 has the op, with these attributes and outputs | `known.rs`, `ops_2_21.txt`, `op_outputs_2_21.txt`, `op_output_names_2_21.txt` |
//! | it holds a variable, as a handle or as a reference | `variables.rs` |
//! | it writes state that outlives a run | `state.rs` |
//! | it calls functions, with these arguments | `calls.rs` |
//! | it reads or writes files, opens sockets, runs Python | `effects.rs` |
//! | it checks the shapes of its inputs itself | `shapes.rs` |
//! | it works elementwise | `elementwise.rs` |
//! | which package provides it, if TensorFlow does not | `packages.rs` |
//!
//! Rules that are code rather than facts stay with their users, such as `independence/rules/` and `rewrite/`. The tests
//! compare the catalogue with TensorFlow's own registry (`op_facts_2_21.txt`).

mod calls;
pub(crate) mod effects;
pub(crate) mod elementwise;
mod known;
mod packages;
mod shapes;
mod state;
mod variables;

pub(crate) use calls::{CallOp, call_op};
#[doc(hidden)]
pub use effects::runs_python;
#[cfg(test)]
pub(crate) use known::names;
#[doc(hidden)]
pub use known::output_names;
pub use known::{OPS_VERSION, is_known_op};
pub(crate) use known::{is_known_attribute, is_stateful, outputs};
pub use packages::{OpPackage, last_tensorflow_with_kernel, usual_package};
pub(crate) use shapes::{checks_shapes, checks_sizes};
pub(crate) use state::{State, state_written};
#[doc(hidden)]
pub use variables::HandleKind;
#[doc(hidden)]
pub use variables::gives_reference;
#[doc(hidden)]
pub use variables::variable_kind;
