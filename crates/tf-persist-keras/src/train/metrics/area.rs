//! `AUC`.

use serde_json::Value;
use tf_persist_savedmodel::{DType, Tensor};

use super::super::compiled::Object;
use super::Compared;
use super::confusion::Counted;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// What Keras adds to the outermost thresholds.
const EPSILON: f64 = 1e-7;

/// The most thresholds.
const MOST: i64 = 1 << 16;

/// The most labels.
const MOST_LABELS: u64 = 1000;

/// The area under a curve of points, one for each threshold.
#[derive(Debug, Clone)]
pub(super) struct Area {
    thresholds: Thresholds,
    curve: Curve,
    height: Height,
    from_logits: bool,
    labels: Option<Labels>,
}

/// Each column is a label with an area of its own, and the metric is their mean.
#[derive(Debug, Clone)]
struct Labels {
    weights: Option<Vec<f32>>,
}

#[derive(Debug, Clone)]
enum Thresholds {
    /// This many, at equal distances from 0 to 1.
    Even(i64),
    Given(Vec<f32>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    /// True positives over false positives.
    Rates,
    /// Precision over recall.
    Precision,
}

/// The height between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Height {
    Mean,
    Lower,
    Higher,
}

impl Area {
    /// The metric with a name. None if it is another.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>> {
        if !matches!(object.name, "AUC" | "auc") {
            return Ok(None);
        }
        let unknown = |key: &str, value: &str| {
            refuse!("the `{key}` `{}` of the metric `AUC` is not supported", shown_name(value))
        };
        let curve = match object.text("curve").unwrap_or("ROC") {
            "ROC" | "roc" => Curve::Rates,
            "PR" | "pr" => Curve::Precision,
            other => return unknown("curve", other),
        };
        let height = match object.text("summation_method").unwrap_or("interpolation") {
            "interpolation" | "Interpolation" => Height::Mean,
            "minoring" | "Minoring" => Height::Lower,
            "majoring" | "Majoring" => Height::Higher,
            other => return unknown("summation_method", other),
        };
        // Keras writes a tensor, which it cannot read again.
        let weights = object.get("label_weights").map(|value| value.pointer("/config/value").unwrap_or(value));
        let labels = match (object.flag("multi_label", false)?, weights) {
            (true, None) => Some(Labels { weights: None }),
            (true, Some(Value::Array(weights))) if weights.iter().all(Value::is_number) => {
                let weights = weights.iter().filter_map(Value::as_f64).map(|weight| weight as f32).collect();
                Some(Labels { weights: Some(weights) })
            }
            (true, Some(_)) => refuse!("`label_weights` of the metric `AUC` are not numbers"),
            (false, None) => None,
            (false, Some(_)) => refuse!("`label_weights` of the metric `AUC` without `multi_label` is not supported"),
        };
        let count = object.int("num_thresholds", 200)?;
        if !(2..=MOST).contains(&count) {
            refuse!("`num_thresholds` of the metric `AUC` is {count}, and should be from 2 to {MOST}");
        }
        let thresholds = match object.get("thresholds") {
            None => Thresholds::Even(count),
            Some(_) => {
                let mut inner = super::thresholds(object, 0.5)?;
                inner.sort_by(f64::total_cmp);
                let outer = [vec![-EPSILON], inner, vec![1.0 + EPSILON]].concat();
                Thresholds::Given(outer.into_iter().map(|limit| limit as f32).collect())
            }
        };
        Ok(Some(Self { thresholds, curve, height, from_logits: object.flag("from_logits", false)?, labels }))
    }

    pub(super) fn value(&self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        let output = g.cast(of.output, DType::Float32)?;
        let output = if self.from_logits { g.sigmoid(&output)? } else { output };
        let of = Compared { output: &output, ..*of };
        let [hits, wrong, missed, rejected] = match &self.labels {
            None => self.counts(g, &of, None)?,
            Some(_) => self.counts_of_labels(g, &of)?,
        };
        let recall = g.div_no_nan(&hits, &g.add_v2(&hits, &missed)?)?;
        let all = |x: &TensorRef| self.mean(g, &g.sum(x, &[0], false)?);
        let (x, y) = match (self.curve, self.height) {
            (Curve::Precision, Height::Mean) => return all(&self.interpolated(g, &hits, &wrong, &missed)?),
            (Curve::Precision, _) => {
                let precision = g.div_no_nan(&hits, &g.add_v2(&hits, &wrong)?)?;
                (recall, precision)
            }
            (Curve::Rates, _) => (g.div_no_nan(&wrong, &g.add_v2(&wrong, &rejected)?)?, recall),
        };
        let (x, y) = (self.neighbours(g, &x)?, self.neighbours(g, &y)?);
        let height = match self.height {
            Height::Mean => g.with_scalar(&g.add_v2(&y[0], &y[1])?, 2.0, Graph::real_div)?,
            Height::Lower => g.minimum(&y[0], &y[1])?,
            Height::Higher => g.maximum(&y[0], &y[1])?,
        };
        all(&g.mul(&g.sub(&x[0], &x[1])?, &height)?)
    }

    /// True and false positives, false and true negatives, for each threshold.
    fn counts(&self, g: &Graph, of: &Compared<'_>, label: Option<i64>) -> Result<[TensorRef; 4]> {
        let counted = Counted::of(g, of, label)?;
        let is_positive = match &self.thresholds {
            Thresholds::Given(limits) => {
                let limits = g.constant(Tensor::from_slice(&[limits.len(), 1], limits)?)?;
                g.greater(&counted.output, &limits)?
            }
            // Keras counts in the intervals between the thresholds, where there are many.
            Thresholds::Even(count) => {
                let scaled = g.with_scalar(&g.clip(&counted.output, 0.0, 1.0)?, (*count - 1) as f64, Graph::mul)?;
                let interval = g.with_scalar(&g.ceil(&scaled)?, 1.0, Graph::sub)?;
                let numbers: Vec<f32> = (0..*count).map(|number| number as f32).collect();
                let numbers = g.constant(Tensor::from_slice(&[numbers.len(), 1], &numbers)?)?;
                g.greater_equal(&g.maximum(&interval, &g.scalar(0.0, DType::Float32)?)?, &numbers)?
            }
        };
        let count = |label, positive| counted.count(g, &is_positive, label, positive);
        Ok([count(true, true)?, count(false, true)?, count(true, false)?, count(false, false)?])
    }

    /// The same with a column for each label.
    fn counts_of_labels(&self, g: &Graph, of: &Compared<'_>) -> Result<[TensorRef; 4]> {
        let labels = match of.output.dims() {
            [_, Some(labels)] if (1..=MOST_LABELS).contains(labels) => *labels,
            _ => refuse!("the metric `AUC` with `multi_label` needs outputs with up to {MOST_LABELS} labels each"),
        };
        let weights = self.labels.as_ref().and_then(|labels| labels.weights.as_ref());
        if let Some(weights) = weights.filter(|weights| weights.len() as u64 != labels) {
            refuse!("the metric `AUC` has {} `label_weights` for {labels} labels", weights.len());
        }
        let counts = (0..labels).map(|label| self.counts(g, of, Some(label as i64))).collect::<Result<Vec<_>>>()?;
        let column = |which: usize| g.pack(&counts.iter().map(|counts| &counts[which]).collect::<Vec<_>>(), 1);
        Ok([column(0)?, column(1)?, column(2)?, column(3)?])
    }

    /// The mean of the areas of labels, or the area itself.
    fn mean(&self, g: &Graph, areas: &TensorRef) -> Result<TensorRef> {
        match &self.labels {
            None => Ok(areas.clone()),
            Some(Labels { weights: None }) => g.mean(areas, &[0], false),
            Some(Labels { weights: Some(weights) }) => {
                let weights = g.constant(Tensor::from_slice(&[weights.len()], weights)?)?;
                let sum = g.sum(&g.mul(areas, &weights)?, &[0], false)?;
                g.div_no_nan(&sum, &g.sum(&weights, &[0], false)?)
            }
        }
    }

    /// The area of each interval under the curve of precision, whose parts are linear in the counts.
    fn interpolated(&self, g: &Graph, hits: &TensorRef, wrong: &TensorRef, missed: &TensorRef) -> Result<TensorRef> {
        let zero = g.scalar(0.0, DType::Float32)?;
        let positive = self.neighbours(g, &g.add_v2(hits, wrong)?)?;
        let [before, hits] = self.neighbours(g, hits)?;
        let [_, missed] = self.neighbours(g, missed)?;
        let gained = g.sub(&before, &hits)?;
        let width = g.maximum(&g.sub(&positive[0], &positive[1])?, &zero)?;
        let slope = g.div_no_nan(&gained, &width)?;
        let intercept = g.sub(&hits, &g.mul(&slope, &positive[1])?)?;
        let both = g.logical_and(&g.greater(&positive[0], &zero)?, &g.greater(&positive[1], &zero)?)?;
        let ratio = g.div_no_nan(&positive[0], &g.maximum(&positive[1], &zero)?)?;
        let ratio = g.select(&both, &ratio, &g.ones_like(&positive[1])?)?;
        let area = g.mul(&slope, &g.add_v2(&gained, &g.mul(&intercept, &g.log(&ratio)?)?)?)?;
        g.div_no_nan(&area, &g.maximum(&g.add_v2(&hits, &missed)?, &zero)?)
    }

    /// All values but the last, and all but the first.
    fn neighbours(&self, g: &Graph, values: &TensorRef) -> Result<[TensorRef; 2]> {
        let count = match &self.thresholds {
            Thresholds::Even(count) => *count,
            Thresholds::Given(limits) => limits.len() as i64,
        };
        let part = |first: i64| {
            let indices: Vec<i64> = (first..first + count - 1).collect();
            g.gather(values, &g.vector_i32(&indices)?, 0)
        };
        Ok([part(0)?, part(1)?])
    }
}
