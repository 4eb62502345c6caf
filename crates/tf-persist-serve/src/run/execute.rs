//! Runs of TensorFlow's: of one request, or of several together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tf_persist_core::{Code, RunOptions, Signature, Tensor};

use super::join::{join, part};
use super::task::{Facts, Task};
use super::{Answer, Call};
use crate::metrics::Phase;
use crate::status::Status;

/// What a request gets whose run panicked.
pub(super) fn panicked() -> Status {
    Status::new(Code::Internal, "the run of the request panicked; the server's log says where")
}

/// Runs requests that fit each other, and answers them.
pub(super) fn execute(tasks: Vec<Task>) {
    let mut tasks: Vec<Task> = tasks.into_iter().filter_map(Task::if_wanted).collect();
    for task in &tasks {
        let (facts, waited) = (&task.facts, task.since.elapsed());
        facts.of_model.phase(Phase::Queue, waited);
        if facts.rules.asked && task.rows.is_some() {
            facts.metrics.batch_queue(waited);
        }
    }
    if tasks.len() > 1 {
        tasks = match run_together(&tasks) {
            Some(answers) => {
                return tasks.into_iter().zip(answers).for_each(|(task, answer)| task.finish(Ok(answer)));
            }
            None => tasks,
        };
    }
    tasks.into_iter().for_each(execute_one);
}

fn execute_one(task: Task) {
    if let Some(task) = task.if_wanted() {
        let answer = run_alone(&task.facts, &task.signature, &task.call, task.rows);
        task.finish(answer);
    }
}

/// Runs a request by itself: filled up, and in parts, where the rules say so.
pub(super) fn run_alone(
    facts: &Facts,
    signature: &Signature,
    call: &Call,
    rows: Option<usize>,
) -> Result<Answer, Status> {
    let rules = &facts.rules;
    let Some(rows) = rows.filter(|_| rules.asked) else {
        return run(facts, signature, &call.inputs, &call.outputs, call.bytes());
    };
    if rules.split && rows > rules.run_rows {
        return run_split(facts, signature, call, rows);
    }
    let padding = rules.padded(rows) - rows;
    facts.metrics.batch(rows, padding);
    if padding == 0 {
        let answer = run(facts, signature, &call.inputs, &call.outputs, call.bytes())?;
        return check_rows(&answer, rows).map(|()| answer);
    }
    let (inputs, _) = join(&[call], rows, rules)?;
    let answer = run(facts, signature, &inputs, &call.outputs, call.bytes())?;
    check_rows(&answer, rows + padding)?;
    part(&answer, 0..rows, rows + padding).ok_or_else(panicked)
}

/// Whether outputs have as many rows as went in, which TensorFlow Serving's batching demands of them also where a request is run by
/// itself.
fn check_rows(answer: &Answer, rows: usize) -> Result<(), Status> {
    for (_, tensor) in answer {
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

/// Runs a request of more rows than a run may have in parts.
fn run_split(facts: &Facts, signature: &Signature, call: &Call, rows: usize) -> Result<Answer, Status> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut start = 0;
    while start < rows {
        let end = (start + facts.rules.run_rows).min(rows);
        let inputs = part(&call.inputs, start..end, rows).ok_or_else(panicked)?;
        let piece = Call { inputs, outputs: call.outputs.clone(), deadline: call.deadline };
        if piece.is_late() {
            return Err(super::task::late());
        }
        answers.push(run_alone(facts, signature, &piece, Some(end - start))?);
        start = end;
    }
    let Some(first) = answers.first() else { return Ok(Vec::new()) };
    let all = first.iter().enumerate().map(|(place, (name, _))| {
        let parts: Vec<&Tensor> = answers.iter().map(|answer| &answer[place].1).collect();
        Ok((name.clone(), Tensor::concatenate(&parts)?))
    });
    all.collect()
}

/// Runs requests together: the answer of each. `None` if they have to be run one by one: a bad one among them must not take the
/// others with it.
fn run_together(tasks: &[Task]) -> Option<Vec<Answer>> {
    let first = tasks.first()?;
    let facts = &first.facts;
    let sizes: Vec<usize> = tasks.iter().map(|task| task.rows.unwrap_or(0)).collect();
    let rows = sizes.iter().sum();
    let calls: Vec<&Call> = tasks.iter().map(|task| &task.call).collect();
    let (inputs, padding) = join(&calls, rows, &facts.rules).ok()?;
    let begin = Instant::now();
    let answer = run_unnoted(&first.signature, &inputs, &first.call.outputs);
    let took = begin.elapsed();
    facts.recent.took(took);
    let answer = answer.ok()?;
    facts.gain.note(took, tasks.len());
    facts.of_model.phase(Phase::Run, took);
    if !facts.rules.asked {
        sizes.iter().for_each(|size| facts.metrics.batch_input(*size));
    }
    let mut start = 0;
    let parts = sizes.iter().map(|size| {
        start += size;
        part(&answer, start - size..start, rows + padding)
    });
    let parts: Option<Vec<Answer>> = parts.collect();
    match &parts {
        Some(_) => facts.metrics.batch(rows, padding),
        // If they are to be run together all the same, each is told why it cannot be.
        None if facts.rules.asked => {}
        None => facts.reject("an output has not as many rows as its inputs"),
    }
    parts.filter(|parts| !facts.batchable.is_to_be_checked() || is_as_alone(tasks, parts))
}

/// Whether one request of a batch got the answer that it gets alone. If not, requests run alone from now on.
fn is_as_alone(tasks: &[Task], parts: &[Answer]) -> bool {
    let (Some(task), Some(part)) = (tasks.last(), parts.last()) else { return true };
    let is_equal =
        run_unnoted(&task.signature, &task.call.inputs, &task.call.outputs).is_ok_and(|alone| alone == *part);
    if !is_equal {
        task.facts.reject("a request got other bits in a batch than alone");
    }
    is_equal
}

/// A run of one request, which is remembered.
fn run(
    facts: &Facts,
    signature: &Signature,
    inputs: &[(String, Tensor)],
    outputs: &[String],
    bytes: usize,
) -> Result<Answer, Status> {
    let begin = Instant::now();
    let answer = run_unnoted(signature, inputs, outputs);
    let took = begin.elapsed();
    facts.recent.took(took);
    // A refusal is quicker than an answer.
    if answer.is_ok() {
        facts.recent.note(took, bytes);
    }
    facts.of_model.phase(Phase::Run, took);
    answer
}

/// A run that is not remembered.
pub(super) fn run_unnoted(
    signature: &Signature,
    inputs: &[(String, Tensor)],
    outputs: &[String],
) -> Result<Answer, Status> {
    let options = RunOptions::default().shapes_of_any_kind(true);
    let options = if outputs.is_empty() { options } else { options.outputs(outputs) };
    let inputs = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let run = catch_unwind(AssertUnwindSafe(|| signature.run_with(inputs, &options)));
    Ok(run.map_err(|_| panicked())??.into_vec())
}
