//! Kernels of few bits: int8, int4 and float8.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use crate::config::{Config, Quantization, shown, size};
use crate::graph::{Attr, Graph, TensorRef};
use crate::layers::Context;
use crate::operations;
use crate::reason::{Result, refuse};

/// `float8_e4m3fn` by TensorFlow's number.
const FLOAT8: DType = DType::Other(25);

/// The largest value of [`FLOAT8`].
const FLOAT8_MAX: f64 = 448.0;

/// How inputs are quantized, and other rules that the config adds to the dtype policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    inputs: Inputs,
    /// The size of the blocks with scales of their own, if the config says it.
    block: Option<Option<u64>>,
    history: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Inputs {
    /// As int8 for an int8 kernel, not at all for an int4 kernel.
    Default,
    Never,
    AbsMax(AbsMax),
}

/// By the largest absolute value.
#[derive(Debug, Clone, PartialEq)]
struct AbsMax {
    range: [f64; 2],
    epsilon: f64,
}

impl AbsMax {
    const DEFAULT: Self = Self { range: [-127.0, 127.0], epsilon: 1e-7 };

    fn parse(value: &Value) -> Result<Self> {
        let class = value.get("class_name").and_then(Value::as_str);
        let config = value.get("config").unwrap_or(&Value::Null);
        let dtype = config.get("output_dtype").map_or(Some("int8"), Value::as_str);
        if class != Some("AbsMaxQuantizer") || dtype != Some("int8") {
            refuse!("its quantizer {} is not supported", shown(value));
        }
        let number = |value: Option<&Value>, default: f64| value.map_or(Some(default), Value::as_f64);
        let range = config.get("value_range");
        let low = number(range.and_then(|range| range.get(0)), -127.0);
        let high = number(range.and_then(|range| range.get(1)), 127.0);
        match (low, high, number(config.get("epsilon"), 1e-7)) {
            (Some(low), Some(high), Some(epsilon)) => Ok(Self { range: [low, high], epsilon }),
            _ => refuse!("its quantizer {} is not supported", shown(value)),
        }
    }

    /// The tensor in int8, and the scale by which it was multiplied.
    fn apply(&self, g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<(TensorRef, TensorRef)> {
        let [low, high] = self.range;
        let most = g.with_scalar(&g.max(&g.abs(x)?, axes, true)?, self.epsilon, Graph::add_v2)?;
        let scale = g.real_div(&g.scalar(high, x.dtype)?, &most)?;
        let rounded = g.round(&g.mul(x, &scale)?)?;
        Ok((g.cast(&g.clip(&rounded, low, high)?, DType::Int8)?, scale))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { inputs: Inputs::Default, block: None, history: 1024 }
    }
}

impl Rules {
    pub(super) fn of(config: &Config<'_>) -> Result<Self> {
        let history = config.get("dtype").and_then(|policy| policy.get("config")?.get("amax_history_length"));
        let mut rules = Self::default();
        if let Some(length) = history {
            rules.history = size("amax_history_length", length)?;
        }
        let Some(given) = config.get("quantization_config") else { return Ok(rules) };
        let class = given.get("class_name").and_then(Value::as_str).unwrap_or_default();
        let inner = given.get("config").unwrap_or(&Value::Null);
        if !["Int8QuantizationConfig", "Int4QuantizationConfig", "Float8QuantizationConfig"].contains(&class) {
            refuse!("`quantization_config` is {}, which is not supported", shown(given));
        }
        rules.inputs = match inner.get("activation_quantizer") {
            None | Some(Value::Null) => Inputs::Never,
            Some(quantizer) => Inputs::AbsMax(AbsMax::parse(quantizer)?),
        };
        if class == "Int4QuantizationConfig" {
            rules.block = Some(match inner.get("block_size") {
                None | Some(Value::Null) => None,
                Some(value) if value.as_i64() == Some(-1) => None,
                Some(value) => Some(size("block_size", value)?),
            });
        }
        Ok(rules)
    }

