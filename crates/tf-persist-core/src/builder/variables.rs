//! The variables of the graph, and their values.

use std::collections::BTreeMap;

use tf_persist_proto::tensorflow::NodeDef;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;
use tf_persist_savedmodel::error::{Error, Result, TensorError, names};
use tf_persist_savedmodel::internals::{HandleKind, variable_kind};
use tf_persist_savedmodel::tensor::Tensor;
use tf_persist_savedmodel::tensor::proto::partial_shape;

use super::nodes::{Nodes, split};

/// A value for a variable.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) value: Tensor,
    pub(super) trainable: bool,
}

/// A variable of the graph, and its value.
pub(super) struct Variable<'g> {
    pub(super) name: &'g str,
    pub(super) kind: HandleKind,
    pub(super) dtype: DType,
    /// Whether the graph declares all of its sizes.
    pub(super) whole_shape: bool,
    pub(super) trainable: bool,
    pub(super) value: &'g Tensor,
    /// The first node that assigns it, which is its initialiser, and the name of the assigned tensor.
    pub(super) initializer: Option<(&'g str, &'g str)>,
}

/// Matches the variables of the graph with their values, in the order of the graph.
///
/// # Errors
/// If a variable has no value or two, or a value has no variable, or another dtype or shape.
pub(super) fn bind<'g>(nodes: &Nodes<'g>, given: &'g [Given]) -> Result<Vec<Variable<'g>>> {
    let mut values: BTreeMap<&str, &Given> = BTreeMap::new();
    for one in given {
        let node = nodes.get(&one.name);
        let refuse = |reason: String| Err(Error::data(format!("variable `{}`", one.name.escape_debug()), reason));
        match node {
            None => return refuse("the graph has no operation with this name".into()),
            Some(node) if variable_kind(&node.op).is_none() => {
                return refuse(format!("the operation with this name is not a variable, but a `{}`", node.op));
            }
            Some(_) if values.insert(&one.name, one).is_some() => return refuse("it has two values".into()),
            Some(_) => {}
        }
    }
    let variables = nodes.all().iter().filter_map(|node| Some((node, variable_kind(&node.op)?)));
    let (with, without): (Vec<_>, Vec<_>) = variables.partition(|(node, _)| values.contains_key(node.name.as_str()));
    if !without.is_empty() {
        let missing: Vec<String> = without.iter().map(|(node, _)| node.name.clone()).collect();
        return Err(Error::Tensor(TensorError::InvalidData {
            source_name: "the graph".into(),
            reason: format!("its variables {} have no values", names(&missing)),
            hint: Some("give the value of every variable; those that are not trainable are state".into()),
        }));
    }
    check_apart(with.iter().copied())?;
    let initializers = initializers(nodes);
    let whole = |(node, kind): (&'g NodeDef, HandleKind)| {
        let given = values[node.name.as_str()];
        let shape = check(node, &given.value)?;
        let whole_shape = shape.sizes().is_some_and(|sizes| sizes.iter().all(Option::is_some));
        let (name, dtype) = (node.name.as_str(), given.value.dtype());
        let initializer = initializers.get(name).copied();
        Ok(Variable { name, kind, dtype, whole_shape, trainable: given.trainable, value: &given.value, initializer })
    };
    with.into_iter().map(whole).collect()
}

/// Variables with equal kinds, containers and shared names are one, and two values would overwrite each other. A
/// reference without a shared name has that of its operation; for a handle, the empty name is valid.
fn check_apart<'g>(variables: impl Iterator<Item = (&'g NodeDef, HandleKind)>) -> Result<()> {
    let mut seen: BTreeMap<(HandleKind, &[u8], &[u8]), &str> = BTreeMap::new();
    for (node, kind) in variables {
        let text = |name: &str| match node.attr.get(name).and_then(|attribute| attribute.value.as_ref()) {
            Some(Value::S(text)) => text.as_ref(),
            _ => &[],
        };
        let shared = text("shared_name");
        let name = if kind == HandleKind::Reference && shared.is_empty() { node.name.as_bytes() } else { shared };
        if let Some(other) = seen.insert((kind, text("container"), name), &node.name) {
            let shared = String::from_utf8_lossy(name);
            return Err(Error::Tensor(TensorError::InvalidData {
                source_name: "the graph".into(),
                reason: format!("`{other}` and `{}` are one variable: both have the shared name `{shared}`", node.name),
                hint: Some("give each variable its own `shared_name`, such as its name".into()),
            }));
        }
    }
    Ok(())
}

/// Checks a value against the attributes of its variable. Returns the shape in the graph.
fn check(node: &NodeDef, value: &Tensor) -> Result<PartialShape> {
    let attribute = |name: &str| node.attr.get(name).and_then(|attribute| attribute.value.as_ref());
    let dtype = match attribute("dtype") {
        Some(Value::Type(number)) => DType::from_number(number.value()),
        _ => DType::Invalid,
    };
    // `Variable` has the shape of a scalar where the shape is unknown (`state_ops.cc`).
    let shape = match attribute("shape") {
        Some(Value::Shape(shape)) if node.op != "Variable" || !shape.dim.is_empty() => partial_shape(shape),
        _ => PartialShape::unknown(),
    };
    let refuse = |reason: String| Err(Error::data(format!("variable `{}`", node.name), reason));
    if value.dtype() != dtype {
        return refuse(format!("it is {dtype} in the graph, and its value {}", value.dtype()));
    }
    if !shape.accepts(value.shape()) {
        return refuse(format!("it has the shape {shape} in the graph, and its value {:?}", value.shape()));
    }
    Ok(shape)
}

/// The first node that assigns each variable, and the tensor that it assigns. Graphs keep the order of their creation,
/// so this is the initialiser.
fn initializers<'g>(nodes: &Nodes<'g>) -> BTreeMap<&'g str, (&'g str, &'g str)> {
    let mut first = BTreeMap::new();
    for node in nodes.all() {
        let [variable, value, ..] = node.input.as_slice() else { continue };
        let (variable, _) = split(variable);
        let kind = nodes.get(variable).and_then(|variable| variable_kind(&variable.op));
        if kind.is_some_and(|kind| kind.assign_op() == node.op) {
            first.entry(variable).or_insert((node.name.as_str(), value.as_str()));
        }
    }
    first
}
