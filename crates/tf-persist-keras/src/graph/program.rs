//! What the functions of a model share: variables, tables and a library of functions.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use tf_persist_savedmodel::{DType, Tensor};

use super::{Graph, TensorRef};

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
    /// The functions of the library that assign to variables or have other effects.
    pub(super) with_effects: RefCell<HashSet<String>>,
    graphs: Cell<u32>,
}

impl Program {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
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

    /// The numbers of variables and of functions, for [`Program::truncate`].
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.variables.borrow().len(), self.library.borrow().len())
    }

    /// Forgets the variables and functions that were added since it had these sizes.
    pub(crate) fn truncate(&self, (variables, functions): (usize, usize)) {
        self.variables.borrow_mut().truncate(variables);
        self.library.borrow_mut().truncate(functions);
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
