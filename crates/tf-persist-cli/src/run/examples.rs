//! `tf-persist run --examples`: JSON, or records of serialized examples.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use tf_persist_core::example_features::ExampleInput;
use tf_persist_core::tensor::json::read_examples;
use tf_persist_core::warmup::tfrecord::Reader;
use tf_persist_core::{DType, Hint, MetaGraph, ModelError, SavedModel, SignatureDef, Strings, Tensor, TensorError};

use crate::error;

/// Whether an `--input` has no value, and only names the input that takes the examples.
pub(super) fn names_input(input: &str) -> bool {
    input.ends_with('=') && input.matches('=').count() == 1
}

/// Whether a file has records (TFRecord) and not JSON, as its name tells: `x.tfrecord`, `x.tfrecord.gz`,
/// `x.tfrecord-00000-of-00010`.
pub(super) fn is_records(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".tfrecord"))
}

/// The input that takes the records of a file.
pub(super) fn input_of_records(
    inputs: &[String],
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> anyhow::Result<String> {
    Ok(choose(inputs, model.example_inputs(meta_graph, signature), signature, true)?.name)
}

/// The next records of a file as rows of an input, at most `count`.
pub(super) fn read_records(
    reader: &mut Reader<Box<dyn Read + Send>>,
    count: usize,
    has_column: bool,
) -> anyhow::Result<Tensor> {
    let mut records = Strings::default();
    while records.len() < count
        && let Some(record) = reader.next_record()?
    {
        records.push(&record);
    }
    let shape = if has_column { vec![records.len(), 1] } else { vec![records.len()] };
    Ok(Tensor::from_string_array(&shape, records)?)
}

/// Whether an input takes a column, `[-1, 1]`, and not a list.
pub(super) fn has_column(signature: &SignatureDef, input: &str) -> bool {
    matches!(signature.input(input).and_then(|info| info.shape.sizes()), Some([_, Some(1)]))
}

/// The input that takes the examples, and the examples.
pub(super) fn read(
    path: &Path,
    inputs: &[String],
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> anyhow::Result<(String, Tensor)> {
    if is_records(path) {
        let name = input_of_records(inputs, model, meta_graph, signature)?;
        let records = read_records(&mut Reader::open(path)?, usize::MAX, has_column(signature, &name))?;
        return Ok((name, records));
    }
    let input = choose(inputs, model.example_inputs(meta_graph, signature), signature, false)?;
    let (source, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        ("standard input".to_owned(), bytes)
    } else {
        let source = path.display().to_string();
        (source.clone(), fs::read(path).with_context(|| format!("cannot read `{source}`"))?)
    };
    let read = read_examples(&source, &bytes, |feature| input.features.get(feature).copied())?;
    if input.is_complete && !read.unknown.is_empty() {
        error::warn(&format!(
            "the model does not read {} of `{source}`; the features that it reads are {}",
            list(&read.unknown),
            list(input.features.keys())
        ));
    }
    let count = read.examples.len();
    let shape = match signature.input(&input.name).and_then(|info| info.shape.sizes()) {
        Some([]) if count == 1 => vec![],
        Some([]) => bail!("`{source}` has {count} examples, and input `{}` takes one at a time", input.name),
        _ if has_column(signature, &input.name) => vec![count, 1],
        _ => vec![count],
    };
    Ok((input.name, Tensor::from_string_array(&shape, read.examples)?))
}

/// The input that takes the examples: the one that is named, else the only string input that the graph parses and that
/// is not given.
fn choose(
    inputs: &[String],
    parsed: Vec<ExampleInput>,
    signature: &SignatureDef,
    are_serialized: bool,
) -> anyhow::Result<ExampleInput> {
    let refuse = |reason: String, hint: Option<String>| {
        let source_name = format!("--examples with signature `{}`", signature.name);
        let hint = hint.map(Hint::from);
        Err(ModelError::from(TensorError::InvalidData { source_name, reason, hint }).into())
    };
    let given: Vec<&str> = inputs.iter().filter_map(|input| input.split_once('=')).map(|(name, _)| name).collect();
    let named = inputs.iter().find(|input| names_input(input)).map(|input| input.trim_end_matches('='));
    let strings: Vec<String> = signature
        .input_tensors()
        .into_iter()
        .filter(|(name, dtype)| *dtype == DType::String || parsed.iter().any(|input| input.name == *name))
        .map(|(name, _)| name)
        .filter(|name| named.map_or(!given.contains(&name.as_str()), |named| named == name))
        .collect();
    if let Some(name) = named {
        signature.input_dtype(name)?;
    }
    match (strings.as_slice(), named) {
        ([], Some(name)) => return refuse(format!("input `{name}` does not take strings"), None),
        ([], None) if given.is_empty() => return refuse("it has no input that takes strings".into(), None),
        ([], None) => return refuse("every input that takes strings is given by --input".into(), None),
        _ => {}
    }
    let mut parsed: Vec<ExampleInput> = parsed.into_iter().filter(|input| strings.contains(&input.name)).collect();
    if parsed.len() > 1 {
        let hint = "choose one with --input NAME=, and give the others with --input NAME=JSON";
        let names = list(parsed.iter().map(|input| &input.name));
        return refuse(format!("several inputs take tf.Examples: {names}"), Some(hint.into()));
    }
    match parsed.pop() {
        Some(input) if input.is_sequence && !are_serialized => {
            let what = format!("input `{}` takes tf.SequenceExamples, which cannot be made of JSON here", input.name);
            refuse(
                what,
                Some(format!(
                    "give them serialized, as a .tfrecord file or as --input '{}=[{{\"b64\": \"…\"}}]'",
                    input.name
                )),
            )
        }
        Some(input) => Ok(input),
        None => {
            let what = format!("the graph parses no tf.Examples from {}", list(&strings));
            refuse(what, Some(format!("give plain strings: --input '{}=[\"some text\"]'", strings[0])))
        }
    }
}

/// "`a`, `b`", cut after 20 names.
fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 20;
    let all: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    let more = all.len().saturating_sub(SHOWN);
    let shown = all[..all.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
