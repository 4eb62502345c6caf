//! The model by itself, run by as many threads as there would be clients: no socket, no JSON, nothing that waits.

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::{LoadOptions, LoadedModel, Signature, Tensor};

use crate::{Job, Result, Seen};

pub(crate) fn run(job: &Arc<Job>, clients: usize) -> Result<Vec<Seen>> {
    let model = LoadedModel::load(&job.target, LoadOptions::default().inter_op_threads(-1))?;
    let signature = model.default_signature()?;
    let inputs = job.requests.cases.iter().map(|case| Tensor::from_slice(&job.requests.shape, &case.values));
    let inputs: Vec<Tensor> = inputs.collect::<tf_persist_core::Result<_, tf_persist_core::ModelError>>()?;
    // What the first runs set up is not measured.
    for _ in 0..10 {
        signature.run([(job.requests.input.as_str(), &inputs[0])])?;
    }
    let until = Instant::now() + job.length;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let (signature, inputs) = (&signature, &inputs);
                scope.spawn(move || client(job, signature, inputs, number, until))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked")?).collect()
    })
}

fn client(job: &Job, signature: &Signature, inputs: &[Tensor], number: usize, until: Instant) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut turn = number;
    while Instant::now() < until {
        let looks = seen.looks();
        let begin = Instant::now();
        let outputs = signature.run([(job.requests.input.as_str(), &inputs[turn % inputs.len()])])?;
        let is_right =
            !looks || job.requests.case(turn).is_answered_by(outputs.get(&job.requests.output)?.view::<f32>()?);
        seen.note(begin, Ok(is_right));
        turn += 1;
    }
    Ok(seen)
}
