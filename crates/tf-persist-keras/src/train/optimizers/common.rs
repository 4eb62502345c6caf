//! What all optimizers have.

use serde_json::Value;

use super::super::compiled::Object;
use super::schedule::Schedule;
use crate::config::shown;
use crate::reason::{Result, refuse};

/// The keys of every optimizer's config.
pub(super) const KNOWN: [&str; 11] = [
    "name",
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
];

/// Those that only Keras 2 writes.
pub(super) const KNOWN_KERAS2: [&str; 4] = ["jit_compile", "is_legacy_optimizer", "decay", "lr"];

/// The learning rate: a variable with this value at first, or a function of the number of steps.
#[derive(Debug, Clone)]
pub(super) enum LearningRate {
    Variable(f64),
    Schedule(Schedule),
}

/// How gradients are kept small.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Clip {
    /// Each by its norm.
    Norm(f64),
    /// All by their common norm.
    GlobalNorm(f64),
    /// Each element.
    Value(f64),
}

/// Averages of the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Averages {
    pub(super) momentum: f64,
    /// After every so many steps, the weights are replaced by their averages.
    pub(super) overwrite: Option<i64>,
}

/// What all optimizers have.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) learning_rate: LearningRate,
    pub(super) weight_decay: Option<f64>,
    pub(super) clip: Option<Clip>,
    pub(super) averages: Option<Averages>,
    pub(super) loss_scale: Option<f64>,
    /// The number of steps whose gradients are added before an update.
    pub(super) accumulation: Option<i64>,
    /// Whether the gradients of a row that occurs several times are summed first, as in Keras 2.
    pub(super) sums_rows: bool,
}

impl Common {
    pub(super) fn parse(object: &Object<'_>, is_keras2: bool) -> Result<Self> {
        let default = default_rate(object.name);
        let rate = object.get("learning_rate").or_else(|| object.get("lr").filter(|_| is_keras2));
        let mut learning_rate = match rate {
            None => LearningRate::Variable(default),
            Some(value) => match (value.as_f64(), Object::of(value)) {
                (Some(rate), _) if rate.is_finite() => LearningRate::Variable(rate),
                (None, Some(schedule)) => LearningRate::Schedule(Schedule::parse(&schedule)?),
                _ => refuse!("the learning rate {} is not supported", shown(value)),
            },
        };
        if is_keras2
            && let decay = object.float("decay", 0.0)?
            && decay != 0.0
        {
            let LearningRate::Variable(rate) = learning_rate else {
                refuse!("a schedule with `decay` is not supported")
            };
            learning_rate = LearningRate::Schedule(Schedule::of_decay(rate, decay));
        }
        // A factor of 0 switches the clipping off, as in Keras.
        let positive =
            |key: &str| -> Result<Option<f64>> { Ok(object.optional_float(key)?.filter(|limit| *limit > 0.0)) };
        let clip = match (positive("clipnorm")?, positive("global_clipnorm")?, positive("clipvalue")?) {
            (Some(norm), ..) => Some(Clip::Norm(norm)),
            (_, Some(norm), _) => Some(Clip::GlobalNorm(norm)),
            (.., Some(value)) => Some(Clip::Value(value)),
            _ => None,
        };
        let averages = match object.flag("use_ema", false)? {
            false => None,
            true => Some(Averages {
                momentum: object.float("ema_momentum", 0.99)?,
                overwrite: at_least(object, "ema_overwrite_frequency", 1)?,
            }),
        };
        Ok(Self {
            learning_rate,
            weight_decay: object.optional_float("weight_decay")?,
            clip,
            averages,
            loss_scale: object.optional_float("loss_scale_factor")?,
            accumulation: at_least(object, "gradient_accumulation_steps", 2)?,
            sums_rows: is_keras2,
        })
    }

    /// Whether the learning rate is a schedule.
    pub(super) fn schedules(&self) -> bool {
        matches!(self.learning_rate, LearningRate::Schedule(_))
    }
}

/// An integer of at least this; None where the file has null or 0.
fn at_least(object: &Object<'_>, key: &str, least: i64) -> Result<Option<i64>> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Bool(false)) => Ok(None),
        Some(_) => match object.int(key, 0)? {
            0 => Ok(None),
            steps if steps >= least => Ok(Some(steps)),
            steps => refuse!("`{key}` is {steps}, and should be at least {least}"),
        },
    }
}

fn default_rate(name: &str) -> f64 {
    if name.eq_ignore_ascii_case("sgd") { 0.01 } else { 0.001 }
}
