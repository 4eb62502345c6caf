//! A state as a JSON file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Group, MAX_SLICES, MAX_WINDOWS, OTHER_VALUES, State, Traffic};
use crate::error::{MonitorError, Result};
use crate::plan::{Plan, TensorPlan};
use crate::quality::{LabelCounts, Quality, Target};
use crate::reference::{Known, Reference};
use crate::tally::Tally;

/// The name and the version of the format.
const SCHEMA: &str = "tf-persist-monitor-state/1";

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// The largest number in a file: those of a thousand files add up without an overflow.
const MAX_NUMBER: u64 = 1 << 53;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    schema: String,
    model: String,
    signature: String,
    reference: Option<String>,
    is_batched: bool,
    tensors: Vec<TensorPlan>,
    traffic: Traffic,
    tallies: Vec<Tally>,
    target: Option<Target>,
    labels: LabelCounts,
    quality: Quality,
    window: Option<i64>,
    windows: BTreeMap<i64, Group>,
    slice_names: Vec<String>,
    slices: Vec<(usize, String, Group)>,
    notes: Vec<String>,
}

impl State {
    /// The bytes of its file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = StateFile {
            schema: SCHEMA.to_owned(),
            model: self.model.clone(),
            signature: self.signature.clone(),
            reference: self.reference.clone(),
            is_batched: self.plan.is_batched,
            tensors: self.plan.tensors.clone(),
            traffic: self.traffic.clone(),
            tallies: self.tallies.clone(),
            target: self.target.clone(),
            labels: self.labels,
            quality: self.quality.clone(),
            window: self.window,
            windows: self.windows.clone(),
            slice_names: self.slice_names.clone(),
            slices: self.slices.iter().map(|((at, value), group)| (*at, value.clone(), group.clone())).collect(),
            notes: self.notes.clone(),
        };
        // Writing numbers and texts to memory does not fail.
        let mut text = serde_json::to_string(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Whether a file is a state, as its first bytes tell.
    #[must_use]
    pub fn is_state(path: &Path) -> bool {
        use std::io::Read;
        let mut start = [0; 64];
        let read = fs::File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
        start.get(..read).is_some_and(|start| start.starts_with(format!("{{\"schema\":\"{SCHEMA}\"").as_bytes()))
    }

    /// Reads a state, which was counted against this reference.
    ///
    /// # Errors
    /// If the file cannot be read, is not a state, or was made with another reference.
    pub fn read(path: impl AsRef<Path>, reference: Option<&Reference>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: String| MonitorError::file(path, format!("is not a state for this report: {reason}"));
        let length = fs::metadata(path).map_err(MonitorError::io("read", path))?.len();
        if length > MAX_BYTES {
            return Err(refuse(format!("it has more than {MAX_BYTES} bytes")));
        }
        let bytes = fs::read(path).map_err(MonitorError::io("read", path))?;
        Self::parse(&bytes, reference).map_err(refuse)
    }

    /// Reads a state from the bytes of its file.
    ///
    /// # Errors
    /// A sentence, if they are not one, or it was made with another reference.
    pub fn parse(bytes: &[u8], reference: Option<&Reference>) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if !has_only_small_numbers(&value) {
            return Err("it has a number that no log has".to_owned());
        }
        let file: StateFile = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if file.schema != SCHEMA {
            return Err(format!("its schema is `{}` instead of `{SCHEMA}`", file.schema.escape_debug()));
        }
        if file.reference.as_deref() != reference.map(|reference| reference.identity.as_str()) {
            return Err("it was made with another reference".to_owned());
        }
        from_file(file, reference)
    }
}

fn from_file(file: StateFile, reference: Option<&Reference>) -> Result<State, String> {
    let plan = match file.tensors.is_empty() && reference.is_none() {
        true => Plan::of_nothing(file.is_batched),
        false => Plan::new(file.is_batched, file.tensors)?,
    };
    if reference.is_some_and(|reference| reference.plan != plan) || file.tallies.len() != plan.features.len() {
        return Err("its features are not those of its tensors".to_owned());
    }
    let mut tallies = file.tallies;
    for (index, (tally, feature)) in tallies.iter_mut().zip(&plan.features).enumerate() {
        let known = reference.and_then(|reference| reference.features.get(index)).map(|feature| &feature.known);
        let checked = match (tally, feature.is_category) {
            (Tally::Number(number), false) => match known {
                Some(Known::Number(known)) => number.attach(Some(known.edges.clone()), Some(known.range)),
                _ => number.attach(None, None),
            },
            (Tally::Category(category), true) => category.check(),
            _ => Err("it is not what its tensor says".to_owned()),
        };
        checked.map_err(|reason| format!("`{}`: {reason}", feature.name))?;
    }
    let (mut windows, mut slices) = (file.windows, BTreeMap::new());
    slices.extend(file.slices.into_iter().map(|(at, value, group)| ((at, value), group)));
    if let Some(reference) = reference {
        windows.values_mut().chain(slices.values_mut()).for_each(|group| reference.renew_groups(&mut group.counts));
    }
    let groups: usize = reference.iter().flat_map(|reference| &reference.features).map(|it| it.group_count()).sum();
    let fits = |group: &Group| group.counts.is_empty() || group.counts.len() == groups;
    let is_whole = windows.values().chain(slices.values()).all(fits)
        && windows.len() <= MAX_WINDOWS
        && file.window.is_none_or(|window| window > 0)
        && slices.keys().all(|(at, _)| *at < file.slice_names.len())
        && slices.len() <= file.slice_names.len() * (MAX_SLICES + 1)
        && slices.keys().all(|(_, value)| value.len() <= 256.max(OTHER_VALUES.len()));
    if !is_whole {
        return Err("its windows or slices are not whole".to_owned());
    }
    Ok(State {
        model: file.model,
        signature: file.signature,
        reference: file.reference,
        plan: Arc::new(plan),
        traffic: file.traffic,
        tallies,
        target: file.target,
        labels: file.labels,
        quality: file.quality,
        unanswered: 0,
        window: file.window,
        windows,
        slice_names: file.slice_names,
        slices,
        notes: file.notes,
    })
}

fn has_only_small_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number <= MAX_NUMBER,
            (None, Some(number)) => number.unsigned_abs() <= MAX_NUMBER,
            (None, None) => number.as_f64().is_some_and(f64::is_finite),
        },
        Value::Array(values) => values.iter().all(has_only_small_numbers),
        Value::Object(members) => members.values().all(has_only_small_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
