//! Models, which are layers made of layers.

mod functional;
mod input;
mod sequential;

use serde_json::Value;

use crate::config::Config;
use crate::graph::TensorRef;
use crate::layers::{Argument, Arguments, Called, Context, Layer, Masked, NamedLayer};
use crate::parse::Parser;
use crate::reason::{Reason, Result, shown_name};

use functional::Functional;
pub(crate) use input::{InputLayer, InputSpec};
use sequential::Sequential;

/// The bytes of names that take as much memory as a node.
const NAMES_PER_NODE: usize = 256;

/// A layer that is made of layers.
pub(crate) trait Model {
    /// The inputs by name.
    fn inputs(&self) -> Vec<(&str, &InputSpec)>;

    /// Whether it takes its inputs as a dict.
    fn takes_dict(&self) -> bool {
        false
    }

    /// The names of the outputs, if it returns a dict.
    fn output_keys(&self) -> Option<Vec<&str>>;

    /// The names of the layers that compute the outputs, in order.
    fn output_names(&self) -> Vec<String>;

    /// The layers in order.
    fn layers(&self) -> Vec<&NamedLayer>;

    /// Whether its calls are counted from 1 where a model gives its outputs.
    fn counts_own_call(&self) -> bool;
}

/// Makes a model from its config. `None` if the class is not a model.
pub(crate) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    match class {
        "Sequential" => Some(crate::layers::finished(Sequential::new(config, parser), config)),
        "InputLayer" => Some(crate::layers::finished(InputLayer::new(config), config)),
        "Functional" | "Model" => Some(crate::layers::finished(Functional::new(config, parser), config)),
        _ => None,
    }
}

/// The contexts of a model's layers: `layers/dense`, `layers/dense_1` and so on in a `.keras` file. Operations have no
/// folder and are not counted.
fn contexts<'a>(cx: &Context<'a>, layers: &[NamedLayer]) -> Result<Vec<Context<'a>>> {
    cx.g.program.spend(layers.len())?;
    let mut counts = std::collections::HashMap::new();
    let context = |layer: &NamedLayer| {
        if layer.is_operation {
            return cx.clone();
        }
        // The only class of Keras whose name in configs is not that in the code, which names the folder.
        let is_grouped = layer.class == "GroupQueryAttention";
        let class = snake_case(if is_grouped { "GroupedQueryAttention" } else { &layer.class });
        let count = counts.entry(class.clone()).or_insert(0_usize);
        let folder = if *count == 0 { class } else { format!("{class}_{count}") };
        // Keras 2 passes over a layer that it saved elsewhere before.
        *count += usize::from(!layer.is_repeated || !cx.is_keras2());
        // Files of TensorFlow 2.12 and 2.13 have the other name.
        cx.nested(&[&["layers", "_layer_checkpoint_dependencies"], &[&folder]], &layer.name)
    };
    Ok(layers.iter().map(context).collect())
}

/// `Conv2DTranspose` → `conv2d_transpose`, as Keras names folders.
pub(crate) fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|it| it.is_alphanumeric() || *it == '_').collect();
    let is =
        |index: Option<usize>, test: fn(&char) -> bool| index.and_then(|index| letters.get(index)).is_some_and(test);
    let mut name = String::new();
    for (index, letter) in letters.iter().enumerate() {
        // Before a word, and between a lower and an upper letter.
        let starts_word = letter.is_ascii_uppercase() && is(Some(index + 1), char::is_ascii_lowercase);
        let after_lower = letter.is_ascii_uppercase() && is(index.checked_sub(1), char::is_ascii_lowercase);
        if index > 0 && (starts_word || after_lower) && !name.ends_with('_') {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Calls a layer of a model, and says in which layer something went wrong.
fn call(cx: &Context<'_>, layer: &NamedLayer, arguments: Arguments) -> Result<Argument> {
    // A call that adds no nodes takes the memory of its names.
    let names: usize = cx.place.layers.iter().map(String::len).sum();
    cx.g.program.spend(1 + names / NAMES_PER_NODE)?;
    let result = cx.g.scoped(&layer.name, || layer.call(cx, arguments));
    if let Ok(result) = &result {
        cx.shared.calls.borrow_mut().push(Called {
            layers: called(cx, layer),
            class: layer.class.clone(),
            is_operation: layer.is_operation,
            outputs: result.tensors().into_iter().map(|tensor| tensor.shape.clone()).collect(),
        });
    }
    result.map_err(|reason| {
        let reason = reason.to_string();
        let separator = if reason.starts_with("layer `") { ": in " } else { ": " };
        let name = shown_name(&layer.name);
        Reason::new(format!("layer `{name}` ({}){separator}{reason}", layer.class))
    })
}

/// The names of the layers around a layer, and its own.
fn called(cx: &Context<'_>, layer: &NamedLayer) -> Vec<String> {
    let mut layers = cx.place.layers.clone();
    if layer.is_operation {
        layers.push(layer.name.clone());
    }
    layers
}

/// A tensor as an input takes it: of its dtype, and of its rank where a last dimension of size 1 makes the difference.
fn as_input(cx: &Context<'_>, tensor: &Masked, spec: &InputSpec) -> Result<Masked> {
    let mut x: TensorRef = cx.g.cast(tensor, spec.dtype)?;
    let rank = spec.shape.rank();
    if x.rank() == rank + 1 && x.dims().last() == Some(&Some(1)) {
        x = cx.g.squeeze(&x, &[-1])?;
    } else if x.rank() + 1 == rank && spec.shape.dims().last() == Some(&Some(1)) {
        x = cx.g.expand_dims(&x, -1)?;
    }
    spec.shape.merge(&x.shape)?;
    Ok(Masked { tensor: x, mask: tensor.mask.clone() })
}

/// Whether an entry of a model's layers is an `InputLayer`.
fn is_input(entry: &Value) -> bool {
    entry.get("class_name").and_then(Value::as_str) == Some("InputLayer")
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_folders_as_keras() {
        let cases = [
            ("Dense", "dense"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("LSTM", "lstm"),
            ("LSTMCell", "lstm_cell"),
            ("GlobalAveragePooling1D", "global_average_pooling1d"),
            ("MultiHeadAttention", "multi_head_attention"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
            ("ConvLSTM2D", "conv_lstm2d"),
            ("STFTSpectrogram", "stft_spectrogram"),
            ("UpSampling2D", "up_sampling2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("RMSNormalization", "rms_normalization"),
            ("GRU", "gru"),
        ];
        for (class, name) in cases {
            assert_eq!(snake_case(class), name);
        }
    }
}
