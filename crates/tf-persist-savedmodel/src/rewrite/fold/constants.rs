//! The values of nodes that depend on constants alone.

use std::cell::RefCell;
use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use super::View;
use crate::DType;
use crate::graph::{attr, is_control, tensor_of};
use crate::rewrite::shapes::integers;
use crate::tensor::{Tensor, proto};

/// The deepest chain of nodes that is computed.
const MAX_DEPTH: usize = 20;

/// The most elements of a value that is looked at: more than there are channels.
const MAX_ELEMENTS: usize = 1 << 16;

/// Values that are known, by the tensor's name.
#[derive(Default)]
pub(super) struct Constants(RefCell<HashMap<String, Option<Tensor>>>);

impl Constants {
    /// The value of a tensor of 32-bit floats; `None` if it is not known.
    pub(super) fn of(&self, view: &View<'_>, tensor: &str) -> Option<Tensor> {
        self.find(view, tensor_of(tensor), 0)
    }

    fn find(&self, view: &View<'_>, tensor: &str, depth: usize) -> Option<Tensor> {
        if let Some(known) = self.0.borrow().get(tensor) {
            return known.clone();
        }
        if depth > MAX_DEPTH {
            return None;
        }
        // Whoever comes here again meanwhile goes in a circle.
        self.0.borrow_mut().insert(tensor.to_owned(), None);
        // TensorFlow takes subnormal numbers as 0 in most of its threads.
        let is_exact =
            |value: &Tensor| value.view::<f32>().is_ok_and(|value| !value.iter().any(|it| it.is_subnormal()));
        let value = self.compute(view, tensor, depth).filter(is_exact);
        self.0.borrow_mut().insert(tensor.to_owned(), value.clone());
        value
    }

    fn compute(&self, view: &View<'_>, tensor: &str, depth: usize) -> Option<Tensor> {
        let node = &view.nodes[*view.by_name.get(tensor)?];
        // A node that runs before it may fail, and a request may give another value.
        if node.input.iter().any(|input| is_control(input)) || view.asked.contains(&node.name) {
            return None;
        }
        if let Some(constant) = attr::constant(node) {
            return small(constant);
        }
        let input = |index: usize| self.find(view, tensor_of(node.input.get(index)?), depth + 1);
        match node.op.as_str() {
            "Identity" => input(0),
            "Rsqrt" => each(&input(0)?, |value| 1.0 / value.sqrt()),
            "Sqrt" => each(&input(0)?, f32::sqrt),
            "Neg" => each(&input(0)?, |value| -value),
            "Add" | "AddV2" => both(&input(0)?, &input(1)?, |a, b| a + b),
            "Sub" => both(&input(0)?, &input(1)?, |a, b| a - b),
            "Mul" => both(&input(0)?, &input(1)?, |a, b| a * b),
            "RealDiv" => both(&input(0)?, &input(1)?, |a, b| a / b),
            "Reshape" => reshaped(&input(0)?, &integers(view.whole_constant(node.input.get(1)?)?)?),
            _ => None,
        }
    }
}

/// The value of a constant of 32-bit floats, if it is small.
fn small(constant: &pb::TensorProto) -> Option<Tensor> {
    let elements: usize = proto::whole_shape(&constant.tensor_shape)
        .ok()?
        .iter()
        .try_fold(1_usize, |all, size| all.checked_mul(*size))?;
    let is_wanted = elements <= MAX_ELEMENTS && constant.dtype == attr::proto_dtype(DType::Float32);
    is_wanted.then(|| proto::from_proto(constant, MAX_ELEMENTS * size_of::<f32>()).ok())?
}

fn each(tensor: &Tensor, of: impl Fn(f32) -> f32) -> Option<Tensor> {
    let values = tensor.view::<f32>().ok()?;
    Tensor::from_slice(tensor.shape(), &values.iter().map(|value| of(*value)).collect::<Vec<_>>()).ok()
}

/// Combines tensors of one shape, or one with a scalar.
fn both(left: &Tensor, right: &Tensor, of: impl Fn(f32, f32) -> f32) -> Option<Tensor> {
    let (a, b) = (left.view::<f32>().ok()?, right.view::<f32>().ok()?);
    let (Some(first), Some(second)) = (a.first(), b.first()) else { return None };
    if left.shape() == right.shape() {
        return Tensor::from_slice(left.shape(), &a.iter().zip(b).map(|(a, b)| of(*a, *b)).collect::<Vec<_>>()).ok();
    }
    match (left.shape(), right.shape()) {
        (_, []) => each(left, |value| of(value, *second)),
        ([], _) => each(right, |value| of(*first, value)),
        _ => None,
    }
}

/// A tensor with another shape, of which one size may be -1.
fn reshaped(tensor: &Tensor, shape: &[i64]) -> Option<Tensor> {
    let values = tensor.view::<f32>().ok()?;
    let mut known = shape.iter().filter_map(|size| usize::try_from(*size).ok());
    let known = known.try_fold(1_usize, |product, size| product.checked_mul(size))?;
    let open = values.len().checked_div(known)?;
    let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(open)).collect();
    Tensor::from_slice(&shape, values).ok()
}
