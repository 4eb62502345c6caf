//! Products of a batch of matrices with one matrix become a product of two matrices.
//!
//! TensorFlow has two kernels. That for two matrices packs constant weights once, and can be fused with the ops behind
//! it; that for batches reads the weights anew for each run.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use super::effects::has_control_flow;
use super::shapes::{Shapes, Sizes};
use crate::dtype::DType;
use crate::graph::{attr, is_control};
use crate::tensor::{Tensor, proto};

/// Replaces the batches of products at the top of a graph. Returns how many. These nodes are asked for by their names.
pub(crate) fn flatten(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    // The constants of a product in a loop of TensorFlow 1 would be outside of the loop.
    if has_control_flow(&graph.node) {
        return 0;
    }
    let made: Vec<(usize, Vec<pb::NodeDef>)> = {
        let names: HashSet<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
        let shapes = Shapes::new(&graph.node, asked);
        let is_new = |nodes: &[pb::NodeDef]| nodes[1..].iter().all(|node| !names.contains(node.name.as_str()));
        let nodes = graph.node.iter().enumerate();
        nodes.filter_map(|(index, node)| Some((index, flattened(node, &shapes).filter(|made| is_new(made))?))).collect()
    };
    let count = made.len();
    for (index, mut nodes) in made {
        graph.node[index] = nodes.remove(0);
        graph.node.extend(nodes);
    }
    count
}

/// The nodes that stand for a product: the first has its name.
fn flattened(node: &pb::NodeDef, shapes: &Shapes<'_>) -> Option<Vec<pb::NodeDef>> {
    let is_set = |name: &str| node.attr.get(name).is_some_and(pb::AttrValue::b);
    let [left, right] = node.input.as_slice() else { return None };
    if !matches!(node.op.as_str(), "BatchMatMul" | "BatchMatMulV2") || is_control(right) || is_set("adj_x") {
        return None;
    }
    let (left_sizes, right_sizes, sizes) = (shapes.of(left)?, shapes.of(right)?, shapes.of(&node.name)?);
    let (rows, columns) = match (right_sizes.as_slice(), is_set("adj_y")) {
        ([rows, columns], false) | ([columns, rows], true) => ((*rows)?, (*columns)?),
        _ => return None,
    };
    let dtype = node.attr.get("T")?.clone();
    // Complex numbers would be conjugated.
    let is_real = [DType::Float32, DType::Float64].iter().any(|real| attr::dtype(*real).value == dtype.value);
    let is_batch = left_sizes.len() > 2 && left_sizes.last() == Some(&Some(rows));
    if !is_real || !is_batch || sizes.len() != left_sizes.len() || sizes.last() != Some(&Some(columns)) {
        return None;
    }
    let name = |what: &str| format!("{}/{what}", node.name);
    let shape = |what: &str, sizes: &Sizes| {
        let known = sizes.iter().map(|size| size.map_or(Some(-1), |size| i32::try_from(size).ok()));
        let known: Vec<i32> = known.collect::<Option<_>>()?;
        // One size follows from the others.
        if known.iter().filter(|size| **size == -1).count() > 1 || known.contains(&0) {
            return None;
        }
        Some(attr::const_node(&name(what), proto::to_proto(&Tensor::from_slice(&[known.len()], &known).ok()?)))
    };
    let reshape = |name: &str, tensor: &str, shape: &pb::NodeDef| {
        let types = [("T", dtype.clone()), ("Tshape", attr::dtype(DType::Int32))];
        attr::node(name, "Reshape", &[tensor, &shape.name], types)
    };
    let rows_shape = shape("rows_shape", &vec![None, Some(rows)])?;
    let batch_shape = shape("batch_shape", &sizes)?;
    let in_rows = reshape(&name("rows"), left, &rows_shape);
    let flags = [("transpose_a", attr::boolean(false)), ("transpose_b", attr::boolean(is_set("adj_y")))];
    let types = [("T", dtype.clone())].into_iter().chain(flags);
    let product = attr::node(name("product"), "MatMul", &[&in_rows.name, right], types);
    let mut batch = reshape(&node.name, &product.name, &batch_shape);
    batch.attr.extend(node.attr.get("_output_shapes").map(|shapes| ("_output_shapes".to_owned(), shapes.clone())));
    let mut nodes = vec![batch, rows_shape, batch_shape, in_rows, product];
    nodes.iter_mut().for_each(|made| made.device.clone_from(&node.device));
    Some(nodes)
}
