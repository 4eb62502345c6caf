//! Variables: which there are, and how far their values are apart.

use std::collections::BTreeMap;

use crate::checkpoint::{CheckpointReader, Entry};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::saved_model::{Variable, Variables};
use crate::tensor::{Comparison, Tensor, Tolerance};

/// What the variables of two models differ in.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct VariablesDiff {
    /// How many both models have.
    pub common: usize,
    /// Names of those that only the second has.
    pub added: Vec<String>,
    /// Names of those that only the first has.
    pub removed: Vec<String>,
    /// Those that both have and that differ, sorted by key. Values that differ within the tolerance are among them.
    pub changed: Vec<VariableDiff>,
}

/// A variable that differs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VariableDiff {
    /// What to call it.
    pub name: String,
    /// Its key in the checkpoint.
    pub key: String,
    /// What differs.
    pub change: VariableChange,
}

/// What differs in a variable; the first model's before the second's.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VariableChange {
    /// The dtype.
    DType(DType, DType),
    /// The shape.
    Shape(Vec<usize>, Vec<usize>),
    /// Values: the second model's, compared with the first's. Those of types that no tensor holds, such as float8, byte for byte.
    Values(Comparison),
}

impl VariableDiff {
    /// Whether its values differ, but no more than is tolerated.
    #[must_use]
    pub fn is_within(&self) -> bool {
        matches!(&self.change, VariableChange::Values(comparison) if comparison.is_within())
    }
}

impl VariablesDiff {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.iter().all(VariableDiff::is_within)
    }
}

pub(super) fn diff(a: &Variables, b: &Variables, tolerance: Tolerance) -> Result<VariablesDiff> {
    let mut all = VariablesDiff::default();
    let reader = |variables: &Variables| variables.index.clone().map(CheckpointReader::new);
    let readers = (reader(a), reader(b));
    let by_key = |variables: &Variables| -> BTreeMap<String, Variable> {
        variables.all.iter().map(|it| (it.entry.key.clone(), it.clone())).collect()
    };
    let (of_a, of_b) = (by_key(a), by_key(b));
    all.added = of_b.values().filter(|it| !of_a.contains_key(&it.entry.key)).map(|it| it.name.clone()).collect();
    for (key, variable) in of_a {
        let name = variable.name;
        let (Some(other), (Some(reader), Some(other_reader))) = (of_b.get(&key), &readers) else {
            all.removed.push(name);
            continue;
        };
        all.common += 1;
        let (before, after) = (&variable.entry, &other.entry);
        let change = if before.dtype != after.dtype {
            VariableChange::DType(before.dtype, after.dtype)
        } else if before.shape != after.shape {
            VariableChange::Shape(before.shape.clone(), after.shape.clone())
        } else {
            let (Some(before), Some(after)) = (read(reader, before)?, read(other_reader, after)?) else { continue };
            let Some(comparison) = Comparison::of(&after, &before, tolerance)?.filter(|it| !it.is_equal()) else {
                continue;
            };
            VariableChange::Values(comparison)
        };
        all.changed.push(VariableDiff { name, key, change });
    }
    Ok(all)
}

/// A variable's values; `None` of handles, which have none.
fn read(reader: &CheckpointReader, entry: &Entry) -> Result<Option<Tensor>> {
    match entry.dtype {
        DType::Invalid | DType::Resource | DType::Variant => Ok(None),
        DType::Other(_) => match reader.read_bytes(&entry.key) {
            // Numbers that nobody knows have no size, and checkpoints of them no reader.
            Err(Error::UnsupportedDType { .. }) => Ok(None),
            bytes => bytes.map(Some),
        },
        _ => reader.read(&entry.key).map(Some),
    }
}
