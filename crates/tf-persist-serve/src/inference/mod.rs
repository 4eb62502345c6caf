//! What can be asked of a model, whichever protocol asks: predict, classify, regress, several at once, and what it is.

mod examples;
mod metadata;
mod predict;

pub use examples::{Class, classify, regress};
pub use metadata::signature_defs;
pub use predict::{DEFAULT_SIGNATURE, predict};