    /// The quantizer of the inputs, if they are quantized.
    fn inputs(&self, is_int8: bool) -> Option<AbsMax> {
        match &self.inputs {
            Inputs::Default if is_int8 => Some(AbsMax::DEFAULT),
            Inputs::AbsMax(quantizer) => Some(quantizer.clone()),
            _ => None,
        }
    }
}

/// What differs between the layers.
pub(super) struct Product<'a> {
    /// The shape of the kernel in full precision.
    pub(super) kernel: &'a [u64],
    /// The numbers of rows and columns of the kernel as a matrix, in which int4 kernels lie in files.
    pub(super) matrix: [u64; 2],
    /// The shape of the scale of an int8 kernel.
    pub(super) scale: &'a [u64],
    /// The axes of an input that are summed over.
    pub(super) input_axes: &'a [i64],
    /// Brings the scale of the inputs to the axes of the result.
    pub(super) align: &'a dyn Fn(&Graph, &TensorRef) -> Result<TensorRef>,
    /// The product of an input and a kernel.
    pub(super) multiply: &'a dyn Fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
    /// Whether the scale of an int4 kernel is applied to the kernel, not to the result.
    pub(super) scales_kernel: bool,
    /// The shape of the bias.
    pub(super) bias: Option<&'a [u64]>,
}

