//! Compares the answers and the times of two forms of a model.

use std::time::{Duration, Instant};

use tf_persist_savedmodel::internals::{Tensors, compare};
use tf_persist_savedmodel::printable;
use tf_persist_savedmodel::tensor::Tolerance;

use super::super::LoadedModel;
use super::requests::{Request, generated, recorded};
use crate::error::Result;

/// How long two forms run in turns.
const TIMED: Duration = Duration::from_millis(300);

/// How long an answer may take. A trial has at least ten.
const MAX_ANSWER: Duration = Duration::from_millis(500);

/// The most and the fewest rounds.
const ROUNDS: (usize, usize) = (400, 3);

/// Requests with the answers of the model as it is.
pub(super) struct Trial {
    original: LoadedModel,
    answered: Vec<(Request, Tensors)>,
    /// The signature whose requests are timed; `None` if all are. Signatures of a model are often the same function.
    timed: Option<String>,
    tolerance: Tolerance,
}

/// What a trial says of another form.
pub(super) enum Verdict {
    /// Its answers are the same within the tolerance, and it was so many times as fast.
    Same { speedup: f64 },
    /// Why it is not used.
    Other(String),
}

impl Trial {
    /// Asks the model as it is.
    ///
    /// # Errors
    /// Why it cannot be tried.
    pub(super) fn new(original: &LoadedModel, tolerance: Tolerance, end: Instant) -> Result<Self, String> {
        let mut answered = Vec::new();
        let mut requests = recorded(original);
        let is_recorded = !requests.is_empty();
        if requests.is_empty() {
            let default = original.meta_graph().default_signature().ok().map(|signature| &signature.name);
            let mut definitions: Vec<_> = original.meta_graph().signatures().iter().collect();
            definitions.sort_by_key(|definition| Some(&definition.name) != default);
            for definition in definitions {
                let Ok(signature) = original.signature(&definition.name) else { continue };
                let first = generated(&signature).into_iter().find(|request| ask(original, request).is_ok());
                requests.extend(first);
            }
        }
        for request in requests {
            // One is enough where there is no time for more.
            if Instant::now() > end && !answered.is_empty() {
                break;
            }
            let Ok(first) = ask(original, &request) else { continue };
            // The first answer took longer: TensorFlow prepares the graph.
            let started = Instant::now();
            let second = ask(original, &request);
            if started.elapsed() > MAX_ANSWER {
                return Err("its answers take too long for a trial".into());
            }
            // Random answers cannot be compared.
            if second.is_ok_and(|second| is_same(&first, &second, tolerance).is_ok()) {
                answered.push((request, first));
            }
        }
        match answered.is_empty() {
            true if is_recorded => {
                Err("it does not answer the requests that are recorded in it twice in the same way".into())
            }
            true => Err("no requests are recorded in it, and none could be generated that it answers".into()),
            false => {
                let timed = (!is_recorded).then(|| answered[0].0.signature.clone());
                Ok(Self { original: original.clone(), answered, timed, tolerance })
            }
        }
    }

    /// The number of requests.
    pub(super) fn requests(&self) -> usize {
        self.answered.len()
    }

    /// Compares another form with the model as it is.
    pub(super) fn of(&self, form: &LoadedModel) -> Verdict {
        for (request, answer) in &self.answered {
            let found = match ask(form, request) {
                Ok(found) => found,
                Err(error) => return Verdict::Other(error.to_string().lines().next().unwrap_or_default().to_owned()),
            };
            if let Err(difference) = is_same(&found, answer, self.tolerance) {
                let signature = printable(&request.signature);
                return Verdict::Other(format!("it then answered a request to `{signature}` otherwise: {difference}"));
            }
        }
        let end = Instant::now() + TIMED;
        let mut rounds = Vec::new();
        while rounds.len() < ROUNDS.1 || rounds.len() < ROUNDS.0 && Instant::now() < end {
            rounds.push((self.time(&self.original), self.time(form)));
        }
        let median = |of: fn(&(Duration, Duration)) -> Duration| {
            let mut times: Vec<Duration> = rounds.iter().map(of).collect();
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        };
        Verdict::Same { speedup: median(|round| round.0) / median(|round| round.1).max(1e-9) }
    }

    /// How long a form takes for the timed requests.
    fn time(&self, form: &LoadedModel) -> Duration {
        let started = Instant::now();
        let is_timed = |request: &Request| self.timed.as_ref().is_none_or(|signature| *signature == request.signature);
        for (request, _) in self.answered.iter().filter(|(request, _)| is_timed(request)) {
            // Its answer is known to come.
            let _ = ask(form, request);
        }
        started.elapsed()
    }
}

fn ask(model: &LoadedModel, request: &Request) -> Result<Tensors> {
    let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    Ok(model.signature(&request.signature)?.run(inputs)?.into_vec())
}

/// Whether two answers are the same, else what differs.
fn is_same(found: &Tensors, wanted: &Tensors, tolerance: Tolerance) -> Result<(), String> {
    let reports = compare(found, wanted, tolerance).map_err(|error| error.to_string())?;
    match reports.iter().find(|report| !report.is_same()) {
        Some(report) => Err(report.to_string()),
        None => Ok(()),
    }
}
