//! The metrics of Keras, of one batch.

mod accuracy;
mod area;
mod confusion;
mod determination;
mod f_score;
mod mean;
mod overlap;

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::compiled::Object;
use super::losses::{Form, Function, form, same_rank};
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};
use area::Area;
use confusion::Confusion;
use determination::Determination;
use f_score::FScore;
pub(super) use mean::mean_of;
use overlap::Overlap;

/// A metric of an output.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    kind: Kind,
    /// As in Keras's logs, without the name of the output.
    pub(super) name: String,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The mean of a function of targets and outputs.
    Function(Function),
    Accuracy,
    BinaryAccuracy {
        threshold: f64,
    },
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    TopK {
        k: i64,
        sparse: bool,
    },
    RootMeanSquaredError,
    Confusion(Confusion),
    Area(Area),
    FScore(FScore),
    Determination(Determination),
    Overlap(Overlap),
}

/// What a metric is of.
pub(super) struct Compared<'a> {
    pub(super) target: &'a TensorRef,
    pub(super) output: &'a TensorRef,
    /// Which elements of the output count.
    pub(super) mask: Option<&'a TensorRef>,
    pub(super) weights: Option<&'a TensorRef>,
}

impl Metric {
    /// The metric that a file names.
    pub(super) fn parse(object: &Object<'_>, target: &TensorRef, output: &TensorRef) -> Result<Self> {
        let name = match object.text("name") {
            Some(name) => name.to_owned(),
            None if object.config.is_some() => snake_case(object.name),
            None => object.name.to_owned(),
        };
        let wrapped = match object.get("fn").filter(|_| object.name == "MeanMetricWrapper") {
            Some(function) => match Object::of(function) {
                Some(function) => Some(Object { name: function.name, ..object.clone() }),
                None => refuse!("the function of a metric is not known"),
            },
            None => None,
        };
        let kind = Kind::parse(wrapped.as_ref().unwrap_or(object), target, output)?;
        Ok(Self { kind, name })
    }

    /// Whether the metric compares with the numbers of classes.
    pub(super) fn takes_classes(object: &Object<'_>) -> bool {
        object.name.to_ascii_lowercase().contains("sparse")
    }

    /// The metric of the batch.
    pub(super) fn value(&self, g: &Graph, of: &Compared<'_>) -> Result<TensorRef> {
        let values = match &self.kind {
            Kind::Confusion(confusion) => return confusion.value(g, of),
            Kind::Area(area) => return area.value(g, of),
            Kind::FScore(score) => return score.value(g, of),
            Kind::Determination(score) => return score.value(g, of),
            Kind::Overlap(overlap) => return overlap.value(g, of),
            Kind::RootMeanSquaredError => {
                let (target, output) = (g.cast(of.target, DType::Float32)?, g.cast(of.output, DType::Float32)?);
                let (target, output) = same_rank(g, &target, &output)?;
                let squares = g.square(&g.sub(&output, &target)?)?;
                return g.sqrt(&mean_of(g, &squares, None, of.weights)?);
            }
            Kind::Function(function) => {
                let (target, output) = (of.target, of.output);
                let (values, mask) = function.values(g, target, output)?;
                let weights = super::losses::masked_weights(g, of.weights, of.mask, DType::Float32, false)?;
                return mean_of(g, &values, mask.as_ref(), weights.as_ref());
            }
            Kind::Accuracy => accuracy::equal(g, of.target, of.output)?,
            Kind::BinaryAccuracy { threshold } => accuracy::binary(g, of.target, of.output, *threshold)?,
            Kind::CategoricalAccuracy => accuracy::categorical(g, of.target, of.output)?,
            Kind::SparseCategoricalAccuracy => accuracy::sparse(g, of.target, of.output)?,
            Kind::TopK { k, sparse } => accuracy::top_k(g, of.target, of.output, *k, *sparse)?,
        };
        let weights = super::losses::masked_weights(g, of.weights, of.mask, DType::Float32, false)?;
        mean_of(g, &values, None, weights.as_ref())
    }
}

impl Kind {
    fn parse(object: &Object<'_>, target: &TensorRef, output: &TensorRef) -> Result<Self> {
        let k = || object.int("k", 5);
        Ok(match object.name {
            "accuracy" | "acc" if object.config.is_none() => match form(target, output) {
                Form::Binary => Self::BinaryAccuracy { threshold: 0.5 },
                Form::Classes => Self::SparseCategoricalAccuracy,
                Form::OneHot => Self::CategoricalAccuracy,
            },
            "accuracy" | "Accuracy" => Self::Accuracy,
            "binary_accuracy" | "BinaryAccuracy" => Self::BinaryAccuracy { threshold: object.float("threshold", 0.5)? },
            "categorical_accuracy" | "CategoricalAccuracy" => Self::CategoricalAccuracy,
            "sparse_categorical_accuracy" | "SparseCategoricalAccuracy" => Self::SparseCategoricalAccuracy,
            "top_k_categorical_accuracy" | "TopKCategoricalAccuracy" => Self::TopK { k: k()?, sparse: false },
            "sparse_top_k_categorical_accuracy" | "SparseTopKCategoricalAccuracy" => {
                if object.flag("from_sorted_ids", false)? {
                    refuse!("`from_sorted_ids` of the metric `{}` is not supported", shown_name(object.name));
                }
                Self::TopK { k: k()?, sparse: true }
            }
            "root_mean_squared_error" | "RootMeanSquaredError" => Self::RootMeanSquaredError,
            name => {
                if let Some(confusion) = Confusion::parse(object)? {
                    return Ok(Self::Confusion(confusion));
                }
                if let Some(area) = Area::parse(object)? {
                    return Ok(Self::Area(area));
                }
                if let Some(score) = FScore::parse(object)? {
                    return Ok(Self::FScore(score));
                }
                if let Some(score) = Determination::parse(object)? {
                    return Ok(Self::Determination(score));
                }
                if let Some(overlap) = Overlap::parse(object)? {
                    return Ok(Self::Overlap(overlap));
                }
                match Function::parse(object, Some((target, output)))? {
                    Some(function) => Self::Function(as_metric(function)),
                    None => refuse!("the metric `{}` is not supported", shown_name(name)),
                }
            }
        })
    }
}

