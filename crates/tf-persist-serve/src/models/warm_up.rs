//! Requests that a model brings along to be run before it answers others (`servables/tensorflow/saved_model_warmup_util.cc`).

use tf_persist_core::golden::{FILE, Kind, MAX_RECORDS, Record, Records};
use tf_persist_core::{Code, Error};
use tokio::runtime::{Builder, Runtime};

use super::Servable;
use crate::inference;
use crate::metrics::Protocol;
use crate::run::Call;
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
    let own = || Builder::new_current_thread().enable_time().build();
    let runtime = own().map_err(|error| Status::new(Code::ResourceExhausted, format!("cannot warm up: {error}")))?;
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
            ask(servable, &record, &runtime).map_err(|status| {
                status.within(format_args!("warm-up record {} of `{}`: ", record.number, path.display()))
            })?;
        }
        count += 1;
    }
    Ok(count)
}

/// Asks one of them. Tensors go the way of a user's, whose run is then known to take so long.
fn ask(servable: &Servable, record: &Record, runtime: &Runtime) -> Result<(), Status> {
    if record.kind() != Kind::Predict {
        return Ok(servable.model().ask_again(record)?);
    }
    let served = inference::signature_for_predict(servable, record.signature(), Protocol::Grpc)?;
    let inputs = record.inputs().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let call = Call { inputs, outputs: record.output_filter().to_vec(), deadline: None };
    runtime.block_on(inference::predict(served, call)).map(drop)
}
