//! Nodes that multiply channels or add to them, and nodes that compute channels with weights.

use tf_persist_proto::tensorflow as pb;

use super::View;
use crate::DType;
use crate::graph::attr;
use crate::rewrite::channels_are_last;
use crate::tensor::{Tensor, proto};

/// The most bytes of weights that are written as one repeated number.
const MAX_FILLED: usize = 64 << 20;

/// `channel * scale + offset`, with a number for each channel, or one for all of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Option<Vec<f32>>,
    pub(super) offset: Option<Vec<f32>>,
    /// The rank that its result has at least.
    rank: usize,
}

/// The numbers of a constant that works on the last dimension alone: it has no other, or they are 1.
struct Channels {
    values: Vec<f32>,
    rank: usize,
}

impl Channels {
    fn of(view: &View<'_>, tensor: &str) -> Option<Self> {
        let tensor = view.constant(tensor)?;
        let around = tensor.shape().split_last().map_or(&[][..], |(_, around)| around);
        let values = around.iter().all(|size| *size == 1).then(|| tensor.view::<f32>().ok())??;
        Some(Self { values: values.to_vec(), rank: tensor.shape().len() })
    }
}

impl Affine {
    /// What a node does with the channels of one of its inputs, and that input; `None` if it does anything else.
    pub(super) fn of<'n>(view: &View<'_>, node: &'n pb::NodeDef) -> Option<(&'n str, Self)> {
        if attr::type_of(node, "T") != Some(DType::Float32) {
            return None;
        }
        let (first, second) = (node.input.first()?.as_str(), node.input.get(1)?.as_str());
        let scaled = |by: Channels| Self { scale: Some(by.values), offset: None, rank: by.rank };
        let moved = |by: Channels| Self { scale: None, offset: Some(by.values), rank: by.rank };
        // Either factor may be the constant, and either summand.
        let either = || match Channels::of(view, second) {
            Some(channels) => Some((first, channels)),
            None => Some((second, Channels::of(view, first)?)),
        };
        match node.op.as_str() {
            "Mul" => either().map(|(input, by)| (input, scaled(by))),
            "Add" | "AddV2" => either().map(|(input, by)| (input, moved(by))),
            "Sub" => {
                let Channels { values, rank } = Channels::of(view, second)?;
                Some((first, moved(Channels { values: values.iter().map(|value| -value).collect(), rank })))
            }
            "BiasAdd" if channels_are_last(node) => Some((first, moved(Channels::of(view, second)?))),
            "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => {
                Some((first, Self::of_batch_norm(view, node)?))
            }
            _ => None,
        }
    }

    fn of_batch_norm(view: &View<'_>, node: &pb::NodeDef) -> Option<Self> {
        /// The default of the op.
        const EPSILON: f32 = 1e-4;
        /// How far the mean may be from 0, in spreads, so that rounding stays well below a part in 100,000.
        const MOST_SPREADS: f32 = 32.0;
        // In training, it takes the mean of the batch: the default.
        let is_training = node.attr.get("is_training").is_none_or(|value| !value.has_b() || value.b());
        // The first version has one dtype for everything.
        let is_float = node.op == "FusedBatchNorm" || attr::type_of(node, "U") == Some(DType::Float32);
        if is_training || !is_float || !channels_are_last(node) {
            return None;
        }
        let name = node.name.as_str();
        // Only its first output is computed then. A request may ask for another one.
        if view.asked.contains(name) || (1..6).any(|output| view.users.contains_key(&*format!("{name}:{output}"))) {
            return None;
        }
        let epsilon = node.attr.get("epsilon").map_or(EPSILON, pb::AttrValue::f);
        let vector = |index: usize| view.constant(node.input.get(index)?)?.view::<f32>().ok().map(<[f32]>::to_vec);
        let (gamma, beta, mean, variance) = (vector(1)?, vector(2)?, vector(3)?, vector(4)?);
        if [&beta, &mean, &variance].iter().any(|values| values.len() != gamma.len()) {
            return None;
        }
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + epsilon).sqrt()).collect();
        // The op subtracts the mean first. Behind it, digits would be lost of a mean that is large beside the spread.
        let is_far = |((gamma, beta), (mean, scale)): ((&f32, &f32), (&f32, &f32))| {
            (mean * scale).abs() > MOST_SPREADS * (gamma.abs() + beta.abs())
        };
        if gamma.iter().zip(&beta).zip(mean.iter().zip(&scale)).any(is_far) {
            return None;
        }
        let offset = beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        Some(Self { scale: Some(scale), offset: Some(offset), rank: 1 })
    }

    /// The same with a number for each channel of a node; `None` if the result would have another shape.
    pub(super) fn of_channels(mut self, linear: &Linear<'_>) -> Option<Self> {
        for values in [&mut self.scale, &mut self.offset].into_iter().flatten() {
            if let [one] = values[..] {
                *values = vec![one; linear.channels];
            }
            if values.len() != linear.channels || self.rank > linear.rank {
                return None;
            }
        }
        Some(self)
    }

    /// The bias after it, of the bias before it.
    pub(super) fn bias(&self, before: Option<Vec<f32>>) -> Option<Vec<f32>> {
        let before = match (before, &self.scale) {
            (Some(before), Some(scale)) => {
                Some(before.iter().zip(scale).map(|(before, scale)| before * scale).collect())
            }
            (before, _) => before,
        };
        match (before, &self.offset) {
            (Some(before), Some(offset)) => {
                Some(before.iter().zip(offset).map(|(before, offset)| before + offset).collect())
            }
            (None, Some(offset)) => Some(offset.clone()),
            (before, None) => before,
        }
    }
}

