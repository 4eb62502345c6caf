//! Requests that a model brings along to be run before it answers others (`servables/tensorflow/saved_model_warmup_util.cc`).

use tf_persist_core::golden::{FILE, Kind, MAX_RECORDS, Records};
use tf_persist_core::{Code, Error};

use super::Servable;
use crate::status::Status;

/// Runs the requests, each so many times. Gives how many there were.
///
/// # Errors
/// If the file cannot be read, has more than [`MAX_RECORDS`] of them, or one of them cannot be run or fails: a version that cannot
/// answer those is not served.
pub(super) fn run(servable: &Servable, iterations: u32) -> Result<usize, Status> {
    let model = servable.model();
    let path = model.artefact().path().join(FILE);
    let Some(records) = Records::of(model.artefact())? else { return Ok(0) };
    let mut count = 0;
    for record in records {
        let record = record.map_err(|error| match error {
            Error::Unsupported { .. } if count == MAX_RECORDS => Status::invalid_argument(format!(
                "Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {}",
                path.display()
            )),
            Error::Damaged { .. } => Status::new(
                Code::DataLoss,
                format!(
                    "Failed to parse warmup record: {error}. Please verify your warmup data is in TFRecord format."
                ),
            ),
            error => error.into(),
        })?;
        // The numbers are those of the fields of `PredictionLog`.
        let unsupported = |field: u32| {
            let message = format!(
                "Unsupported log_type for warmup: {field} (`{}`, record {} of `{}`)",
                record.kind(),
                record.number,
                path.display()
            );
            Err(Status::new(Code::Unimplemented, message))
        };
        match record.kind() {
            Kind::SessionRun => return unsupported(5),
            Kind::PredictStreamed => return unsupported(7),
            _ => {}
        }
        for _ in 0..iterations {
            model.ask_again(&record).map_err(|error| {
                Status::from(error).within(format_args!("warm-up record {} of `{}`: ", record.number, path.display()))
            })?;
        }
        count += 1;
    }
    Ok(count)
}
