//! Loops over the steps of an LSTM layer take some steps at once, by TensorFlow's op for them, `BlockLSTMV2`.
//!
//! The loop stays, and its variables have the values that they had, only less often, but for these: the list of rows
//! becomes the tensor that it was made of, the weights of rows and those of hidden states become one matrix, and a list
//! of all hidden states gets the states of some steps as one element. A loop of a known number of steps then becomes
//! [those](super::loops).

mod around;
mod body;
mod cell;
mod function;
mod layer;

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::effects::has_control_flow;
use crate::dtype::DType;
use crate::graph::{attr, free_name, is_control};
use around::Around;
use function::Function;
use layer::Layer;

/// Fuses the LSTM layers at the top of a graph. Returns how many. These nodes are asked for by their names.
pub(super) fn fuse(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    // New constants would be outside of a loop of TensorFlow 1.
    if has_control_flow(&graph.node) {
        return 0;
    }
    let made: Vec<Fused> = {
        let around = Around::new(graph, asked);
        let nodes = graph.node.iter().enumerate();
        nodes.filter_map(|(index, node)| fused(&Layer::find(node, &around)?, (index, node), &around)).collect()
    };
    let count = made.len();
    for fused in made {
        for (index, node) in fused.replaced {
            graph.node[index] = node;
        }
        graph.node.extend(fused.added);
        graph.library.mut_or_insert_default().function.extend(fused.functions);
    }
    count
}

/// What takes the place of a loop.
struct Fused {
    /// Nodes in the place of others, by their index.
    replaced: Vec<(usize, pb::NodeDef)>,
    added: Vec<pb::NodeDef>,
    functions: [pb::FunctionDef; 2],
}

fn fused(layer: &Layer<'_>, (index, node): (usize, &pb::NodeDef), around: &Around<'_>) -> Option<Fused> {
    let name = |what: &str| format!("{}/lstm_{what}", node.name);
    let mut added = weights(layer, node)?;
    if !layer.kept.is_empty() {
        added.push(attr::values_node(&name("shape"), &[3], &[-1, -1, i32::try_from(layer.units).ok()?])?);
        added.push(attr::values_node(&name("any"), &[], &[-1_i32])?);
        added.push(attr::values_node::<i64>(&name("lengths"), &[0], &[])?);
        added.push(attr::node(name("list"), "EmptyTensorList", &[&name("shape"), &name("any")], list_types()));
    }
    added.iter_mut().for_each(|made| made.device.clone_from(&node.device));
    if added.iter().any(|made| around.names.contains(made.name.as_str())) {
        return None;
    }
    // Two loops may have the same body.
    let free = |function: &Function<'_>| {
        let base = format!("{}_lstm_{index}", function.definition.signature.name);
        free_name(&base, |name| around.functions.contains_key(name))
    };
    let names = [&layer.condition, &layer.body].map(free);
    let mut replaced = vec![(index, changed_loop(layer, node, &names)?)];
    for stack in layer.kept.iter().flat_map(|kept| &kept.stacks) {
        let old = &around.nodes[*stack];
        let inputs = [&*old.input[0], &name("shape"), &name("lengths")];
        let mut joined = attr::node(&*old.name, "TensorListConcatV2", &inputs, list_types());
        joined.input.extend(old.input.iter().filter(|input| is_control(input)).cloned());
        joined.device.clone_from(&old.device);
        replaced.push((*stack, joined));
    }
    let [condition, body] = names;
    Some(Fused { replaced, added, functions: [changed_condition(layer, condition), body::body(layer, body)?] })
}

/// The types of an op that makes or joins a list of 32-bit floats.
fn list_types() -> [(&'static str, pb::AttrValue); 2] {
    [("element_dtype", attr::dtype(DType::Float32)), ("shape_type", attr::dtype(DType::Int32))]
}

/// The loop with another condition and body, by their names.
fn changed_loop(layer: &Layer<'_>, node: &pb::NodeDef, [condition, body]: &[String; 2]) -> Option<pb::NodeDef> {
    let cell = &layer.cell;
    let mut changed = node.clone();
    changed.attr.insert("cond".into(), attr::function(condition));
    changed.attr.insert("body".into(), attr::function(body));
    let mut types = attr::list_of_types(node, "T");
    *types.get_mut(cell.input)? = attr::proto_dtype(DType::Float32);
    changed.attr.insert("T".into(), attr::dtypes(types));
    for name in ["output_shapes", "_output_shapes"] {
        let Some(Value::List(list)) = changed.attr.get_mut(name).and_then(|attr| attr.value.as_mut()) else {
            continue;
        };
        for index in [cell.input, cell.kernel] {
            if let Some(shape) = list.shape.get_mut(index) {
                *shape = pb::TensorShapeProto { unknown_rank: true, ..Default::default() };
            }
        }
    }
    let made = |what: &str| format!("{}/lstm_{what}", node.name);
    changed.input[cell.input] = if layer.pads() { made("input") } else { layer.input.to_owned() };
    changed.input[cell.kernel] = made("weights");
    for kept in &layer.kept {
        changed.input[kept.variable] = made("list");
    }
    Some(changed)
}

/// The condition of a loop whose list of rows is a tensor. It does not look at the list.
fn changed_condition(layer: &Layer<'_>, name: String) -> pb::FunctionDef {
    let mut condition = layer.condition.definition.clone();
    let signature = condition.signature.mut_or_insert_default();
    signature.name = name;
    signature.input_arg[layer.cell.input].type_ = attr::proto_dtype(DType::Float32);
    condition.arg_attr.clear();
    condition
}

/// The nodes of the weights of rows and hidden states in one matrix, and of rows with an even number of columns.
fn weights(layer: &Layer<'_>, node: &pb::NodeDef) -> Option<Vec<pb::NodeDef>> {
    let name = |what: &str| format!("{}/lstm_{what}", node.name);
    let float = || ("T", attr::dtype(DType::Float32));
    let mut nodes = vec![attr::values_node(&name("axis"), &[], &[0_i32])?];
    let mut parts = vec![node.input[layer.cell.kernel].clone()];
    if layer.pads() {
        let width = 4 * layer.units;
        nodes.push(attr::values_node(&name("no_weights"), &[1, width], &vec![0_f32; width])?);
        nodes.push(attr::values_node(&name("paddings"), &[3, 2], &[0_i32, 0, 0, 0, 0, 1])?);
        let types = [float(), ("Tpaddings", attr::dtype(DType::Int32))];
        nodes.push(attr::node(name("input"), "Pad", &[layer.input, &name("paddings")], types));
        parts.push(name("no_weights"));
    }
    parts.extend([node.input[layer.cell.recurrent].clone(), name("axis")]);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let number = i64::try_from(parts.len() - 1).ok()?;
    let types = [float(), ("N", attr::integer(number)), ("Tidx", attr::dtype(DType::Int32))];
    nodes.push(attr::node(name("weights"), "ConcatV2", &parts, types));
    Some(nodes)
}
