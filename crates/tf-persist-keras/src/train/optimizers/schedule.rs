//! Learning rates that depend on the number of steps.

use std::f64::consts::PI;

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use crate::config::shown;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// The most values of a piecewise constant rate.
const MAX_PIECES: usize = 10_000;

/// A learning rate schedule of Keras.
#[derive(Debug, Clone)]
pub(super) enum Schedule {
    Exponential {
        initial: f64,
        steps: f64,
        rate: f64,
        staircase: bool,
    },
    InverseTime {
        initial: f64,
        steps: f64,
        rate: f64,
        staircase: bool,
    },
    /// Boundaries and values as in the file, of which there is one more.
    Piecewise {
        boundaries: Vec<f64>,
        values: Vec<f64>,
    },
    Polynomial {
        initial: f64,
        steps: f64,
        end: f64,
        power: f64,
        cycle: bool,
    },
    Cosine {
        initial: f64,
        steps: f64,
        alpha: f64,
        warmup: Option<(f64, f64)>,
    },
    CosineRestarts {
        initial: f64,
        steps: f64,
        t_mul: f64,
        m_mul: f64,
        alpha: f64,
    },
    /// Keras 2's `decay`: `rate / (1 + decay · steps)`.
    Decay {
        initial: f64,
        decay: f64,
    },
}

impl Schedule {
    pub(super) fn of_decay(initial: f64, decay: f64) -> Self {
        Self::Decay { initial, decay }
    }

    pub(super) fn parse(object: &Object<'_>) -> Result<Self> {
        let required = |key: &str| match object.optional_float(key)? {
            Some(value) => Ok(value),
            None => refuse!("the schedule `{}` has no `{key}`", shown_name(object.name)),
        };
        let decay = || -> Result<(f64, f64, f64, bool)> {
            object.only(&["name", "initial_learning_rate", "decay_steps", "decay_rate", "staircase"])?;
            Ok((
                required("initial_learning_rate")?,
                required("decay_steps")?,
                required("decay_rate")?,
                object.flag("staircase", false)?,
            ))
        };
        Ok(match object.name {
            "ExponentialDecay" => {
                let (initial, steps, rate, staircase) = decay()?;
                Self::Exponential { initial, steps, rate, staircase }
            }
            "InverseTimeDecay" => {
                let (initial, steps, rate, staircase) = decay()?;
                Self::InverseTime { initial, steps, rate, staircase }
            }
            "PiecewiseConstantDecay" | "PiecewiseConstant" => {
                object.only(&["name", "boundaries", "values"])?;
                let (boundaries, values) = (floats(object, "boundaries")?, floats(object, "values")?);
                if boundaries.is_empty() || values.len() != boundaries.len() + 1 || values.len() > MAX_PIECES {
                    refuse!("a schedule has {} boundaries and {} values", boundaries.len(), values.len());
                }
                Self::Piecewise { boundaries, values }
            }
            "PolynomialDecay" => {
                let keys = ["name", "initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle"];
                object.only(&keys)?;
                Self::Polynomial {
                    initial: required("initial_learning_rate")?,
                    steps: required("decay_steps")?,
                    end: object.float("end_learning_rate", 0.0001)?,
                    power: object.float("power", 1.0)?,
                    cycle: object.flag("cycle", false)?,
                }
            }
            "CosineDecay" => {
                let keys = ["name", "initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps"];
                object.only(&keys)?;
                let target = object.optional_float("warmup_target")?;
                let steps = object.float("warmup_steps", 0.0)?;
                Self::Cosine {
                    initial: required("initial_learning_rate")?,
                    steps: required("decay_steps")?,
                    alpha: object.float("alpha", 0.0)?,
                    warmup: target.map(|target| (target, steps)),
                }
            }
            "CosineDecayRestarts" => {
                object.only(&["name", "initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha"])?;
                Self::CosineRestarts {
                    initial: required("initial_learning_rate")?,
                    steps: required("first_decay_steps")?,
                    t_mul: object.float("t_mul", 2.0)?,
                    m_mul: object.float("m_mul", 1.0)?,
                    alpha: object.float("alpha", 0.0)?,
                }
            }
            name => refuse!("the learning rate schedule `{}` is not known", shown_name(name)),
        })
    }