impl Product<'_> {
    /// The product with a quantized kernel, and the bias that is to be added.
    pub(super) fn apply(
        &self,
        cx: &Context<'_>,
        quantization: &Quantization,
        rules: &Rules,
        x: &TensorRef,
    ) -> Result<(TensorRef, Option<TensorRef>)> {
        if cx.training {
            refuse!("a training step with quantized weights is not supported");
        }
        match quantization {
            Quantization::Int8 => self.int8(cx, rules, x),
            Quantization::Int4 { block } => self.int4(cx, rules, x, rules.block.unwrap_or(*block)),
            Quantization::Float8 => self.float8(cx, rules, x),
        }
    }

    fn bias(&self, cx: &Context<'_>) -> Result<Option<TensorRef>> {
        self.bias.map(|shape| cx.weight("bias", shape)).transpose()
    }

    fn int8(&self, cx: &Context<'_>, rules: &Rules, x: &TensorRef) -> Result<(TensorRef, Option<TensorRef>)> {
        let g = cx.g;
        let kernel = cx.state("kernel", self.kernel, DType::Int8)?;
        let bias = self.bias(cx)?;
        let kernel_scale = scale(cx, self.scale)?;
        let y = match rules.inputs(true) {
            Some(quantizer) => {
                let (quantized, inputs_scale) = quantizer.apply(g, x, self.input_axes)?;
                let scale = g.mul(&kernel_scale, &(self.align)(g, &inputs_scale)?)?;
                g.real_div(&g.cast(&(self.multiply)(g, &quantized, &kernel)?, cx.policy.compute)?, &scale)?
            }
            None => g.real_div(&g.cast(&(self.multiply)(g, x, &kernel)?, cx.policy.compute)?, &kernel_scale)?,
        };
        Ok((opaque(g, &y, &[x, &kernel, &kernel_scale])?, bias))
    }

    fn int4(
        &self,
        cx: &Context<'_>,
        rules: &Rules,
        x: &TensorRef,
        block: Option<u64>,
    ) -> Result<(TensorRef, Option<TensorRef>)> {
        let (g, compute) = (cx.g, cx.policy.compute);
        let [rows, columns] = self.matrix;
        let packed = cx.state("kernel", &[rows, columns.div_ceil(2)], DType::Int8)?;
        let bias = self.bias(cx)?;
        let kernel = unpacked(g, &packed, columns)?;
        let full = |kernel: &TensorRef| {
            let dims: Vec<_> = self.kernel.iter().copied().map(Some).collect();
            if self.kernel.len() == 2 && self.kernel == self.matrix {
                Ok(kernel.clone())
            } else {
                g.reshape(kernel, &dims)
            }
        };
        if let Some(block) = block {
            let groups = rows.div_ceil(block.max(1));
            let kernel_scale = scale(cx, &[groups, columns])?;
            let zero = cx.state("kernel_zero", &[groups, columns], DType::Int8)?;
            let group = cx.state("g_idx", &[rows], DType::Float32)?;
            let indices = g.cast(&group, DType::Int32)?;
            let scales = g.gather(&kernel_scale, &indices, 0)?;
            let zeros = g.cast(&g.gather(&zero, &indices, 0)?, scales.dtype)?;
            let kernel = g.mul(&g.sub(&g.cast(&kernel, scales.dtype)?, &zeros)?, &scales)?;
            let y = (self.multiply)(g, x, &full(&g.cast(&kernel, compute)?)?)?;
            return Ok((opaque(g, &y, &[x, &packed, &kernel_scale, &zero, &group])?, bias));
        }
        let kernel_scale = scale(cx, &[columns])?;
        let quantized = rules.inputs(false).map(|quantizer| quantizer.apply(g, x, self.input_axes)).transpose()?;
        let y = if self.scales_kernel {
            let kernel = full(&g.real_div(&g.cast(&kernel, compute)?, &kernel_scale)?)?;
            match &quantized {
                Some((quantized, inputs_scale)) => {
                    let y = g.cast(&(self.multiply)(g, quantized, &kernel)?, compute)?;
                    g.real_div(&y, &(self.align)(g, inputs_scale)?)?
                }
                None => (self.multiply)(g, x, &kernel)?,
            }
        } else {
            let (x, scale) = match &quantized {
                Some((quantized, inputs_scale)) => (quantized, g.mul(&kernel_scale, inputs_scale)?),
                None => (x, kernel_scale.clone()),
            };
            g.real_div(&g.cast(&(self.multiply)(g, x, &kernel)?, compute)?, &scale)?
        };
        Ok((opaque(g, &y, &[x, &packed, &kernel_scale])?, bias))
    }

    fn float8(&self, cx: &Context<'_>, rules: &Rules, x: &TensorRef) -> Result<(TensorRef, Option<TensorRef>)> {
        let g = cx.g;
        let kernel = cx.weight("kernel", self.kernel)?;
        let mut bias = self.bias(cx)?;
        let state = |name: &str, shape: &[u64]| cx.state(name, shape, DType::Float32);
        let rounded = |x: &TensorRef, what: &str| -> Result<TensorRef> {
            let scale = state(&format!("{what}_scale"), &[])?;
            let history = state(&format!("{what}_amax_history"), &[rules.history])?;
            let factor = g.cast(&scale, x.dtype)?;
            let clipped = g.clip(&g.real_div(x, &factor)?, -FLOAT8_MAX, FLOAT8_MAX)?;
            let y = g.mul(&g.cast(&g.cast(&clipped, FLOAT8)?, x.dtype)?, &factor)?;
            opaque(g, &y, &[x, &scale, &history])
        };
        let (x, kernel) = (rounded(x, "inputs")?, rounded(&kernel, "kernel")?);
        let y = (self.multiply)(g, &x, &kernel)?;
        let (scale, history) =
            (state("outputs_grad_scale", &[])?, state("outputs_grad_amax_history", &[rules.history])?);
        let y = opaque(g, &y, &[&y, &scale, &history])?;
        if cx.policy.compute == DType::Float32 {
            let narrow = |bias: TensorRef| g.cast(&g.cast(&bias, DType::BFloat16)?, DType::Float32);
            bias = bias.map(narrow).transpose()?;
        }
        Ok((y, bias))
    }
}

/// Adds the bias of a quantized layer.
pub(super) fn with_bias(g: &Graph, y: TensorRef, bias: Option<TensorRef>) -> Result<TensorRef> {
    match &bias {
        Some(bias) => operations::add(g, &y, bias),
        None => Ok(y),
    }
}

