//! What can be asked of a model, whichever protocol asks: predict, classify, regress, several at once, and what it is.

mod classify;
mod examples;
mod metadata;
mod multi_inference;
mod predict;
mod regress;
mod signature;
mod warm_up;

pub use classify::{Class, classify};
pub use examples::with_context;
pub use metadata::signature_defs;
pub use multi_inference::{CLASSIFY, Outcome, REGRESS, Task, multi_inference};
pub use predict::predict;
pub(crate) use predict::{check_count, check_names, input_default, parsing_error, run};
pub use regress::regress;
pub(crate) use signature::check_predict_method;
pub use signature::{DEFAULT_SIGNATURE, effective_name, signature_for_predict};
pub use warm_up::warm_up;
