//! Intersection over union: `IoU` and its kin.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use super::Compared;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// What Keras adds to divisors.
const EPSILON: f64 = 1e-7;

/// The most classes.
const MOST: i64 = 4096;

/// The mean over classes of how much targets and outputs overlap.
#[derive(Debug, Clone)]
pub(super) struct Overlap {
    classes: i64,
    /// The classes that count; all if there are none.
    counted: Vec<i64>,
    ignored: Option<i64>,
    /// Whether the targets and the outputs are numbers of classes, rather than a value for each class.
    sparse_target: bool,
    sparse_output: bool,
    /// Of `BinaryIoU`: from which output on it is class 1.
    threshold: Option<f64>,
    dtype: DType,
}

impl Overlap {
    /// The metric with a name. None if it is another.
    pub(super) fn parse(object: &Object<'_>) -> Result<Option<Self>> {
        let (is_binary, has_all, is_one_hot) = match object.name {
            "BinaryIoU" => (true, false, false),
            "IoU" => (false, false, false),
            "MeanIoU" => (false, true, false),
            "OneHotIoU" => (false, false, true),
            "OneHotMeanIoU" => (false, true, true),
            _ => return Ok(None),
        };
        let classes = if is_binary { 2 } else { object.int("num_classes", 0)? };
        if !(1..=MOST).contains(&classes) {
            refuse!("`num_classes` of the metric `{}` is {classes}, and should be from 1 to {MOST}", object.name);
        }
        if object.int("axis", -1)? != -1 {
            refuse!("`axis` of the metric `{}` is not supported", object.name);
        }
        let counted = match object.get("target_class_ids") {
            _ if has_all => Vec::new(),
            None if is_binary => Vec::new(),
            Some(Value::Array(ids)) => {
                ids.iter().map(|id| crate::config::int("target_class_ids", id)).collect::<Result<_>>()?
            }
            _ => refuse!("`target_class_ids` of the metric `{}` are missing", object.name),
        };
        if let Some(id) = counted.iter().find(|id| !(0..classes).contains(*id)) {
            refuse!("`target_class_ids` of the metric `{}` has the class {id} of {classes}", object.name);
        }
        let dtype = match object.text("dtype") {
            None | Some("int" | "int64") => DType::Int64,
            Some("int32") => DType::Int32,
            Some("float32") => DType::Float32,
            Some(other) => {
                refuse!("the dtype `{}` of the metric `{}` is not supported", shown_name(other), object.name)
            }
        };
        Ok(Some(Self {
            classes,
            counted,
            ignored: object.get("ignore_class").map(|_| object.int("ignore_class", 0)).transpose()?,
            sparse_target: object.flag("sparse_y_true", true)? && !is_one_hot,
            sparse_output: object.flag("sparse_y_pred", !is_one_hot)?,
            threshold: if is_binary { Some(object.float("threshold", 0.5)?) } else { None },
            dtype,
        }))
    }

    pub(super) fn value(&self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        if of.weights.is_some() {
            refuse!("weights of a metric `IoU` are not supported");
        }
        let target = self.class(g, of.target, self.sparse_target)?;
        let output = match self.threshold {
            Some(threshold) => {
                let output = g.cast(of.output, DType::Float32)?;
                let is_one = g.with_scalar(&output, threshold, Graph::greater_equal)?;
                g.reshape(&g.cast(&is_one, self.dtype)?, &[None])?
            }
            None => self.class(g, of.output, self.sparse_output)?,
        };
        let counts = self.counts(g, &target, &output)?;
        let (rows, columns) = (g.sum(&counts, &[0], false)?, g.sum(&counts, &[1], false)?);
        let mut hits = g.diagonal(&counts)?;
        let mut union = g.sub(&g.add_v2(&rows, &columns)?, &hits)?;
        if !self.counted.is_empty() {
            let classes = g.vector_i32(&self.counted)?;
            (hits, union) = (g.gather(&hits, &classes, 0)?, g.gather(&union, &classes, 0)?);
        }
        let is_there = g.with_scalar(&union, 1e-9, Graph::greater)?;
        let add = |x: &TensorRef| g.with_scalar(x, EPSILON, Graph::add_v2);
        let overlap = g.real_div(&hits, &add(&union)?)?;
        let overlap = g.select(&is_there, &overlap, &g.zeros_like(&overlap)?)?;
        let number = g.sum(&g.cast(&is_there, DType::Float32)?, &[0], false)?;
        g.real_div(&g.sum(&overlap, &[0], false)?, &add(&number)?)
    }

    /// The number of the class of each element, in one row.
    fn class(&self, g: &Graph, x: &TensorRef, sparse: bool) -> Result<TensorRef> {
        let x = if sparse { x.clone() } else { g.arg_reduce("ArgMax", x, -1, DType::Int64)? };
        g.reshape(&g.cast(&x, self.dtype)?, &[None])
    }

    /// How many elements of each class are taken for each class, as float32. Those without a class do not count.
    fn counts(&self, g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
        let limit = |x: &TensorRef, number: i64, compare: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>| {
            g.with_scalar(x, number as f64, compare)
        };
        let is_class =
            |x: &TensorRef| g.logical_and(&limit(x, 0, Graph::greater_equal)?, &limit(x, self.classes, Graph::less)?);
        let mut counts = g.logical_and(&is_class(target)?, &is_class(output)?)?;
        if let Some(ignored) = self.ignored {
            counts = g.logical_and(&counts, &limit(target, ignored, Graph::not_equal)?)?;
        }
        let number = |x: &TensorRef| -> Result<TensorRef> {
            let x = g.cast(x, DType::Int64)?;
            g.select(&counts, &x, &g.zeros_like(&x)?)
        };
        let pairs = g.add_v2(&limit(&number(target)?, self.classes, Graph::mul)?, &number(output)?)?;
        let bins = self.classes * self.classes;
        let size = g.scalar(bins as f64, DType::Int64)?;
        let ones = g.cast(&counts, DType::Float32)?;
        let counts = g.dense_bincount(&pairs, &size, &ones, false, Some(bins as u64))?;
        g.reshape(&counts, &[Some(self.classes as u64), Some(self.classes as u64)])
    }
}
