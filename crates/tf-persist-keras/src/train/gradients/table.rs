//! Which rule belongs to which op.

use super::step::{Gradients, Step};
use super::{array, convolution, einsum, elementwise, gather, image, loops, matrix, neural, reduce, slice};
use crate::graph::Graph;

type Rule = fn(&Step<'_>) -> Gradients;

/// The rule of an op. None if the op has no known gradient.
pub(super) fn rule(op: &str) -> Option<Rule> {
    elementwise_rule(op).or_else(|| array_rule(op)).or_else(|| neural_rule(op)).or_else(|| without(op))
}

fn elementwise_rule(op: &str) -> Option<Rule> {
    use elementwise as rules;
    Some(match op {
        "Abs" => rules::abs,
        "Acos" => rules::acos,
        "Acosh" => rules::acosh,
        "AddV2" | "Add" => rules::add,
        "AddN" => rules::add_n,
        "Asin" => rules::asin,
        "Asinh" => rules::asinh,
        "Atan" => rules::atan,
        "Atan2" => rules::atan2,
        "Atanh" => rules::atanh,
        "Cast" => rules::cast,
        "Cos" => rules::cos,
        "Cosh" => rules::cosh,
        "DivNoNan" => |step| rules::div(step, Graph::div_no_nan),
        "Elu" => |step| rules::of_gradient_and_output(step, "EluGrad"),
        "Erf" => rules::erf,
        "Erfc" => rules::erfc,
        "Erfinv" => rules::erfinv,
        "Exp" => rules::exp,
        "Expm1" => rules::expm1,
        "FloorMod" => rules::floor_mod,
        "Identity" | "EnsureShape" | "PreventGradient" | "Snapshot" => rules::pass,
        "IdentityN" => rules::identity_n,
        "Inv" | "Reciprocal" => |step| rules::of_output(step, "ReciprocalGrad"),
        "LeakyRelu" => rules::leaky_relu,
        "Lgamma" => rules::lgamma,
        "Log" => rules::log,
        "Log1p" => rules::log1p,
        "Maximum" => |step| rules::extreme(step, Graph::greater_equal),
        "Minimum" => |step| rules::extreme(step, Graph::less_equal),
        "Mul" => rules::mul,
        "MulNoNan" => rules::mul_no_nan,
        "Neg" => rules::neg,
        "Pow" => rules::pow,
        "RealDiv" => |step| rules::div(step, Graph::real_div),
        "Relu" => |step| rules::of_gradient_and_output(step, "ReluGrad"),
        "Relu6" => |step| rules::of_gradient_and_output(step, "Relu6Grad"),
        "Rsqrt" => |step| rules::of_output(step, "RsqrtGrad"),
        "SelectV2" => rules::select,
        "Selu" => |step| rules::of_gradient_and_output(step, "SeluGrad"),
        "Sigmoid" => |step| rules::of_output(step, "SigmoidGrad"),
        "Sign" => rules::zero,
        "Sin" => rules::sin,
        "Sinh" => rules::sinh,
        "Softplus" => rules::softplus,
        "Softsign" => rules::softsign,
        "Sqrt" => |step| rules::of_output(step, "SqrtGrad"),
        "Square" => rules::square,
        "SquaredDifference" => rules::squared_difference,
        "Sub" => rules::sub,
        "Tan" => rules::tan,
        "Tanh" => |step| rules::of_output(step, "TanhGrad"),
        "Xdivy" => rules::xdivy,
        "Xlogy" => rules::xlogy,
        _ => return None,
    })
}

fn array_rule(op: &str) -> Option<Rule> {
    Some(match op {
        "BatchToSpaceND" => |step| array::undone_by(step, "SpaceToBatchND"),
        "BroadcastTo" => array::broadcast_to,
        "ConcatV2" => array::concat,
        "Cumprod" => reduce::cumprod,
        "Cumsum" => reduce::cumsum,
        "DepthToSpace" => |step| array::undone_by(step, "SpaceToDepth"),
        "ExpandDims" | "Reshape" | "Squeeze" => array::reshape,
        "Fill" => array::fill,
        "GatherNd" => gather::gather_nd,
        "GatherV2" => gather::gather,
        "MatrixBandPart" => array::matrix_band_part,
        "Max" | "Min" => reduce::extreme,
        "Mean" => reduce::mean,
        "MirrorPad" => array::mirror_pad,
        "Pack" => array::pack,
        "Pad" | "PadV2" => array::pad,
        "Prod" => reduce::prod,
        "ReverseSequence" => array::reverse_sequence,
        "ReverseV2" => array::reverse,
        "Roll" => array::roll,
        "ScatterNd" => gather::scatter_nd,
        "Slice" => slice::sliced,
        "SpaceToBatchND" => |step| array::undone_by(step, "BatchToSpaceND"),
        "SpaceToDepth" => |step| array::undone_by(step, "DepthToSpace"),
        "Split" => |step| array::split(step, 1, 0),
        "SplitV" => |step| array::split(step, 0, 2),
        "StridedSlice" => slice::strided_slice,
        "Sum" => reduce::sum,
        "TensorScatterAdd" => gather::scatter_add,
        "TensorScatterUpdate" => gather::scatter_update,
        "TensorListFromTensor" => loops::list_from_tensor,
        "TensorListGetItem" => loops::list_get,
        "TensorListSetItem" => loops::list_set,
        "TensorListStack" => loops::list_stack,
        "Tile" => array::tile,
        "TopKV2" => reduce::top_k,
        "Transpose" => array::transpose,
        "Unpack" => array::unpack,
        "While" => loops::while_loop,
        _ => return None,
    })
}

fn neural_rule(op: &str) -> Option<Rule> {
    Some(match op {
        "AvgPool" => |step| convolution::average_pool(step, "AvgPoolGrad"),
        "AvgPool3D" => |step| convolution::average_pool(step, "AvgPool3DGrad"),
        "BatchMatMulV2" | "BatchMatMulV3" => matrix::batch_mat_mul,
        "BiasAdd" => matrix::bias_add,
        "Conv2D" => |step| convolution::convolution(step, "Conv2DBackpropInput", "Conv2DBackpropFilter"),
        "Conv2DBackpropInput" => |step| convolution::transposed(step, "Conv2D", "Conv2DBackpropFilter"),
        "Conv3D" => |step| convolution::convolution(step, "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
        "Conv3DBackpropInputV2" => |step| convolution::transposed(step, "Conv3D", "Conv3DBackpropFilterV2"),
        "DepthwiseConv2dNative" => |step| {
            let (input, filter) = ("DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter");
            convolution::convolution(step, input, filter)
        },
        "DepthwiseConv2dNativeBackpropInput" => {
            |step| convolution::transposed(step, "DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropFilter")
        }
        "Einsum" => einsum::einsum,
        "FusedBatchNormV3" => neural::fused_batch_norm,
        "L2Loss" => neural::l2_loss,
        "LogSoftmax" => neural::log_softmax,
        "MatMul" => matrix::mat_mul,
        "MaxPool" => |step| convolution::max_pool(step, "MaxPoolGrad"),
        "MaxPool3D" => |step| convolution::max_pool(step, "MaxPool3DGrad"),
        "ResizeBicubic" => |step| image::resized(step, "ResizeBicubicGrad"),
        "ResizeBilinear" => |step| image::resized(step, "ResizeBilinearGrad"),
        "ResizeNearestNeighbor" => image::nearest,
        "ScaleAndTranslate" => image::scale_and_translate,
        "Softmax" => neural::softmax,
        "SoftmaxCrossEntropyWithLogits" | "SparseSoftmaxCrossEntropyWithLogits" => neural::cross_entropy,
        _ => return None,
    })
}

/// Ops through which no gradient goes.
fn without(op: &str) -> Option<Rule> {
    const OPS: &[&str] = &[
        "All",
        "Any",
        "ArgMax",
        "ArgMin",
        "Bucketize",
        "Ceil",
        "Equal",
        "Floor",
        "FloorDiv",
        "Greater",
        "GreaterEqual",
        "IsFinite",
        "IsInf",
        "IsNan",
        "Less",
        "LessEqual",
        "LinSpace",
        "NextAfter",
        "NotEqual",
        "OneHot",
        "OnesLike",
        "Range",
        "Rank",
        "Rint",
        "Round",
        "Shape",
        "ShapeN",
        "Size",
        "StopGradient",
        "EmptyTensorList",
        "TensorListElementShape",
        "TensorListLength",
        "TensorListReserve",
        "TruncateDiv",
        "Where",
        "ZerosLike",
        "BroadcastGradientArgs",
        "InvertPermutation",
    ];
    OPS.contains(&op).then_some(elementwise::none as Rule)
}
