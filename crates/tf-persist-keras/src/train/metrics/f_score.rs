//! `F1Score` and `FBetaScore`.

use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use super::Compared;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// What Keras adds to divisors.
const EPSILON: f64 = 1e-7;

/// A mean of precision and recall, for each class.
#[derive(Debug, Clone)]
pub(super) struct FScore {
    beta: f64,
    threshold: Option<f64>,
    average: Average,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Average {
    /// A value for each class.
    None,
    /// Of all classes in one count.
    Micro,
    Macro,
    /// By the number of elements in each class.
    Weighted,
}

impl FScore {
    /// The metric with a name. None if it is another.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>> {
        let beta = match object.name {
            "F1Score" | "f1_score" => 1.0,
            "FBetaScore" | "fbeta_score" => object.float("beta", 1.0)?,
            _ => return Ok(None),
        };
        let average = match object.text("average") {
            None => Average::None,
            Some("micro") => Average::Micro,
            Some("macro") => Average::Macro,
            Some("weighted") => Average::Weighted,
            Some(other) => {
                refuse!("the `average` `{}` of the metric `{}` is not known", shown_name(other), object.name)
            }
        };
        let threshold = object.get("threshold").map(|_| object.float("threshold", 0.5)).transpose()?;
        Ok(Some(Self { beta, threshold, average }))
    }

    pub(super) fn value(&self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        let (target, output) = (g.cast(of.target, DType::Float32)?, g.cast(of.output, DType::Float32)?);
        if target.rank() != 2 || output.rank() != 2 {
            refuse!("a metric `FBetaScore` needs targets and outputs of rank 2");
        }
        let is_positive = match self.threshold {
            Some(threshold) => g.with_scalar(&output, threshold, Graph::greater)?,
            None => {
                let most = g.max(&output, &[-1], true)?;
                let not_zero = g.with_scalar(&g.abs(&output)?, 1e-9, Graph::greater)?;
                g.logical_and(&g.greater_equal(&output, &most)?, &not_zero)?
            }
        };
        let chosen = g.cast(&is_positive, DType::Float32)?;
        let one = g.scalar(1.0, DType::Float32)?;
        let weights = of.weights.map(|weights| g.expand_dims(&g.cast(weights, DType::Float32)?, 1)).transpose()?;
        let sum = |x: &TensorRef| -> Result<TensorRef> {
            let x = if let Some(weights) = &weights { g.mul(x, weights)? } else { x.clone() };
            g.sum(&x, if self.average == Average::Micro { &[0, 1] } else { &[0] }, false)
        };
        let hits = sum(&g.mul(&chosen, &target)?)?;
        let wrong = sum(&g.mul(&chosen, &g.sub(&one, &target)?)?)?;
        let missed = sum(&g.mul(&g.sub(&one, &chosen)?, &target)?)?;
        let add = |x: &TensorRef, number: f64| g.with_scalar(x, number, Graph::add_v2);
        let precision = g.real_div(&hits, &add(&g.add_v2(&hits, &wrong)?, EPSILON)?)?;
        let recall = g.real_div(&hits, &add(&g.add_v2(&hits, &missed)?, EPSILON)?)?;
        let square = self.beta * self.beta;
        let both = g.add_v2(&g.with_scalar(&precision, square, Graph::mul)?, &recall)?;
        let mean = g.real_div(&g.mul(&precision, &recall)?, &add(&both, EPSILON)?)?;
        let score = g.with_scalar(&mean, 1.0 + square, Graph::mul)?;
        match self.average {
            Average::None | Average::Micro => Ok(score),
            Average::Macro => g.mean(&score, &[0], false),
            Average::Weighted => {
                let counts = sum(&target)?;
                let total = add(&g.sum(&counts, &[0], false)?, EPSILON)?;
                g.sum(&g.mul(&score, &g.real_div(&counts, &total)?)?, &[0], false)
            }
        }
    }
}
