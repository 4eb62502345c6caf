//! `EinsumDense`.

use serde_json::Value;

use super::quantized::{Product, Rules, with_bias};
use super::scales::Scales;
use super::{Lora, weights};
use crate::config::{Config, Quantization, shown, size};
use crate::graph::{Dim, TensorRef};
use crate::layers::{Activation, Argument, Arguments, Context, Layer, MaskRule};
use crate::operations;
use crate::reason::{Result, refuse, shown_name};

/// A contraction with a kernel.
#[derive(Debug)]
pub(in crate::layers) struct EinsumDense {
    equation: String,
    /// Without the batch dimension; some sizes follow from the input.
    output_shape: Vec<Dim>,
    bias_axes: Option<String>,
    activation: Activation,
    lora: Option<Lora>,
    rules: Rules,
}

/// The shapes of the variables.
struct Shapes {
    kernel: Vec<u64>,
    bias: Option<Vec<u64>>,
}

impl EinsumDense {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        let dim = |value: &Value| -> Result<Dim> {
            if value.is_null() { Ok(None) } else { size("output_shape", value).map(Some) }
        };
        let output_shape = match config.required("output_shape")? {
            Value::Array(items) => items.iter().map(dim).collect::<Result<Vec<_>>>()?,
            value => vec![dim(value)?],
        };
        let bias_axes = match config.get("bias_axes") {
            None => None,
            Some(Value::String(axes)) => Some(axes.clone()),
            Some(value) => refuse!("`bias_axes` is {}, and should be a text", shown(value)),
        };
        let (lora, rules) = (Lora::of(config)?, Rules::of(config)?);
        let activation = Activation::of(config, "activation")?;
        Ok(Self { equation: config.str("equation")?.to_owned(), output_shape, bias_axes, activation, lora, rules })
    }

    /// A part of another layer.
    pub(in crate::layers) fn part(
        equation: String,
        output_shape: Vec<Dim>,
        bias_axes: Option<String>,
        activation: Activation,
    ) -> Self {
        Self { equation, output_shape, bias_axes, activation, lora: None, rules: Rules::default() }
    }

    pub(in crate::layers) fn apply(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let shapes = self.shapes(x.dims())?;
        if let Some(quantization) = &cx.policy.quantization {
            return self.quantized(cx, quantization, x, &shapes);
        }
        let (kernel, bias) = weights(cx, self.lora.as_ref(), &shapes.kernel, shapes.bias.as_deref())?;
        let mut y = if cx.is_keras2() {
            operations::contraction(g, &self.equation, vec![x.clone(), kernel])?
        } else {
            operations::einsum(g, &self.equation, &[x.clone(), kernel])?
        };
        if let Some(bias) = bias {
            y = if cx.is_keras2() { g.add_v2(&y, &bias)? } else { operations::add(g, &y, &bias)? };
        }
        self.activation.apply(cx, &y)
    }

    fn quantized(
        &self,
        cx: &Context<'_>,
        quantization: &Quantization,
        x: &TensorRef,
        shapes: &Shapes,
    ) -> Result<TensorRef> {
        let scales = Scales::new(&self.equation, x.rank())?;
        let summed = |axis: usize| scales.kernel.summed.contains(&axis);
        let size = |keep: bool| -> Result<u64> {
            let sizes = shapes.kernel.iter().enumerate().filter(|(axis, _)| summed(*axis) == keep);
            match sizes.into_iter().try_fold(1_u64, |product, (_, size)| product.checked_mul(*size)) {
                Some(size) => Ok(size),
                None => refuse!("its kernel of shape {:?} is too large", shapes.kernel),
            }
        };
        let product = Product {
            kernel: &shapes.kernel,
            matrix: [size(true)?, size(false)?],
            scale: &scales.kernel.shape(&shapes.kernel)?,
            input_axes: &scales.input.summed.iter().map(|axis| *axis as i64).collect::<Vec<_>>(),
            align: &|g, scale| scales.input.apply(g, scale),
            multiply: &|g, x, kernel| operations::einsum(g, &self.equation, &[x.clone(), kernel.clone()]),
            scales_kernel: true,
            bias: shapes.bias.as_deref(),
        };
        let (y, bias) = product.apply(cx, quantization, &self.rules, x)?;
        self.activation.apply(cx, &with_bias(cx.g, y, bias)?)
    }

    /// The shapes of the variables for an input.
    fn shapes(&self, input: &[Dim]) -> Result<Shapes> {
        let impossible = || format!("the equation `{}` does not fit its input", shown_name(&self.equation));
        let equation: String = self.equation.chars().filter(|it| *it != ' ').collect::<String>().replace("...", "0");
        let (inputs, output) = equation.split_once("->").ok_or_else(impossible)?;
        let (term, kernel) = inputs.split_once(',').ok_or_else(impossible)?;
        let elided_left = term.starts_with('0');
        let (term, output) = (term.replace('0', ""), output.replace('0', ""));
        if [&term, kernel, &output].iter().any(|labels| !labels.chars().all(|it| it.is_ascii_alphabetic())) {
            return Err(impossible().into());
        }
        let elided = input.len().checked_sub(term.len()).ok_or_else(impossible)?;
        let mut full = vec![input.first().copied().flatten()];
        if elided_left {
            full.extend(input.get(1..elided).unwrap_or_default());
        }
        full.extend(&self.output_shape);
        if !elided_left {
            full.extend(&input[input.len() - elided..]);
        }
        let left = if elided_left { elided } else { 0 };
        let in_output = |label: char| output.find(label).and_then(|index| full.get(index + left).copied().flatten());
        let in_input = |label: char| term.find(label).and_then(|index| input.get(index + left).copied().flatten());
        let size_of = |label: char| match in_output(label).or_else(|| in_input(label)) {
            Some(size) => Ok(size),
            None => refuse!("the equation `{}` leaves the size of `{label}` open", shown_name(&self.equation)),
        };
        let sizes = kernel.chars().map(size_of).collect::<Result<Vec<_>>>()?;
        let Some(axes) = &self.bias_axes else { return Ok(Shapes { kernel: sizes, bias: None }) };
        let Some(first) = output.find(|label| axes.contains(label)) else {
            refuse!("`bias_axes` is `{}`, which are no axes of `{output}`", shown_name(axes))
        };
        let mut bias = Vec::new();
        for label in output[first..].chars() {
            bias.push(if axes.contains(label) { size_of(label)? } else { 1 });
        }
        if !elided_left {
            bias.extend(std::iter::repeat_n(1, elided));
        }
        Ok(Shapes { kernel: sizes, bias: Some(bias) })
    }
}