    /// The learning rate after so many steps, an int64 scalar.
    pub(super) fn rate(&self, g: &Graph, steps: &TensorRef) -> Result<TensorRef> {
        let n = Numbers { g, step: g.cast(steps, DType::Float32)? };
        match self {
            Self::Exponential { initial, steps, rate, staircase } => {
                g.mul(&n.of(*initial)?, &g.pow(&n.of(*rate)?, &n.fraction(*steps, *staircase)?)?)
            }
            Self::InverseTime { initial, steps, rate, staircase } => {
                let grown = g.mul(&n.of(*rate)?, &n.fraction(*steps, *staircase)?)?;
                g.real_div(&n.of(*initial)?, &g.add_v2(&n.of(1.0)?, &grown)?)
            }
            Self::Piecewise { boundaries, values } => piecewise(&n, steps, boundaries, values),
            Self::Polynomial { initial, steps, end, power, cycle } => {
                n.polynomial(*initial, *steps, *end, *power, *cycle)
            }
            Self::Cosine { initial, steps, alpha, warmup } => n.cosine(*initial, *steps, *alpha, *warmup),
            Self::CosineRestarts { initial, steps, t_mul, m_mul, alpha } => {
                n.restarts(*initial, *steps, *t_mul, *m_mul, *alpha)
            }
            Self::Decay { initial, decay } => {
                let grown = g.add_v2(&n.of(1.0)?, &g.mul(&n.of(*decay)?, &n.step)?)?;
                g.real_div(&n.of(*initial)?, &grown)
            }
        }
    }
}

fn floats(object: &Object<'_>, key: &str) -> Result<Vec<f64>> {
    let Some(Value::Array(items)) = object.get(key) else { refuse!("`{key}` of a schedule is not a list") };
    let float = |item: &Value| match item.as_f64() {
        Some(number) => Ok(number),
        None => refuse!("`{key}` of a schedule has {}, and should have numbers", shown(item)),
    };
    items.iter().map(float).collect()
}

/// The number of steps and constants, all float32.
struct Numbers<'a> {
    g: &'a Graph,
    step: TensorRef,
}

