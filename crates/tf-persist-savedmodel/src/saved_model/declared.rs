//! The declarations of a model's graphs for the tensors that their savers restore: shapes and tables.

use std::collections::BTreeMap;

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::restored::{Restored, restored};
use crate::graph::{Graph, attr, is_variable};
use crate::saved_model::SavedModel;
use crate::shape::PartialShape;
use crate::tensor::{Tensor, proto};

/// An empty or deleted key is one element.
const MAX_KEY_BYTES: usize = 1 << 20;

/// The declarations of a model's graphs, by the keys of the checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// `None` if two meta graphs disagree.
    shapes: BTreeMap<String, Option<PartialShape>>,
    /// The tables that are restored from the checkpoint, by the key of their keys.
    pub(crate) tables: BTreeMap<String, TableTensors>,
}

/// The tensors of a mutable table in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableTensors {
    /// The key under which the table's values are.
    pub(crate) values: String,
    /// The empty and the deleted key of a dense table. Only in a dense table every row of the checkpoint is a bucket,
    /// used or not.
    pub(crate) unused: Option<Vec<Tensor>>,
}

impl Declared {
    /// Reads the graphs. A meta graph whose saver cannot be followed declares nothing.
    pub(crate) fn read(model: &SavedModel) -> Self {
        let mut all = Self::default();
        for meta_graph in model.meta_graphs() {
            let Some(saver) = meta_graph.saver() else { continue };
            let Ok(definition) = model.decode_meta_graph(meta_graph) else { continue };
            let graph = Graph::new(&definition.graph_def);
            let items = restored(&graph, &saver.restore_op).unwrap_or_default();
            items.iter().for_each(|item| all.add(&graph, item));
        }
        all
    }

    /// Adds the declarations for the variables that no saver restores, but whose values were found.
    pub(crate) fn and_unrestored(mut self, model: &SavedModel) -> Self {
        for meta_graph in model.meta_graphs() {
            let Ok(unrestored) = model.unrestored_variables(meta_graph) else { continue };
            if unrestored.found.is_empty() {
                continue;
            }
            let Ok(definition) = model.decode_meta_graph(meta_graph) else { continue };
            let graph = Graph::new(&definition.graph_def);
            unrestored.found.iter().for_each(|found| self.add(&graph, &found.restored));
        }
        self
    }

    /// The shape that the graph declares for the variable with this key; `None` if it is unknown.
    pub(crate) fn shape(&self, key: &str) -> Option<PartialShape> {
        self.shapes.get(key).cloned().flatten()
    }

    /// Whether the tensor with this key belongs to a table, and so may have any number of rows.
    pub(crate) fn is_of_table(&self, key: &str) -> bool {
        self.tables.contains_key(key) || self.tables.values().any(|table| table.values == key)
    }

    fn add(&mut self, graph: &Graph<'_>, item: &Restored) {
        let Some(holder) = graph.node(&item.holder) else { return };
        match item.tensors.as_slice() {
            // The node of a partitioned variable has the shape of its slice.
            [tensor] if tensor.slice.is_empty() && is_variable(holder) => {
                let Some(shape) = shape(holder) else { return };
                let known = self.shapes.entry(tensor.key.clone()).or_insert_with(|| Some(shape.clone()));
                if *known != Some(shape) {
                    *known = None;
                }
            }
            [keys, values] => {
                let tensors = TableTensors { values: values.key.clone(), unused: unused_keys(graph, holder) };
                self.tables.insert(keys.key.clone(), tensors);
            }
            _ => {}
        }
    }
}

/// The shape of a variable's node.
fn shape(node: &pb::NodeDef) -> Option<PartialShape> {
    match &node.attr.get("shape")?.value {
        Some(Value::Shape(shape)) => Some(proto::partial_shape(shape)),
        _ => None,
    }
}

/// The empty and the deleted key of a dense table; `None` for other tables.
fn unused_keys(graph: &Graph<'_>, table: &pb::NodeDef) -> Option<Vec<Tensor>> {
    if !table.op.starts_with("MutableDenseHashTable") && !table.op.starts_with("AnonymousMutableDenseHashTable") {
        return None;
    }
    let constants = table.input.iter().take(2).filter_map(|input| attr::constant(graph.node(input)?));
    Some(constants.filter_map(|constant| proto::from_proto(constant, MAX_KEY_BYTES).ok()).collect())
}
