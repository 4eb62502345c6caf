//! The thread that looks for new rules. It may take long: a file may be on a network.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Inner, Target};

/// The shortest time between two looks, and how often it is checked which versions answer.
const TICK: Duration = Duration::from_secs(1);

/// The labels and versions of rules that do not answer, by model.
type Pending = BTreeMap<String, Vec<String>>;

/// Starts the thread. It ends when the channel closes.
pub(super) fn start(traffic: Weak<Inner>, poll: Option<Duration>, woken: Receiver<()>) -> Result<(), String> {
    let watch = move || {
        let mut last_look = Instant::now();
        let mut pending = Pending::new();
        loop {
            let is_woken = match woken.recv_timeout(TICK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let Some(traffic) = traffic.upgrade() else { return };
            // A tick may come a moment early.
            let is_due = poll.is_some_and(|poll| last_look.elapsed() + TICK / 2 >= poll);
            if is_woken || is_due {
                traffic.look();
                last_look = Instant::now();
            }
            if traffic.models.are_ready() {
                traffic.log_pending(&mut pending);
            }
        }
    };
    let spawned = thread::Builder::new().name("traffic".into()).spawn(watch);
    spawned.map(drop).map_err(|error| format!("the thread of the traffic rules cannot be started: {error}"))
}

impl Inner {
    /// Puts new rules into effect, if there are any.
    fn look(&self) {
        let problem = match self.source.look() {
            Ok(Some(rules)) => {
                let models = rules.iter().count();
                self.rules.store(Arc::new(rules));
                tracing::info!(models, "new rules of {} are in effect", self.source.name());
                None
            }
            Ok(None) => None,
            Err(problem) => Some(format!("{}: {problem}; the rules before stay", self.source.name())),
        };
        let mut current = self.problem();
        if *current == problem {
            return;
        }
        match &problem {
            Some(problem) => tracing::warn!("{problem}"),
            None => tracing::info!("{} can be used again", self.source.name()),
        }
        *current = problem;
    }

    /// Logs which versions of the rules do not answer, when that changes.
    fn log_pending(&self, logged: &mut Pending) {
        let rules = self.rules.load();
        let pending: Pending = (rules.iter())
            .map(|(model, traffic)| (model, traffic.pending(|target: &Target| self.answering(model, target))))
            .filter(|(_, pending)| !pending.is_empty())
            .map(|(model, pending)| (model.to_owned(), pending))
            .collect();
        if *logged == pending {
            return;
        }
        for (model, names) in pending.iter().filter(|(model, names)| logged.get(*model) != Some(names)) {
            let names = names.join(", ");
            tracing::warn!(%model, names, "versions of the traffic rules are not loaded: their weights go to the others");
        }
        for model in logged.keys().filter(|model| !pending.contains_key(*model)) {
            tracing::info!(%model, "all versions of the traffic rules are loaded");
        }
        *logged = pending;
    }
}
