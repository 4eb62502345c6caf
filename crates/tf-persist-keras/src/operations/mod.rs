//! The nodes of `keras.ops` in functional models, a file for each kind.
//!
//! An operation adds the nodes that Keras's TensorFlow backend adds, in the same order.

mod activations;
mod arithmetic;
mod attention;
mod by_layer;
mod call;
mod creation;
pub(crate) mod dtypes;
mod einsum;
mod functions;
mod images;
mod indexing;
mod logic;
mod matrices;
mod norms;
mod operand;
mod products;
mod rearrange;
mod reductions;
mod shapes;
mod signals;
mod sorting;
mod statistics;
pub(crate) mod tensorflow;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::Result;
pub(crate) use arithmetic::add;
use call::Call;
pub(crate) use creation::saturated;
pub(crate) use einsum::{contraction, einsum};
pub(crate) use indexing::multi_hot;
pub(crate) use products::mat_mul;

/// An operation: its class, its arguments in order, the parameters of its config, and what it adds to a graph.
struct Entry {
    class: &'static str,
    arguments: &'static str,
    parameters: &'static str,
    emit: fn(&mut Call<'_>) -> Result<Argument>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("class", &self.class).finish_non_exhaustive()
    }
}

/// An operation, for tables.
const fn op(
    class: &'static str,
    arguments: &'static str,
    parameters: &'static str,
    emit: fn(&mut Call<'_>) -> Result<Argument>,
) -> Entry {
    Entry { class, arguments, parameters, emit }
}

const TABLES: &[&[Entry]] = &[
    activations::TABLE,
    arithmetic::TABLE,
    attention::TABLE,
    by_layer::TABLE,
    creation::TABLE,
    functions::TABLE,
    images::TABLE,
    indexing::TABLE,
    logic::TABLE,
    matrices::TABLE,
    norms::TABLE,
    products::TABLE,
    rearrange::TABLE,
    reductions::TABLE,
    shapes::TABLE,
    signals::TABLE,
    sorting::TABLE,
    statistics::TABLE,
];

/// Whether there is an operation of this class.
pub(crate) fn has(class: &str) -> bool {
    TABLES.iter().flat_map(|table| table.iter()).any(|entry| entry.class == class)
}

/// The number of operations.
#[cfg(test)]
pub(crate) fn count() -> usize {
    TABLES.iter().map(|table| table.len()).sum()
}

/// Makes the operation of a class from its config. `None` if it is unknown.
///
/// A class is known without its module, because `.h5` files do not have the modules.
pub(crate) fn build(class: &str, _module: Option<&str>, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    let entry = TABLES.iter().flat_map(|table| table.iter()).find(|entry| entry.class == class)?;
    let mut parameters = Map::new();
    for name in entry.parameters.split(' ').filter(|name| !name.is_empty()) {
        if config.has(name) {
            parameters.insert(name.to_owned(), config.get(name).cloned().unwrap_or_default());
        }
    }
    Some(finished(Ok(Operation { entry, parameters }), config))
}

/// A node of `keras.ops`.
#[derive(Debug)]
struct Operation {
    entry: &'static Entry,
    parameters: Map<String, Value>,
}

impl Layer for Operation {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut call = Call { g: cx.g, cx, entry: self.entry, arguments, parameters: &self.parameters };
        (self.entry.emit)(&mut call)
    }
}
