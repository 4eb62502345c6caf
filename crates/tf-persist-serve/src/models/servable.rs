//! A loaded version of a model.

use std::fmt;
use std::sync::Arc;

use tf_persist_core::{LoadedModel, Signature};

use super::resident::Reservation;
use crate::batching::{self, BatchQueue, Turn};
use crate::metrics::Metrics;
use crate::request_log::SignatureId;
use crate::status::Status;

/// A loaded version of a model. It stays loaded while it is held.
pub struct Servable {
    name: String,
    version: i64,
    model: LoadedModel,
    /// By name; the error of a signature that cannot be run.
    signatures: Vec<(String, Result<Arc<ServedSignature>, Status>)>,
    runs: batching::VersionWorkers,
    check_method_names: bool,
    /// Given back after the model is dropped.
    _reservation: Option<Reservation>,
}

/// A signature of a servable, with its queue.
#[derive(Debug)]
pub struct ServedSignature {
    /// The signature, bound to the graph.
    pub signature: Signature,
    /// Where its requests wait and are batched.
    pub queue: BatchQueue,
    /// Which model and version it belongs to.
    pub(crate) id: Arc<SignatureId>,
}

impl fmt::Debug for Servable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servable").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Servable {
    /// A servable of a loaded model.
    ///
    /// # Errors
    /// If the batching parameters are invalid. A signature that cannot be run, for example because of its dtypes, does
    /// not affect the others.
    pub fn new(
        name: &str,
        version: i64,
        model: LoadedModel,
        run: &batching::RunSettings,
        metrics: &Metrics,
    ) -> Result<Self, Status> {
        let shared = batching::VersionWorkers::new(name, model.saved_model().path(), run)?;
        let names = model.meta_graph().signatures().iter().map(|signature| signature.name.clone());
        let tags = model.meta_graph().tags().to_vec();
        let id = Arc::new(SignatureId { model: name.to_owned(), version, tags });
        let serve = |signature: &str| {
            let signature = model.signature(signature)?;
            let queue = BatchQueue::new(name, &signature, &shared, metrics);
            Ok(Arc::new(ServedSignature { signature, queue, id: id.clone() }))
        };
        let signatures = names.map(|signature| (signature.clone(), serve(&signature))).collect();
        let check_method_names = run.check_method_names;
        Ok(Self {
            name: name.to_owned(),
            version,
            model,
            signatures,
            runs: shared,
            check_method_names,
            _reservation: None,
        })
    }

    /// Gives back this memory when the servable is dropped.
    pub(super) fn with_reservation(self, reservation: Option<Reservation>) -> Self {
        Self { _reservation: reservation, ..self }
    }

    /// The name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the version.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// For each signature that can be run: whether its requests share runs now, and the reason.
    pub(crate) fn batching(&self) -> impl Iterator<Item = (&str, (bool, String))> {
        let served = self.signatures.iter().filter_map(|(name, served)| Some((name, served.as_ref().ok()?)));
        served.map(|(name, served)| (name.as_str(), served.queue.batching()))
    }

    /// The names of all signatures.
    pub(crate) fn signature_names(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(name, _)| name.as_str())
    }

    /// Waits until a large request may be decoded and run. Requests that may share runs do not wait, because only
    /// decoded requests can be combined.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many wait.
    pub(crate) async fn large_request_turn(&self) -> Result<Option<Turn>, Status> {
        let shares_runs = |(_, served): &(String, Result<Arc<ServedSignature>, Status>)| {
            served.as_ref().is_ok_and(|served| served.queue.shares_runs())
        };
        if self.signatures.iter().any(shares_runs) { Ok(None) } else { self.runs.turn().await.map(Some) }
    }

    /// Whether an abandoned run still goes on.
    pub(super) fn is_busy(&self) -> bool {
        self.runs.is_busy()
    }

    /// Whether classify and regress check the signature's method name.
    pub(crate) fn checks_method_names(&self) -> bool {
        self.check_method_names
    }

    /// The signature of this name.
    ///
    /// # Errors
    /// The error of `absent` if there is no such signature; the reason if it cannot be run.
    pub fn signature(&self, name: &str, absent: impl FnOnce() -> Status) -> Result<&Arc<ServedSignature>, Status> {
        let found = self.signatures.iter().find(|(other, _)| other == name);
        let (_, served) = found.ok_or_else(absent)?;
        served.as_ref().map_err(Status::clone)
    }
}
