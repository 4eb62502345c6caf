//! Which function a loss or metric computes.

use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use super::{crossentropy, margin, regression};
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

/// A function of targets and outputs.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::train) enum Function {
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    /// `negative` as a loss, not as a metric.
    CosineSimilarity {
        axis: i64,
        negative: bool,
    },
    Huber {
        delta: f64,
    },
    LogCosh,
    Poisson,
    KlDivergence,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    BinaryCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
        axis: i64,
    },
    BinaryFocalCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
        axis: i64,
        alpha: Option<f64>,
        gamma: f64,
    },
    CategoricalCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
        axis: i64,
    },
    CategoricalFocalCrossentropy {
        from_logits: bool,
        label_smoothing: f64,
        axis: i64,
        alpha: f64,
        gamma: f64,
    },
    SparseCategoricalCrossentropy {
        from_logits: bool,
        ignore_class: Option<i64>,
        axis: i64,
    },
    Dice {
        axis: Option<Vec<i64>>,
    },
    Tversky {
        alpha: f64,
        beta: f64,
        axis: Option<Vec<i64>>,
    },
    CategoricalGeneralizedCrossentropy {
        q: f64,
    },
    Circle {
        gamma: f64,
        margin: f64,
        remove_diagonal: bool,
    },
}

impl Function {
    /// The function with a name of Keras, of a class or a function. `compared` are the tensors by which `crossentropy`
    /// chooses. None if the name is unknown.
    pub(in crate::train) fn parse(
        object: &Object<'_>,
        compared: Option<(&TensorRef, &TensorRef)>,
    ) -> Result<Option<Self>> {
        let mut known: Vec<&str> = vec!["name", "reduction", "dtype", "fn"];
        let function = match object.name {
            "mse" | "MSE" | "mean_squared_error" | "MeanSquaredError" => Self::MeanSquaredError,
            "mae" | "MAE" | "mean_absolute_error" | "MeanAbsoluteError" => Self::MeanAbsoluteError,
            "mape" | "MAPE" | "mean_absolute_percentage_error" | "MeanAbsolutePercentageError" => {
                Self::MeanAbsolutePercentageError
            }
            "msle" | "MSLE" | "mean_squared_logarithmic_error" | "MeanSquaredLogarithmicError" => {
                Self::MeanSquaredLogarithmicError
            }
            "cosine_similarity" | "CosineSimilarity" | "cosine_proximity" => {
                known.push("axis");
                Self::CosineSimilarity { axis: object.int("axis", -1)?, negative: true }
            }
            "huber" | "Huber" | "huber_loss" => {
                known.push("delta");
                Self::Huber { delta: object.float("delta", 1.0)? }
            }
            "log_cosh" | "LogCosh" | "logcosh" | "LogCoshError" => Self::LogCosh,
            "poisson" | "Poisson" => Self::Poisson,
            "kl_divergence" | "KLDivergence" | "kld" | "KLD" | "kullback_leibler_divergence" => Self::KlDivergence,
            "hinge" | "Hinge" => Self::Hinge,
            "squared_hinge" | "SquaredHinge" => Self::SquaredHinge,
            "categorical_hinge" | "CategoricalHinge" => Self::CategoricalHinge,
            _ => return Self::parse_entropy(object, compared, &mut known),
        };
        object.only(&known)?;
        Ok(Some(function))
    }

