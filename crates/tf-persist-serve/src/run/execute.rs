//! Runs of TensorFlow's: of one request, or of several together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tf_persist_core::tensor::{Comparison, Tolerance};
use tf_persist_core::{Code, RunOptions, Signature, Tensor};

use super::join::{join, part, reversed};
use super::task::{Facts, Proof, Task};
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
    if tasks.len() > 1 && tasks[0].facts.proof() == Proof::Open {
        try_out(&tasks);
        return tasks.into_iter().for_each(execute_one);
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
        None => facts.refute(),
    }
    parts
}

/// Runs two requests together and one by one, and compares the answers. Whether rows know nothing of each other cannot be read off
/// a signature: a model may as well divide by the sum over them all.
fn try_out(tasks: &[Task]) {
    let [first, second, ..] = tasks else { return };
    let facts = &first.facts;
    let other = match differ(&first.call, &second.call) {
        true => second.call.clone(),
        // Equal rows could hide that they know of each other.
        false => match reversed(&first.call) {
            Ok(call) if differ(&first.call, &call) => call,
            _ => return facts.tried(false),
        },
    };
    let calls = [&first.call, &other];
    let rows = calls.map(|call| facts.rows(call).unwrap_or(0));
    let Ok((inputs, _)) = join(&calls, rows[0] + rows[1], &facts.rules) else { return facts.tried(false) };
    let alone = |call: &Call| run_unnoted(&first.signature, &call.inputs, &call.outputs);
    // A request that fails says nothing, nor does one that was made up and fails.
    let (Ok(a), Ok(b)) = (alone(&first.call), alone(&other)) else { return facts.tried(false) };
    let Ok(both) = run_unnoted(&first.signature, &inputs, &first.call.outputs) else { return facts.refute() };
    let all = rows[0] + rows[1];
    let parts = (part(&both, 0..rows[0], all), part(&both, rows[0]..all, all));
    match parts {
        (Some(first), Some(second)) if are_close(&first, &a) && are_close(&second, &b) => facts.tried(true),
        _ => facts.refute(),
    }
}

/// Whether the first rows of two requests differ.
fn differ(a: &Call, b: &Call) -> bool {
    let row = |tensor: &Tensor| tensor.rows(0..1).ok();
    a.inputs.iter().zip(&b.inputs).any(|((_, a), (_, b))| row(a) != row(b))
}

fn are_close(found: &Answer, expected: &Answer) -> bool {
    let is_close = |((_, found), (_, expected)): (&(String, Tensor), &(String, Tensor))| {
        let compared = Comparison::of(found, expected, Tolerance::Rounding);
        compared.is_ok_and(|compared| compared.is_some_and(|compared| compared.outside == 0))
    };
    found.len() == expected.len() && found.iter().zip(expected).all(is_close)
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

fn run_unnoted(signature: &Signature, inputs: &[(String, Tensor)], outputs: &[String]) -> Result<Answer, Status> {
    let options = RunOptions::default().shapes_of_any_kind(true);
    let options = if outputs.is_empty() { options } else { options.outputs(outputs) };
    let inputs = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let run = catch_unwind(AssertUnwindSafe(|| signature.run_with(inputs, &options)));
    Ok(run.map_err(|_| panicked())??.into_vec())
}
