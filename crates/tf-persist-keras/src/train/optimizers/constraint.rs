//! Constraints of weights, which hold after each step.

use super::super::compiled::Object;
use super::super::losses::EPSILON;
use crate::config::{int, shown};
use crate::graph::{Graph, TensorRef};
use crate::layers::Weight;
use crate::reason::{Result, refuse, shown_name};

/// What a constraint does to a weight.
enum Constraint {
    MaxNorm {
        max: f64,
        axes: Vec<i64>,
    },
    MinMaxNorm {
        min: f64,
        max: f64,
        rate: f64,
        axes: Vec<i64>,
    },
    NonNegative,
    UnitNorm {
        axes: Vec<i64>,
    },
    /// Of kernels of convolutions.
    RadialOnly,
}

/// Replaces a weight by what its constraint makes of it.
pub(super) fn constrained(g: &Graph, weight: &Weight) -> Result<()> {
    let Some(value) = &weight.rules.constraint else { return Ok(()) };
    let Some(object) = Object::of(value) else { refuse!("the constraint {} is not known", shown(value)) };
    let constraint = Constraint::parse(&object)?;
    let value = g.read_again(weight.resource)?;
    g.assign(weight.resource, &constraint.apply(g, &value)?)
}

impl Constraint {
    fn parse(object: &Object<'_>) -> Result<Self> {
        Ok(match object.name {
            "MaxNorm" | "max_norm" => Self::MaxNorm { max: object.float("max_value", 2.0)?, axes: axes(object)? },
            "NonNeg" | "non_neg" => Self::NonNegative,
            "UnitNorm" | "unit_norm" => Self::UnitNorm { axes: axes(object)? },
            "MinMaxNorm" | "min_max_norm" => Self::MinMaxNorm {
                min: object.float("min_value", 0.0)?,
                max: object.float("max_value", 1.0)?,
                rate: object.float("rate", 1.0)?,
                axes: axes(object)?,
            },
            "RadialConstraint" | "radial_constraint" => Self::RadialOnly,
            name => refuse!("the constraint `{}` is not known", shown_name(name)),
        })
    }

    fn apply(&self, g: &Graph, w: &TensorRef) -> Result<TensorRef> {
        let norms = |axes: &[i64]| g.sqrt(&g.sum(&g.square(w)?, axes, true)?);
        let with_epsilon = |norms: &TensorRef| g.add_v2(&g.scalar(EPSILON, w.dtype)?, norms);
        match self {
            Self::NonNegative => g.with_scalar(w, 0.0, Graph::maximum),
            Self::UnitNorm { axes } => g.real_div(w, &with_epsilon(&norms(axes)?)?),
            Self::MaxNorm { max, axes } => {
                let norms = norms(axes)?;
                let wanted = g.clip(&norms, 0.0, *max)?;
                g.mul(w, &g.real_div(&wanted, &with_epsilon(&norms)?)?)
            }
            Self::MinMaxNorm { min, max, rate, axes } => {
                let norms = norms(axes)?;
                let clipped = g.mul(&g.scalar(*rate, w.dtype)?, &g.clip(&norms, *min, *max)?)?;
                let kept = g.mul(&g.scalar(1.0 - rate, w.dtype)?, &norms)?;
                g.mul(w, &g.real_div(&g.add_v2(&clipped, &kept)?, &with_epsilon(&norms)?)?)
            }
            Self::RadialOnly => refuse!("the constraint `RadialConstraint` is not supported in training"),
        }
    }
}

/// The axes of a norm: 0 where the file has none.
fn axes(object: &Object<'_>) -> Result<Vec<i64>> {
    match object.get("axis") {
        None => Ok(vec![0]),
        Some(serde_json::Value::Array(items)) => items.iter().map(|item| int("axis", item)).collect(),
        Some(value) => Ok(vec![int("axis", value)?]),
    }
}