    fn parse_entropy(
        object: &Object<'_>,
        compared: Option<(&TensorRef, &TensorRef)>,
        known: &mut Vec<&str>,
    ) -> Result<Option<Self>> {
        let from_logits = object.flag("from_logits", false)?;
        let (label_smoothing, axis) = (object.float("label_smoothing", 0.0)?, || object.int("axis", -1));
        known.extend(["from_logits", "label_smoothing", "axis"]);
        let function = match (object.name, compared) {
            ("crossentropy" | "ce", Some((target, output))) => by_shape(target, output),
            ("binary_crossentropy" | "BinaryCrossentropy" | "bce" | "BCE", _) => {
                Self::BinaryCrossentropy { from_logits, label_smoothing, axis: axis()? }
            }
            ("binary_focal_crossentropy" | "BinaryFocalCrossentropy", _) => {
                known.extend(["apply_class_balancing", "alpha", "gamma"]);
                let alpha = object.float("alpha", 0.25)?;
                let alpha = object.flag("apply_class_balancing", false)?.then_some(alpha);
                let gamma = object.float("gamma", 2.0)?;
                Self::BinaryFocalCrossentropy { from_logits, label_smoothing, axis: axis()?, alpha, gamma }
            }
            ("categorical_crossentropy" | "CategoricalCrossentropy", _) => {
                Self::CategoricalCrossentropy { from_logits, label_smoothing, axis: axis()? }
            }
            ("categorical_focal_crossentropy" | "CategoricalFocalCrossentropy", _) => {
                known.extend(["alpha", "gamma"]);
                let (alpha, gamma) = (object.float("alpha", 0.25)?, object.float("gamma", 2.0)?);
                Self::CategoricalFocalCrossentropy { from_logits, label_smoothing, axis: axis()?, alpha, gamma }
            }
            ("sparse_categorical_crossentropy" | "SparseCategoricalCrossentropy", _) => {
                known.push("ignore_class");
                let ignore_class = object.get("ignore_class").map(|_| object.int("ignore_class", 0)).transpose()?;
                Self::SparseCategoricalCrossentropy { from_logits, ignore_class, axis: axis()? }
            }
            ("dice" | "Dice", _) => Self::Dice { axis: axes(object)? },
            ("tversky" | "Tversky", _) => {
                known.extend(["alpha", "beta"]);
                let (alpha, beta) = (object.float("alpha", 0.5)?, object.float("beta", 0.5)?);
                Self::Tversky { alpha, beta, axis: axes(object)? }
            }
            ("CategoricalGeneralizedCrossEntropy" | "categorical_generalized_cross_entropy", _) => {
                known.push("q");
                Self::CategoricalGeneralizedCrossentropy { q: object.float("q", 0.5)? }
            }
            ("circle" | "Circle", _) => {
                known.extend(["gamma", "margin", "remove_diagonal"]);
                Self::Circle {
                    gamma: object.float("gamma", 80.0)?,
                    margin: object.float("margin", 0.4)?,
                    remove_diagonal: object.flag("remove_diagonal", true)?,
                }
            }
            ("ctc" | "CTC", _) => refuse!("the loss `CTC` is not supported"),
            _ => return Ok(None),
        };
        object.only(known)?;
        Ok(Some(function))
    }

    /// The value of each element of the batch, and a mask where the function has one.
    pub(in crate::train) fn values(
        &self,
        g: &Graph,
        target: &TensorRef,
        output: &TensorRef,
    ) -> Result<(TensorRef, Option<TensorRef>)> {
        let values = match *self {
            Self::SparseCategoricalCrossentropy { from_logits, ignore_class, axis } => {
                return crossentropy::sparse(g, target, output, from_logits, ignore_class, axis);
            }
            Self::Circle { gamma, margin, remove_diagonal } => {
                return margin::circle(g, target, output, gamma, margin, remove_diagonal);
            }
            Self::CategoricalGeneralizedCrossentropy { q } => {
                return Ok((crossentropy::generalized(g, target, output, q)?, None));
            }
            _ => self.plain(g, &g.cast(target, output.dtype)?, output)?,
        };
        Ok((values, None))
    }

