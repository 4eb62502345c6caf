//! Every way out of a model.

mod copy;
mod declared;
mod fingerprint;
mod options;
mod packed;
mod requests;
mod save;
mod smallest;
mod staging;
mod values;

pub(crate) use declared::{Declared, TableTensors};
pub use options::SaveOptions;
pub use save::Saved;
pub(crate) use staging::{Staging, check as check_target};
pub use values::VariableSource;
pub(crate) use values::{object_graph as tracked_objects, value_of};

#[cfg(test)]
mod tests;
