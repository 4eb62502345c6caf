//! A reference as a JSON file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tf_persist_savedmodel::SavedModel;
use tf_persist_savedmodel::internals::push_hex;

use super::{CategoryReference, FeatureReference, Known, NumberReference, Reference};
use crate::as_text;
use crate::error::{MonitorError, Result};
use crate::plan::{Plan, TensorPlan};
use crate::tally::{Edges, MAX_LISTED, Range};

/// The name and the version of the format.
const SCHEMA: &str = "tf-persist-monitor-reference/1";

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// More rows than any log has: counts of them add up without an overflow.
const MAX_ROWS: u64 = 1 << 48;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceFile {
    schema: String,
    model: String,
    signature: String,
    made: String,
    rows: u64,
    is_batched: bool,
    tensors: Vec<TensorPlan>,
    features: Vec<FeatureFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureFile {
    name: String,
    rows: u64,
    missing: u64,
    /// About as many distinct values.
    distinct: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<NumberFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<CategoryFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberFile {
    #[serde(with = "as_text")]
    min: f64,
    #[serde(with = "as_text")]
    max: f64,
    #[serde(with = "as_text")]
    mean: f64,
    #[serde(with = "as_text")]
    deviation: f64,
    edges: Edges,
    /// Numbers with a space between them, one more than edges.
    counts: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryFile {
    /// The most frequent categories with their counts.
    values: Vec<(String, u64)>,
    rest: u64,
}

/// The path of the reference of a model, in its folder.
pub const REFERENCE_FILE: &str = "assets.extra/monitor_reference.json";

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a reference.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let length = fs::metadata(path).map_err(MonitorError::io("read", path))?.len();
        if length > MAX_BYTES {
            return Err(MonitorError::file(path, format!("is not a reference: it has more than {MAX_BYTES} bytes")));
        }
        let bytes = fs::read(path).map_err(MonitorError::io("read", path))?;
        Self::parse(&bytes).map_err(|reason| MonitorError::file(path, format!("is not a reference: {reason}")))
    }

    /// The reference that a model has in its folder; `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a reference.
    pub fn of_model(model: &SavedModel) -> Result<Option<Self>> {
        let Some(bytes) = model.files().read(REFERENCE_FILE, MAX_BYTES, "a reference")? else { return Ok(None) };
        let path = model.path().join(REFERENCE_FILE);
        let invalid = |reason| MonitorError::file(path, format!("is not a reference: {reason}"));
        Self::parse(&bytes).map(Some).map_err(invalid)
    }

    /// Reads a reference from the bytes of its file.
    ///
    /// # Errors
    /// A sentence, if they are not one.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file: ReferenceFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if file.schema != SCHEMA {
            return Err(format!("its schema is `{}` instead of `{SCHEMA}`", file.schema.escape_debug()));
        }
        let plan = Plan::new(file.is_batched, file.tensors)?;
        if plan.features.len() != file.features.len() {
            return Err(format!("it has {} features instead of {}", file.features.len(), plan.features.len()));
        }
        let mut features = Vec::with_capacity(file.features.len());
        for (planned, feature) in plan.features.iter().zip(file.features) {
            if planned.name != feature.name {
                return Err(format!("it has the feature `{}` where `{}` is expected", feature.name, planned.name));
            }
            let name = feature.name.clone();
            features.push(read_feature(feature, planned.is_category).map_err(|reason| format!("`{name}` {reason}"))?);
        }
        let (model, signature, made, rows) = (file.model, file.signature, file.made, file.rows);
        Ok(Self { model, signature, made, rows, plan, features, identity: String::new() }.identified())
    }

    /// The bytes of its file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Writing numbers and texts to memory does not fail.
        let mut text = serde_json::to_string_pretty(&self.file()).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The model whose log it was made of; empty if it was made of arrays.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The rows that it was made of.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of features.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.features.len()
    }

    /// With its identity.
    pub(crate) fn identified(mut self) -> Self {
        let file = serde_json::to_string(&self.file()).unwrap_or_default();
        self.identity.clear();
        push_hex(&mut self.identity, &Sha256::digest(file));
        self
    }

    fn file(&self) -> ReferenceFile {
        let features = self.plan.features.iter().zip(&self.features);
        ReferenceFile {
            schema: SCHEMA.to_owned(),
            model: self.model.clone(),
            signature: self.signature.clone(),
            made: self.made.clone(),
            rows: self.rows,
            is_batched: self.plan.is_batched,
            tensors: self.plan.tensors.clone(),
            features: features.map(|(planned, feature)| feature_file(&planned.name, feature)).collect(),
        }
    }
}

fn feature_file(name: &str, feature: &FeatureReference) -> FeatureFile {
    let (mut number, mut category) = (None, None);
    match &feature.known {
        Known::Nothing => {}
        Known::Number(known) => {
            let counts: Vec<String> = known.counts.iter().map(u64::to_string).collect();
            number = Some(NumberFile {
                min: known.range.min,
                max: known.range.max,
                mean: known.mean,
                deviation: known.deviation,
                edges: Edges::clone(&known.edges),
                counts: counts.join(" "),
            });
        }
        Known::Category(known) => {
            category = Some(CategoryFile { values: known.listed.clone(), rest: known.rest });
        }
    }
    let (rows, missing, distinct) = (feature.rows, feature.missing, feature.distinct);
    FeatureFile { name: name.to_owned(), rows, missing, distinct, number, category }
}

fn read_feature(file: FeatureFile, is_category: bool) -> Result<FeatureReference, String> {
    let (rows, missing, distinct) = (file.rows, file.missing, file.distinct);
    if missing > rows || rows > MAX_ROWS {
        return Err(format!("has {missing} missing of {rows} rows"));
    }
    let expected = rows - missing;
    let known = match (file.number, file.category) {
        (None, None) => Known::Nothing,
        (Some(number), None) if !is_category => {
            let counts: Result<Vec<u64>, _> = number.counts.split(' ').map(str::parse).collect();
            let counts = counts.map_err(|error| format!("has counts that cannot be read: {error}"))?;
            if counts.len() != number.edges.bins() || sum(counts.iter().copied()) != Some(expected) {
                return Err("has counts that do not go with its edges or its rows".to_owned());
            }
            let range = Range { min: number.min, max: number.max };
            if !(range.min <= range.max && number.deviation >= 0.0) {
                return Err("has a range or a deviation that cannot be".to_owned());
            }
            let moments = (number.mean, number.deviation);
            Known::Number(NumberReference::new(range, moments, Arc::new(number.edges), counts))
        }
        (None, Some(category)) if is_category => {
            let listed = category.values.iter().map(|(_, count)| *count);
            if category.values.len() > MAX_LISTED || sum(listed.chain([category.rest])) != Some(expected) {
                return Err("has categories that do not go with its rows".to_owned());
            }
            let reference = CategoryReference::new(category.values, category.rest);
            if !reference.has_distinct_names() {
                return Err("has a category twice".to_owned());
            }
            Known::Category(reference)
        }
        _ => return Err("is not what its tensor says".to_owned()),
    };
    Ok(FeatureReference { rows, missing, distinct, known })
}

/// The sum of counts, if it is a number.
fn sum(mut counts: impl Iterator<Item = u64>) -> Option<u64> {
    counts.try_fold(0, u64::checked_add)
}
