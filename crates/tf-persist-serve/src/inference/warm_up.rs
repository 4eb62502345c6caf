//! Requests that a model brings along to be run before it answers others (`servables/tensorflow/saved_model_warmup_util.cc`).

use tf_persist_core::tensor::Strings;
use tf_persist_core::warmup::{FILE, Kind, MAX_RECORDS, Record, Records};
use tf_persist_core::{Code, ModelError};
use tokio::runtime::{Builder, Runtime};

use super::{Task, signature_for_predict};
use crate::api::Protocol;
use crate::batching::{InferenceRequest, run_inline};
use crate::models::Servable;
use crate::status::Status;

/// Runs the requests, each so many times. Gives how many there were.
///
/// # Errors
/// If the file cannot be read, has more than [`MAX_RECORDS`] of them, or one of them cannot be run or fails: a version that cannot
/// answer those is not served.
pub fn warm_up(servable: &Servable, iterations: u32) -> Result<usize, Status> {
    let model = servable.model();
    let path = model.saved_model().path().join(FILE);
    let Some(mut records) = Records::of(model.saved_model())? else { return Ok(0) };
    let own = || Builder::new_current_thread().enable_time().build();
    let runtime = own().map_err(|error| Status::new(Code::ResourceExhausted, format!("cannot warm up: {error}")))?;
    let mut count = 0;
    while let Some(record) = records.next() {
        let record = record.map_err(|error| match error {
            ModelError::Unsupported { .. } if count == MAX_RECORDS => Status::invalid_argument(format!(
                "Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {}",
                path.display()
            )),
            ModelError::Damaged { .. } if records.are_whole() => {
                Status::invalid_argument(format!("Failed to parse warmup record: {error}"))
            }
            ModelError::Damaged { .. } => Status::new(
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
            run_inline(|| ask(servable, &record, &runtime)).map_err(|status| {
                status.within(format_args!("warm-up record {} of `{}`: ", record.number, path.display()))
            })?;
        }
        count += 1;
    }
    Ok(count)
}

/// Asks one of them, in the way of a user's request, whose run is then known to take so long.
fn ask(servable: &Servable, record: &Record, runtime: &Runtime) -> Result<(), Status> {
    let name = record.signature();
    let examples = || -> Result<Strings, Status> {
        let tensor = record.inputs().next().map(|(_, tensor)| tensor.strings().cloned());
        Ok(tensor.transpose()?.unwrap_or_default())
    };
    match record.kind() {
        Kind::Predict => {
            let served = signature_for_predict(servable, name, Protocol::Grpc)?;
            let inputs = record.inputs().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
            let call = InferenceRequest { inputs, outputs: record.output_filter().to_vec(), deadline: None };
            runtime.block_on(super::predict(served, call)).map(drop)
        }
        Kind::Classify => runtime.block_on(super::classify(servable, name, examples()?, None)).map(drop),
        Kind::Regress => runtime.block_on(super::regress(servable, name, examples()?, None)).map(drop),
        Kind::MultiInference => {
            let task = |(model, signature, method): (&str, &str, &str)| Task {
                model: model.to_owned(),
                signature: signature.to_owned(),
                method: method.to_owned(),
            };
            let tasks: Vec<Task> = record.tasks().map(task).collect();
            runtime.block_on(super::multi_inference(servable, &tasks, examples()?, None)).map(drop)
        }
        // Those that are not run were refused; one that is none is passed over, as there.
        _ => Ok(()),
    }
}
