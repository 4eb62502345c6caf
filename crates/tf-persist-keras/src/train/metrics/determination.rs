//! `R2Score`.

use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use super::super::losses::same_rank;
use super::Compared;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// The part of the variance that the outputs explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Determination {
    /// Of each output.
    Each,
    Mean,
    /// By the variances of the outputs.
    Weighted,
}

impl Determination {
    /// The metric with a name. None if it is another.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>> {
        if !matches!(object.name, "R2Score" | "r2_score") {
            return Ok(None);
        }
        if object.int("num_regressors", 0)? != 0 {
            refuse!("`num_regressors` of the metric `R2Score` is not supported");
        }
        let is_null =
            object.config.is_some_and(|config| config.get("class_aggregation").is_some_and(|it| it.is_null()));
        Ok(Some(match object.text("class_aggregation") {
            None if is_null => Self::Each,
            None | Some("uniform_average") => Self::Mean,
            Some("variance_weighted_average") => Self::Weighted,
            Some(other) => {
                refuse!("the `class_aggregation` `{}` of the metric `R2Score` is not known", shown_name(other))
            }
        }))
    }

    pub(super) fn value(self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        let (target, output) = (g.cast(of.target, DType::Float32)?, g.cast(of.output, DType::Float32)?);
        let (target, output) = same_rank(g, &target, &output)?;
        if target.rank() != 2 || output.rank() != 2 {
            refuse!("a metric `R2Score` needs targets and outputs of rank 2");
        }
        let ones = match of.weights {
            None => g.ones_like(&target)?,
            Some(weights) => {
                let mut weights = g.cast(weights, DType::Float32)?;
                if weights.rank() == 1 {
                    weights = g.expand_dims(&weights, 1)?;
                }
                g.broadcast_to(&weights, &g.shape_of(&target)?, target.shape.clone())?
            }
        };
        let rows = |x: &TensorRef| g.sum(x, &[0], false);
        let weighted = g.mul(&target, &ones)?;
        let (sum, squares) = (rows(&weighted)?, rows(&g.mul(&target, &weighted)?)?);
        let errors = g.with_scalar(&g.sub(&target, &output)?, 2.0, Graph::pow)?;
        let errors = rows(&g.mul(&errors, &ones)?)?;
        let mean = g.real_div(&sum, &rows(&ones)?)?;
        let total = g.sub(&squares, &g.mul(&sum, &mean)?)?;
        let one = g.scalar(1.0, DType::Float32)?;
        let score = g.sub(&one, &g.real_div(&errors, &total)?)?;
        // Outputs whose targets are all the same.
        let score = g.select(&g.classify("IsInf", &score)?, &g.zeros_like(&score)?, &score)?;
        match self {
            Self::Each => Ok(score),
            Self::Mean => g.mean(&score, &[0], false),
            Self::Weighted => g.real_div(&rows(&g.mul(&total, &score)?)?, &rows(&total)?),
        }
    }
}