    /// Functions of targets that have the dtype of the output.
    fn plain(&self, g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
        let (target, output) = match self {
            Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::MeanAbsolutePercentageError
            | Self::MeanSquaredLogarithmicError
            | Self::CosineSimilarity { .. }
            | Self::Huber { .. }
            | Self::LogCosh => super::same_rank(g, target, output)?,
            _ => (target.clone(), output.clone()),
        };
        let (target, output) = (&target, &output);
        match self {
            Self::MeanSquaredError => regression::squared(g, target, output),
            Self::MeanAbsoluteError => regression::absolute(g, target, output),
            Self::MeanAbsolutePercentageError => regression::percentage(g, target, output),
            Self::MeanSquaredLogarithmicError => regression::logarithmic(g, target, output),
            Self::CosineSimilarity { axis, negative } => regression::cosine(g, target, output, *axis, *negative),
            Self::Huber { delta } => regression::huber(g, target, output, *delta),
            Self::LogCosh => regression::log_cosh(g, target, output),
            Self::Poisson => regression::poisson(g, target, output),
            Self::KlDivergence => regression::kl_divergence(g, target, output),
            Self::Hinge => margin::hinge(g, target, output, false),
            Self::SquaredHinge => margin::hinge(g, target, output, true),
            Self::CategoricalHinge => margin::categorical_hinge(g, target, output),
            Self::BinaryCrossentropy { from_logits, label_smoothing, axis } => {
                crossentropy::binary(g, target, output, *from_logits, *label_smoothing, *axis)
            }
            Self::BinaryFocalCrossentropy { from_logits, label_smoothing, axis, alpha, gamma } => {
                let target = crossentropy::smoothed_binary(g, target, *label_smoothing)?;
                crossentropy::binary_focal(g, &target, output, *from_logits, *axis, *alpha, *gamma)
            }
            Self::CategoricalCrossentropy { from_logits, label_smoothing, axis } => {
                let target = crossentropy::smoothed(g, target, *label_smoothing)?;
                crossentropy::categorical(g, &target, output, *from_logits, *axis)
            }
            Self::CategoricalFocalCrossentropy { from_logits, label_smoothing, axis, alpha, gamma } => {
                let target = crossentropy::smoothed(g, target, *label_smoothing)?;
                crossentropy::categorical_focal(g, &target, output, *from_logits, *axis, *alpha, *gamma)
            }
            Self::Dice { axis } => margin::dice(g, target, output, axis.as_deref()),
            Self::Tversky { alpha, beta, axis } => margin::tversky(g, target, output, *alpha, *beta, axis.as_deref()),
            Self::SparseCategoricalCrossentropy { .. }
            | Self::CategoricalGeneralizedCrossentropy { .. }
            | Self::Circle { .. } => refuse!("its targets are numbers of classes"),
        }
    }
}

/// What `crossentropy` means, by the shapes.
fn by_shape(target: &TensorRef, output: &TensorRef) -> Function {
    let (from_logits, label_smoothing, axis) = (false, 0.0, -1);
    match form(target, output) {
        Form::Binary => Function::BinaryCrossentropy { from_logits, label_smoothing, axis },
        Form::Classes => Function::SparseCategoricalCrossentropy { from_logits, ignore_class: None, axis },
        Form::OneHot => Function::CategoricalCrossentropy { from_logits, label_smoothing, axis },
    }
}

/// What targets are, by their shape and that of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train) enum Form {
    Binary,
    /// Numbers of classes.
    Classes,
    OneHot,
}

/// The form of targets, by which Keras chooses the function of `accuracy` and `crossentropy`.
pub(in crate::train) fn form(target: &TensorRef, output: &TensorRef) -> Form {
    let last = |x: &TensorRef| x.dims().last().copied().flatten();
    if last(output) == Some(1) {
        return Form::Binary;
    }
    if target.rank() < output.rank() || (last(target) == Some(1) && last(output) > Some(1)) {
        return Form::Classes;
    }
    Form::OneHot
}

/// `axis` of an object: null, an integer or a list.
fn axes(object: &Object<'_>) -> Result<Option<Vec<i64>>> {
    match object.get("axis") {
        None => Ok(None),
        Some(serde_json::Value::Array(items)) => {
            Ok(Some(items.iter().map(|item| crate::config::int("axis", item)).collect::<Result<_>>()?))
        }
        Some(value) => Ok(Some(vec![crate::config::int("axis", value)?])),
    }
}

/// The mean along axes, in float32 where the dtype is smaller, as Keras's `mean` has it.
pub(super) fn mean(g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
    match x.dtype {
        DType::Float16 | DType::BFloat16 => g.cast(&g.mean(&g.cast(x, DType::Float32)?, axes, false)?, x.dtype),
        _ => g.mean(x, axes, false),
    }
}
