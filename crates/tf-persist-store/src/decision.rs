//! What a loop decided about a model, and why.
//!
//! Decisions have a file of their own beside the log of events: earlier versions of this library refuse a log with
//! events that they do not know, and servers follow the file with the labels.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Result, StoreError};
use crate::event::{MAX_EVENT, Tail};
use crate::lock::Locked;
use crate::name::ModelName;
use crate::store::Store;

/// A decision about a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// When it was made. Never before the decision before, even where a clock was set back.
    pub at: Timestamp,
    /// Who made it: user and machine.
    pub by: String,
    /// What was decided, such as `train`, `refuse`, `promote` or `roll_back`.
    pub decision: String,
    /// The attempt at a new version that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The version that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The reason, as a sentence.
    pub reason: String,
    /// The numbers that it was made by.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
}

impl Decision {
    /// A decision of this moment by the user of this process.
    #[must_use]
    pub fn new(number: u64, decision: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            number,
            at: Timestamp::now(),
            by: crate::event::whoami(),
            decision: decision.into(),
            attempt: None,
            version: None,
            reason: reason.into(),
            numbers: Map::new(),
        }
    }
}

impl Store {
    /// All decisions about a model, the oldest first.
    ///
    /// # Errors
    /// If there is no such model, or the file is damaged.
    pub fn decisions(&self, model: &ModelName) -> Result<Vec<Decision>> {
        let path = self.model_layout(model)?.decisions();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(StoreError::io("open", &path))?,
        };
        let (mut reader, mut decisions) = (BufReader::new(file), Vec::new());
        loop {
            let mut line = Vec::new();
            let read = reader.by_ref().take(MAX_EVENT).read_until(b'\n', &mut line);
            read.map_err(StoreError::io("read", &path))?;
            // A line without an end is one whose writer was killed.
            let Some(line) = line.strip_suffix(b"\n") else { return Ok(decisions) };
            decisions.push(parse(&path, line)?);
        }
    }

    /// Notes a decision durably, unless the one with its number is there. Returns whether it was added.
    ///
    /// # Errors
    /// If there is no such model, a decision is missing in between, or it cannot be written. Then nothing has changed.
    pub fn decide(&self, model: &ModelName, decision: &Decision) -> Result<bool> {
        let layout = self.model_layout(model)?;
        let _locked = Locked::take(&layout)?;
        let path = layout.decisions();
        let tail = Tail::open(&path)?;
        let last = tail.last.as_deref().map(|line| parse(&path, line)).transpose()?;
        let known = last.as_ref().map_or(0, |last| last.number);
        if decision.number <= known {
            return Ok(false);
        }
        // A file that somebody has deleted begins anew.
        if last.is_some() && decision.number > known + 1 {
            let reason = format!("its last decision is {known}, and the next one is {}", decision.number);
            return Err(StoreError::damaged(&path, reason));
        }
        let mut decision = decision.clone();
        decision.at = last.map_or(decision.at, |last| last.at.max(decision.at));
        let mut line = serde_json::to_vec(&decision).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        line.push(b'\n');
        if line.len() as u64 > MAX_EVENT {
            return Err(StoreError::damaged(&path, format!("a decision has more than {MAX_EVENT} bytes")));
        }
        tail.append(&line).map(|()| true)
    }
}

fn parse(path: &std::path::Path, line: &[u8]) -> Result<Decision> {
    serde_json::from_slice(line).map_err(|error| StoreError::damaged(path, format!("a decision is invalid: {error}")))
}
