//! The parts of a report, which may fail one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tf_persist_savedmodel::checkpoint::CheckpointReader;
use tf_persist_savedmodel::saved_model::{
    Assets, Fingerprint, FoundVariable, MissingOp, OpPackage, Optimized, Training, Unrestored, Variables, is_known_op,
    last_tensorflow_with_kernel,
};
use tf_persist_savedmodel::{Error, MetaGraph, SavedModel, SavedModelError, SignatureDef};

use super::{InspectArgs, stats};

/// The selected parts: everything, unless an option names some.
pub(super) struct Selection<'a> {
    pub(super) args: &'a InspectArgs,
}

impl Selection<'_> {
    pub(super) fn everything(&self) -> bool {
        !(self.args.signature.is_some() || self.each_variable() || self.args.ops)
    }

    pub(super) fn signatures(&self) -> bool {
        self.everything() || self.args.signature.is_some()
    }

    pub(super) fn variables(&self) -> bool {
        self.everything() || self.each_variable()
    }

    /// Whether every variable is shown.
    pub(super) fn each_variable(&self) -> bool {
        self.args.variables || self.args.stats
    }

    pub(super) fn ops(&self) -> bool {
        self.everything() || self.args.ops
    }
}

/// What is known of a model. A part that cannot be read is an error, and the others are still shown.
pub(super) struct Report<'a> {
    pub(super) model: &'a SavedModel,
    pub(super) meta_graphs: Vec<MetaGraphReport<'a>>,
    pub(super) variables: Result<&'a Variables, Error>,
    pub(super) fingerprint: Result<Option<Fingerprint>, Error>,
    pub(super) optimized: Result<Option<Optimized>, Error>,
    /// The statistics of each variable, with `--stats`.
    pub(super) stats: Option<Vec<stats::Read>>,
    /// The statistics of each table, with `--stats`.
    pub(super) table_stats: Option<Vec<stats::TableRead>>,
    /// The number of entries of each table; `None` if unknown.
    pub(super) entries: Vec<Option<usize>>,
}

pub(super) struct MetaGraphReport<'a> {
    pub(super) meta_graph: &'a MetaGraph,
    pub(super) signatures: Vec<&'a SignatureDef>,
    pub(super) training: Training,
    pub(super) assets: Result<Assets, Error>,
    /// The ops that TensorFlow does not have.
    pub(super) missing_ops: Vec<MissingOp>,
    /// What prevents it from running, in sentences.
    pub(super) missing: Vec<String>,
    /// The variables that loading restores without the graph's saver.
    pub(super) restored: Vec<FoundVariable>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        model: &'a SavedModel,
        meta_graphs: &[&'a MetaGraph],
        signature: Option<&str>,
    ) -> Result<Self, Error> {
        let chosen = |meta_graph: &'a MetaGraph| match signature {
            None => meta_graph.signatures().iter().collect(),
            Some(name) => meta_graph.signature(name).into_iter().collect::<Vec<_>>(),
        };
        let reports = meta_graphs.iter().map(|meta_graph| {
            let assets = model.assets(meta_graph);
            let missing_ops = model.missing_ops(meta_graph);
            let unrestored = model.unrestored_variables(meta_graph);
            MetaGraphReport {
                meta_graph,
                signatures: chosen(meta_graph),
                training: model.training(meta_graph),
                missing: missing(model, meta_graph, &assets, &missing_ops, &unrestored),
                missing_ops,
                restored: unrestored.map_or_else(|_| Vec::new(), |unrestored| unrestored.found),
                assets,
            }
        });
        let reports: Vec<_> = reports.collect();
        if let (Some(name), true) = (signature, reports.iter().all(|report| report.signatures.is_empty())) {
            let all = meta_graphs.iter().flat_map(|meta_graph| meta_graph.signatures());
            let available: BTreeSet<String> = all.map(|signature| signature.name.clone()).collect();
            let available = available.into_iter().collect();
            let (path, name) = (model.path().to_path_buf(), name.to_owned());
            return Err(SavedModelError::UnknownSignature { path, name, available }.into());
        }
        let (variables, fingerprint) = (model.variables(), model.fingerprint());
        let entries = variables.as_ref().map_or_else(|_| Vec::new(), |variables| entries(variables));
        let optimized = model.optimized();
        Ok(Self {
            model,
            meta_graphs: reports,
            variables,
            fingerprint,
            optimized,
            stats: None,
            table_stats: None,
            entries,
        })
    }
}

