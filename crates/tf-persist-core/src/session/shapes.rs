//! Which signatures may be fed any shape.
//!
//! TensorFlow's session does not look at the shapes of what is fed: its ops do. Most refuse what they cannot take; some, such as
//! oneDNN's convolutions, end the process. Python's session therefore holds what is fed against the placeholders' shapes, as
//! [`Signature::run`](crate::Signature::run) does. TensorFlow Serving does not, and has clients that rely on it.

use std::collections::HashSet;

use crate::graph::view::{IndexedGraph, find_reachable};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};

/// Ops that refuse shapes they cannot take, or take any, sorted. Each was fed, beneath a placeholder that declared another shape,
/// tensors of ranks 0 to 10 with and without elements, in a process of its own, by TensorFlow 2.21 with oneDNN; and those that are
/// fused with a matrix product, together with it. `Conv2D` and `DepthwiseConv2dNative` ended the process.
const CHECKING: &[&str] = &[
    "Abs",
    "Add",
    "AddN",
    "AddV2",
    "All",
    "Any",
    "ArgMax",
    "ArgMin",
    "AsString",
    "Assign",
    "AssignVariableOp",
    "BatchMatMul",
    "BatchMatMulV2",
    "BiasAdd",
    "BroadcastTo",
    "Bucketize",
    "Cast",
    "Concat",
    "ConcatV2",
    "Const",
    "Cos",
    "Cumsum",
    "DivNoNan",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "ExpandDims",
    "Fill",
    "Floor",
    "FloorMod",
    "Gather",
    "GatherNd",
    "GatherV2",
    "Greater",
    "GreaterEqual",
    "Identity",
    "IdentityN",
    "InTopKV2",
    "IsNan",
    "L2Loss",
    "LeakyRelu",
    "Less",
    "LessEqual",
    "Log",
    "LogSoftmax",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "MatMul",
    "Max",
    "Maximum",
    "Mean",
    "Min",
    "Minimum",
    "MirrorPad",
    "Mul",
    "Neg",
    "NoOp",
    "NotEqual",
    "OneHot",
    "Pack",
    "Pad",
    "PadV2",
    "ParseExample",
    "ParseExampleV2",
    "PartitionedCall",
    "Placeholder",
    "PlaceholderWithDefault",
    "Pow",
    "Prod",
    "Range",
    "Rank",
    "ReadVariableOp",
    "RealDiv",
    "Relu",
    "Relu6",
    "Reshape",
    "ResourceGather",
    "ReverseV2",
    "Round",
    "Rsqrt",
    "Select",
    "SelectV2",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "SplitV",
    "Sqrt",
    "Square",
    "SquaredDifference",
    "Squeeze",
    "StatefulPartitionedCall",
    "StaticRegexReplace",
    "StopGradient",
    "StridedSlice",
    "StringJoin",
    "StringLength",
    "StringLower",
    "StringStrip",
    "StringToHashBucketFast",
    "StringToNumber",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "TopKV2",
    "Transpose",
    "Unpack",
    "VarHandleOp",
    "VarIsInitializedOp",
    "Variable",
    "VariableV2",
    "Where",
    "ZerosLike",
];

/// Whether every op that a run of the signature reaches, functions included, is known to check shapes itself.
pub(super) fn are_checked_by_ops(model: &SavedModel, meta_graph: &MetaGraph, signature: &SignatureDef) -> bool {
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    // The ops of functions that are called by name of their own are looked at when they are reached.
    let functions: HashSet<&str> = graph.functions.iter().map(|function| function.name).collect();
    let is_unknown = |op: &str| CHECKING.binary_search(&op).is_err() && !functions.contains(op);
    find_reachable(&graph, &signature.fed_nodes(), &signature.fetched_nodes(), |node| is_unknown(node.op)).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_sorted() {
        assert!(CHECKING.is_sorted());
    }
}
