//! Warm-up: runs the requests that a model contains before it is available
//! (`servables/tensorflow/saved_model_warmup_util.cc`).

use tf_persist_core::tensor::Strings;
use tf_persist_core::warmup::{FILE, Kind, MAX_RECORDS, Record, Records};
use tf_persist_core::{Code, ModelError};
use tokio::runtime::{Builder, Runtime};

use super::{Task, signature_for_predict};
use crate::api::Protocol;
use crate::batching::{InferenceRequest, run_inline};
use crate::models::Servable;
use crate::status::Status;

/// Runs the warm-up requests of a version, each `iterations` times. Returns how many there are.
///
/// # Errors
/// If the file cannot be read or has more than [`MAX_RECORDS`] requests, or a request fails. Such a version is not
/// served.
pub fn warm_up(servable: &Servable, iterations: u32) -> Result<usize, Status> {
    let model = servable.model();
    let path = model.saved_model().path().join(FILE);
    let Some(mut records) = Records::open(model.saved_model())? else { return Ok(0) };
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
        // The numbers are field numbers of `PredictionLog`.
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

/// Runs one request in the way of a client's request, so that the latency of the run becomes known.
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
        // Unsupported kinds were refused before; an empty record is skipped, as in TensorFlow Serving.
        _ => Ok(()),
    }
}
