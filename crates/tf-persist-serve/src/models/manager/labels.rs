//! Labels of the first configuration, which wait for versions that are being loaded.

use super::Manager;
use crate::models::config::ModelConfigs;
use crate::models::crash_journal::QUARANTINED;
use crate::status::Status;

/// A label of the first configuration.
pub(super) struct AwaitedLabel {
    model: String,
    label: String,
    version: i64,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Makes readiness wait for the versions of these labels.
    pub(super) fn await_labels(&mut self, configs: &ModelConfigs) {
        for (model, config) in configs {
            let awaited = config.labels.iter().map(|(label, version)| AwaitedLabel {
                model: model.clone(),
                label: label.clone(),
                version: *version,
            });
            self.config.awaited_labels.extend(awaited);
        }
    }

    /// Whether the versions of all awaited labels are available.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` if a label's version cannot become available. TensorFlow Serving refuses all labels at the
    /// start.
    pub(super) fn awaited_labels(&self) -> Result<bool, Status> {
        let mut all_stand = true;
        for AwaitedLabel { model: name, label, version } in &self.config.awaited_labels {
            let stands_still =
                self.config.models.get(name).is_some_and(|config| config.labels.get(label) == Some(version));
            let Some(model) = self.models.get(name).filter(|_| stands_still) else { continue };
            let error = model.error(*version);
            if model.is_version_available(*version) || error.is_some_and(|error| error.code == QUARANTINED) {
                continue;
            }
            // A model without versions may still get some.
            if !model.was_polled || !model.has_aspired() || model.is_version_pending(*version) {
                all_stand = false;
                continue;
            }
            let why = match error {
                Some(error) => format!("it failed to load: {error}"),
                None => format!("the version policy selects {:?}", model.aspired()),
            };
            return Err(unavailable(name, *version, &format!(": label `{label}` needs it, and {why}")));
        }
        Ok(all_stand)
    }
}

/// TensorFlow Serving's error for a label whose version is not available, and the reason.
pub(super) fn unavailable(model: &str, version: i64, why: &str) -> Status {
    Status::failed_precondition(format!(
        "Request to assign label to version {version} of model {model}, which is not currently available for inference{why}"
    ))
}
