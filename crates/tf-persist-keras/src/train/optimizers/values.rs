//! Arithmetic with gradients that may be of some rows only, as Keras has it.

use super::super::gradients::{Gradient, Slices, dense};
use crate::graph::{Graph, Resource, TensorRef};
use crate::reason::Result;

/// Applies a function that maps 0 to 0.
pub(super) fn map(gradient: &Gradient, function: impl FnOnce(&TensorRef) -> Result<TensorRef>) -> Result<Gradient> {
    Ok(match gradient {
        Gradient::Dense(tensor) => function(tensor)?.into(),
        Gradient::Sparse(slices) => Gradient::Sparse(slices.with_values(function(&slices.values)?)),
    })
}

/// Applies a function of a gradient and a tensor of the weight's shape, such as a product, that is 0 where the gradient
/// is.
pub(super) fn with_dense(
    g: &Graph,
    gradient: &Gradient,
    other: &TensorRef,
    function: impl FnOnce(&TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Result<Gradient> {
    Ok(match gradient {
        Gradient::Dense(tensor) => function(tensor, other)?.into(),
        Gradient::Sparse(slices) => {
            let rows = g.gather(other, &slices.ids, 0)?;
            Gradient::Sparse(slices.with_values(function(&slices.values, &rows)?))
        }
    })
}

pub(super) fn square(g: &Graph, gradient: &Gradient) -> Result<Gradient> {
    map(gradient, |values| g.square(values))
}

/// The product with a number.
pub(super) fn scaled(g: &Graph, gradient: &Gradient, factor: f64) -> Result<Gradient> {
    map(gradient, |values| g.with_scalar(values, factor, Graph::mul))
}

/// The gradient as a tensor; rows that occur several times are added.
pub(super) fn whole(g: &Graph, gradient: &Gradient) -> Result<TensorRef> {
    dense(g, gradient)
}

/// Adds to a variable.
pub(super) fn assign_add(g: &Graph, variable: Resource, value: &Gradient) -> Result<()> {
    match value {
        Gradient::Dense(tensor) => g.assign_add(variable, tensor),
        Gradient::Sparse(Slices { ids, values, .. }) => g.scatter("ResourceScatterAdd", variable, ids, values),
    }
}

/// Subtracts from a variable.
pub(super) fn assign_sub(g: &Graph, variable: Resource, value: &Gradient) -> Result<()> {
    match value {
        Gradient::Dense(tensor) => g.assign_sub(variable, tensor),
        Gradient::Sparse(Slices { ids, values, .. }) => g.scatter("ResourceScatterSub", variable, ids, values),
    }
}
