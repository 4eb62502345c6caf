//! Ops that check the shapes of their inputs themselves.

/// Ops that refuse wrong shapes or accept any shape, sorted. Each was fed tensors of ranks 0 to 10, with and without
/// elements, through a placeholder that declared another shape, in a separate process of TensorFlow 2.21 with oneDNN.
/// Ops that TensorFlow fuses with a matrix product were tested together with it. `Conv2D` and `DepthwiseConv2dNative`
/// ended the process.
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

/// Ops of loops over steps, which refuse wrong sizes or accept any size, sorted; tested as those above.
///
/// `TensorListGetItem` is not among those above: an index of another rank than it takes ends the process.
const CHECKING_SIZES: &[&str] = &[
    "StatelessWhile",
    "TensorListFromTensor",
    "TensorListGetItem",
    "TensorListReserve",
    "TensorListSetItem",
    "TensorListStack",
    "While",
];

/// Whether an op is known to check the sizes of its inputs, if they have the ranks that it takes.
pub(crate) fn checks_sizes(op: &str) -> bool {
    checks_shapes(op) || CHECKING_SIZES.binary_search(&op).is_ok()
}

/// Whether an op is known to check the shapes of its inputs.
pub(crate) fn checks_shapes(op: &str) -> bool {
    CHECKING.binary_search(&op).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::is_known_op;

    #[test]
    fn ops_are_sorted_and_known() {
        assert!(CHECKING.is_sorted() && CHECKING_SIZES.is_sorted());
        assert!(CHECKING.iter().chain(CHECKING_SIZES).all(|op| is_known_op(op)));
        assert!(!checks_shapes("TensorListGetItem") && !checks_sizes("Conv2D"));
    }
}