impl Layer for EinsumDense {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        Ok(self.apply(cx, &x)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::activation::Function;

    fn shapes(equation: &str, output: &[Dim], bias_axes: &str, input: &[Dim]) -> Result<(Vec<u64>, Vec<u64>)> {
        let axes = Some(bias_axes.to_owned());
        let layer = EinsumDense::part(equation.to_owned(), output.to_vec(), axes, Function::Linear.into());
        layer.shapes(input).map(|shapes| (shapes.kernel, shapes.bias.unwrap_or_default()))
    }

    #[test]
    fn shapes_follow_from_the_equation() {
        let of = |equation, output: &[Dim], axes, input: &[Dim]| shapes(equation, output, axes, input).unwrap();
        let (b, t) = (None, None);
        assert_eq!(of("ab,bc->ac", &[Some(64)], "c", &[b, Some(32)]), (vec![32, 64], vec![64]));
        assert_eq!(of("abc,cd->abd", &[None, Some(64)], "d", &[b, t, Some(8)]), (vec![8, 64], vec![64]));
        assert_eq!(of("...x,xy->...y", &[Some(64)], "y", &[b, t, Some(4), Some(8)]), (vec![8, 64], vec![64]));
        assert_eq!(of("ab...,bc->ac...", &[Some(6)], "c", &[b, Some(4), t, Some(8)]), (vec![4, 6], vec![6, 1, 1]));
        assert_eq!(of("abc,cde->abde", &[None, Some(2), Some(3)], "de", &[b, t, Some(8)]), (vec![8, 2, 3], vec![2, 3]));
    }

    #[test]
    fn open_sizes_and_odd_equations_are_refused() {
        let reason = |equation, axes| shapes(equation, &[None], axes, &[None, Some(3)]).unwrap_err().to_string();
        assert_eq!(reason("ab,bc->ac", "c"), "the equation `ab,bc->ac` leaves the size of `c` open");
        assert_eq!(reason("abcd,bc->ac", "c"), "the equation `abcd,bc->ac` does not fit its input");
        assert_eq!(reason("a1,bc->ac", "c"), "the equation `a1,bc->ac` does not fit its input");
        assert_eq!(reason("ab,b->a", "z"), "`bias_axes` is `z`, which are no axes of `a`");
    }
}