/// The number of entries of each table.
fn entries(variables: &Variables) -> Vec<Option<usize>> {
    let Some(index) = variables.index.as_ref().filter(|_| !variables.tables.is_empty()) else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    variables.tables.iter().map(|table| table.entries(&reader)).collect()
}

/// What prevents a meta graph from running: variables, assets, ops.
fn missing(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    assets: &Result<Assets, Error>,
    ops: &[MissingOp],
    unrestored: &Result<Unrestored, Error>,
) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = model.check(meta_graph) {
        missing.push(error.to_string());
    }
    match assets {
        Ok(assets) => {
            missing.extend(assets.missing.iter().map(|name| format!("the asset `assets/{name}`")));
            missing.extend(
                assets
                    .not_fetched
                    .iter()
                    .map(|name| format!("the asset `assets/{name}`, which is a pointer of Git LFS or a web page")),
            );
        }
        Err(error) => missing.push(error.to_string()),
    }
    for path in model.files_read_at_load(meta_graph) {
        let there = if Path::new(&path).exists() { "which is not part of the model" } else { "which does not exist" };
        missing.push(format!("the file `{path}`, {there}: an initialiser reads it when the model is loaded"));
    }
    if let Ok(Some(fingerprint)) = model.fingerprint()
        && fingerprint.checkpoint_hash != 0
        && model.variables().is_ok_and(|variables| variables.index.is_none())
        && model.check(meta_graph).is_ok()
    {
        missing.push(
            "the folder `variables`, which existed when the fingerprint was made: a session does not need it, but Python's \
             `tf.saved_model.load` does not load the model without it"
                .into(),
        );
    }
    let python = model.python_ops(meta_graph);
    if !python.is_empty() {
        let ops: Vec<String> = python.iter().map(ToString::to_string).collect();
        missing.push(format!(
            "Python and the program that made the model: {} call functions of that program (`tf.py_function`), which no \
             SavedModel contains",
            ops.join(", ")
        ));
    }
    // Ops in functions that nothing calls are not needed.
    let needed: Vec<&MissingOp> = ops.iter().filter(|op| op.used.reached).collect();
    missing.extend(packages_to_load(&needed));
    missing.extend(removed_kernels(meta_graph));
    let variables = unrestored.iter().flat_map(|unrestored| &unrestored.missing);
    missing.extend(variables.map(|variable| format!("a value of the variable {variable}: {}", variable.reason())));
    missing
}

/// A sentence for each TensorFlow release that was the last one to run some of the ops.
fn removed_kernels(meta_graph: &MetaGraph) -> Vec<String> {
    let mut by_release: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for op in meta_graph.ops().keys().filter(|op| is_known_op(op)) {
        if let Some(release) = last_tensorflow_with_kernel(op) {
            by_release.entry(release).or_default().push(format!("`{op}`"));
        }
    }
    let sentence = |(release, ops): (&str, Vec<String>)| {
        format!("TensorFlow {release} or older, the last one that can run {}", ops.join(", "))
    };
    by_release.into_iter().map(sentence).collect()
}

/// Further ops in a sentence are only counted.
const SHOWN: usize = 10;

/// A sentence for each package that has missing ops, and one for the ops of unknown packages.
fn packages_to_load(ops: &[&MissingOp]) -> Vec<String> {
    let packages: BTreeSet<Option<OpPackage>> = ops.iter().map(|op| op.package).collect();
    let sentence = |package: &Option<OpPackage>| {
        let of: Vec<&MissingOp> = ops.iter().copied().filter(|op| op.package == *package).collect();
        let shown: Vec<String> = of.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = of.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let whose = match package {
            None => "a library".to_owned(),
            Some(package) => {
                let note = package.note.map(|note| format!(" ({note})")).unwrap_or_default();
                let library = if package.is_tensorflow() { "" } else { "the op library of " };
                format!("{library}`{}`{note}", package.name)
            }
        };
        format!("{whose} with the op{} {}{more}", if of.len() == 1 { "" } else { "s" }, shown.join(", "))
    };
    packages.iter().map(sentence).collect()
}
