//! Runs a signature.

use tf_persist_core::{LoadedModel, SavedModel};

use super::args::RunArgs;
use super::timings::Timings;
use super::{batches, examples, inputs, output, requests, shard};

/// The signature of Keras files that is for inference.
const SERVING: &str = "serving_default";

pub(crate) fn run(mut args: RunArgs) -> anyhow::Result<()> {
    shard::choose(&mut args)?;
    let args = &args;
    // Building the training signatures of a compiled Keras file takes longer than a run.
    let is_inference = args.signature.as_deref().is_none_or(|name| name == SERVING) && args.requests.is_none();
    let saved_model = match is_inference {
        true => args.keras.open_for_inference(&args.path)?,
        false => args.keras.open(&args.path)?,
    };
    let tags = args.load.tag_list();
    let meta_graph = saved_model.meta_graph(tags.as_deref())?;
    if let Some(path) = &args.requests {
        if let Some(name) = &args.signature {
            meta_graph.signature(name)?;
        }
        return requests::answer(args, path, || load(args, &saved_model));
    }
    if let Some(size) = args.batch_size {
        let definition = match &args.signature {
            Some(name) => meta_graph.signature(name)?,
            None => meta_graph.default_signature()?,
        };
        return batches::run(args, size, &saved_model, meta_graph, definition);
    }
    // Errors in the inputs are found before TensorFlow is opened, which takes a third of a second.
    let given = inputs::Given::read(args)?;
    let definition = match given.signature_name() {
        Some(name) => meta_graph.signature(name)?,
        None => meta_graph.default_signature()?,
    };
    let wanted = args.outputs.as_deref();
    let target = args.output.as_deref().map(|path| output::Target::new(path, definition, wanted)).transpose()?;
    let mut inputs = given.tensors(definition)?;
    if let Some(path) = &args.examples {
        inputs.push(examples::read(path, &args.input, &saved_model, meta_graph, definition)?);
    }
    saved_model.check_inputs(meta_graph, definition, &inputs, wanted)?;

    let model = load(args, &saved_model)?;
    let signature = model.signature(&definition.name)?;
    let options = args.run_options();
    let run = || signature.run_with(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)), &options);
    let outputs = run()?;
    let timings = args.repeat.map(|times| Timings::measure(times, run)).transpose()?;
    match target {
        Some(target) => {
            target.write(&outputs)?;
            output::print_timings(timings.as_ref())
        }
        None => output::print(args.format, &outputs, timings.as_ref()),
    }
}

/// Loads the model as the arguments say.
pub(super) fn load(args: &RunArgs, saved_model: &SavedModel) -> anyhow::Result<LoadedModel> {
    args.load.load_with(saved_model, args.optimize.apply(args.load.options()?)?)
}
