//! Changes of the configuration, by a request or by the file.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::oneshot;

use super::Manager;
use super::labels::unavailable;
use super::publish::failure_reason;
use crate::models::LabelRule;
use crate::models::config::{self, ModelConfig, ModelConfigs};
use crate::models::handle::stopping_error;
use crate::models::state_machine::Model;
use crate::request_log::LogRule;
use crate::status::Status;

/// How long a reload waits for a model whose folder has no versions. TensorFlow Serving waits forever.
const VERSION_WAIT: Duration = Duration::from_secs(5);

/// How long a reload waits for a model that is being loaded.
const LOAD_WAIT: Duration = Duration::from_secs(900);

/// A reload request that waits for new models.
pub(super) struct Waiter {
    models: BTreeSet<String>,
    since: Instant,
    reply: oneshot::Sender<Result<(), Status>>,
}

impl Waiter {
    /// When its next time limit passes.
    pub(super) fn next_deadline(&self) -> Instant {
        let first = self.since + VERSION_WAIT;
        if first > Instant::now() { first } else { self.since + LOAD_WAIT }
    }
}

/// The progress of a model that a reload waits for.
enum Progress {
    Waiting,
    Available,
    Failed(String),
}

/// The models with a `logging_config`.
fn rules(configs: &ModelConfigs) -> impl Iterator<Item = (&str, &LogRule)> {
    configs.iter().filter_map(|(name, config)| Some((name.as_str(), config.log.as_ref()?)))
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Applies a configuration, and replies when its new models are available.
    pub(super) fn reload(
        &mut self,
        config: &ModelServerConfig,
        requested_by: &str,
        reply: oneshot::Sender<Result<(), Status>>,
        now: Instant,
    ) {
        // The requester may be gone.
        match self.check_logs_of_client(config).and_then(|()| self.accept(config, requested_by)) {
            Err(status) => {
                tracing::error!(requested_by, error = %status, "configuration refused");
                let _ = reply.send(Err(status));
            }
            // Even without new models, the reply comes after the next view, so that the requester sees its labels.
            Ok(models) => self.config.waiters.push(Waiter { models, since: now, reply }),
        }
    }

    /// Applies the content of the configuration file. An error is logged once.
    pub(super) fn read_file(&mut self, read: Result<ModelServerConfig, Status>) {
        let apply_unchanged = std::mem::take(&mut self.config.apply_unchanged_file);
        let error = match read {
            // The configuration of a request stays until the file changes.
            Ok(config) if config == self.config.file && !apply_unchanged => None,
            Ok(config) => match self.accept(&config, "the model config file") {
                Ok(_) => {
                    self.config.file = config;
                    None
                }
                Err(status) => Some(status.within("PollFilesystemAndReloadConfig failed to ReloadConfig: ")),
            },
            Err(status) => Some(status.within("Failed to read ModelServerConfig file: ")),
        };
        if let Some(error) = &error
            && self.config.file_error.as_ref() != Some(error)
        {
            tracing::error!(%error, "the model config file is ignored");
        }
        self.config.file_error = error;
    }

    /// Applies a configuration if all of it is valid. Returns the new models.
    fn accept(&mut self, config: &ModelServerConfig, requested_by: &str) -> Result<BTreeSet<String>, Status> {
        if self.stopping.is_some() {
            return Err(stopping_error());
        }
        if let Some(catalog) = self.settings.catalog() {
            let message = format!("the served models are those of {}, which a request cannot change", catalog.name());
            return Err(Status::failed_precondition(message));
        }
        let configs = config::check(config, Some(&self.config.models), self.settings.remote_paths.as_deref())?;
        self.check_logs(&configs)?;
        self.check_labels(&configs)?;
        let new: BTreeSet<String> =
            configs.keys().filter(|name| !self.config.models.contains_key(*name)).cloned().collect();
        let removed: Vec<&String> = self.config.models.keys().filter(|name| !configs.contains_key(*name)).collect();
        let is_changed =
            |(name, old): &(&String, &ModelConfig)| configs.get(*name).is_some_and(|config| config != *old);
        let changed: Vec<&String> = self.config.models.iter().filter(is_changed).map(|(name, _)| name).collect();
        if configs.is_empty() && !removed.is_empty() {
            tracing::warn!(
                requested_by,
                ?removed,
                "a configuration that names no models is served now: all are unloaded"
            );
        } else {
            tracing::info!(requested_by, added = ?new, ?removed, ?changed, "configuration applied");
        }
        self.configure(configs);
        Ok(new)
    }

    /// Checks that each `logging_config` says where its log is.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub(super) fn check_logs(&self, configs: &ModelConfigs) -> Result<(), Status> {
        self.settings.request_log.check(rules(configs))
    }

    /// Checks that the logs that a client configures are in the folder of the request log: it may not write elsewhere.
    fn check_logs_of_client(&self, config: &ModelServerConfig) -> Result<(), Status> {
        let log = &self.settings.request_log;
        let Ok(configs) = config::check(config, Some(&self.config.models), self.settings.remote_paths.as_deref())
        else {
            // Refused, with its reason, when it is applied.
            return Ok(());
        };
        let denied = rules(&configs).find(|(name, rule)| {
            let is_old = self.config.models.get(*name).is_some_and(|old| old.log.as_ref() == Some(*rule));
            !is_old && !log.permits(rule)
        });
        denied.map_or(Ok(()), |(name, _)| {
            let message = format!(
                "the logging_config of model {name} comes from a client, and its filename_prefix is not in the folder of the \
                 request log"
            );
            Err(Status::new(Code::PermissionDenied, message))
        })
    }

    /// Checks the versions of labels.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` if a label's version is not available, unless the label is new and the settings allow
    /// that.
    pub(super) fn check_labels(&self, configs: &ModelConfigs) -> Result<(), Status> {
        for (name, model) in configs {
            for (label, version) in &model.labels {
                let stands_on = self.config.models.get(name).and_then(|model| model.labels.get(label));
                let may_wait =
                    self.settings.labels == LabelRule::Any && stands_on.is_none_or(|stands_on| stands_on == version);
                let model = self.models.get(name);
                let is_available = || model.is_some_and(|model| model.is_version_available(*version));
                // It has been awaited since the start.
                let is_awaited =
                    || stands_on == Some(version) && model.is_some_and(|model| model.is_version_pending(*version));
                if !may_wait && !is_available() && !is_awaited() {
                    return Err(unavailable(name, *version, ""));
                }
            }
        }
        Ok(())
    }

    /// Sets the configured models.
    pub(super) fn configure(&mut self, configs: ModelConfigs) {
        for (name, model) in &mut self.models {
            if !configs.contains_key(name) {
                model.set_config(None);
            }
        }
        for (name, config) in &configs {
            let model = self.models.entry(name.clone()).or_insert_with(|| Model::new(name));
            if let Some(path) = config.base_path.as_ref().filter(|_| model.config.as_ref() != Some(config)) {
                tracing::info!(model = %name, base_path = %path, policy = ?config.policy, "model configured");
            }
            model.set_config(Some(config.clone()));
        }
        let logs = rules(&configs).map(|(name, rule)| (name.to_owned(), rule.clone()));
        self.settings.request_log.set_rules(logs.collect());
        self.config.models = configs;
        self.poll.versions_due = true;
        self.remote_poll.is_due = true;
    }

    /// Replies to reload requests whose models are available or have failed.
    pub(super) fn answer_waiters(&mut self, now: Instant) {
        for waiter in std::mem::take(&mut self.config.waiters) {
            if waiter.reply.is_closed() {
                continue;
            }
            let waited = now.duration_since(waiter.since);
            let progress: Vec<Progress> = waiter.models.iter().map(|name| self.progress(name, waited)).collect();
            if progress.iter().any(|progress| matches!(progress, Progress::Waiting)) {
                self.config.waiters.push(waiter);
                continue;
            }
            let failed: Vec<String> = progress
                .into_iter()
                .filter_map(|progress| match progress {
                    Progress::Failed(why) => Some(why),
                    _ => None,
                })
                .collect();
            let answer = if failed.is_empty() {
                Ok(())
            } else {
                let message = format!("{} model(s) did not become available: {{{}}}", failed.len(), failed.concat());
                tracing::error!("{message}");
                Err(Status::new(Code::Unknown, message))
            };
            let _ = waiter.reply.send(answer);
        }
    }

    fn progress(&self, name: &str, waited: Duration) -> Progress {
        let removed = |name: &str| Progress::Failed(format!("{{{{name: {name}}} was removed by a later request}}, "));
        let Some(model) = self.models.get(name) else { return removed(name) };
        if model.is_available() && model.config.is_some() {
            return Progress::Available;
        }
        if model.config.is_none() {
            return removed(name);
        }
        let has_none = model.was_polled && !model.has_aspired() && waited >= VERSION_WAIT;
        if model.failure().is_some() || has_none || waited >= LOAD_WAIT {
            return Progress::Failed(failure_reason(model));
        }
        Progress::Waiting
    }
}
