//! Writes the model.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::tensorflow::meta_graph::meta_graph_def::MetaInfoDef;
use tf_persist_proto::tensorflow::{self as pb, GraphDef, MetaGraphDef, OpDef, OpList};
use tf_persist_savedmodel::checkpoint::CheckpointWriter;
use tf_persist_savedmodel::internals::Staging;
use tf_persist_savedmodel::internals::{MAX_GRAPH_BYTES, SCHEMA_VERSION, check_model, check_target};
use tf_persist_savedmodel::saved_model::SavedModel;
use tf_persist_savedmodel::saved_model::layout::GRAPH_FILE;

use super::nodes::{FreeNames, Nodes, split};
use super::saver::Saver;
use super::signatures::INIT_OP;
use super::variables::Variable;
use super::{ModelBuilder, assets, signatures, variables};
use crate::error::{Error, ModelError, Result, TensorError};
use crate::ffi::ImportedGraph;
use crate::runtime::Runtime;

impl ModelBuilder {
    /// Writes the model atomically, and opens it.
    ///
    /// TensorFlow checks the graph; the variables are written without it.
    ///
    /// # Errors
    /// Before anything is written:
    /// - [`ModelError::Exists`] if the target exists and is not empty (unless [`ModelBuilder::overwrite`]);
    /// - [`TensorError::InvalidData`] if the graph is empty; if a variable has no value, two values, or one of another
    ///   dtype or shape; if a signature has a duplicate name, an unknown tensor, no outputs, or an output behind a
    ///   placeholder that it does not feed; if the init op would overwrite variables; if an asset has no tensor or no
    ///   name;
    /// - [`TensorError::UnsupportedDType`] if an input or output is a resource or a variant;
    /// - [`Error::TensorFlow`] if TensorFlow refuses the graph, [`Error::Runtime`] if there is no TensorFlow.
    ///
    /// Later, [`ModelError::Io`] if the disk is full.
    pub fn save(&self, target: impl AsRef<Path>) -> Result<SavedModel> {
        let target = target.as_ref();
        check_target(target, self.overwrite)?;
        let nodes = Nodes::new(&self.graph)?;
        let variables = variables::bind(&nodes, &self.variables)?;
        signatures::check(&self.signatures, &nodes)?;
        self.check_init_op(&nodes, &variables)?;
        let files = assets::check(&self.assets, &nodes)?;
        let model = self.define(&nodes, &variables)?;
        let bytes = serialize(&model)?;
        drop(model);

        let staging = Staging::begin(target, self.overwrite)?;
        if !variables.is_empty() {
            let prefix = staging.path().join("variables").join("variables");
            let mut checkpoint = CheckpointWriter::create(&prefix)?;
            variables.iter().try_for_each(|variable| checkpoint.add(variable.name, variable.value))?;
            checkpoint.finish()?;
        }
        assets::copy(&files, &staging)?;
        fs::write(staging.path().join(GRAPH_FILE), bytes).map_err(Error::io("write", staging.shown(GRAPH_FILE)))?;
        staging.publish()?;
        Ok(SavedModel::open(target)?)
    }

