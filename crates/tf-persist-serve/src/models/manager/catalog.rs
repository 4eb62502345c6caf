//! Models, versions and labels of a catalog.

use std::collections::BTreeSet;

use tf_persist_core::Code;

use super::Manager;
use super::publish::failure_reason;
use crate::models::catalog::Listed;
use crate::models::config::{ModelConfig, ModelConfigs, Policy};
use crate::models::crash_journal::QUARANTINED;
use crate::models::state_machine::Model;
use crate::models::view::Readiness;
use crate::status::Status;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Applies what a catalog lists. If it could not be read, everything stays; that is logged once.
    pub(super) fn apply_catalog(&mut self, listed: Result<Listed, String>) {
        let listed = match listed.map_err(Status::failed_precondition) {
            Ok(listed) => listed,
            Err(error) if self.config.file_error.as_ref() == Some(&error) => return,
            Err(error) => {
                tracing::error!(error = %error.message, "the models cannot be listed; what is served stays");
                self.config.file_error = Some(error);
                return;
            }
        };
        if self.config.file_error.take().is_some() {
            tracing::info!("the models can be listed again");
        }
        let configs: ModelConfigs = listed
            .iter()
            .map(|(name, model)| {
                let config = match model {
                    Ok(model) => ModelConfig {
                        base_path: None,
                        policy: Policy::Specific(model.versions.keys().copied().collect()),
                        labels: model.labels.clone(),
                        log: None,
                    },
                    Err(_) => self.config.models.get(name).cloned().unwrap_or(ModelConfig {
                        base_path: None,
                        policy: Policy::Specific(BTreeSet::new()),
                        labels: Default::default(),
                        log: None,
                    }),
                };
                (name.clone(), config)
            })
            .collect();
        if configs != self.config.models {
            for (name, config) in configs.iter().filter(|(name, config)| self.config.models.get(*name) != Some(config))
            {
                let versions = listed.get(name).and_then(|listed| listed.as_ref().ok());
                let versions: Vec<i64> = versions.iter().flat_map(|model| model.versions.keys().copied()).collect();
                tracing::info!(model = %name, ?versions, labels = ?config.labels, "model listed");
            }
            for name in self.config.models.keys().filter(|name| !configs.contains_key(*name)) {
                tracing::info!(model = %name, "model no longer listed");
            }
            self.configure(configs);
        }
        for (name, listed) in listed {
            let Some(model) = self.models.get_mut(&name) else { continue };
            model.was_polled = true;
            match listed {
                Ok(wanted) => {
                    model.problem = None;
                    model.follow(&wanted, &mut self.last_id);
                }
                Err(problem) => model.problem = Some(problem),
            }
        }
    }

    /// Whether every model of a catalog has had an available version, and every label one that it points to. A model
    /// that cannot be loaded does not end a server that has answered for others.
    pub(super) fn catalog_readiness(&self) -> Readiness {
        let configured = || self.models.values().filter(|model| model.config.is_some());
        let is_quarantined = |error: Option<&Status>| error.is_some_and(|error| error.code == QUARANTINED);
        let has_failed = |model: &Model<T>| model.failure().is_some() && model.next_retry().is_none();
        if !self.published.had_available && configured().next().is_some() && configured().all(has_failed) {
            let reasons: String = configured().map(failure_reason).collect();
            let message = format!("{} servable(s) did not become available: {{{reasons}}}", configured().count());
            return Readiness::Failed(Status::new(Code::Unknown, message));
        }
        let stands = |model: &Model<T>| {
            let failure = model.failure().map(|(_, error)| error);
            let is_awaited = |(_, version): &(String, i64)| !is_quarantined(model.error(*version));
            (model.was_available || is_quarantined(failure)) && !model.pending_labels().iter().any(is_awaited)
        };
        let has_available = configured().next().is_none() || configured().any(Model::is_available);
        if configured().all(stands) && has_available { Readiness::Ready } else { Readiness::Waiting }
    }
}
