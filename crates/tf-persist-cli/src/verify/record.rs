//! `tf-persist verify --record`.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use tf_persist_core::LoadSavedModel;
use tf_persist_core::tensor::json::{ExtraInputs, Request, without_byte_order_mark};
use tf_persist_core::warmup::{Added, FILE, Recorder, SEQUENCE_FILE, Sequence};
use tf_persist_core::{MetaGraph, SavedModel, SignatureDef, Tensor};

use super::VerifyArgs;
use crate::error::{self, PRINTING, UsageError};
use crate::format::count;
use crate::inputs::{FileInputs, from_numpy};
use crate::stdout::stdout;

/// A request to record.
struct NewRequest<'a> {
    signature: &'a SignatureDef,
    inputs: Vec<(String, Tensor)>,
}

pub(super) fn record(args: &VerifyArgs, saved_model: &SavedModel, file: &Path) -> anyhow::Result<()> {
    let tags = args.load.tag_list();
    let meta_graph = saved_model.meta_graph(tags.as_deref())?;
    // Errors in the requests are found before TensorFlow is opened.
    let requests = read(args, meta_graph, file)?;
    if args.in_order {
        return record_in_order(args, saved_model, meta_graph, file, requests);
    }
    let mut recorder = Recorder::begin(saved_model, meta_graph, args.replace)?;
    let which = |index: usize| format!("request {} of `{}`", index + 1, file.display());
    for (index, request) in requests.iter().enumerate() {
        let checked = saved_model.check_inputs(meta_graph, request.signature, &request.inputs, None);
        checked.with_context(|| which(index))?;
        // Each signature once.
        if requests[..index].iter().all(|before| before.signature.name != request.signature.name) {
            recorder.check(meta_graph, request.signature)?;
        }
    }
    let model = saved_model.load(args.load.options()?)?;
    let (mut new, mut known) = (0, 0);
    for (index, request) in requests.into_iter().enumerate() {
        match recorder.add(&model, &request.signature.name, request.inputs) {
            Ok(Added::New) => new += 1,
            Ok(_) => known += 1,
            Err(error) => return Err(error).with_context(|| which(index)),
        }
    }
    let records = recorder.write()?;
    let known = if known > 0 { format!(" ({} there already)", count(known, "request")) } else { String::new() };
    writeln!(
        stdout(),
        "`{}`: {} recorded{known}, {} in all",
        args.path.join(FILE).display(),
        count(new, "request"),
        count(records as u64, "record")
    )
    .context(PRINTING)
}

/// Records requests that depend on those before them.
fn record_in_order(
    args: &VerifyArgs,
    saved_model: &SavedModel,
    meta_graph: &MetaGraph,
    file: &Path,
    requests: Vec<NewRequest<'_>>,
) -> anyhow::Result<()> {
    let mut sequence = Sequence::begin(saved_model, meta_graph, args.replace)?;
    for (index, request) in requests.iter().enumerate() {
        let which = || format!("request {} of `{}`", index + 1, file.display());
        saved_model.check_inputs(meta_graph, request.signature, &request.inputs, None).with_context(which)?;
    }
    let new = requests.len() as u64;
    let requests = requests.into_iter().map(|request| (request.signature.name.clone(), request.inputs));
    sequence.add(&args.load.options()?, requests.collect()).with_context(|| format!("`{}`", file.display()))?;
    let records = sequence.write()?;
    writeln!(
        stdout(),
        "`{}`: {} recorded in order, {} in all",
        args.path.join(SEQUENCE_FILE).display(),
        count(new, "request"),
        count(records as u64, "record")
    )
    .context(PRINTING)
}

/// The requests of a file, in its order.
fn read<'a>(args: &VerifyArgs, meta_graph: &'a MetaGraph, file: &Path) -> anyhow::Result<Vec<NewRequest<'a>>> {
    let named = |name: Option<&str>| match name {
        Some(name) => meta_graph.signature(name),
        None => meta_graph.default_signature(),
    };
    let of_json = |source: &str, bytes: &[u8]| -> anyhow::Result<NewRequest<'a>> {
        let request = Request::parse(source, bytes)?;
        if request.has_output_filter() {
            error::warn(&format!("{source}: `output_filter` is ignored: all outputs are recorded"));
        }
        let signature = named(request.signature_name().or(args.signature.as_deref()))?;
        let inputs = request.tensors(&signature.name, &signature.input_tensors(), ExtraInputs::Refuse)?;
        Ok(NewRequest { signature, inputs })
    };
    let name = file.display().to_string();
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "npz" | "json" | "jsonl" => {}
        _ if name == "-" => {}
        "npy" => bail!(UsageError(format!("`{name}` is one array without a name: write an .npz file"))),
        _ => bail!(UsageError(format!("`{name}` does not end in .npz, .json or .jsonl"))),
    }
    if ending == "jsonl" {
        let text = fs::read(file).with_context(|| format!("cannot read `{name}`"))?;
        let lines = without_byte_order_mark(&text)
            .split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty());
        let requests = lines.map(|(number, line)| of_json(&format!("`{name}`, line {}", number + 1), line));
        let requests = requests.collect::<anyhow::Result<Vec<_>>>()?;
        if requests.is_empty() {
            bail!("`{name}` has no requests");
        }
        return Ok(requests);
    }
    let request = match FileInputs::read(file)? {
        FileInputs::Json { source, bytes } => of_json(&source, &bytes)?,
        FileInputs::Columns(..) => bail!(UsageError(format!("`{name}` does not end in .npz, .json or .jsonl"))),
        FileInputs::Arrays(arrays) => {
            let signature = named(args.signature.as_deref())?;
            let inputs = arrays.into_iter().map(|(name, array)| from_numpy(signature, name, array));
            let inputs = inputs.collect::<anyhow::Result<_>>().with_context(|| format!("`{name}`"))?;
            NewRequest { signature, inputs }
        }
    };
    Ok(vec![request])
}
