//! The variables of a model, from the index of its checkpoint.

use std::collections::BTreeSet;

use super::tables::{Table, tables_in};
use crate::checkpoint::{CheckpointIndex, Entry, OBJECT_GRAPH_KEY};
use crate::container::Files;
use crate::error::Result;

/// The suffix that TensorFlow 2 appends to a variable's path through the object graph.
const VALUE_SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

/// The part of the key in front of an optimizer's slots.
const SLOT: &str = "/.OPTIMIZER_SLOT/";

/// The suffixes of optimizers' variables in TensorFlow 1: `dense/kernel/Adam_1`.
const SLOT_ENDS: [&str; 12] = [
    "Adadelta",
    "Adadelta_1",
    "Adagrad",
    "Adam",
    "Adam_1",
    "Ftrl",
    "Ftrl_1",
    "Momentum",
    "RMSProp",
    "RMSProp_1",
    "RMSProp_2",
    "beta1_power",
];

/// The same for the tensorflow crate's optimizers, whose last part of the name is the operation:
/// `dense/kernel/accum/VariableV2`.
const RUST_SLOT_ENDS: [&str; 2] = ["/accum/VariableV2", "/accum_update/VariableV2"];

/// Optimizers of Keras in TensorFlow 1, which keep their settings as variables: `SGD/iterations`.
const KERAS_OPTIMIZERS: [&str; 7] = ["Adadelta", "Adagrad", "Adam", "Adamax", "Nadam", "RMSprop", "SGD"];
const KERAS_SETTINGS: [&str; 8] =
    ["beta_1", "beta_2", "decay", "iter", "iterations", "learning_rate", "lr", "momentum"];

/// The variables of a saved model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Variables {
    /// Their index; `None` if the model has no `variables/variables.index`.
    pub index: Option<CheckpointIndex>,
    /// The variables, sorted by key, without the object graph of TensorFlow 2.
    pub all: Vec<Variable>,
    /// The tables with contents in the checkpoint, sorted by key. Their tensors are not among the variables.
    pub tables: Vec<Table>,
    /// The bytes of all variables and tables.
    pub total_bytes: u64,
}

/// A variable as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name: its key without TensorFlow 2's suffix.
    pub name: String,
    /// Its entry in the checkpoint.
    pub entry: Entry,
}

/// The name of the variable with a key: the key without TensorFlow 2's suffix.
#[must_use]
pub fn name_of(key: &str) -> &str {
    key.strip_suffix(VALUE_SUFFIX).unwrap_or(key)
}

impl Variables {
    pub(crate) fn none() -> Self {
        Self { index: None, all: Vec::new(), tables: Vec::new(), total_bytes: 0 }
    }

    /// The variables of a checkpoint with these tables.
    #[doc(hidden)]
    pub fn new(index: CheckpointIndex, tables: Vec<Table>) -> Self {
        let of_tables: BTreeSet<&str> =
            tables.iter().flat_map(|table| [table.keys.key.as_str(), table.values.key.as_str()]).collect();
        let is_variable = |key: &str| key != OBJECT_GRAPH_KEY && !of_tables.contains(key);
        let tensors = index.entries.iter().filter(|entry| is_variable(&entry.key));
        let all: Vec<_> = tensors
            .map(|entry| {
                let name = name_of(&entry.key).to_owned();
                Variable { name, entry: entry.clone() }
            })
            .collect();
        let sizes = all.iter().map(|variable| variable.entry.bytes()).chain(tables.iter().map(Table::bytes));
        let total_bytes = sizes.fold(0_u64, u64::saturating_add);
        Self { index: Some(index), all, tables, total_bytes }
    }

    /// The variables of another checkpoint of the same model.
    pub(crate) fn again(&self, index: CheckpointIndex) -> Self {
        let tables = tables_in(&index, &self.tables);
        Self::new(index, tables)
    }

    /// The table of the tensor with this key.
    #[must_use]
    pub fn table_of(&self, key: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.keys.key == key || table.values.key == key)
    }

    /// The number of shards; 0 without an index.
    #[must_use]
    pub fn num_shards(&self) -> u32 {
        self.index.as_ref().map_or(0, |index| index.num_shards)
    }
}

impl Variable {
    /// Whether its key is one of an optimizer.
    #[must_use]
    pub fn is_optimizer_state(&self) -> bool {
        let key = &self.entry.key;
        let object = |name: &str| key.starts_with(&format!("{name}/")) || key.contains(&format!("/{name}/"));
        let end = self.name.rsplit('/').next().unwrap_or_default();
        let trained = key.strip_prefix("training/");
        let keras = trained.unwrap_or(key).split_once('/').is_some_and(|(optimizer, rest)| {
            KERAS_OPTIMIZERS.contains(&optimizer) && (trained.is_some() || KERAS_SETTINGS.contains(&rest))
        });
        let named = SLOT_ENDS.contains(&end) || RUST_SLOT_ENDS.iter().any(|slot| key.ends_with(slot));
        key.contains(SLOT) || object("optimizer") || object("_optimizer") || named || keras
    }
}

/// The prefix of a model's checkpoint.
const PREFIX: &str = "variables/variables";

/// The index of a model's checkpoint, if it has one.
pub(super) fn index(files: &Files) -> Result<Option<CheckpointIndex>> {
    if files.length(&format!("{PREFIX}.index"))?.is_none() {
        return Ok(None);
    }
    let index = match files {
        Files::Folder(folder) => CheckpointIndex::open(folder.join(PREFIX)),
        Files::Pack(pack) => CheckpointIndex::open_in(pack, PREFIX),
    };
    index.map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::testing::{entry, header, table};

    fn variables(keys: &[&str]) -> Variables {
        let (header, value) = (header(1), entry(1, &[2], 0, 0, 8));
        let mut rows: Vec<(&[u8], &[u8])> = vec![(b"", &header)];
        rows.extend(keys.iter().map(|key| (key.as_bytes(), value.as_slice())));
        Variables::new(CheckpointIndex::read(Path::new("v"), &table(&rows)).unwrap(), Vec::new())
    }

    #[test]
    fn names_are_short_and_the_object_graph_is_no_variable() {
        let keys = [OBJECT_GRAPH_KEY, "a/.ATTRIBUTES/VARIABLE_VALUE", "save_counter/.ATTRIBUTES/VARIABLE_VALUE", "w"];
        let variables = variables(&keys);
        let names: Vec<_> = variables.all.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["a", "save_counter", "w"]);
        assert_eq!(variables.total_bytes, 24);
        assert_eq!(variables.num_shards(), 1);
    }

    #[test]
    fn tells_the_state_of_optimizers() {
        let state = [
            "SGD/iterations",
            "beta1_power",
            "dense/kernel/Adam_1",
            "dense/kernel/Momentum",
            "dense/kernel/accum/VariableV2",
            "optimizer/_variables/0/.ATTRIBUTES/VARIABLE_VALUE",
            "training/Adam/Variable_3",
            "w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE",
        ];
        assert!(variables(&state).all.iter().all(Variable::is_optimizer_state));
        let others = ["Adam/w", "dense/kernel", "keras_api/metrics/0/total/.ATTRIBUTES/VARIABLE_VALUE", "optimizer_x"];
        assert!(!variables(&others).all.iter().any(Variable::is_optimizer_state));
    }
}
