//! Triton's statistics of models, out of the server's metrics. The versions of a model are counted together, and so are
//! its requests for inference by all methods and over all interfaces.

use crate::metrics::{Metrics, RequestStatistics};
use crate::models::{Models, State, Version};
use crate::status::Status;

/// The statistics of a model.
#[derive(Debug)]
pub(crate) struct ModelStatistics {
    pub(crate) name: String,
    /// The version that was named, or the newest one.
    pub(crate) version: String,
    pub(crate) requests: RequestStatistics,
}

/// The statistics of a model, or of all models that have an available version.
///
/// # Errors
/// If requests for the version are not answered.
pub(crate) fn statistics(
    models: &Models,
    metrics: &Metrics,
    model: Option<(&str, &Version)>,
) -> Result<Vec<ModelStatistics>, Status> {
    let of = |name: &str, version: i64| ModelStatistics {
        name: name.to_owned(),
        version: version.to_string(),
        requests: metrics.model(name).statistics(),
    };
    if let Some((name, version)) = model {
        // One that is unloaded to save memory is not loaded for this.
        let number = match models.answering(name, version) {
            Some(number) => number,
            None => models.find(name, version)?.version(),
        };
        return Ok(vec![of(name, number)]);
    }
    let newest = models.list().into_iter().filter_map(|model| {
        let newest = model.versions.iter().find(|found| found.state.for_clients() == State::Available)?;
        Some(of(&model.name, newest.version))
    });
    Ok(newest.collect())
}
