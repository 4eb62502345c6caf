//! Looks at requests, and begins an attempt.

use jiff::{SignedDuration, Timestamp};
use tf_persist_core::SavedModel;

use super::{Loop, Numbers, Progress};
use crate::config::Config;
use crate::error::{LoopError, Result};
use crate::serving::{Rules, has_rules, write};
use crate::state::{Attempt, State, Step, elapsed};
use crate::watch::{look, reasons};

/// The cool-down is doubled at most so often.
const MOST_DOUBLED: u32 = 6;

impl Loop {
    pub(super) fn watch(&mut self) -> Result<Progress> {
        let now = Timestamp::now();
        self.follow_clock(now)?;
        if let Some(promote) = &self.config.promote
            && !has_rules(&promote.traffic, self.config.model.as_str())?
        {
            write(&promote.traffic, self.config.model.as_str(), &self.base_rules())?;
        }
        self.take_request()?;
        let production = self.production()?;
        let model = SavedModel::open(production.path())?;
        let since = first_time(&self.config, &self.state, now);
        // An attempt that a person asked for needs no log.
        let seen = match look(&self.config, &model, production.number(), since) {
            Err(_) if self.state.is_asked => crate::watch::Seen::default(),
            seen => seen?,
        };
        let found = match self.state.is_asked {
            true => vec!["a person asked for it".to_owned()],
            false => reasons(&self.config, &seen, production.manifest().published_at, now),
        };
        let rest = cool_down(&self.config, &self.state, now);
        if found.is_empty() || (rest > SignedDuration::ZERO && !self.state.is_asked) {
            self.say_what_was_seen(&seen, &found, rest);
            return Ok(Progress::Waiting);
        }
        let mut numbers = seen.numbers();
        numbers.insert("production".into(), production.number().into());
        let attempts = self.state.attempts.saturating_add(1);
        let attempt = Attempt {
            id: format!("{attempts}-{}", now.strftime("%Y%m%dT%H%M%SZ")),
            production: production.number(),
            version: None,
            metric: None,
            tries: 0,
            measured: 0,
            is_held: false,
        };
        let state =
            State { step: Step::Training, attempt: Some(attempt), attempts, is_asked: false, ..self.state.clone() };
        self.decide_as("train", found.join("; "), numbers, state)
    }

    /// Takes the request of a person who could not have the loop.
    fn take_request(&mut self) -> Result<()> {
        let path = self.folder.asked();
        if !path.exists() {
            return Ok(());
        }
        self.commit(State { is_asked: true, ..self.state.clone() })?;
        std::fs::remove_file(&path).map_err(LoopError::io("delete", &path))
    }

    fn say_what_was_seen(&mut self, seen: &crate::watch::Seen, found: &[String], rest: SignedDuration) {
        if !seen.notes.is_empty() {
            self.say_once("note", format!("in the logs: {}", seen.notes.join("; ")));
        }
        // Counts change with each look, and are not news.
        let news = if found.is_empty() { "nothing to do".to_owned() } else { found.join("; ") };
        let text = match found.is_empty() {
            true => format!("nothing to do: {} requests, {} labelled rows", seen.requests, seen.labelled),
            false => {
                format!("{}; the next attempt begins in {} s at the earliest", found.join("; "), rest.as_secs().max(1))
            }
        };
        if self.is_news("look", &news) {
            self.say("look", text, seen.numbers());
        }
    }

    /// A clock that was set back would hide requests, and stretch the cool-down.
    fn follow_clock(&mut self, now: Timestamp) -> Result<()> {
        let is_ahead = self.state.since > now || self.state.ended.is_some_and(|ended| ended > now);
        if !is_ahead {
            return Ok(());
        }
        self.say("note", "the clock was set back; requests are looked at from now on".to_owned(), Numbers::new());
        let (since, ended) = (self.state.since.min(now), self.state.ended.map(|ended| ended.min(now)));
        self.commit(State { since, ended, ..self.state.clone() })
    }

    /// Rules by which the version in production answers all requests that name none.
    pub(super) fn base_rules(&self) -> Rules {
        Rules { weights: vec![(self.config.label.to_string(), 100)], shadows: Vec::new() }
    }
}

/// The time from which on requests are looked at.
pub(super) fn first_time(config: &Config, state: &State, now: Timestamp) -> Timestamp {
    let window = config.watch.window.and_then(|window| now.checked_sub(window.signed()).ok());
    window.map_or(state.since, |start| start.max(state.since))
}

/// What is left of the cool-down.
pub(super) fn cool_down(config: &Config, state: &State, now: Timestamp) -> SignedDuration {
    let Some(ended) = state.ended else { return SignedDuration::ZERO };
    let doubled = 1_i32 << state.failures.saturating_sub(1).min(MOST_DOUBLED);
    let length = config.act.cool_down.signed().checked_mul(doubled).unwrap_or(SignedDuration::MAX);
    (length - elapsed(ended, now)).max(SignedDuration::ZERO)
}
