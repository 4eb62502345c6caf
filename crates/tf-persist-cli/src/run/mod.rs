//! `tf-persist run`.

mod examples;
pub(crate) mod inputs;
mod output;
mod requests;
mod view;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tf_persist_core::scan::Trust;
use tf_persist_core::{LoadOptions, LoadSavedModel, LoadedModel, Outputs, RunOptions, SavedModel};

use crate::args::{LoadArgs, MAX_THREADS, RunArgs, env_var, tags};
use crate::error::{self, UsageError};

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let artefact = SavedModel::open(&args.path)?;
    let tags = args.load.tag_list();
    let meta_graph = artefact.meta_graph(tags.as_deref())?;
    if let Some(path) = &args.requests {
        if let Some(name) = &args.signature {
            meta_graph.signature(name)?;
        }
        return requests::answer(args, path, || args.load.load(&artefact));
    }
    // What is wrong with the inputs is said before TensorFlow is opened, which takes a third of a second.
    let given = inputs::Given::read(args)?;
    let definition = match given.signature_name() {
        Some(name) => meta_graph.signature(name)?,
        None => meta_graph.default_signature()?,
    };
    let wanted = args.outputs.as_deref();
    let target = args.output.as_deref().map(|path| output::Target::of(path, definition, wanted)).transpose()?;
    let mut inputs = given.tensors(definition)?;
    if let Some(path) = &args.examples {
        inputs.push(examples::read(path, &args.input, &artefact, meta_graph, definition)?);
    }
    artefact.check_inputs(meta_graph, definition, &inputs, wanted)?;

    let model = args.load.load(&artefact)?;
    let signature = model.signature(&definition.name)?;
    let options = args.run_options();
    let run = || signature.run_with(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)), &options);
    let outputs = run()?;
    let timings = args.repeat.map(|times| Timings::of(times, run)).transpose()?;
    match target {
        Some(target) => {
            target.write(&outputs)?;
            output::print_timings(timings.as_ref())
        }
        None => output::print(args.format, &outputs, timings.as_ref()),
    }
}

impl RunArgs {
    fn run_options(&self) -> RunOptions<'_> {
        self.outputs.as_deref().map_or_else(RunOptions::default, |names| RunOptions::default().outputs(names))
    }
}

impl LoadArgs {
    /// The tag set asked for.
    pub(crate) fn tag_list(&self) -> Option<Vec<String>> {
        self.tags.as_deref().map(tags)
    }

    /// What the model may do: of `--trust` alone everything, of `--trust=A,B` what these ops do.
    fn trust(&self) -> Trust {
        match self.trust.as_deref() {
            None => Trust::Nothing,
            Some("") => Trust::Everything,
            Some(ops) => Trust::ops(ops.split(',').map(str::trim)),
        }
    }

    /// Loads a model. What can be told without TensorFlow is told before it is opened.
    pub(crate) fn load(&self, artefact: &SavedModel) -> anyhow::Result<LoadedModel> {
        if self.op_libraries().is_empty() {
            artefact.check_ops(artefact.meta_graph(self.tag_list().as_deref())?)?;
        }
        let model = artefact.load(self.options()?)?;
        if let [first, rest @ ..] = model.ignored_attributes() {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            error::warn(&format!(
                "TensorFlow {} does not know {first}{more}, and runs `{}` without",
                model.runtime().version(),
                artefact.path().display()
            ));
        }
        Ok(model)
    }

    /// The op libraries asked for: files and packages.
    fn op_libraries(&self) -> Vec<PathBuf> {
        if !self.op_library.is_empty() {
            return self.op_library.clone();
        }
        let listed = env_var("TF_PERSIST_OP_LIBRARIES");
        let listed = listed.iter().flat_map(std::env::split_paths);
        listed.filter(|path| !path.as_os_str().is_empty()).collect()
    }

    pub(crate) fn options(&self) -> anyhow::Result<LoadOptions> {
        self.options_or(0, 0)
    }

    /// The options, with these numbers of threads where neither an option nor the environment says how many.
    pub(crate) fn options_or(&self, intra: i32, inter: i32) -> anyhow::Result<LoadOptions> {
        let intra = self.intra_op_threads.map_or_else(|| threads("TF_PERSIST_INTRA_OP_THREADS", intra), Ok)?;
        let inter = self.inter_op_threads.map_or_else(|| threads("TF_PERSIST_INTER_OP_THREADS", inter), Ok)?;
        let mut options = LoadOptions::default().intra_op_threads(intra).inter_op_threads(inter).trust(self.trust());
        options = options.search(self.library.search());
        if let Some(tags) = self.tag_list() {
            options = options.tags(tags);
        }
        for library in self.op_libraries() {
            options = options.op_library(library);
        }
        Ok(options)
    }
}

/// A number of threads from the environment; the default where there is none.
fn threads(name: &str, default: i32) -> anyhow::Result<i32> {
    let Some(value) = env_var(name) else { return Ok(default) };
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (-1..=MAX_THREADS).contains(number));
    number.ok_or_else(|| UsageError(format!("{name} is `{}`, which is no number of threads", value.display())).into())
}

/// How long runs took, the first one left out: it warms up.
pub(crate) struct Timings {
    sorted: Vec<Duration>,
}

impl Timings {
    fn of(times: u32, mut run: impl FnMut() -> tf_persist_core::Result<Outputs>) -> anyhow::Result<Self> {
        let mut sorted = Vec::new();
        for _ in 0..times {
            let started = Instant::now();
            let outputs = run()?;
            sorted.push(started.elapsed());
            drop(outputs);
        }
        sorted.sort_unstable();
        Ok(Self { sorted })
    }

    fn runs(&self) -> usize {
        self.sorted.len()
    }

    fn min(&self) -> Duration {
        self.sorted.first().copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or_default()
    }

    fn max(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }
}
