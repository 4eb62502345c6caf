//! Metrics of true and false positives and negatives.

use tf_persist_savedmodel::{DType, Tensor};

use super::super::compiled::Object;
use super::super::losses::same_rank;
use super::{Compared, thresholds};
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// A metric that counts.
#[derive(Debug, Clone)]
pub(super) struct Confusion {
    of: Of,
    thresholds: Vec<f64>,
    class: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    TruePositives,
    FalsePositives,
    TrueNegatives,
    FalseNegatives,
    Precision,
    Recall,
}

impl Confusion {
    /// The metric with a name. None if it is another.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>> {
        let of = match object.name {
            "TruePositives" | "true_positives" => Of::TruePositives,
            "FalsePositives" | "false_positives" => Of::FalsePositives,
            "TrueNegatives" | "true_negatives" => Of::TrueNegatives,
            "FalseNegatives" | "false_negatives" => Of::FalseNegatives,
            "Precision" | "precision" => Of::Precision,
            "Recall" | "recall" => Of::Recall,
            _ => return Ok(None),
        };
        if object.get("top_k").is_some() {
            refuse!("`top_k` of the metric `{}` is not supported", shown_name(object.name));
        }
        let class = object.get("class_id").map(|_| object.int("class_id", 0)).transpose()?;
        Ok(Some(Self { of, thresholds: thresholds(object, 0.5)?, class }))
    }

    /// A scalar, or a vector if there are several thresholds.
    pub(super) fn value(&self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        let counted = Counted::of(g, of, self.class)?;
        let limits: Vec<f32> = self.thresholds.iter().map(|limit| *limit as f32).collect();
        let limits = g.constant(Tensor::from_slice(&[limits.len(), 1], &limits)?)?;
        let is_positive = g.greater(&counted.output, &limits)?;
        let count = |label, positive| counted.count(g, &is_positive, label, positive);
        let result = match self.of {
            Of::TruePositives => count(true, true)?,
            Of::FalsePositives => count(false, true)?,
            Of::TrueNegatives => count(false, false)?,
            Of::FalseNegatives => count(true, false)?,
            Of::Precision => {
                let hits = count(true, true)?;
                g.div_no_nan(&hits, &g.add_v2(&hits, &count(false, true)?)?)?
            }
            Of::Recall => {
                let hits = count(true, true)?;
                g.div_no_nan(&hits, &g.add_v2(&hits, &count(true, false)?)?)?
            }
        };
        if self.thresholds.len() == 1 { g.squeeze(&result, &[0]) } else { Ok(result) }
    }
}

/// What is counted: all elements in one row.
pub(super) struct Counted {
    pub(super) output: TensorRef,
    is_true: TensorRef,
    weights: Option<TensorRef>,
}

impl Counted {
    /// All elements, or those of a class.
    pub(super) fn of(g: &Graph, of: &Compared<'_>, class: Option<i64>) -> Result<Self> {
        let (target, output) = (g.cast(of.target, DType::Float32)?, g.cast(of.output, DType::Float32)?);
        let (mut output, mut target) = same_rank(g, &output, &target)?;
        if let Some(class) = class {
            let index = g.vector_i32(&[class])?;
            (target, output) = (g.gather(&target, &index, -1)?, g.gather(&output, &index, -1)?);
        }
        let row = |x: &TensorRef| g.reshape(x, &[Some(1), None]);
        let weights = match of.weights {
            None => None,
            Some(weights) => {
                let mut weights = g.cast(weights, DType::Float32)?;
                while weights.rank() < output.rank() {
                    weights = g.expand_dims(&weights, -1)?;
                }
                let all = g.broadcast_to(&weights, &g.shape_of(&output)?, output.shape.clone())?;
                Some(row(&all)?)
            }
        };
        Ok(Self { output: row(&output)?, is_true: g.cast(&row(&target)?, DType::Bool)?, weights })
    }

    /// How many elements have this label, and are taken for positive or not, in each row of `is_positive`.
    pub(super) fn count(&self, g: &Graph, is_positive: &TensorRef, label: bool, positive: bool) -> Result<TensorRef> {
        let label = if label { self.is_true.clone() } else { g.logical_not(&self.is_true)? };
        let positive = if positive { is_positive.clone() } else { g.logical_not(is_positive)? };
        let mut counted = g.cast(&g.logical_and(&label, &positive)?, DType::Float32)?;
        if let Some(weights) = &self.weights {
            counted = g.mul(&counted, weights)?;
        }
        g.sum(&counted, &[1], false)
    }
}