/// As a metric, a similarity has its own sign.
fn as_metric(function: Function) -> Function {
    match function {
        Function::CosineSimilarity { axis, .. } => Function::CosineSimilarity { axis, negative: false },
        function => function,
    }
}

/// `AUC` → `auc`, `F1Score` → `f1_score`, as Keras names objects of a class.
fn snake_case(class: &str) -> String {
    let mut name = String::new();
    let letters: Vec<char> = class.chars().collect();
    for (index, letter) in letters.iter().enumerate() {
        let next_is_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let after_lower = index > 0 && letters[index - 1].is_ascii_lowercase();
        if letter.is_ascii_uppercase() && index > 0 && (next_is_lower || after_lower) {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The thresholds of a metric: those of the file, or one.
fn thresholds(object: &Object<'_>, default: f64) -> Result<Vec<f64>> {
    match object.get("thresholds") {
        None => Ok(vec![default]),
        Some(Value::Array(items)) if items.iter().all(Value::is_number) && !items.is_empty() => {
            Ok(items.iter().filter_map(Value::as_f64).collect())
        }
        Some(value) => match value.as_f64() {
            Some(threshold) => Ok(vec![threshold]),
            None => refuse!("the thresholds of the metric `{}` are not numbers", shown_name(object.name)),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tf_persist_savedmodel::DType;

    use super::super::compiled::Object;
    use super::{Compared, Metric, snake_case};
    use crate::graph::{Graph, Program, Shape};
    use crate::reason::Result;

    /// The shape of a metric with this config, of three classes.
    fn shape(class: &str, config: &serde_json::Value) -> Result<String> {
        let graph = Graph::new(&Program::new());
        let rows = |name: &str| graph.argument(name, DType::Float32, Shape::new([None, Some(3)]));
        let (target, output) = (rows("target")?, rows("output")?);
        let object = json!({"class_name": class, "config": config});
        let metric = Metric::parse(&Object::of(&object).unwrap(), &target, &output)?;
        let compared = Compared { target: &target, output: &output, mask: None, weights: None };
        metric.value(&graph, &compared).map(|value| value.shape.to_string())
    }

    #[test]
    fn areas_are_scalars() {
        for config in [json!({}), json!({"curve": "PR"}), json!({"curve": "PR", "summation_method": "minoring"})] {
            assert_eq!(shape("AUC", &config).unwrap(), "[]");
        }
        assert_eq!(shape("AUC", &json!({"thresholds": [0.8, 0.2]})).unwrap(), "[]");
        assert_eq!(shape("AUC", &json!({"multi_label": true, "label_weights": [1, 0.5, 2]})).unwrap(), "[]");
        let error = shape("AUC", &json!({"label_weights": [1, 2, 3]})).unwrap_err().to_string();
        assert_eq!(error, "`label_weights` of the metric `AUC` without `multi_label` is not supported");
        let error = shape("AUC", &json!({"multi_label": true, "label_weights": [1]})).unwrap_err().to_string();
        assert_eq!(error, "the metric `AUC` has 1 `label_weights` for 3 labels");
        let error = shape("AUC", &json!({"num_thresholds": 1_000_000_000})).unwrap_err().to_string();
        assert_eq!(error, "`num_thresholds` of the metric `AUC` is 1000000000, and should be from 2 to 65536");
    }

    #[test]
    fn scores_are_of_each_class_unless_averaged() {
        assert_eq!(shape("F1Score", &json!({})).unwrap(), "[3]");
        for average in ["micro", "macro", "weighted"] {
            assert_eq!(shape("FBetaScore", &json!({"beta": 2.0, "average": average})).unwrap(), "[]");
        }
    }

    #[test]
    fn overlaps_and_determination() {
        for (class, config) in [
            ("R2Score", json!({})),
            ("R2Score", json!({"class_aggregation": "variance_weighted_average"})),
            ("MeanIoU", json!({"num_classes": 3, "sparse_y_true": false, "sparse_y_pred": false})),
            ("OneHotIoU", json!({"num_classes": 3, "target_class_ids": [0, 2]})),
            ("BinaryIoU", json!({"threshold": 0.4})),
        ] {
            assert_eq!(shape(class, &config).unwrap(), "[]", "{class}");
        }
        assert_eq!(shape("R2Score", &json!({"class_aggregation": null})).unwrap(), "[3]");
        for (class, config, reason) in [
            ("MeanIoU", json!({"num_classes": 1_u64 << 40}), "`num_classes` of the metric `MeanIoU` is 1099511627776"),
            ("IoU", json!({"num_classes": 3, "target_class_ids": [3]}), "has the class 3 of 3"),
            ("R2Score", json!({"num_regressors": 1}), "`num_regressors` of the metric `R2Score` is not supported"),
        ] {
            let error = shape(class, &config).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn names_as_keras() {
        assert_eq!(snake_case("MeanSquaredError"), "mean_squared_error");
        assert_eq!(snake_case("AUC"), "auc");
        assert_eq!(snake_case("Precision"), "precision");
    }
}
