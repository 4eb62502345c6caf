//! The report on a Keras file: its layers, as `model.summary()` shows them.

use std::io::{BufWriter, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde_json::{Value, json};
use tf_persist_keras::{KerasModel, LayerSummary, ModelSummary, TensorSummary};
use tf_persist_savedmodel::printable;

use crate::common_args::Format;
use crate::error::PRINTING;
use crate::format::{count, grouped};
use crate::stdout::{plain_stdout, stdout};

const TITLE: Style = Style::new().bold();
const NAME: Style = AnsiColor::Cyan.on_default();

pub(super) fn print(model: &KerasModel, format: Format) -> anyhow::Result<()> {
    let summary = model.summary()?;
    match format {
        Format::Text => {
            let mut out = BufWriter::new(stdout());
            write(&mut out, model, &summary).and_then(|()| out.flush())
        }
        Format::Json => writeln!(plain_stdout(), "{:#}", as_json(&summary)),
    }
    .context(PRINTING)
}

fn write(out: &mut impl Write, model: &KerasModel, summary: &ModelSummary) -> std::io::Result<()> {
    let version = summary.keras_version.as_deref().unwrap_or("of an unknown version");
    writeln!(out, "{TITLE}{}{TITLE:#}  (Keras {})", model.path().display(), printable(version))?;
    writeln!(out, "\n{TITLE}model{TITLE:#} {NAME}{}{NAME:#}  {}", printable(&summary.name), printable(&summary.class))?;
    for (label, tensors) in [("input", &summary.inputs), ("output", &summary.outputs)] {
        for tensor in tensors {
            writeln!(out, "  {label:<10} {}: {}{}", printable(&tensor.name), tensor.dtype, shape(&tensor.shape))?;
        }
    }
    writeln!(out, "  {:<10} {}", "compiled", compiled(summary.compile_config.as_ref()))?;
    write_layers(out, &summary.layers)?;
    let frozen = summary.parameters - summary.trainable;
    writeln!(
        out,
        "\n{TITLE}parameters{TITLE:#}  {}: {} trainable, {} not trainable",
        grouped(summary.parameters),
        grouped(summary.trainable),
        grouped(frozen)
    )
}

fn write_layers(out: &mut impl Write, layers: &[LayerSummary]) -> std::io::Result<()> {
    let rows: Vec<[String; 4]> = layers.iter().map(row).collect();
    let heads = ["name", "class", "output", "parameters"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&heads]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [name, class, output, parameters] = [0, 1, 2, 3].map(width);
    writeln!(out, "\n{TITLE}layers{TITLE:#}  {}", count(layers.len() as u64, "layer"))?;
    for [a, b, c, d] in [&heads].into_iter().chain(&rows) {
        writeln!(out, "  {a:<name$}  {b:<class$}  {c:<output$}  {d:>parameters$}")?;
    }
    Ok(())
}

fn row(layer: &LayerSummary) -> [String; 4] {
    let indent = "  ".repeat(layer.path.len().saturating_sub(1));
    let name = layer.path.last().map_or("", String::as_str);
    let calls = if layer.calls > 1 { format!(" (called {} times)", layer.calls) } else { String::new() };
    let class = if layer.is_operation { format!("keras.ops {}", layer.class) } else { layer.class.clone() };
    [
        format!("{indent}{}{calls}", printable(name)),
        printable(&class).to_string(),
        layer.outputs.iter().map(|sizes| shape(sizes)).collect::<Vec<_>>().join(", "),
        grouped(layer.parameters),
    ]
}

/// `[?, 28, 28]`, as in signatures.
fn shape(sizes: &[Option<u64>]) -> String {
    let sizes: Vec<String> = sizes.iter().map(|size| size.map_or("None".into(), |size| size.to_string())).collect();
    format!("[{}]", sizes.join(", "))
}

/// The names of the optimizer, the loss and the metrics.
fn compiled(config: Option<&Value>) -> String {
    let Some(config) = config else { return "no".into() };
    // An `.h5` file of Keras 2 has the optimizer's object under another name.
    let optimizer = config.get("optimizer").or_else(|| config.get("optimizer_config"));
    let parts = [("optimizer", optimizer), ("loss", config.get("loss")), ("metrics", config.get("metrics"))];
    let shown = parts.into_iter().filter_map(|(label, value)| Some(format!("{label} {}", names(value?)?)));
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "yes".into() } else { shown.join(", ") }
}

/// The names in a config: a text, an object with `class_name`, or a list or dict of these.
fn names(value: &Value) -> Option<String> {
    let all = |values: Vec<&Value>| {
        let names: Vec<String> = values.into_iter().filter_map(names).collect();
        if names.is_empty() { None } else { Some(names.join(" ")) }
    };
    match value {
        Value::String(name) => Some(printable(name).to_string()),
        Value::Array(items) => all(items.iter().collect()),
        Value::Object(object) => match (object.get("class_name"), object.get("config")) {
            (Some(Value::String(class)), Some(Value::String(name))) if class == "function" => {
                Some(printable(name).to_string())
            }
            (Some(Value::String(class)), _) => Some(printable(class).to_string()),
            _ => all(object.values().collect()),
        },
        _ => None,
    }
}

fn as_json(summary: &ModelSummary) -> Value {
    let tensors = |tensors: &[TensorSummary]| -> Vec<Value> {
        let tensor = |it: &TensorSummary| json!({ "name": it.name, "dtype": it.dtype.name(), "shape": it.shape });
        tensors.iter().map(tensor).collect()
    };
    let layer = |it: &LayerSummary| {
        json!({
            "path": it.path, "class": it.class, "operation": it.is_operation, "outputs": it.outputs,
            "parameters": it.parameters, "trainable": it.trainable, "calls": it.calls,
        })
    };
    json!({
        "keras_version": summary.keras_version,
        "name": summary.name,
        "class": summary.class,
        "inputs": tensors(&summary.inputs),
        "outputs": tensors(&summary.outputs),
        "layers": summary.layers.iter().map(layer).collect::<Vec<_>>(),
        "parameters": summary.parameters,
        "trainable": summary.trainable,
        "compile_config": summary.compile_config,
    })
}
