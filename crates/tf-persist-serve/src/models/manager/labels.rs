//! Labels at the start: those that stand on a version which is being loaded wait for it.

use super::Manager;
use crate::models::config::ModelConfigs;
use crate::models::crash_journal::QUARANTINED;
use crate::status::Status;

/// A label that stood in the configuration at the start.
pub(super) struct AwaitedLabel {
    model: String,
    label: String,
    version: i64,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// The server is not ready until the versions of these labels answer.
    pub(super) fn await_labels(&mut self, wanted: &ModelConfigs) {
        for (model, wanted) in wanted {
            let awaited = wanted.labels.iter().map(|(label, version)| AwaitedLabel {
                model: model.clone(),
                label: label.clone(),
                version: *version,
            });
            self.config.awaited_labels.extend(awaited);
        }
    }

    /// Whether all labels that are waited for stand on versions that answer.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` if one stands on a version that will not come, as TensorFlow Serving says of any at the start.
    pub(super) fn awaited_labels(&self) -> Result<bool, Status> {
        let mut all_stand = true;
        for AwaitedLabel { model: name, label, version } in &self.config.awaited_labels {
            let stands_still =
                self.config.models.get(name).is_some_and(|wanted| wanted.labels.get(label) == Some(version));
            let Some(model) = self.models.get(name).filter(|_| stands_still) else { continue };
            let error = model.error(*version);
            if model.is_version_available(*version) || error.is_some_and(|error| error.code == QUARANTINED) {
                continue;
            }
            // A model without versions may get some.
            if !model.was_polled || !model.has_aspired() || model.is_version_pending(*version) {
                all_stand = false;
                continue;
            }
            let why = match error {
                Some(error) => format!("it could not be loaded: {error}"),
                None => format!("of what is there, its version policy has {:?} loaded", model.aspired()),
            };
            return Err(unavailable(name, *version, &format!(": label `{label}` stands on it, and {why}")));
        }
        Ok(all_stand)
    }
}

/// What TensorFlow Serving says of a label on a version that does not answer, and why that is so.
pub(super) fn unavailable(model: &str, version: i64, why: &str) -> Status {
    Status::failed_precondition(format!(
        "Request to assign label to version {version} of model {model}, which is not currently available for inference{why}"
    ))
}
