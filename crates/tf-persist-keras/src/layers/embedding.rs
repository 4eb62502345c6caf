//! `Embedding` and `Masking`.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::{Argument, Arguments, Context, Layer, MaskRule, Masked, finished};
use crate::config::{Config, Quantization, shown};
use crate::graph::{Graph, TensorRef};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Embedding" => finished(Embedding::new(config), config),
        "Masking" => finished(Masking::new(config), config),
        _ => return None,
    })
}

/// Rows of a table.
#[derive(Debug)]
struct Embedding {
    rows: u64,
    columns: u64,
    mask_zero: bool,
}

impl Embedding {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["embeddings"]);
        // A file has the sum of the table and its low-rank update.
        config.without_effect(&["input_length", "lora_rank", "lora_alpha", "quantization_config"]);
        config.only("sparse", &[])?;
        config.only("use_one_hot_matmul", &[])?;
        Ok(Self {
            rows: config.size("input_dim")?,
            columns: config.size("output_dim")?,
            mask_zero: config.bool_or("mask_zero", false)?,
        })
    }

    /// The rows of int8 numbers, each times its scale.
    fn quantized(&self, cx: &Context<'_>, ids: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let table = cx.state("embeddings", &[self.rows, self.columns], DType::Int8)?;
        let scale = cx.state("embeddings_scale", &[self.rows], cx.policy.variable)?;
        let scale = g.expand_dims(&rows(cx, &scale, ids)?, -1)?;
        let rows = g.cast(&rows(cx, &table, ids)?, scale.dtype)?;
        g.real_div(&rows, &scale)
    }
}

impl Layer for Embedding {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let ids = match x.dtype {
            DType::Int32 | DType::Int64 => x.tensor.clone(),
            _ => g.cast(&x, DType::Int32)?,
        };
        let tensor = match cx.policy.quantization {
            None => {
                let table = cx.declare("embeddings", &[self.rows, self.columns], cx.policy.variable, true)?;
                rows(cx, &g.read(table)?, &ids)?
            }
            Some(Quantization::Int8) if cx.policy.compute == cx.policy.variable => self.quantized(cx, &ids)?,
            Some(_) => refuse!("its quantization is not supported"),
        };
        let tensor = g.cast(&tensor, cx.policy.compute)?;
        let mask = self.mask_zero.then(|| g.not_equal(&x, &g.scalar(0.0, x.dtype)?)).transpose()?;
        Ok(Masked { tensor, mask }.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

/// The rows with these numbers. In Keras 3, negative ones count from the end.
fn rows(cx: &Context<'_>, table: &TensorRef, ids: &TensorRef) -> Result<TensorRef> {
    let g: &Graph = cx.g;
    if cx.is_keras2() {
        return g.gather(table, ids, 0);
    }
    let negative = g.less(ids, &g.scalar(0.0, ids.dtype)?)?;
    let size = g.scalar(table.size(0)? as f64, ids.dtype)?;
    let ids = g.select(&negative, &g.add_v2(ids, &size)?, ids)?;
    g.gather(table, &ids, 0)
}

/// A mask of the steps that are not a certain value.
#[derive(Debug)]
struct Masking {
    value: f64,
    is_float: bool,
}

impl Masking {
    fn new(config: &Config<'_>) -> Result<Self> {
        let value = match config.get("mask_value") {
            // A tensor of one element.
            Some(Value::Object(object)) => {
                object.get("config").and_then(|config| config.get("value")).unwrap_or(&Value::Null).clone()
            }
            Some(value) => value.clone(),
            None => Value::from(0.0),
        };
        match value.as_f64() {
            Some(number) => Ok(Self { value: number, is_float: value.is_f64() }),
            None => refuse!("`mask_value` is {}, and should be a number", shown(&value)),
        }
    }

    /// Which elements are not the value. Keras 3 makes a float32 of it, and compares in the wider of both dtypes.
    fn differs(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        if cx.is_keras2() || !self.is_float {
            return g.not_equal(x, &g.scalar(self.value, x.dtype)?);
        }
        let dtype = if x.dtype == DType::Float64 { x.dtype } else { DType::Float32 };
        g.not_equal(&g.cast(x, dtype)?, &g.scalar(f64::from(self.value as f32), dtype)?)
    }
}

impl Layer for Masking {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let counts = g.any(&self.differs(cx, &x)?, &[-1], true)?;
        let tensor = if cx.is_keras2() {
            g.mul(&x, &g.cast(&counts, x.dtype)?)?
        } else {
            g.select(&counts, &x, &g.scalar(0.0, x.dtype)?)?
        };
        Ok(Masked { tensor, mask: Some(g.squeeze(&counts, &[-1])?) }.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }
}
