//! Compares variables: their names and values.

use std::collections::{BTreeMap, VecDeque};

use super::canonical::{Hash, Parts};
use crate::checkpoint::{CheckpointReader, Entry};
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::saved_model::{Table, Variable, Variables};
use crate::tensor::{Comparison, Tensor, Tolerance};

/// The differences between the variables of two models.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct VariablesDiff {
    /// The number of variables and tables in both models.
    pub common: usize,
    /// The number of tables among them.
    pub tables: usize,
    /// Names of variables that only the second has.
    pub added: Vec<String>,
    /// Names of variables that only the first has.
    pub removed: Vec<String>,
    /// Variables that both have and that differ, sorted by key, including those within the tolerance.
    pub changed: Vec<VariableDiff>,
}

/// A variable that differs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VariableDiff {
    /// Its display name.
    pub name: String,
    /// Its key in the checkpoint.
    pub key: String,
    /// What differs.
    pub change: VariableChange,
}

/// A difference in a variable: first the first model's, then the second's.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VariableChange {
    /// The dtype.
    DType(DType, DType),
    /// The shape.
    Shape(Vec<usize>, Vec<usize>),
    /// The second model's values compared with the first's. Types that no tensor holds, such as int4 and float8, are
    /// widened by [`CheckpointReader::read_widened`].
    Values(Comparison),
    /// The entries of a table, compared by their keys.
    Table(TableDiff),
}

/// The differences between the entries of a table. Their order does not count.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableDiff {
    /// The number of entries in the first model and in the second.
    pub entries: [usize; 2],
    /// The number of keys that only the second has.
    pub added: usize,
    /// The number of keys that only the first has.
    pub removed: usize,
    /// The second model's values of common keys compared with the first's. `None` if they are equal.
    pub values: Option<Comparison>,
}

impl VariableDiff {
    /// Whether its values differ within the tolerance.
    #[must_use]
    pub fn is_within(&self) -> bool {
        match &self.change {
            VariableChange::Values(comparison) => comparison.is_within(),
            VariableChange::Table(table) => {
                table.added + table.removed == 0 && table.values.as_ref().is_none_or(Comparison::is_within)
            }
            VariableChange::DType(..) | VariableChange::Shape(..) => false,
        }
    }
}

impl VariablesDiff {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.iter().all(VariableDiff::is_within)
    }
}

/// Under this prefix Keras's exporter lists all variables again, numbered in an order that differs between processes.
const UNORDERED: &str = "_all_variables/";

/// Two checkpoints that are read one variable at a time.
struct Pair {
    readers: [Option<CheckpointReader>; 2],
    tolerance: Tolerance,
}

pub(super) fn diff(a: &Variables, b: &Variables, tolerance: Tolerance) -> Result<VariablesDiff> {
    let reader = |variables: &Variables| variables.index.clone().map(CheckpointReader::new);
    let pair = Pair { readers: [reader(a), reader(b)], tolerance };
    let mut of_b: BTreeMap<&str, &Variable> = b.all.iter().map(|it| (it.entry.key.as_str(), it)).collect();
    let partners = pair.match_unordered(a, b)?;
    let mut all = VariablesDiff::default();
    for variable in &a.all {
        let key = variable.entry.key.as_str();
        match of_b.remove(partners.get(key).copied().unwrap_or(key)) {
            Some(other) => {
                all.common += 1;
                if let Some(change) = pair.compare(&variable.entry, &other.entry)? {
                    all.changed.push(VariableDiff { name: variable.name.clone(), key: key.to_owned(), change });
                }
            }
            None => all.removed.push(variable.name.clone()),
        }
    }
    all.added = of_b.into_values().map(|it| it.name.clone()).collect();
    pair.diff_tables(a, b, &mut all)?;
    Ok(all)
}

impl Pair {
    fn compare(&self, before: &Entry, after: &Entry) -> Result<Option<VariableChange>> {
        if before.dtype != after.dtype {
            return Ok(Some(VariableChange::DType(before.dtype, after.dtype)));
        }
        if before.shape != after.shape {
            return Ok(Some(VariableChange::Shape(before.shape.clone(), after.shape.clone())));
        }
        let (Some(before), Some(after)) = (self.read(0, before)?, self.read(1, after)?) else { return Ok(None) };
        let comparison = Comparison::compare(&after, &before, self.tolerance)?;
        Ok(comparison.filter(|it| !it.is_equal()).map(VariableChange::Values))
    }

    /// Compares tables, which count as variables.
    fn diff_tables(&self, a: &Variables, b: &Variables, all: &mut VariablesDiff) -> Result<()> {
        let mut of_b: BTreeMap<&str, &Table> = b.tables.iter().map(|it| (it.keys.key.as_str(), it)).collect();
        for table in &a.tables {
            let Some(other) = of_b.remove(table.keys.key.as_str()) else {
                all.removed.push(table.name.clone());
                continue;
            };
            all.common += 1;
            all.tables += 1;
            if let Some(change) = self.compare_tables(table, other)? {
                all.changed.push(VariableDiff { name: table.name.clone(), key: table.keys.key.clone(), change });
            }
        }
        all.added.extend(of_b.into_values().map(|it| it.name.clone()));
        Ok(())
    }

