//! Runs one request, or several together, in TensorFlow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tf_persist_core::{Code, RunOptions, Signature, Tensor};

use super::concat::{concat, split};
use super::signature_state::SignatureState;
use super::task::BatchTask;
use super::{InferenceRequest, InferenceResponse};
use crate::metrics::Phase;
use crate::status::Status;

/// The error of a request whose run panicked.
pub(super) fn run_panicked() -> Status {
    Status::new(Code::Internal, "the run of the request panicked; the server's log says where")
}

/// Runs requests that fit each other, and sends their responses.
pub(super) fn execute(tasks: Vec<BatchTask>) {
    let mut tasks: Vec<BatchTask> = tasks.into_iter().filter_map(BatchTask::if_wanted).collect();
    for task in &tasks {
        let (state, waited) = (&task.state, task.since.elapsed());
        state.model_metrics.record_phase_of(task.scope.iter(), Phase::Queue, waited);
        if state.policy.explicit && task.rows.is_some() {
            state.metrics.record_batch_queue(waited);
        }
    }
    if tasks.len() > 1 {
        tasks = match run_batch(&tasks) {
            Some(responses) => {
                return tasks.into_iter().zip(responses).for_each(|(task, response)| task.finish(Ok(response)));
            }
            None => tasks,
        };
    }
    tasks.into_iter().for_each(execute_one);
}

fn execute_one(task: BatchTask) {
    if let Some(task) = task.if_wanted() {
        let run = || run_single(&task.state, &task.signature, &task.request, task.rows);
        let response = match task.scope.clone() {
            None => run(),
            Some(scope) => scope.enter(run),
        };
        task.finish(response);
    }
}

/// Runs a request by itself, padded or split where the policy requires it.
pub(super) fn run_single(
    state: &SignatureState,
    signature: &Signature,
    request: &InferenceRequest,
    rows: Option<usize>,
) -> Result<InferenceResponse, Status> {
    let policy = &state.policy;
    let Some(rows) = rows.filter(|_| policy.explicit) else {
        return run(state, signature, &request.inputs, &request.outputs, request.bytes());
    };
    if policy.split && rows > policy.max_run_rows {
        return run_split(state, signature, request, rows);
    }
    let padding = policy.padded(rows) - rows;
    state.metrics.record_batch(rows, padding);
    if padding == 0 {
        let response = run(state, signature, &request.inputs, &request.outputs, request.bytes())?;
        return check_rows(&response, rows).map(|()| response);
    }
    let (inputs, _) = concat(&[request], rows, policy)?;
    let response = run(state, signature, &inputs, &request.outputs, request.bytes())?;
    check_rows(&response, rows + padding)?;
    split(&response, 0..rows, rows + padding).ok_or_else(run_panicked)
}

