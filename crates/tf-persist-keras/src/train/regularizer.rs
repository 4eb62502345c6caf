//! Regularizers, which add to the loss.

use serde_json::Value;

use super::compiled::Object;
use super::losses::normalized;
use crate::config::shown;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// What a regularizer adds, as a scalar.
pub(super) fn penalty(g: &Graph, regularizer: &Value, x: &TensorRef) -> Result<TensorRef> {
    let Some(object) = Object::of(regularizer) else { refuse!("the regularizer {} is not known", shown(regularizer)) };
    match object.name {
        "L1" | "l1" => sum_of(g, x, object.float("l1", 0.01)?, Graph::abs),
        "L2" | "l2" => sum_of(g, x, object.float("l2", 0.01)?, Graph::square),
        "L1L2" | "l1_l2" => {
            let default = if object.config.is_none() && object.name == "l1_l2" { 0.01 } else { 0.0 };
            let mut sum = g.scalar(0.0, x.dtype)?;
            for (key, function) in [("l1", Graph::abs as Function), ("l2", Graph::square)] {
                let factor = object.float(key, default)?;
                if factor != 0.0 {
                    sum = g.add_v2(&sum, &sum_of(g, x, factor, function)?)?;
                }
            }
            Ok(sum)
        }
        "OrthogonalRegularizer" | "orthogonal_regularizer" => orthogonal(g, &object, x),
        name => refuse!("the regularizer `{}` is not known", shown_name(name)),
    }
}

type Function = fn(&Graph, &TensorRef) -> Result<TensorRef>;

/// A factor times the sum of a function of the elements.
fn sum_of(g: &Graph, x: &TensorRef, factor: f64, function: Function) -> Result<TensorRef> {
    let axes: Vec<i64> = (0..x.rank() as i64).collect();
    let sum = g.sum(&function(g, x)?, &axes, false)?;
    g.mul(&g.scalar(factor, x.dtype)?, &sum)
}

/// The mean of the products of different rows or columns, which have length 1.
fn orthogonal(g: &Graph, object: &Object<'_>, x: &TensorRef) -> Result<TensorRef> {
    if x.rank() != 2 {
        refuse!("`OrthogonalRegularizer` needs a matrix, not a tensor of shape {}", x.shape);
    }
    let by_rows = match object.text("mode") {
        None | Some("rows") => true,
        Some("columns") => false,
        Some(other) => refuse!("the mode `{}` of `OrthogonalRegularizer` is not known", shown_name(other)),
    };
    let unit = normalized(g, x, &[if by_rows { 1 } else { 0 }])?;
    let turned = g.transpose(&unit, &[1, 0])?;
    let product = if by_rows { g.mat_mul(&unit, &turned)? } else { g.mat_mul(&turned, &unit)? };
    let size = product.size(0)?;
    let numbers = g.range(&g.scalar_i32(0)?, &g.dim_of(&product, 0)?, &g.scalar_i32(1)?, Some(size))?;
    let diagonal = g.cast(&g.equal(&g.expand_dims(&numbers, -1)?, &numbers)?, x.dtype)?;
    let others = g.mul(&product, &g.sub(&g.scalar(1.0, x.dtype)?, &diagonal)?)?;
    let pairs = size as f64 * (size as f64 - 1.0) / 2.0;
    let factor = g.mul(&g.scalar(object.float("factor", 0.01)?, x.dtype)?, &g.scalar(0.5, x.dtype)?)?;
    let sum = g.mul(&factor, &g.sum(&g.abs(&others)?, &[0, 1], false)?)?;
    g.with_scalar(&sum, pairs, Graph::real_div)
}
