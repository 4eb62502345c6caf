//! How the requests of a model that name no version are split between versions, and which versions are asked as well.
//!
//! A request that names no version is given one when it arrives, at random by the weights of the rules, and keeps it. A
//! thread looks for new rules; those that cannot be used leave the old ones in effect. Rules name labels and versions,
//! which are resolved for each request: one that does not answer leaves its weight to the others, so that no request
//! fails because of a rule. Shadows are asked once the request is answered.

mod file;
mod rules;
mod settings;
mod shadows;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::batching::{InferenceRequest, InferenceResponse};
use crate::metrics::{Metrics, ShadowOutcome, VersionMetrics};
use crate::models::{Models, ServedSignature, Version};
use crate::random::random;
pub use file::TrafficFile;
use rules::Target;
pub use rules::{ModelTraffic, TrafficRules};
pub use settings::{TrafficSettings, TrafficSource};
use shadows::{Job, Shadows};

/// The traffic of a server. Clones share it.
#[derive(Clone)]
pub(crate) struct Traffic(Arc<Inner>);

struct Inner {
    source: Arc<dyn TrafficSource>,
    rules: ArcSwap<TrafficRules>,
    /// Why newer rules are not in effect.
    problem: Mutex<Option<String>>,
    models: Models,
    metrics: Metrics,
    shadows: Shadows,
    /// Makes the thread look at once. It ends when this is dropped.
    wake: Sender<()>,
}

/// Rules that were read before the models are started.
pub(crate) struct FirstRules {
    source: Arc<dyn TrafficSource>,
    rules: TrafficRules,
}

/// The rules of a model, and what they come to now.
#[derive(Debug)]
pub(crate) struct TrafficStatus {
    /// Labels and versions with their weights.
    pub(crate) weights: Vec<(String, u32)>,
    /// Labels and versions.
    pub(crate) shadows: Vec<String>,
    /// The shares of versions in the requests that name none.
    pub(crate) shares: BTreeMap<i64, f64>,
    /// The labels and versions of the rules that do not answer now.
    pub(crate) pending: Vec<String>,
}

/// A request that shadows are to be asked as well.
pub(crate) struct Shadowed {
    traffic: Traffic,
    /// On the heap: other requests need not carry its size along.
    job: Box<Job>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("source", &self.0.source).finish_non_exhaustive()
    }
}

impl FirstRules {
    /// Reads the rules, if the settings have any.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(crate) fn read(settings: &TrafficSettings) -> Result<Option<Self>, String> {
        let Some(source) = settings.source.clone() else { return Ok(None) };
        let rules = source.look().map_err(|problem| format!("{}: {problem}", source.name()))?.unwrap_or_default();
        Ok(Some(Self { source, rules }))
    }
}

impl Traffic {
    /// Puts the rules into effect, and looks for others in a thread of its own.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn start(
        first: FirstRules,
        settings: &TrafficSettings,
        models: Models,
        metrics: Metrics,
    ) -> Result<Self, String> {
        let FirstRules { source, rules } = first;
        let shadows = Shadows::start(settings.shadow_queue, models.clone(), metrics.clone())?;
        let (wake, woken) = channel();
        let (rules, problem) = (ArcSwap::from_pointee(rules), Mutex::default());
        let inner = Arc::new(Inner { source, rules, problem, models, metrics, shadows, wake });
        watch::start(Arc::downgrade(&inner), settings.poll, woken)?;
        Ok(Self(inner))
    }

    /// Looks for new rules at once.
    pub(crate) fn refresh(&self) {
        let _ = self.0.wake.send(());
    }

    /// Asks shadows no more.
    pub(crate) fn stop(&self) {
        self.0.shadows.stop();
    }

    /// The version for a request to a model that names none; `None` if the rules do not choose one.
    pub(crate) fn choose(&self, model: &str) -> Option<Version> {
        let rules = self.0.rules.load();
        let chosen = rules.get(model)?.pick(random(), |target| self.0.answering(model, target));
        chosen.map(Version::Chosen)
    }

    /// The metrics of a version.
    pub(crate) fn version_metrics(&self, model: &str, version: i64) -> Arc<VersionMetrics> {
        self.0.metrics.version(model, version)
    }

    /// Keeps the inputs of a request that a version is about to run, if shadows are to be asked as well.
    pub(crate) fn shadow(&self, served: &ServedSignature, request: &InferenceRequest) -> Option<Shadowed> {
        let (model, version) = (&served.id.model, served.id.version);
        let rules = self.0.rules.load();
        let targets = rules.get(model)?.shadow_list();
        let mut shadows: Vec<i64> = Vec::new();
        for shadow in targets.iter().filter_map(|target| self.0.answering(model, target)) {
            // A version is not compared with itself.
            if shadow != version && !shadows.contains(&shadow) {
                shadows.push(shadow);
            }
        }
        if shadows.is_empty() {
            return None;
        }
        let job = Job {
            id: Arc::clone(&served.id),
            signature: served.signature.definition().name.clone(),
            shadows,
            inputs: request.inputs.clone(),
            outputs: request.outputs.clone(),
            answer: Vec::new(),
        };
        Some(Shadowed { traffic: self.clone(), job: Box::new(job) })
    }

    /// Why newer rules are not in effect.
    pub(crate) fn problem(&self) -> Option<String> {
        self.0.problem().clone()
    }

    /// The rules of a model, and what they come to now; `None` if it has none.
    pub(crate) fn status(&self, model: &str) -> Option<TrafficStatus> {
        let rules = self.0.rules.load();
        let traffic = rules.get(model)?;
        let answering = |target: &Target| self.0.answering(model, target);
        let mut shares = traffic.shares(answering);
        if shares.is_empty() {
            shares.extend(self.0.models.answering(model, &Version::Latest).map(|newest| (newest, 1.0)));
        }
        Some(TrafficStatus {
            weights: traffic.weight_list().iter().map(|(target, weight)| (target.name.clone(), *weight)).collect(),
            shadows: traffic.shadow_list().iter().map(|target| target.name.clone()).collect(),
            shares,
            pending: traffic.pending(answering),
        })
    }

    /// The shares of versions in the requests that name none, for all models that have rules.
    pub(crate) fn shares(&self) -> Vec<(String, i64, f64)> {
        let rules = self.0.rules.load();
        let of_model = |(model, _)| {
            let shares = self.status(model).map(|status| status.shares).unwrap_or_default();
            shares.into_iter().map(move |(version, share)| (model.to_owned(), version, share))
        };
        rules.iter().flat_map(of_model).collect()
    }
}

impl Inner {
    fn answering(&self, model: &str, target: &Target) -> Option<i64> {
        self.models.answering(model, &target.version)
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shadowed {
    /// Asks the shadows, if the request was answered and there is room.
    pub(crate) fn answered(self, answer: &InferenceResponse) {
        let Self { traffic, mut job } = self;
        job.answer.clone_from(answer);
        if let Err(job) = traffic.0.shadows.submit(job) {
            let metrics = traffic.version_metrics(&job.id.model, job.id.version);
            for shadow in job.shadows {
                metrics.record_shadow(shadow, ShadowOutcome::Dropped, None);
            }
        }
    }
}