/// A convolution or a matrix product with constant weights.
pub(super) struct Linear<'g> {
    pub(super) index: usize,
    pub(super) channels: usize,
    /// The rank of its result.
    rank: usize,
    weights: &'g pb::TensorProto,
}

impl<'g> Linear<'g> {
    /// The input that the weights are.
    pub(super) const WEIGHTS: usize = 1;

    pub(super) fn of(view: &View<'g>, index: usize) -> Option<Self> {
        let node = &view.nodes[index];
        if attr::type_of(node, "T") != Some(DType::Float32) {
            return None;
        }
        let weights = view.whole_constant(node.input.get(Self::WEIGHTS)?)?;
        let shape = proto::whole_shape(&weights.tensor_shape).ok()?;
        let (channels, rank) = match (node.op.as_str(), &shape[..]) {
            ("Conv2D", [_, _, _, channels]) if channels_are_last(node) => (*channels, 4),
            ("DepthwiseConv2dNative", [_, _, inputs, times]) if channels_are_last(node) => {
                (inputs.checked_mul(*times)?, 4)
            }
            ("MatMul", [_, channels]) if !node.attr.get("transpose_b").is_some_and(pb::AttrValue::b) => (*channels, 2),
            _ => return None,
        };
        (channels > 0).then_some(Self { index, channels, rank, weights })
    }

    /// The weights with each channel multiplied; `None` if a number overflows, or is so small that it loses digits.
    pub(super) fn scaled(&self, scale: &[f32]) -> Option<Tensor> {
        let weights = proto::from_proto(self.weights, MAX_FILLED).ok()?;
        // The channels are the last dimension, or the last two.
        let by_channel = weights.view::<f32>().ok()?.chunks(self.channels);
        let scaled: Vec<f32> =
            by_channel.flat_map(|weights| weights.iter().zip(scale)).map(scaled_weight).collect::<Option<_>>()?;
        Tensor::from_slice(weights.shape(), &scaled).ok()
    }
}

/// A product of a weight and a scale; `None` if it overflows, or is so small that it loses digits.
fn scaled_weight((weight, scale): (&f32, &f32)) -> Option<f32> {
    let scaled = weight * scale;
    (scaled.is_normal() || scaled == 0.0 && (*weight == 0.0 || *scale == 0.0)).then_some(scaled)
}
