//! Rewrites nodes that read a variable into nodes that take its value.

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::Frozen;
use crate::dtype::DType;
use crate::graph::{HandleKind, attr, is_control};
use crate::tensor::{Tensor, proto};

/// The result of rewriting a node: nodes to insert before it, and the new name of its output in a function.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) before: Vec<pb::NodeDef>,
    /// The old and the new name of the output.
    pub(super) output: Option<(&'static str, &'static str)>,
}

/// Rewrites a node that reads a variable.
pub(super) fn rewrite(node: &mut pb::NodeDef, frozen: &Frozen, is_function: bool) -> Rewritten {
    let dtype = attr::proto_type(frozen.dtype);
    let mut rewritten = Rewritten::default();
    match (frozen.kind, node.op.as_str()) {
        (HandleKind::Resource, "ReadVariableOp") => {
            become_op(node, "Identity", &[("dtype", None), ("T", Some(dtype))]);
            rewritten.output = Some(("value", "output"));
        }
        // Gathers along the first dimension after those of the batch (`resource_variable_ops.cc`).
        (HandleKind::Resource, "ResourceGather") => {
            let batch_dims = node.attr.get("batch_dims").map_or(0, pb::AttrValue::i);
            let axis = Tensor::scalar(i32::try_from(batch_dims).unwrap_or_default());
            let axis_name = format!("{}/frozen_axis", node.name);
            let axis = axis.map(|axis| attr::const_node(&axis_name, proto::to_proto(&axis))).unwrap_or_default();
            become_op(
                node,
                "GatherV2",
                &[
                    ("dtype", None),
                    ("validate_indices", None),
                    ("Tparams", Some(dtype)),
                    ("Taxis", Some(attr::dtype(DType::Int32))),
                ],
            );
            node.input.insert(2, if is_function { format!("{axis_name}:output:0") } else { axis_name });
            rewritten.before.push(axis);
        }
        (HandleKind::Resource, "ResourceGatherNd") => {
            become_op(node, "GatherNd", &[("dtype", None), ("Tparams", Some(dtype))]);
        }
        (HandleKind::Resource, "VariableShape") => become_op(node, "Shape", &[("T", Some(dtype))]),
        (HandleKind::Resource, "DisableCopyOnRead") => {
            become_op(node, "NoOp", &[]);
            node.input.retain(|input| is_control(input));
            node.attr.clear();
        }
        (_, "VarIsInitializedOp" | "IsVariableInitialized") => {
            let yes = Tensor::scalar(true).map(|yes| attr::const_node(&node.name, proto::to_proto(&yes)));
            let mut yes = yes.unwrap_or_default();
            yes.input = node.input.iter().filter(|input| is_control(input)).cloned().collect();
            *node = yes;
            rewritten.output = Some(("is_initialized", "output"));
        }
        // Ops that read a reference take a value as well.
        _ => {}
    }
    rewritten
}

/// Rewrites a node that passes a handle on, so that it passes the value on.
pub(super) fn pass(node: &mut pb::NodeDef, frozen: &Frozen, position: usize) {
    if let Some(op) = node.op.strip_prefix("Ref") {
        node.op = op.to_owned();
    }
    if node.op == "IdentityN" {
        set_type(node, "T", position, frozen);
    } else {
        node.attr.insert("T".into(), attr::proto_type(frozen.dtype));
    }
    forget_shapes(node);
}

/// Sets one of the dtypes in a list attribute.
pub(super) fn set_type(node: &mut pb::NodeDef, name: &str, index: usize, frozen: &Frozen) {
    let mut types = attr::list_of_types(node, name);
    if let Some(dtype) = types.get_mut(index) {
        *dtype = frozen.dtype;
        node.attr.insert(name.to_owned(), attr::dtypes(types));
    }
}

/// Forgets the shapes that a loop or a branch declares for these outputs: those of handles are scalars.
pub(super) fn forget_output_shapes(node: &mut pb::NodeDef, outputs: &[usize]) {
    let Some(Value::List(list)) = node.attr.get_mut("output_shapes").and_then(|attr| attr.value.as_mut()) else {
        return;
    };
    for output in outputs {
        if let Some(shape) = list.shape.get_mut(*output) {
            *shape = pb::TensorShapeProto { unknown_rank: true, ..Default::default() };
        }
    }
}

/// Removes recorded shapes: those of handles are scalars.
pub(super) fn forget_shapes(node: &mut pb::NodeDef) {
    node.attr.remove("_output_shapes");
    node.attr.remove("_handle_shapes");
    node.attr.remove("_handle_dtypes");
    node.experimental_type = None.into();
}

fn become_op(node: &mut pb::NodeDef, op: &str, attributes: &[(&str, Option<pb::AttrValue>)]) {
    node.op = op.to_owned();
    for (name, value) in attributes {
        match value {
            Some(value) => drop(node.attr.insert((*name).to_owned(), value.clone())),
            None => drop(node.attr.remove(*name)),
        }
    }
    forget_shapes(node);
}
