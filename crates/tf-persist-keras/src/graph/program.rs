//! What the functions of a model share: variables, tables and a library of functions.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use tf_persist_savedmodel::{DType, Tensor};

use super::{Graph, TensorRef};
use crate::custom::import::Imported;
use crate::reason::{Result, refuse};

/// A variable or table of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// By its index in [`Program::variables`].
    Variable(usize),
    /// By its index in [`Program::tables`].
    Table(usize),
}

/// A variable.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    /// The name in the SavedModel, such as `weights/dense/kernel`.
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) trainable: bool,
}

/// A table from keys to values, filled once after loading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The name in the SavedModel, such as `tables/string_lookup`.
    pub(crate) name: String,
    /// A vector.
    pub(crate) keys: Tensor,
    /// A vector of as many values.
    pub(crate) values: Tensor,
    /// If the values are line numbers of this text file, an asset, its name; the keys are its lines.
    pub(crate) asset: Option<String>,
}

/// A function that nodes call, such as the body of a loop.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    /// Which tensors of the graph it returns.
    pub(crate) outputs: Vec<TensorRef>,
}

/// A signature and its function.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Such as `serving_default`.
    pub(crate) name: String,
    /// The names of the inputs, in the order of the function's arguments.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) function: Function,
}

/// The functions of a model, and what they share.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) variables: RefCell<Vec<Variable>>,
    pub(crate) tables: RefCell<Vec<Table>>,
    /// The functions that nodes call, each before its callers.
    pub(crate) library: RefCell<Vec<Function>>,
    /// Functions of SavedModels.
    pub(crate) imported: RefCell<Vec<Arc<Imported>>>,
    /// The functions of the library that assign to variables or have other effects.
    pub(super) with_effects: RefCell<HashSet<String>>,
    graphs: Cell<u32>,
    /// How much was spent of the work that the model's file is worth, and how much that is.
    spent: Cell<usize>,
    worth: Cell<usize>,
}

/// The number of nodes that any model may have: as many as unrolling a sequence of thousands of steps takes.
const MAX_WORK: usize = 1 << 16;

/// The bytes of a config that are worth a node more. A layer has hundreds of bytes and a few nodes.
const CONFIG_PER_NODE: usize = 8;

/// The bytes of a whole file that are worth a node more.
const FILE_PER_NODE: usize = 32;

/// The bytes of a constant that take as much memory as a node, with its copies.
pub(super) const CONSTANT_PER_NODE: usize = 256;

impl Program {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Allows more nodes for a larger file. A small file may describe a model without an end, such as one in which each
    /// of many nested models is called twice.
    pub(crate) fn allow(&self, config_bytes: usize, file_bytes: usize) {
        self.worth.set(config_bytes / CONFIG_PER_NODE + file_bytes / FILE_PER_NODE);
    }

    /// Allows more nodes for a model in another file.
    pub(crate) fn allow_more(&self, config_bytes: usize, file_bytes: usize) {
        let more = config_bytes / CONFIG_PER_NODE + file_bytes / FILE_PER_NODE;
        self.worth.set(self.worth.get().saturating_add(more));
    }

    /// Refuses to allocate this many bytes for a constant if the model's file is not worth them.
    pub(crate) fn afford(&self, bytes: u64) -> Result<()> {
        let work = usize::try_from(bytes / CONSTANT_PER_NODE as u64).unwrap_or(usize::MAX);
        let spent = self.spent.get();
        self.spend(work)?;
        self.spent.set(spent);
        Ok(())
    }

    /// Notes work: the number of nodes, or what takes as much memory.
    ///
    /// # Errors
    /// If it is more than the model's file is worth.
    pub(crate) fn spend(&self, work: usize) -> Result<()> {
        let spent = self.spent.get().saturating_add(work);
        let limit = MAX_WORK.saturating_add(self.worth.get());
        if spent > limit {
            refuse!("the model needs more than {limit} operations, too many for a config of its size");
        }
        self.spent.set(spent);
        Ok(())
    }

    /// A number for a new graph.
    pub(super) fn next_graph(&self) -> u32 {
        let number = self.graphs.get();
        self.graphs.set(number + 1);
        number
    }

    pub(crate) fn add_variable(&self, variable: Variable) -> Resource {
        let mut variables = self.variables.borrow_mut();
        variables.push(variable);
        Resource::Variable(variables.len() - 1)
    }

    pub(crate) fn add_table(&self, table: Table) -> Resource {
        let mut tables = self.tables.borrow_mut();
        tables.push(table);
        Resource::Table(tables.len() - 1)
    }

    /// The numbers of variables and of functions and the work so far, for [`Program::truncate`].
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.variables.borrow().len(), self.library.borrow().len(), self.spent.get()]
    }

    /// Forgets the variables and functions that were added since it had these sizes.
    pub(crate) fn truncate(&self, [variables, functions, spent]: [usize; 3]) {
        self.variables.borrow_mut().truncate(variables);
        self.library.borrow_mut().truncate(functions);
        self.spent.set(spent);
    }

    /// The name of the function of a SavedModel, which is added the first time.
    pub(crate) fn import(&self, function: &Arc<Imported>) -> String {
        let mut imported = self.imported.borrow_mut();
        let index = imported.iter().position(|known| Arc::ptr_eq(known, function)).unwrap_or_else(|| {
            imported.push(Arc::clone(function));
            imported.len() - 1
        });
        Self::imported_name(index)
    }

    /// The name of an imported function, which is unlike those of others.
    pub(crate) fn imported_name(index: usize) -> String {
        format!("saved_model/{index}")
    }

    /// Adds a function to the library under a free name, and gives the name.
    pub(crate) fn add_function(&self, wanted: &str, graph: Graph, outputs: Vec<TensorRef>) -> String {
        let mut library = self.library.borrow_mut();
        let name = format!("{wanted}_{}", library.len());
        if graph.with_nodes(|nodes| nodes.iter().any(|node| self.has_effects(node))) {
            self.with_effects.borrow_mut().insert(name.clone());
        }
        library.push(Function { name: name.clone(), graph, outputs });
        name
    }
}
