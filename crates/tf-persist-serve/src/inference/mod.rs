//! Inference, independent of the protocol: predict, classify, regress, multi-inference, metadata, and warm-up. The
//! checks have TensorFlow Serving's order and words.

mod classify;
mod examples;
mod logged;
mod metadata;
mod multi_inference;
mod predict;
mod regress;
mod signature;
mod warm_up;

pub(crate) use crate::api::{Class, Outcome, Task};
pub(crate) use classify::classify;
pub(crate) use examples::with_context;
pub(crate) use metadata::signature_defs;
pub(crate) use multi_inference::multi_inference;
pub(crate) use predict::predict;
pub(crate) use predict::{check_count, check_names, input_default, parsing_error, run, run_checked};
pub(crate) use regress::regress;
pub(crate) use signature::check_predict_method;
pub(crate) use signature::{effective_name, signature_for_predict};
pub use warm_up::warm_up;