    fn compare_tables(&self, before: &Table, after: &Table) -> Result<Option<VariableChange>> {
        for (before, after) in [(&before.keys, &after.keys), (&before.values, &after.values)] {
            if before.dtype != after.dtype {
                return Ok(Some(VariableChange::DType(before.dtype, after.dtype)));
            }
            if before.shape.get(1..) != after.shape.get(1..) {
                return Ok(Some(VariableChange::Shape(before.shape.clone(), after.shape.clone())));
            }
        }
        let [Some(first), Some(second)] = &self.readers else { return Ok(None) };
        let (before, after) = (before.read(first)?, after.read(second)?);
        let (keys, others) = (before.by_key()?, after.by_key()?);
        let both: Vec<(usize, usize)> = keys.iter().filter_map(|(key, row)| Some((*row, *others.get(key)?))).collect();
        let (rows, other_rows): (Vec<usize>, Vec<usize>) = both.iter().copied().unzip();
        let values = Comparison::compare(&after.values_of(&other_rows)?, &before.values_of(&rows)?, self.tolerance)?;
        let values = values.filter(|it| !it.is_equal());
        let (added, removed) = (others.len() - both.len(), keys.len() - both.len());
        let changed = added + removed > 0 || values.is_some();
        let entries = [keys.len(), others.len()];
        Ok(changed.then_some(VariableChange::Table(TableDiff { entries, added, removed, values })))
    }

    /// Matches the variables of an unordered list with those of the other model: equal ones, else one with the same
    /// dtype and shape, else any that is left.
    fn match_unordered<'v>(&self, a: &'v Variables, b: &'v Variables) -> Result<BTreeMap<&'v str, &'v str>> {
        let listed = |variables: &'v Variables| -> Vec<&'v Entry> {
            let listed = variables.all.iter().map(|it| &it.entry);
            listed.filter(|entry| entry.key.starts_with(UNORDERED)).collect()
        };
        let (of_a, of_b) = (listed(a), listed(b));
        let hash_of = |side, entry| Ok(self.read(side, entry)?.map(|tensor| hash(entry, &tensor)));
        let hashes = |side: usize, entries: &[&'v Entry]| -> Result<Vec<Option<Hash>>> {
            entries.iter().map(|entry| hash_of(side, *entry)).collect()
        };
        let hashes = [hashes(0, &of_a)?, hashes(1, &of_b)?];
        let alike = |round: usize, side: usize, index: usize| match round {
            0 => hashes[side][index],
            1 => Some(kind([&of_a, &of_b][side][index])),
            _ => None,
        };
        let mut partners = BTreeMap::new();
        let mut left = [(0..of_a.len()).collect::<Vec<_>>(), (0..of_b.len()).collect()];
        for round in 0..3 {
            let mut free: BTreeMap<Option<Hash>, VecDeque<usize>> = BTreeMap::new();
            left[1].drain(..).for_each(|index| free.entry(alike(round, 1, index)).or_default().push_back(index));
            left[0].retain(|index| {
                let found = free.get_mut(&alike(round, 0, *index)).and_then(VecDeque::pop_front);
                if let Some(found) = found {
                    partners.insert(of_a[*index].key.as_str(), of_b[found].key.as_str());
                }
                found.is_none()
            });
            left[1] = free.into_values().flatten().collect();
            left[1].sort_unstable();
        }
        Ok(partners)
    }

    /// A variable's values in the first or second model; `None` for handles, which have none.
    fn read(&self, side: usize, entry: &Entry) -> Result<Option<Tensor>> {
        self.readers[side].as_ref().map_or(Ok(None), |reader| read(reader, entry))
    }
}

/// A hash of a variable's dtype and shape.
fn kind(entry: &Entry) -> Hash {
    let shape: Vec<u8> = entry.shape.iter().flat_map(|size| size.to_le_bytes()).collect();
    Parts::new("kind").and(&entry.dtype.number().to_le_bytes()).and(&shape).hash()
}

/// A hash of a variable's dtype, shape and elements.
fn hash(entry: &Entry, tensor: &Tensor) -> Hash {
    let parts = Parts::new("tensor").and(&kind(entry));
    match (tensor.bytes(), tensor.strings()) {
        (Ok(bytes), _) => parts.and(bytes).hash(),
        (_, Ok(strings)) => strings.iter().fold(parts, |parts, string| parts.and(string)).hash(),
        _ => parts.hash(),
    }
}

/// A variable's values; `None` for handles, which have none.
fn read(reader: &CheckpointReader, entry: &Entry) -> Result<Option<Tensor>> {
    match entry.dtype {
        DType::Invalid | DType::Resource | DType::Variant => Ok(None),
        DType::Other(_) => match reader.read_widened(&entry.key) {
            // Elements of an unknown dtype have no known size.
            Err(Error::Tensor(TensorError::UnsupportedDType { .. })) => Ok(None),
            numbers => numbers.map(Some),
        },
        _ => reader.read(&entry.key).map(Some),
    }
}