/// The scale of a kernel, in the dtype in which the layer computes.
fn scale(cx: &Context<'_>, shape: &[u64]) -> Result<TensorRef> {
    let scale = cx.state("kernel_scale", shape, cx.policy.variable)?;
    cx.g.cast(&scale, cx.policy.compute)
}

/// The same tensor, behind a node through which Grappler fuses nothing. Keras has it for a gradient of its own.
fn opaque(g: &Graph, y: &TensorRef, others: &[&TensorRef]) -> Result<TensorRef> {
    let inputs: Vec<&TensorRef> = [y].into_iter().chain(others.iter().copied()).collect();
    let types = Attr::Types(inputs.iter().map(|input| input.dtype).collect());
    let outputs = inputs.iter().map(|input| (input.dtype, input.shape.clone())).collect();
    Ok(g.add_many("IdentityN", &inputs, vec![("T", types)], outputs)?.remove(0))
}

/// The int4 values of a matrix, of which each byte holds two neighbours in a row.
fn unpacked(g: &Graph, packed: &TensorRef, columns: u64) -> Result<TensorRef> {
    let dtype = packed.dtype;
    let bytes = g.transpose(packed, &[1, 0])?;
    let (mask, eight, four) = (g.scalar(15.0, dtype)?, g.scalar(8.0, dtype)?, g.scalar(4.0, dtype)?);
    let low = g.bitwise_and(&bytes, &mask)?;
    let high = g.bitwise_and(&g.right_shift(&bytes, &four)?, &mask)?;
    let signed = |nibble: &TensorRef| g.sub(&g.bitwise_xor(nibble, &eight)?, &eight);
    let pairs = g.pack(&[&signed(&low)?, &signed(&high)?], 1)?;
    let rows = g.reshape(&pairs, &[None, Some(packed.size(0)?)])?;
    let end = i64::try_from(columns).unwrap_or(i64::MAX);
    let kept = g.strided_slice(&rows, &[crate::graph::Slice::range(0, end)])?;
    g.transpose(&kept, &[1, 0])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Dialect;

    fn rules(config: &Value) -> Result<Rules> {
        let Value::Object(object) = config else { unreachable!() };
        Rules::of(&Config::new(object, Dialect::Keras3))
    }

    #[test]
    fn rules_are_those_of_the_config() {
        let quantizer = json!({"class_name": "AbsMaxQuantizer", "config": {"value_range": [-7, 7], "epsilon": 0.5}});
        let int8 = |quantizer: &Value| {
            let inner = json!({"weight_quantizer": null, "activation_quantizer": quantizer});
            rules(&json!({"quantization_config": {"class_name": "Int8QuantizationConfig", "config": inner}}))
        };
        assert_eq!(rules(&json!({})).unwrap().inputs(true), Some(AbsMax::DEFAULT));
        assert_eq!(rules(&json!({})).unwrap().inputs(false), None);
        assert_eq!(int8(&Value::Null).unwrap().inputs(true), None);
        let expected = AbsMax { range: [-7.0, 7.0], epsilon: 0.5 };
        assert_eq!(int8(&quantizer).unwrap().inputs(true), Some(expected));
        let reason = int8(&json!({"class_name": "Mine"})).unwrap_err().to_string();
        assert_eq!(reason, "its quantizer `{\"class_name\":\"Mine\"}` is not supported");
    }

    #[test]
    fn blocks_of_the_config_win() {
        let int4 = |block: Value| {
            let given = json!({"class_name": "Int4QuantizationConfig", "config": {"block_size": block}});
            rules(&json!({"quantization_config": given})).unwrap().block
        };
        assert_eq!((int4(json!(-1)), int4(json!(null)), int4(json!(32))), (Some(None), Some(None), Some(Some(32))));
        assert!(rules(&json!({"quantization_config": {"class_name": "GPTQConfig"}})).is_err());
    }
}
