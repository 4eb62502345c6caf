//! `HashedCrossing`.

use tf_persist_savedmodel::{DType, Tensor};

use super::encoding::{OutputMode, encode};
use super::hashing::encoded_dtype;
use crate::config::Config;
use crate::graph::{Attr, Dim, Shape, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::operations::dtypes::is_integer;
use crate::reason::{Result, refuse};

/// TensorFlow's key where none is given.
const HASH_KEY: i64 = 0x00DE_CAFC_AFFE;

/// Hashes of several categories together.
#[derive(Debug)]
pub(super) struct HashedCrossing {
    bins: u64,
    mode: OutputMode,
}

impl HashedCrossing {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self {
            bins: config.size("num_bins")?,
            mode: OutputMode::of(config, "int", &[OutputMode::Int, OutputMode::OneHot])?,
        })
    }

    /// The hashes of the rows of `[batch, 1]`.
    fn cross(&self, cx: &Context<'_>, inputs: &[TensorRef], rows: Dim) -> Result<TensorRef> {
        let g = cx.g;
        let has_integers = inputs.iter().any(|input| input.dtype == DType::Int64);
        let attrs = vec![
            ("N", Attr::Int(0)),
            ("hashed_output", true.into()),
            ("num_buckets", i64::try_from(self.bins).unwrap_or(i64::MAX).into()),
            ("hash_key", HASH_KEY.into()),
            ("sparse_types", Attr::Types(Vec::new())),
            ("dense_types", Attr::Types(inputs.iter().map(|input| input.dtype).collect())),
            ("out_type", DType::Int64.into()),
            ("internal_type", if has_integers { DType::Int64 } else { DType::String }.into()),
        ];
        let outputs = vec![
            (DType::Int64, Shape::new([None, Some(2)])),
            (DType::Int64, Shape::new([None])),
            (DType::Int64, Shape::new([Some(2)])),
        ];
        let parts = g.add_many("SparseCross", &inputs.iter().collect::<Vec<_>>(), attrs, outputs)?;
        let zero = g.constant(Tensor::scalar(0_i64)?)?;
        let attrs = vec![("T", DType::Int64.into()), ("Tindices", DType::Int64.into())];
        let inputs = [&parts[0], &parts[2], &parts[1], &zero];
        g.add("SparseToDense", &inputs, attrs, DType::Int64, Shape::new([rows, Some(1)]))
    }
}

impl Layer for HashedCrossing {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let given = arguments.inputs()?;
        let g = cx.g;
        let Some(shape) = given.first().map(|first| first.shape.clone()).filter(|_| given.len() > 1) else {
            refuse!("it needs two inputs at least, and has {}", given.len())
        };
        let rank = shape.rank();
        if rank > 2 || (rank == 2 && shape.dims()[1] != Some(1)) {
            refuse!("its inputs have shape {shape}, and should have 1 feature");
        }
        let mut inputs = Vec::new();
        for input in &given {
            shape.merge(&input.shape)?;
            let mut input = match input.dtype {
                DType::String => input.tensor.clone(),
                dtype if is_integer(dtype) => g.cast(input, DType::Int64)?,
                dtype => refuse!("its input is {dtype}, and should be integers or texts"),
            };
            while input.rank() < 2 {
                input = g.expand_dims(&input, -1)?;
            }
            inputs.push(input);
        }
        let mut y = self.cross(cx, &inputs, inputs[0].dims()[0])?;
        if rank == 1 {
            y = g.squeeze(&y, &[1])?;
        } else if rank == 0 {
            y = g.reshape(&y, &[])?;
        }
        Ok(encode(cx, &y, self.mode, self.bins, encoded_dtype(cx, self.mode), None)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}
