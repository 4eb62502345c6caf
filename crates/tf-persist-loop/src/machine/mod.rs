//! The state machine: one step after the other, each of which is committed by writing the state.

mod attempt;
mod guarding;
mod plan;
mod promotion;
mod watching;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tf_persist_store::{Decision, Folder as VersionFolder, Label, Reference, Selector, Store, StoreError, Version};

pub use plan::plan;

use crate::config::Config;
use crate::error::{LoopError, Result};
use crate::state::{Attempt, Folder, State, Step};
use crate::tools::{Line, Tools};

/// The time between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long a loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A stop is asked for.
    Stopped,
    /// Nothing is left to do now: it would wait for requests, labels or time to pass.
    NothingToDo,
}

/// The most characters of a reason. Errors of models can have many.
const MOST_REASON: usize = 2000;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The next step can be made.
    Moved,
    /// There is nothing to do now.
    Waiting,
}

/// The numbers of a decision.
type Numbers = Map<String, Value>;

/// A loop that this process has.
#[derive(Debug)]
pub struct Loop {
    config: Config,
    tools: Tools,
    store: Store,
    folder: Folder,
    state: State,
    /// The last lines of a kind, which are not repeated.
    said: BTreeMap<String, String>,
}

impl Loop {
    /// Takes the loop of a model, and goes on from its state.
    ///
    /// # Errors
    /// [`LoopError::Busy`] if another process has it; if there is no such store, model or label; if the state cannot be
    /// read.
    pub fn open(config: Config, tools: Tools) -> Result<Self> {
        let store = Store::open(&config.store)?;
        let reference = Reference { model: config.model.clone(), selector: Selector::Label(config.label.clone()) };
        store.find(&reference)?;
        let folder = Folder::take(&store, &config.model)?;
        let state = match folder.read()? {
            Some(state) => state,
            None => {
                let state = Self::first_state(&store, &config)?;
                folder.write(&state)?;
                state
            }
        };
        let it = Self { config, tools, store, folder, state, said: BTreeMap::new() };
        it.note()?;
        Ok(it)
    }

    /// The state of a loop that has none, which may have been lost.
    fn first_state(store: &Store, config: &Config) -> Result<State> {
        let mut state = State::new(Timestamp::now());
        let decisions = store.decisions(&config.model)?;
        state.attempts = decisions.iter().filter(|it| it.decision == "train").count() as u64;
        if !decisions.is_empty() {
            // An attempt that nobody remembers may have left rules and labels.
            state.step = Step::Ending { succeeded: false };
        }
        state.decision = decisions.into_iter().next_back();
        Ok(state)
    }

    /// Asks the loop that another process has to train a new version although there is no reason. It does once it
    /// watches.
    ///
    /// # Errors
    /// If there is no such store, or the request cannot be written.
    pub fn ask(config: &Config) -> Result<()> {
        Folder::ask(&Store::open(&config.store)?, &config.model)
    }