impl Numbers<'_> {
    fn of(&self, value: f64) -> Result<TensorRef> {
        self.g.scalar(value, DType::Float32)
    }

    /// The number of periods.
    fn fraction(&self, steps: f64, staircase: bool) -> Result<TensorRef> {
        let periods = self.g.real_div(&self.step, &self.of(steps)?)?;
        if staircase { self.g.floor(&periods) } else { Ok(periods) }
    }

    fn polynomial(&self, initial: f64, steps: f64, end: f64, power: f64, cycle: bool) -> Result<TensorRef> {
        let g = self.g;
        let (initial, end, one) = (self.of(initial)?, self.of(end)?, self.of(1.0)?);
        let (mut step, mut length) = (self.step.clone(), self.of(steps)?);
        if cycle {
            let periods = g.ceil(&g.real_div(&step, &length)?)?;
            let is_first = g.equal(&step, &self.of(0.0)?)?;
            length = g.mul(&length, &g.select(&is_first, &one, &periods)?)?;
        } else {
            step = g.minimum(&step, &length)?;
        }
        let left = g.sub(&one, &g.real_div(&step, &length)?)?;
        g.add_v2(&g.mul(&g.sub(&initial, &end)?, &g.pow(&left, &self.of(power)?)?)?, &end)
    }

    /// `from · ((1 - alpha) · 0.5 · (1 + cos(pi · step / steps)) + alpha)`.
    fn half_wave(&self, step: &TensorRef, steps: &TensorRef, from: &TensorRef, alpha: f64) -> Result<TensorRef> {
        let g = self.g;
        let cosine = g.cos(&g.mul(&self.of(PI)?, &g.real_div(step, steps)?)?)?;
        let wave = g.mul(&self.of(0.5)?, &g.add_v2(&self.of(1.0)?, &cosine)?)?;
        let decayed = g.add_v2(&g.mul(&self.of(1.0 - alpha)?, &wave)?, &self.of(alpha)?)?;
        g.mul(from, &decayed)
    }

    fn cosine(&self, initial: f64, steps: f64, alpha: f64, warmup: Option<(f64, f64)>) -> Result<TensorRef> {
        let g = self.g;
        let (initial, steps) = (self.of(initial)?, self.of(steps)?);
        let Some((target, warmup_steps)) = warmup else {
            return self.half_wave(&g.minimum(&self.step, &steps)?, &steps, &initial, alpha);
        };
        let (target, warmup_steps) = (self.of(target)?, self.of(warmup_steps)?);
        let step = g.minimum(&self.step, &g.add_v2(&steps, &warmup_steps)?)?;
        let completed = g.real_div(&step, &warmup_steps)?;
        let rising = g.add_v2(&g.mul(&g.sub(&target, &initial)?, &completed)?, &initial)?;
        let falling = self.half_wave(&g.sub(&step, &warmup_steps)?, &steps, &target, alpha)?;
        g.select(&g.less(&step, &warmup_steps)?, &rising, &falling)
    }

    fn restarts(&self, initial: f64, steps: f64, t_mul: f64, m_mul: f64, alpha: f64) -> Result<TensorRef> {
        let g = self.g;
        let one = self.of(1.0)?;
        let fraction = g.real_div(&self.step, &self.of(steps)?)?;
        let (restarts, fraction) = if t_mul as f32 == 1.0 {
            let restarts = g.floor(&fraction)?;
            let rest = g.sub(&fraction, &restarts)?;
            (restarts, rest)
        } else {
            let t = self.of(t_mul)?;
            let rest = g.sub(&one, &t)?;
            let inner = g.sub(&one, &g.mul(&fraction, &rest)?)?;
            let restarts = g.floor(&g.real_div(&g.log(&inner)?, &g.log(&t)?)?)?;
            let power = g.pow(&t, &restarts)?;
            let sum = g.real_div(&g.sub(&one, &power)?, &rest)?;
            let fraction = g.real_div(&g.sub(&fraction, &sum)?, &power)?;
            (restarts, fraction)
        };
        let factor = g.pow(&self.of(m_mul)?, &restarts)?;
        let cosine = g.cos(&g.mul(&self.of(PI)?, &fraction)?)?;
        let wave = g.mul(&g.mul(&self.of(0.5)?, &factor)?, &g.add_v2(&one, &cosine)?)?;
        let alpha = self.of(alpha)?;
        let decayed = g.add_v2(&g.mul(&g.sub(&one, &alpha)?, &wave)?, &alpha)?;
        g.mul(&self.of(initial)?, &decayed)
    }
}

/// The sum of the values, each times whether the step is in its piece.
fn piecewise(n: &Numbers<'_>, steps: &TensorRef, boundaries: &[f64], values: &[f64]) -> Result<TensorRef> {
    let g = n.g;
    let mut limits = Vec::new();
    for boundary in boundaries {
        limits.push(g.scalar(*boundary, steps.dtype)?);
    }
    let part = |holds: &TensorRef, value: f64| g.mul(&g.cast(holds, DType::Float32)?, &n.of(value)?);
    let (Some(first), Some(last)) = (limits.first(), limits.last()) else { refuse!("a schedule has no boundaries") };
    let mut rate = g.add_v2(&n.of(0.0)?, &part(&g.less_equal(steps, first)?, values[0])?)?;
    rate = g.add_v2(&rate, &part(&g.greater(steps, last)?, values[values.len() - 1])?)?;
    for (pair, value) in limits.windows(2).zip(&values[1..]) {
        let inside = g.logical_and(&g.greater(steps, &pair[0])?, &g.less_equal(steps, &pair[1])?)?;
        rate = g.add_v2(&rate, &part(&inside, *value)?)?;
    }
    Ok(rate)
}
