//! Random numbers of layers in training, drawn from seeds that each step advances.

use tf_persist_savedmodel::{DType, Tensor};

use super::Context;
use crate::graph::{Graph, Resource, Shape, TensorRef, Variable};
use crate::reason::{Result, refuse};

/// Which algorithm of random numbers: TensorFlow's choice.
const AUTO_SELECT: i32 = 3;

impl Context<'_> {
    /// The next seed of the layer, an int32 vector of two; the layer's seed advances. `seed` is that of its config.
    ///
    /// Files do not have the seeds. A layer without one gets a seed that depends on its place in the model.
    pub(crate) fn draw_seed(&self, seed: Option<i64>) -> Result<TensorRef> {
        let g = self.g;
        let state = self.seed_state(seed)?;
        let value = g.read_again(state)?;
        let step = g.constant(Tensor::from_slice(&[2], &[0_i64, 1])?)?;
        g.assign(state, &g.add_v2(&value, &step)?)?;
        let limit = g.scalar(f64::from(i32::MAX - 1), DType::Int64)?;
        g.cast(&g.floor_mod(&value, &limit)?, DType::Int32)
    }

    /// The variable with the seed of the layer.
    fn seed_state(&self, seed: Option<i64>) -> Result<Resource> {
        let path = self.place.layers.join("/");
        if let Some(state) = self.shared.seeds.borrow().get(&path) {
            return Ok(*state);
        }
        let seed = seed.unwrap_or_else(|| seed_of(&path));
        let name = self.free_name(&format!("seeds/{path}/seed_generator_state"));
        let variable = Variable { name, dtype: DType::Int64, shape: vec![2], trainable: false };
        let state = self.g.program.add_variable(variable);
        self.shared.seeds.borrow_mut().insert(path, state);
        self.shared.initial.borrow_mut().insert(state, Tensor::from_slice(&[2], &[seed, 0])?);
        Ok(state)
    }
}

/// A seed between 1 and 10⁹ from a name (FNV-1a).
fn seed_of(path: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash % 1_000_000_000) as i64 + 1
}

/// Random numbers of a shape: `op` is `StatelessRandomUniformV2` (from 0 to 1) or `StatelessRandomNormalV2`.
fn random(
    g: &Graph,
    op: &'static str,
    sizes: &TensorRef,
    seed: &TensorRef,
    dtype: DType,
    shape: Shape,
) -> Result<TensorRef> {
    let outputs = vec![(DType::UInt64, Shape::new([Some(1)])), (DType::UInt64, Shape::new([Some(2)]))];
    let attrs = vec![("Tseed", seed.dtype.into())];
    let key = g.add_many("StatelessRandomGetKeyCounter", &[seed], attrs, outputs)?;
    let algorithm = g.scalar_i32(AUTO_SELECT)?;
    let attrs = vec![("dtype", dtype.into()), ("Tshape", sizes.dtype.into())];
    g.add(op, &[sizes, &key[0], &key[1], &algorithm], attrs, dtype, shape)
}

/// Numbers from `low` to `high`.
pub(crate) fn uniform(
    g: &Graph,
    sizes: &TensorRef,
    seed: &TensorRef,
    range: (f64, f64),
    dtype: DType,
    shape: Shape,
) -> Result<TensorRef> {
    let random = random(g, "StatelessRandomUniformV2", sizes, seed, dtype, shape)?;
    let low = g.scalar(range.0, dtype)?;
    g.add_v2(&g.mul(&random, &g.sub(&g.scalar(range.1, dtype)?, &low)?)?, &low)
}

/// Normally distributed numbers.
pub(crate) fn normal(
    g: &Graph,
    sizes: &TensorRef,
    seed: &TensorRef,
    mean: f64,
    deviation: f64,
    x: &TensorRef,
) -> Result<TensorRef> {
    let random = random(g, "StatelessRandomNormalV2", sizes, seed, x.dtype, x.shape.clone())?;
    g.with_scalar(&g.with_scalar(&random, deviation, Graph::mul)?, mean, Graph::add_v2)
}

/// Sets a share of the elements to 0, and scales the others. `noise` has the dimensions along which elements are
/// dropped one by one, or None where all share one decision: size 1.
pub(crate) fn dropout(
    cx: &Context<'_>,
    x: &TensorRef,
    rate: f64,
    noise: Option<&[Option<u64>]>,
    seed: Option<i64>,
) -> Result<TensorRef> {
    let g = cx.g;
    if !(0.0..=1.0).contains(&rate) {
        refuse!("`rate` is {rate}, and should be from 0 to 1");
    }
    if rate == 0.0 {
        return Ok(x.clone());
    }
    if rate == 1.0 {
        return g.zeros_like(x);
    }
    let seed = cx.draw_seed(seed)?;
    let (sizes, shape) = match noise {
        None => (g.shape_of(x)?, x.shape.clone()),
        Some(noise) => {
            if noise.len() != x.rank() {
                refuse!("`noise_shape` has {} dimensions, and its input {}", noise.len(), x.rank());
            }
            let dims: Vec<Option<u64>> = noise.iter().zip(x.dims()).map(|(noise, dim)| noise.or(*dim)).collect();
            let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64))?;
            (sizes, Shape::new(dims))
        }
    };
    let scaled = g.with_scalar(x, 1.0 / (1.0 - rate), Graph::mul)?;
    let random = uniform(g, &sizes, &seed, (0.0, 1.0), x.dtype, shape)?;
    let keep = g.with_scalar(&random, rate, Graph::greater_equal)?;
    g.select(&keep, &scaled, &g.scalar(0.0, x.dtype)?)
}

#[cfg(test)]
mod tests {
    use super::seed_of;

    #[test]
    fn seeds_differ_by_place() {
        assert_eq!(seed_of("dropout"), seed_of("dropout"));
        assert_ne!(seed_of("dropout"), seed_of("dropout_1"));
        assert!((1..=1_000_000_000).contains(&seed_of("")));
    }
}