/// Checks that outputs have as many rows as the inputs. TensorFlow Serving's batching requires that also of a request
/// that runs alone.
fn check_rows(response: &InferenceResponse, rows: usize) -> Result<(), Status> {
    for (_, tensor) in response {
        match tensor.row_count() {
            None => return Err(Status::failed_precondition("Batched output tensor has 0 dimensions")),
            Some(found) if found != rows => {
                return Err(Status::failed_precondition(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Runs a request with more rows than a run may have in several runs.
fn run_split(
    state: &SignatureState,
    signature: &Signature,
    request: &InferenceRequest,
    rows: usize,
) -> Result<InferenceResponse, Status> {
    let mut responses: Vec<InferenceResponse> = Vec::new();
    let mut start = 0;
    while start < rows {
        let end = (start + state.policy.max_run_rows).min(rows);
        let inputs = split(&request.inputs, start..end, rows).ok_or_else(run_panicked)?;
        let piece = InferenceRequest { inputs, outputs: request.outputs.clone(), deadline: request.deadline };
        if piece.is_past_deadline() {
            return Err(super::task::deadline_exceeded());
        }
        responses.push(run_single(state, signature, &piece, Some(end - start))?);
        start = end;
    }
    let Some(first) = responses.first() else { return Ok(Vec::new()) };
    let all = first.iter().enumerate().map(|(index, (name, _))| {
        let parts: Vec<&Tensor> = responses.iter().map(|response| &response[index].1).collect();
        Ok((name.clone(), Tensor::concatenate(&parts)?))
    });
    all.collect()
}

/// Runs requests together and returns the response of each. `None` if they must run one by one: a bad request must not
/// fail the others.
fn run_batch(tasks: &[BatchTask]) -> Option<Vec<InferenceResponse>> {
    let first = tasks.first()?;
    let state = &first.state;
    let sizes: Vec<usize> = tasks.iter().map(|task| task.rows.unwrap_or(0)).collect();
    let rows = sizes.iter().sum();
    let requests: Vec<&InferenceRequest> = tasks.iter().map(|task| &task.request).collect();
    let (inputs, padding) = concat(&requests, rows, &state.policy).ok()?;
    let begin = Instant::now();
    let response = run_untimed(&first.signature, &inputs, &first.request.outputs);
    let took = begin.elapsed();
    state.latency.observe(took);
    let response = response.ok()?;
    state.benefit.record(took, tasks.len());
    state.model_metrics.record_phase_of(tasks.iter().filter_map(|task| task.scope.as_ref()), Phase::Run, took);
    if !state.policy.explicit {
        sizes.iter().for_each(|size| state.metrics.record_batch_input(*size));
    }
    let mut start = 0;
    let parts = sizes.iter().map(|size| {
        start += size;
        split(&response, start - size..start, rows + padding)
    });
    let parts: Option<Vec<InferenceResponse>> = parts.collect();
    match &parts {
        Some(_) => state.metrics.record_batch(rows, padding),
        // Explicit batching is not switched off: each request runs alone and receives its own error.
        None if state.policy.explicit => {}
        None => state.reject("an output does not have as many rows as the inputs"),
    }
    parts.filter(|parts| !state.batchable.should_recheck() || matches_single_run(tasks, parts))
}

/// Whether the last request of a batch has the same response as alone. If not, requests of the signature never share a
/// run again.
fn matches_single_run(tasks: &[BatchTask], parts: &[InferenceResponse]) -> bool {
    let (Some(task), Some(part)) = (tasks.last(), parts.last()) else { return true };
    let is_equal =
        run_untimed(&task.signature, &task.request.inputs, &task.request.outputs).is_ok_and(|alone| alone == *part);
    if !is_equal {
        task.state.reject("a request got other bits in a batch than alone");
    }
    is_equal
}

/// Runs one request and records its time.
fn run(
    state: &SignatureState,
    signature: &Signature,
    inputs: &[(String, Tensor)],
    outputs: &[String],
    bytes: usize,
) -> Result<InferenceResponse, Status> {
    let begin = Instant::now();
    let response = run_untimed(signature, inputs, outputs);
    let took = begin.elapsed();
    state.latency.observe(took);
    // A failed run is shorter than a successful one.
    if response.is_ok() {
        state.latency.record(took, bytes);
    }
    state.model_metrics.record_phase(Phase::Run, took);
    response
}

/// Runs TensorFlow in this thread, without recording the time.
///
/// # Errors
/// TensorFlow's own; `INTERNAL` if the run panics.
pub(crate) fn run_untimed(
    signature: &Signature,
    inputs: &[(String, Tensor)],
    outputs: &[String],
) -> Result<InferenceResponse, Status> {
    let options = RunOptions::default().skip_shape_check(true);
    let options = if outputs.is_empty() { options } else { options.outputs(outputs) };
    let inputs = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let run = catch_unwind(AssertUnwindSafe(|| signature.run_with(inputs, &options)));
    Ok(run.map_err(|_| run_panicked())??.into_vec())
}
