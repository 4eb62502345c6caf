//! Polls of base paths elsewhere.

use std::time::Instant;

use super::Manager;
use crate::models::config::BasePath;
use crate::models::remote_paths::{RemoteFound, RemoteModel};
use crate::models::state_machine::Model;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Starts a poll of base paths elsewhere if one is due and none is running.
    pub(super) fn start_remote_poll(&mut self, now: Instant) {
        let poll = &mut self.remote_poll;
        poll.is_due |= poll.next.is_some_and(|next| next <= now);
        if poll.is_running || !poll.is_due || self.stopping.is_some() {
            return;
        }
        (poll.is_due, poll.next) = (false, None);
        let request = |model: &Model<T>| {
            let config = model.config.as_ref()?;
            let Some(BasePath::Remote(base_path)) = &config.base_path else { return None };
            Some(RemoteModel {
                name: model.name.clone(),
                base_path: base_path.clone(),
                policy: config.policy.clone(),
                loaded: model.loaded(),
                in_use: model.in_use(),
            })
        };
        let models: Vec<RemoteModel> = self.models.values().filter_map(request).collect();
        if !models.is_empty() {
            poll.next = self.settings.remote_poll.map(|interval| now + interval);
            poll.is_running = self.remote_poller.send(models).is_ok();
        }
    }

    /// Applies the result of a poll of base paths elsewhere.
    pub(super) fn apply_remote_poll(&mut self, found: Vec<RemoteFound>, now: Instant) {
        self.remote_poll.is_running = false;
        self.remote_poll.ended += 1;
        for RemoteFound { name, base_path, found } in found {
            let Some(model) = self.models.get_mut(&name) else { continue };
            // If the model was reconfigured in the meantime, the next poll finds its versions.
            let is_same = model.config.as_ref().is_some_and(|it| it.base_path == Some(BasePath::Remote(base_path)));
            if is_same {
                model.find(&found, &mut self.last_id);
            }
        }
        self.end_looks();
        self.warn_about_problems(now);
    }
}
