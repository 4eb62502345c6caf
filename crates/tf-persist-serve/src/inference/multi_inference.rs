//! Several classifications and regressions of the same examples (`servables/tensorflow/multi_inference.cc`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::Tensor;
use tf_persist_core::tensor::Strings;

use super::signature::effective_name;
use super::{classify, examples, logged, regress};
use crate::api::{Outcome, Task};
use crate::models::{Servable, ServedSignature};
use crate::request_log::Exchange;
use crate::status::Status;

/// The method of signatures that classify (`kClassifyMethodName`).
pub(super) const CLASSIFY: &str = "tensorflow/serving/classify";

/// The method of signatures that regress (`kRegressMethodName`).
pub(super) const REGRESS: &str = "tensorflow/serving/regress";

/// Runs several tasks. Returns the outcome of each. TensorFlow Serving runs them as one run of the graph; here each
/// signature is run through its own queue, where it can be batched with other requests.
///
/// # Errors
/// `INVALID_ARGUMENT` if the tasks name several models or one signature twice, there are no examples, or a signature
/// does not fit its task; `UNIMPLEMENTED` for other methods; errors of TensorFlow.
pub(crate) async fn multi_inference(
    servable: &Servable,
    tasks: &[Task],
    examples: Strings,
    deadline: Option<Instant>,
) -> Result<Vec<Outcome>, Status> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(tasks.len());
    for task in tasks {
        if task.model.is_empty() {
            return Err(Status::invalid_argument("Found ModelSpec with an empty model name."));
        }
        if task.model != tasks[0].model {
            let reason = "All ModelSpecs in a MultiInferenceRequest must access the same model name.";
            return Err(Status::invalid_argument(reason));
        }
        let name = effective_name(&task.signature);
        if !seen.insert(name) {
            return Err(Status::invalid_argument(format!("Duplicate evaluation of signature: {name}")));
        }
        let absent = || Status::invalid_argument(format!("Requested signature not found in model graph: {name}"));
        let served = servable.signature(name, absent)?;
        let outputs = match task.method.as_str() {
            CLASSIFY => Some(classify::check(servable, served)?),
            REGRESS => {
                regress::check(servable, served)?;
                None
            }
            other => {
                let code = tf_persist_core::Code::Unimplemented;
                return Err(Status::new(code, format!("Unsupported signature method_name: {other}")));
            }
        };
        checked.push((served, outputs));
    }
    let (count, examples) = examples::tensor(examples)?;
    let log = checked.first().and_then(|(served, _)| logged::begin_examples(served, &examples));
    let outcomes = run_all(&checked, &examples, count, deadline).await;
    if let Some(log) = log {
        let (tasks, outcome) = (tasks.to_vec(), outcomes.clone());
        log.end_examples(|examples| Exchange::MultiInference { examples, tasks, outcome });
    }
    outcomes
}

/// A signature, with the outputs that a classification fetches.
type Checked<'s> = (&'s Arc<ServedSignature>, Option<Vec<&'static str>>);

async fn run_all(
    checked: &[Checked<'_>],
    examples: &Tensor,
    count: usize,
    deadline: Option<Instant>,
) -> Result<Vec<Outcome>, Status> {
    let mut outcomes = Vec::with_capacity(checked.len());
    for (served, outputs) in checked {
        outcomes.push(match outputs {
            Some(outputs) => {
                let answer = examples::run(served, examples.clone(), outputs, deadline).await?;
                Outcome::Classes(classify::results(served, &answer, count)?)
            }
            None => {
                let answer = examples::run(served, examples.clone(), &[regress::OUTPUTS], deadline).await?;
                Outcome::Values(regress::results(&answer, count)?)
            }
        });
    }
    Ok(outcomes)
}
