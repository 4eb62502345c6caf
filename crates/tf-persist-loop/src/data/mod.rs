//! The rows that a model is trained on, and those that it is measured on.

mod command;
mod read;
mod split;

pub(crate) use command::run;
pub(crate) use read::all_of;
pub(crate) use split::split;

use tf_persist_core::Tensor;

/// Arrays by name, with rows in their first dimension.
pub(crate) type Arrays = Vec<(String, Tensor)>;

#[cfg(test)]
mod tests;
