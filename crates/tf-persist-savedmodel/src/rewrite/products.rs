//! Products of a batch of matrices with one matrix become a product of two matrices.
//!
//! TensorFlow has two kernels. That for two matrices packs constant weights once, and can be fused with the ops behind
//! it; that for batches reads the weights anew for each run.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use super::effects::has_control_flow;
use super::shapes::Shapes;
use crate::dtype::DType;
use crate::graph::{attr, is_control};

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
    let (rows, columns) = match (shapes.of_constant(right)?.as_slice(), is_set("adj_y")) {
        ([rows, columns], false) | ([columns, rows], true) => (*rows, *columns),
        _ => return None,
    };
    let dtype = node.attr.get("T")?.clone();
    // Complex numbers would be conjugated.
    let is_real = [DType::Float32, DType::Float64].iter().any(|real| attr::dtype(*real).value == dtype.value);
    if !is_real || shapes.declared_rank(left)? <= 2 || rows == 0 || columns == 0 {
        return None;
    }
    let mut nodes = shapes_around(node, left, i32::try_from(columns).ok()?)?;
    let name = |what: &str| format!("{}/{what}", node.name);
    let reshape = |name: &str, tensor: &str, shape: &str| {
        let types = [("T", dtype.clone()), ("Tshape", attr::dtype(DType::Int32))];
        attr::node(name, "Reshape", &[tensor, shape], types)
    };
    let flags = [("transpose_a", attr::boolean(false)), ("transpose_b", attr::boolean(is_set("adj_y")))];
    let types = [("T", dtype.clone())].into_iter().chain(flags);
    nodes.push(reshape(&name("rows"), left, &name("rows_shape")));
    nodes.push(attr::node(name("product"), "MatMul", &[&name("rows"), right], types));
    let mut batch = reshape(&node.name, &name("product"), &name("batch_shape"));
    batch.attr.extend(node.attr.get("_output_shapes").map(|shapes| ("_output_shapes".to_owned(), shapes.clone())));
    nodes.insert(0, batch);
    nodes.iter_mut().for_each(|made| made.device.clone_from(&node.device));
    Some(nodes)
}

/// Nodes that compute the shapes before and behind a product: `rows_shape` and `batch_shape`.
///
/// Both come from the tensor itself, not from its declared shape: a request need not have the declared sizes, and a
/// tensor with rows of another size must get to the product, which refuses it. A reshape to known sizes would not
/// always: where another one follows, TensorFlow leaves it out. A tensor of one dimension has no height, and is
/// refused.
fn shapes_around(product: &pb::NodeDef, left: &str, columns: i32) -> Option<Vec<pb::NodeDef>> {
    let name = |what: &str| format!("{}/{what}", product.name);
    let int = || attr::dtype(DType::Int32);
    let vector = |what: &str, value: i32| attr::values_node(&name(what), &[1], &[value]);
    // The sizes from one place to another, or one of them as a scalar, which has to be there.
    let part = |what: &str, (begin, end): (&str, &str), masks: [(&str, i64); 1]| {
        let inputs = ["sizes", begin, end, "stride"].map(name);
        let masks = masks.map(|(mask, value)| (mask, attr::integer(value)));
        let types = [("T", int()), ("Index", int())].into_iter().chain(masks);
        attr::node(name(what), "StridedSlice", &inputs.each_ref().map(String::as_str), types)
    };
    let joined = |what: &str, first: &str, second: &str| {
        let inputs = [first, second, "axis"].map(name);
        let types = [("T", int()), ("Tidx", int()), ("N", attr::integer(2))];
        attr::node(name(what), "ConcatV2", &inputs.each_ref().map(String::as_str), types)
    };
    let scalar = |what: &str, value: i32| attr::values_node(&name(what), &[], &[value]);
    let matrix = [name("height"), name("columns")];
    let types = [("T", product.attr.get("T")?.clone()), ("out_type", int())];
    Some(vec![
        attr::node(name("sizes"), "Shape", &[left], types),
        vector("second_last", -2)?,
        vector("last", -1)?,
        vector("stride", 1)?,
        scalar("axis", 0)?,
        vector("all", -1)?,
        part("inner", ("last", "last"), [("end_mask", 1)]),
        joined("rows_shape", "all", "inner"),
        part("outer", ("second_last", "second_last"), [("begin_mask", 1)]),
        part("height", ("second_last", "last"), [("shrink_axis_mask", 1)]),
        scalar("columns", columns)?,
        attr::node(
            name("matrix"),
            "Pack",
            &matrix.each_ref().map(String::as_str),
            [("T", int()), ("N", attr::integer(2)), ("axis", attr::integer(0))],
        ),
        joined("batch_shape", "outer", "matrix"),
    ])
}
