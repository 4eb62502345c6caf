//! Watches what a served TensorFlow model is asked and answers: drift of inputs and outputs against a reference,
//! quality from labels that arrive late, latency and errors.
//!
//! The source is the request log of `tf-persist serve-local`: TFRecord files of TensorFlow Serving's `PredictionLog`,
//! or lines of JSON. Requests are counted and not kept, so memory does not grow with the log, and what was counted on
//! several servers adds up.
//!
//! ```no_run
//! use tf_persist_monitor::{Reference, Report, Settings, Thresholds, reference_of_logs, watch};
//!
//! # fn main() -> tf_persist_monitor::Result<()> {
//! let (reference, _) = reference_of_logs(&["logs/may".into()], &Settings::default())?;
//! let state = watch(&["logs/june".into()], Some(&reference), None, &Settings::default())?;
//! let report = Report::new(&state, Some(&reference), Thresholds::default())?;
//! if report.has_alarm() {
//!     print!("{}", report.to_text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is wrong in a log, such as records that are cut off or requests to another model, is counted in the report;
//! only what prevents a report is an error. References, states, labels and logs may come from strangers: their sizes
//! and numbers are checked.

mod as_text;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod plan;
mod quality;
mod reference;
mod report;
mod sketch;
mod state;
mod statistics;
mod tally;
mod watch;

pub use error::{MonitorError, Result};
pub use plan::Side;
pub use quality::{Calibrated, Evaluation, Figures, Labels, Task};
pub use reference::{REFERENCE_FILE, Reference};
pub use report::{
    DriftReport, FeatureReport, GroupReport, GroupShare, LatencyReport, Report, Thresholds, TrafficReport,
};
pub use state::State;
pub use watch::{Arrays, Settings, count_requests, reference_of_arrays, reference_of_logs, watch};
