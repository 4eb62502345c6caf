//! `Discretization`.

use tf_persist_savedmodel::{DType, Tensor};

use super::encoding::{OutputMode, encode};
use super::hashing::encoded_dtype;
use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Numbers to the intervals in which they lie.
#[derive(Debug)]
pub(super) struct Discretization {
    boundaries: Option<Vec<f64>>,
    bins: Option<u64>,
    mode: OutputMode,
}

impl Discretization {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.without_effect(&["epsilon"]);
        let modes = [OutputMode::Int, OutputMode::OneHot, OutputMode::MultiHot, OutputMode::Count];
        // `bins` is the name of before TensorFlow 2.4, of either.
        let bins = config.get("bins");
        let key = if bins.is_some_and(serde_json::Value::is_array) { "bins" } else { "bin_boundaries" };
        let boundaries = if config.get(key).is_some() { Some(config.floats(key)?) } else { None };
        let bins = config.get("num_bins").or(bins.filter(|bins| bins.is_u64()));
        Ok(Self {
            boundaries,
            bins: bins.map(|value| crate::config::size("num_bins", value)).transpose()?,
            mode: OutputMode::of(config, "int", &modes)?,
        })
    }

    /// The boundaries in the config, or those that Keras 2 computes from the summary of the data.
    fn boundaries(&self, cx: &Context<'_>) -> Result<Vec<f64>> {
        if let Some(boundaries) = &self.boundaries {
            return Ok(boundaries.clone());
        }
        let Some(bins) = self.bins else { refuse!("it has neither `bin_boundaries` nor `num_bins`") };
        let Some(summary) = cx.early_value("summary")? else {
            refuse!("its boundaries are unknown: it was saved before `adapt`")
        };
        let sizes: Vec<u64> = summary.shape().iter().map(|size| *size as u64).collect();
        cx.declare("summary", &sizes, DType::Float32, false)?;
        learned(&summary, bins)
    }
}

impl Layer for Discretization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let boundaries = self.boundaries(cx)?;
        let x = match x.dtype {
            DType::Bool | DType::Int8 | DType::Int16 | DType::UInt8 | DType::UInt16 => g.cast(&x, DType::Int32)?,
            DType::UInt32 => g.cast(&x, DType::Int64)?,
            dtype if dtype.is_floating() && !cx.is_keras2() => g.cast(&x, DType::Float32)?,
            dtype if dtype.is_floating() && cx.policy.compute.is_floating() => g.cast(&x, cx.policy.compute)?,
            _ => x.tensor,
        };
        let dtype = match (cx.is_keras2(), self.mode) {
            (true, mode) => encoded_dtype(cx, mode),
            (false, OutputMode::Int) => DType::Int32,
            (false, _) => cx.policy.compute,
        };
        let found = g.bucketize(&x, &boundaries)?;
        Ok(encode(cx, &found, self.mode, boundaries.len() as u64 + 1, dtype, None)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

/// The boundaries that split what a summary describes into bins of the same weight: values in its first row, their
/// weights in the second.
pub(crate) fn learned(summary: &Tensor, bins: u64) -> Result<Vec<f64>> {
    let [2, count] = *summary.shape() else {
        refuse!("its summary has shape {:?}, and should have 2 rows", summary.shape())
    };
    let numbers = summary.view::<f32>()?;
    let (values, weights) = numbers.split_at(count);
    if count == 0 || bins == 0 || bins > 1 << 20 {
        refuse!("its summary of {count} values does not make {bins} bins");
    }
    let epsilon = 1.0 / bins as f64;
    let cut = |mut boundaries: Vec<f64>| {
        boundaries.pop();
        boundaries
    };
    if (count as f64) * epsilon < 1.0 {
        return Ok(cut(values.iter().map(|value| f64::from(*value)).collect()));
    }
    let mut total = 0.0_f32;
    let sums: Vec<f32> = weights
        .iter()
        .map(|weight| {
            total += weight;
            total
        })
        .collect();
    let shares: Vec<f64> = sums.iter().map(|sum| f64::from(sum / total)).collect();
    let wanted = (0..bins).map(|index| epsilon + index as f64 * epsilon);
    let found = wanted.map(|share| f64::from(interpolated(share, &shares, values) as f32));
    Ok(cut(found.collect()))
}

/// The value at `x` on the line through points, as NumPy's `interp`.
fn interpolated(x: f64, xs: &[f64], ys: &[f32]) -> f64 {
    let y = |index: usize| f64::from(ys[index]);
    let behind = xs.partition_point(|it| *it <= x);
    match behind.checked_sub(1) {
        None => y(0),
        Some(last) if last + 1 == xs.len() => y(last),
        Some(before) if xs[before] == x => y(before),
        Some(before) => (y(before + 1) - y(before)) / (xs[before + 1] - xs[before]) * (x - xs[before]) + y(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_split_the_weights() {
        let summary = Tensor::from_slice(&[2, 4], &[1.0_f32, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
        assert_eq!(learned(&summary, 2).unwrap(), [2.0]);
        assert_eq!(learned(&summary, 4).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(learned(&summary, 8).unwrap(), [1.0, 2.0, 3.0]);
        assert!(learned(&Tensor::from_slice(&[2, 0], &[0.0_f32; 0]).unwrap(), 2).is_err());
        assert!(learned(&Tensor::from_slice(&[3], &[0.0_f32; 3]).unwrap(), 2).is_err());
    }
}
