//! Trains a model, measures it, and makes a version of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tf_persist_store::{Folder as VersionFolder, PublishOptions, Reference, Selector, Version};

use super::{Loop, Numbers, Progress};
use crate::error::{LoopError, Result};
use crate::gates;
use crate::state::{Attempt, State, Step};
use crate::train::{HELD_OUT, MODEL, train};

/// The key of a version's metadata that says which attempt published it.
const METADATA: &str = "loop";

/// A training that ended its process so often is not begun again.
const MOST_TRIES: u32 = 10;

impl Loop {
    pub(super) fn train(&mut self) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        let mut attempt = self.attempt()?.clone();
        if attempt.tries >= MOST_TRIES {
            let reason = format!("the training was begun {MOST_TRIES} times and ended its process each time");
            return self.fail("fail", reason, Numbers::new());
        }
        let start = match self.start(&attempt)? {
            Ok(start) => start,
            Err(reason) => return self.fail("fail", format!("the training cannot start: {reason}"), Numbers::new()),
        };
        attempt.tries += 1;
        // What keeps this from being done is no try that ended its process.
        let folder = self.folder.renew(&attempt)?;
        self.commit(State { attempt: Some(attempt.clone()), ..self.state.clone() })?;
        match train(&self.config, &start, &folder, &self.tools) {
            Ok(numbers) => {
                crate::state::sync(&folder)?;
                let rows = numbers.get("rows").and_then(Value::as_u64).unwrap_or(0);
                self.decide("measure", format!("a model was trained on {rows} rows"), numbers, Step::Gating)
            }
            Err(LoopError::Stopped) => {
                // Its end was asked for, so it does not count.
                attempt.tries -= 1;
                self.commit(State { attempt: Some(attempt), ..self.state.clone() })?;
                Err(LoopError::Stopped)
            }
            Err(error) => self.fail("fail", format!("the training failed: {}", explained(&error)), Numbers::new()),
        }
    }

    /// The folder of the model that the training starts from, or why there is none.
    fn start(&self, attempt: &Attempt) -> Result<Result<PathBuf, String>> {
        let number = match self.config.train.start.as_deref() {
            Some(start) if start != self.config.label.as_str() => match start.parse() {
                Ok(number) => number,
                Err(_) => return Ok(Ok(PathBuf::from(start))),
            },
            _ => attempt.production,
        };
        Ok(self.usable(number)?.map(|version| version.path().to_path_buf()))
    }

    pub(super) fn gate(&mut self) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        let folder = self.folder.of(self.attempt()?);
        if !folder.join(MODEL).is_dir() || !folder.join(HELD_OUT).is_file() {
            self.say("note", "the trained model is gone, and is trained again".to_owned(), Numbers::new());
            return self.go(Step::Training);
        }
        let mut attempt = self.attempt()?.clone();
        let production = match self.usable(attempt.production)? {
            Ok(production) => production,
            Err(reason) => return self.fail("fail", format!("production is unusable: {reason}"), Numbers::new()),
        };
        if attempt.measured >= MOST_TRIES {
            let reason = format!("the measuring was begun {MOST_TRIES} times and ended its process each time");
            return self.fail("fail", reason, Numbers::new());
        }
        attempt.measured += 1;
        self.commit(State { attempt: Some(attempt.clone()), ..self.state.clone() })?;
        let verdict = match gates::measure(&self.config, production.path(), &folder, &self.tools) {
            Ok(verdict) => verdict,
            Err(error) => {
                let reason = format!("the trained model could not be measured: {}", explained(&error));
                return self.fail("fail", reason, Numbers::new());
            }
        };
        if !verdict.failures.is_empty() {
            return self.fail("refuse", verdict.failures.join("; "), verdict.numbers);
        }
        if let Err(error) = gates::prepare(&self.config, production.path(), &folder, &self.tools) {
            let reason = format!("the trained model could not be prepared: {}", explained(&error));
            return self.fail("fail", reason, verdict.numbers);
        }
        attempt.metric = verdict.metric;
        let state = State { step: Step::Publishing { since: None }, attempt: Some(attempt), ..self.state.clone() };
        self.decide_as("publish", "all gates hold", verdict.numbers, state)
    }

    pub(super) fn publish(&mut self, since: Option<Timestamp>) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        if self.config.promote.is_some() {
            let Some(since) = since else { return self.go(Step::Publishing { since: Some(Timestamp::now()) }) };
            // The newest version answers requests that name none, unless there are rules.
            let production = self.attempt()?.production;
            if let Err(error) =
                self.put_rules(&self.base_rules(), |page, model| page.share(model, production) == Some(1.0))
            {
                let within = self.first_within();
                return self.or_fail_late(error, since, within);
            }
        }
        let mut attempt = self.attempt()?.clone();
        let version = match self.published(&attempt.id)? {
            Some(version) => version,
            None => {
                let path = self.folder.of(&attempt).join(MODEL);
                if !path.is_dir() {
                    self.say("note", "the trained model is gone, and is trained again".to_owned(), Numbers::new());
                    return self.go(Step::Training);
                }
                self.publish_from(&path, &attempt)?
            }
        };
        attempt.version = Some(version.number());
        let promote = self.config.promote.as_ref();
        let step = match promote.map(|promote| (promote.shadow.is_some(), promote.canary.is_empty())) {
            Some((true, _)) => Step::Shadow { since: Timestamp::now(), counted: None },
            Some((false, false)) => Step::Canary { index: 0, since: Timestamp::now(), counted: None },
            _ => Step::Promoting { since: None },
        };
        let (decision, reason) = match &step {
            Step::Shadow { .. } => ("shadow", "both versions answer, and those of production are sent".to_owned()),
            Step::Canary { .. } => ("canary", self.canary_reason(0)),
            _ => ("promote", "all gates hold, and there are no steps before promotion".to_owned()),
        };
        let state = State { step, attempt: Some(attempt), ..self.state.clone() };
        self.decide_as(decision, reason, Numbers::new(), state)
    }

    fn publish_from(&self, path: &Path, attempt: &Attempt) -> Result<Version> {
        let mut metadata: Map<String, Value> = Map::new();
        let numbers = self.state.decision.as_ref().map(|decision| decision.numbers.clone()).unwrap_or_default();
        metadata.insert(METADATA.into(), json!({ "attempt": attempt.id, "gates": numbers }));
        let mut options = PublishOptions::default()
            .metadata(metadata)
            .source(format!("attempt {} of a loop", attempt.id))
            .note(format!("trained on from version {}", attempt.production));
        if let Some(promote) = &self.config.promote {
            options = options.label(promote.label.clone());
        }
        Ok(self.store.publish(&self.config.model, path, options)?)
    }

    /// Whether an attempt published a version; without one, whether any did.
    pub(super) fn is_of_attempt(&self, version: &Version) -> bool {
        let of_version = version.manifest().metadata.get(METADATA).and_then(|it| it.get("attempt"));
        match &self.state.attempt {
            Some(attempt) => {
                attempt.version == Some(version.number())
                    || of_version.and_then(Value::as_str) == Some(attempt.id.as_str())
            }
            None => of_version.is_some(),
        }
    }

    /// The version that an attempt published.
    fn published(&self, id: &str) -> Result<Option<Version>> {
        let overview = self.store.overview(&self.config.model)?;
        for folder in overview.folders.iter().rev() {
            let VersionFolder::Published(number) = folder else { continue };
            let selector = Selector::Number(*number);
            // Whatever happened to the files of the others.
            let version = self.store.find(&Reference { model: self.config.model.clone(), selector })?;
            let of_loop = version.manifest().metadata.get(METADATA);
            let attempt = of_loop.and_then(|it| it.get("attempt")).and_then(Value::as_str);
            if attempt == Some(id) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Ends the attempt if somebody else has moved the label meanwhile.
    pub(super) fn abandoned(&mut self) -> Result<Option<Progress>> {
        let expected = self.attempt()?.production;
        let found = self.production()?.number();
        if found == expected {
            return Ok(None);
        }
        let label = &self.config.label;
        let reason = format!("`{label}` was moved from version {expected} to {found} by somebody else");
        self.fail("abandon", reason, Numbers::new()).map(Some)
    }
}

/// An error with what the library knows of its cause.
fn explained(error: &LoopError) -> String {
    let hint = match error {
        LoopError::Model(error) => error.hint(),
        _ => None,
    };
    match hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}