    /// The init op runs after the variables are restored, so it must not assign them.
    fn check_init_op(&self, nodes: &Nodes<'_>, variables: &[Variable<'_>]) -> Result<()> {
        let Some(operation) = &self.init_op else { return Ok(()) };
        let what = || format!("the init op `{}`", operation.escape_debug());
        nodes.required(operation, what)?;
        let behind = nodes.behind([operation.as_str()], &[]);
        let overwrites = |variable: &&Variable<'_>| {
            let assigned = |input: &String| split(input).0 == variable.name;
            behind.iter().any(|node| node.op == variable.kind.assign_op() && node.input.first().is_some_and(assigned))
        };
        match variables.iter().find(overwrites) {
            None => Ok(()),
            Some(variable) => Err(Error::Model(ModelError::Tensor(TensorError::InvalidData {
                source_name: what(),
                reason: format!(
                    "it assigns to the variable `{}`, whose value would be lost at every load",
                    variable.name
                ),
                hint: Some(
                    "variables are restored without it: leave it out, or name one that fills tables only".into(),
                ),
            }))),
        }
    }

    /// The serialized model. Added nodes follow those of the given graph.
    fn define(&self, nodes: &Nodes<'_>, variables: &[Variable<'_>]) -> Result<pb::SavedModel> {
        let runtime = Runtime::open()?;
        let imported = ImportedGraph::import(runtime.library(), &self.bytes)?;
        let mut names = FreeNames::new(nodes);
        let (mut meta_graph, mut added) = (MetaGraphDef::default(), Vec::new());
        for signature in &self.signatures {
            let (definition, nodes) = signatures::define(signature, &imported, &mut names)?;
            meta_graph.signature_def.insert(signature.name.clone(), definition);
            added.extend(nodes);
        }
        if let Some(operation) = &self.init_op {
            meta_graph.signature_def.insert(INIT_OP.to_owned(), signatures::init_op(operation));
        }
        for asset in &self.assets {
            meta_graph.asset_file_def.push(asset.define(&imported)?);
        }
        if !variables.is_empty() {
            let saver = Saver::new(variables, &mut names)?;
            meta_graph.collection_def.extend(saver.collections()?);
            meta_graph.saver_def = MessageField::some(saver.definition);
            added.extend(saver.nodes);
        }
        let mut graph = self.graph.clone();
        graph.node.extend(added);
        if graph.versions.producer == 0 {
            graph.versions = own_versions(&runtime)?;
        }
        meta_graph.meta_info_def = MessageField::some(MetaInfoDef {
            stripped_op_list: MessageField::some(ops(&graph, &imported)?),
            tags: self.tags.clone(),
            tensorflow_version: runtime.version().to_owned(),
            tensorflow_git_version: "unknown".into(),
            ..MetaInfoDef::default()
        });
        meta_graph.graph_def = MessageField::some(graph);
        Ok(pb::SavedModel {
            saved_model_schema_version: SCHEMA_VERSION,
            meta_graphs: vec![meta_graph],
            ..pb::SavedModel::default()
        })
    }
}

/// The versions of graphs of this TensorFlow, for a graph without versions, which would be read as one of 2015.
fn own_versions(runtime: &Runtime) -> Result<MessageField<pb::VersionDef>> {
    let empty = Bytes::from(ImportedGraph::none(runtime.library())?);
    let empty: GraphDef =
        tf_persist_proto::parse(&empty).map_err(|error| Error::data("the graph", error.to_string()))?;
    Ok(empty.versions)
}

/// The definitions of the ops in graph and functions, by which other versions of TensorFlow know the meaning of
/// attributes. Without documentation, as in Python.
fn ops(graph: &GraphDef, imported: &ImportedGraph) -> Result<OpList> {
    let functions = &graph.library.function;
    let of_functions = functions.iter().flat_map(|function| &function.node_def);
    let mut used: BTreeSet<&str> = graph.node.iter().chain(of_functions).map(|node| node.op.as_str()).collect();
    for function in functions {
        used.remove(function.signature.name.as_str());
    }
    let definition = |op: &str| {
        let bytes = Bytes::from(imported.op_def(op)?);
        let parsed = tf_persist_proto::parse::<OpDef>(&bytes);
        let mut definition = parsed.map_err(|error| Error::data(format!("op `{op}`"), error.to_string()))?;
        definition.summary.clear();
        definition.description.clear();
        definition.input_arg.iter_mut().for_each(|argument| argument.description.clear());
        definition.output_arg.iter_mut().for_each(|argument| argument.description.clear());
        definition.attr.iter_mut().for_each(|attribute| attribute.description.clear());
        Ok(definition)
    };
    let op = used.into_iter().map(definition).collect::<Result<Vec<_>>>()?;
    Ok(OpList { op, ..OpList::default() })
}

fn serialize(model: &pb::SavedModel) -> Result<Vec<u8>> {
    let bytes = model.compute_size();
    if bytes > MAX_GRAPH_BYTES {
        let reason = format!("its model would have {bytes} bytes, and protobuf's limit is {MAX_GRAPH_BYTES}");
        return Err(Error::data("the graph", reason));
    }
    let bytes = model.write_to_bytes().map_err(|error| Error::data("the graph", error.to_string()))?;
    // A graph at the limit may exceed it as a model.
    check_model(&bytes)
        .map_err(|reason| Error::data("the graph", format!("its model could not be opened: {reason}")))?;
    Ok(bytes)
}