    /// Has a new version trained although there is no reason, unless an attempt is under way.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub fn act_now(&mut self) -> Result<()> {
        if self.state.attempt.is_some() {
            let text = "an attempt is under way already, and goes on".to_owned();
            self.say("note", text, Numbers::new());
            return Ok(());
        }
        self.commit(State { is_asked: true, ..self.state.clone() })
    }

    /// Goes on, step by step. A stop that [`Tools::stop_when`] asks for ends it without an error.
    ///
    /// # Errors
    /// What keeps it from going on. With [`Until::Stopped`] it is reported and tried again instead.
    pub fn run(&mut self, until: Until) -> Result<()> {
        loop {
            if self.tools.is_stopping() {
                return Ok(());
            }
            match self.advance() {
                Ok(Progress::Moved) => continue,
                Ok(Progress::Waiting) if until == Until::NothingToDo => return Ok(()),
                Ok(Progress::Waiting) => {}
                Err(LoopError::Stopped) => return Ok(()),
                Err(error) if until == Until::NothingToDo => return Err(error),
                Err(error) => self.say_once("error", error.to_string()),
            }
            let end = Instant::now() + self.config.watch.every.duration();
            while Instant::now() < end && !self.tools.is_stopping() {
                thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
            }
        }
    }

    fn advance(&mut self) -> Result<Progress> {
        // The store may have refused it before, for example because the disk was full.
        self.note()?;
        match self.state.step.clone() {
            Step::Watching => self.watch(),
            Step::Training => self.train(),
            Step::Gating => self.gate(),
            Step::Publishing { since } => self.publish(since),
            Step::Shadow { since, counted } => self.shadow(since, counted),
            Step::Canary { index, since, counted } => self.canary(index, since, counted),
            Step::Promoting { since } => self.promote(since),
            Step::Guarding { since } => self.guard(since),
            Step::RollingBack => self.roll_back(),
            Step::Ending { succeeded } => self.end(succeeded),
        }
    }

    /// Makes a state the one to go on from.
    fn commit(&mut self, state: State) -> Result<()> {
        self.folder.write(&state)?;
        self.state = state;
        Ok(())
    }

    /// Commits a step.
    fn go(&mut self, step: Step) -> Result<Progress> {
        self.commit(State { step, ..self.state.clone() })?;
        Ok(Progress::Moved)
    }

    /// Commits a step with the decision for it, which the store then notes.
    fn decide(&mut self, decision: &str, reason: impl Into<String>, numbers: Numbers, step: Step) -> Result<Progress> {
        let state = State { step, ..self.state.clone() };
        self.decide_as(decision, reason, numbers, state)
    }

    fn decide_as(
        &mut self,
        decision: &str,
        reason: impl Into<String>,
        numbers: Numbers,
        mut state: State,
    ) -> Result<Progress> {
        let mut decided = Decision::new(self.state.next_decision(), decision, cut(reason.into()));
        decided.attempt = state.attempt.as_ref().map(|attempt| attempt.id.clone());
        decided.version = state.attempt.as_ref().and_then(|attempt| attempt.version);
        decided.numbers = numbers;
        state.decision = Some(decided.clone());
        self.commit(state)?;
        self.say(&decided.decision, decided.reason, decided.numbers);
        self.note()?;
        Ok(Progress::Moved)
    }

    /// Ends the attempt without a new version in production.
    fn fail(&mut self, decision: &str, reason: impl Into<String>, numbers: Numbers) -> Result<Progress> {
        self.decide(decision, reason, numbers, Step::Ending { succeeded: false })
    }

    /// Has the store note the last decision, if it has not.
    fn note(&self) -> Result<()> {
        if let Some(decision) = &self.state.decision {
            self.store.decide(&self.config.model, decision)?;
        }
        Ok(())
    }

    fn attempt(&self) -> Result<&Attempt> {
        let lost = || LoopError::Other("the state of the loop has no attempt, although one is under way".to_owned());
        self.state.attempt.as_ref().ok_or_else(lost)
    }

    /// A version by its number.
    fn version(&self, number: u64) -> Result<Version> {
        let selector = Selector::Number(number);
        Ok(self.store.resolve(&Reference { model: self.config.model.clone(), selector })?)
    }

    /// A version by its number, or why it can never be used.
    fn usable(&self, number: u64) -> Result<Result<Version, String>> {
        use StoreError::{Changed, Foreign, UnknownVersion};
        match self.version(number) {
            Ok(version) => Ok(Ok(version)),
            Err(LoopError::Store(error @ (Changed { .. } | Foreign { .. } | UnknownVersion { .. }))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => {
                match self.store.overview(&self.config.model)?.folders.contains(&VersionFolder::Missing(number)) {
                    true => Ok(Err(format!("the files of version {number} are gone"))),
                    false => Err(error),
                }
            }
        }
    }

    /// The version that a label points to.
    fn labelled(&self, label: &Label) -> Result<Option<u64>> {
        let labels = self.store.overview(&self.config.model)?.labels;
        Ok(labels.into_iter().find(|(other, _)| other == label).map(|(_, number)| number))
    }

    /// The version in production.
    fn production(&self) -> Result<Version> {
        let selector = Selector::Label(self.config.label.clone());
        Ok(self.store.find(&Reference { model: self.config.model.clone(), selector })?)
    }

    fn say(&self, kind: &str, text: String, numbers: Numbers) {
        let attempt = self.state.attempt.as_ref();
        self.tools.say(&Line {
            at: Timestamp::now(),
            step: self.state.step.name(),
            kind: kind.to_owned(),
            text,
            attempt: attempt.map(|attempt| attempt.id.clone()),
            version: attempt.and_then(|attempt| attempt.version),
            numbers,
        });
    }

    /// Says something, unless it was said the last time.
    fn say_once(&mut self, kind: &str, text: String) {
        if self.is_news(kind, &text) {
            self.say(kind, text, Numbers::new());
        }
    }

    /// Whether this is not what was said of its kind the last time.
    fn is_news(&mut self, kind: &str, text: &str) -> bool {
        self.said.insert(kind.to_owned(), text.to_owned()).as_deref() != Some(text)
    }

    /// Waits until something holds, for at most the patience of the configuration. `false` if it did not come.
    fn wait_for(&self, holds: impl Fn() -> Result<bool>) -> Result<bool> {
        let patience = self.config.promote.as_ref().map_or(Duration::ZERO, |promote| promote.patience.duration());
        let end = Instant::now() + patience;
        loop {
            let found = holds();
            if self.tools.is_stopping() {
                return Err(LoopError::Stopped);
            }
            match found {
                Ok(true) => return Ok(true),
                // The server may be starting.
                found if Instant::now() >= end => return found,
                _ => thread::sleep(LOOK),
            }
        }
    }
}

/// A reason that is not too long for the log.
fn cut(reason: String) -> String {
    match reason.char_indices().nth(MOST_REASON) {
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
        None => reason,
    }
}

#[cfg(test)]
mod tests;
