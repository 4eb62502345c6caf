//! Writes a program and its signatures as a SavedModel, without TensorFlow.
//!
//! The result is the smallest model that Python's `tf.saved_model.load`, v1 sessions and TensorFlow Serving load: a
//! graph with variables, tables and a call for each signature; a library of functions; the nodes that save and restore
//! the variables; the object graph; the checkpoint. Equal models make equal files.

mod attributes;
mod encoded;
mod endpoint;
mod function;
mod meta_graph;
mod names;
mod objects;
mod tables;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Component, Path};
use std::rc::Rc;

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_savedmodel::checkpoint::{CheckpointWriter, OBJECT_GRAPH_KEY};
use tf_persist_savedmodel::internals::{MAX_GRAPH_BYTES, SCHEMA_VERSION, Staging, check_model, check_target};
use tf_persist_savedmodel::saved_model::layout::{GRAPH_FILE, VARIABLES_PREFIX};
use tf_persist_savedmodel::{Error, Result, Tensor};

use crate::archive::hdf5::PlainDataset;
use crate::graph::{Program, Signature};
use crate::reason::Reason;
use encoded::Encoded;
pub(crate) use endpoint::{Endpoint, Structure};
use meta_graph::{DefinedMetaGraph, define_meta_graph};

/// The number of `SavedModel.meta_graphs`.
const META_GRAPH: u32 = 2;

/// A function that gives files for `assets.extra`.
pub(crate) type ExtraFiles<'a> = dyn Fn(&[String]) -> Result<Vec<(String, Vec<u8>)>> + 'a;

/// The value of a variable.
pub(crate) enum Value {
    Tensor(Tensor),
    /// The elements of a dataset, which are copied piece by piece.
    Dataset(Box<PlainDataset>),
}

/// A model that can be written.
pub(crate) struct ModelParts<'a> {
    pub(crate) program: &'a Rc<Program>,
    pub(crate) signatures: &'a [Signature],
    /// The value of the variable with this index in the program. It is called for one variable after the other, so that
    /// not all values need to be in memory.
    pub(crate) value: &'a dyn Fn(usize) -> Result<Value>,
    /// How the method `serve` of the loaded model takes and returns the tensors of the signature `serving_default`.
    pub(crate) serve: Option<Endpoint>,
    /// The contents of the files that tables name as their assets.
    pub(crate) assets: Vec<(String, Vec<u8>)>,
    /// Gives files for `assets.extra`, by their paths in it, with `/`. It is called with the keys of the variables in
    /// the checkpoint, in the order of the program.
    pub(crate) extra_files: &'a ExtraFiles<'a>,
}

impl ModelParts<'_> {
    /// Writes the model. The folder or pack appears whole or not at all.
    ///
    /// # Errors
    /// - [`Error::Exists`] if the target exists and is not empty, unless it is a model and `overwrite` is set;
    /// - [`Error::Tensor`] if the model is not valid, such as a variable without a value of its dtype and shape;
    /// - [`Error::Io`] if it cannot be written.
    pub(crate) fn write(&self, target: &Path, overwrite: bool) -> Result<()> {
        check_target(target, overwrite)?;
        let invalid = |reason: Reason| Error::data("the model", reason.to_string());
        let defined = define_meta_graph(self.program, self.signatures, self.serve, &self.assets).map_err(invalid)?;
        let DefinedMetaGraph { definition, tracked, keys, assets } = defined;
        let bytes = saved_model(definition)?;

        let staging = Staging::begin(target, overwrite)?;
        self.write_variables(&staging.path().join(VARIABLES_PREFIX), &keys, &tracked)?;
        for (name, contents) in self.assets.iter().filter(|(name, _)| assets.contains(name)) {
            write_file(&staging, &format!("assets/{name}"), contents)?;
        }
        for (name, contents) in (self.extra_files)(&keys)? {
            write_file(&staging, &format!("assets.extra/{name}"), &contents)?;
        }
        write_file(&staging, GRAPH_FILE, &bytes)?;
        staging.publish()
    }

    /// Writes the checkpoint: the variables in the order of the program, and the object graph.
    fn write_variables(&self, prefix: &Path, keys: &[String], tracked: &pb::TrackableObjectGraph) -> Result<()> {
        let mut checkpoint = CheckpointWriter::create(prefix)?;
        let variables = self.program.variables.borrow();
        for (index, (variable, key)) in variables.iter().zip(keys).enumerate() {
            let value = (self.value)(index)?;
            let (dtype, shape) = match &value {
                Value::Tensor(tensor) => (tensor.dtype(), tensor.shape()),
                Value::Dataset(dataset) => (dataset.dtype(), dataset.shape()),
            };
            if dtype != variable.dtype || shape != variable.shape {
                let reason = format!(
                    "it is {}{:?} in the graph, and its value {dtype}{shape:?}",
                    variable.dtype, variable.shape
                );
                return Err(Error::data(format!("variable `{}`", variable.name), reason));
            }
            match &value {
                Value::Tensor(tensor) => checkpoint.add(key, tensor)?,
                Value::Dataset(dataset) => {
                    checkpoint.add_pieces(key, dtype, shape, |use_piece| dataset.for_each_piece(use_piece))?;
                }
            }
        }
        let tracked = tracked.write_to_bytes().map_err(|error| Error::data("the object graph", error.to_string()))?;
        checkpoint.add(OBJECT_GRAPH_KEY, &Tensor::from_strings(&[], [tracked])?)?;
        checkpoint.finish()?;
        Ok(())
    }
}

/// The file `saved_model.pb` with one meta graph.
fn saved_model(definition: Encoded) -> Result<Vec<u8>> {
    let invalid = |reason: Reason| Error::data("the model", reason.to_string());
    let version = pb::SavedModel { saved_model_schema_version: SCHEMA_VERSION, ..pb::SavedModel::default() };
    let mut model = Encoded::new(&version).map_err(invalid)?;
    model.append(definition.into_field(META_GRAPH).map_err(invalid)?);
    let bytes = model.len();
    if bytes > MAX_GRAPH_BYTES {
        let reason = format!("its graph would have {bytes} bytes, and protobuf's limit is {MAX_GRAPH_BYTES}");
        return Err(Error::data("the model", reason));
    }
    let bytes = model.into_bytes();
    check_model(&bytes).map_err(|reason| Error::data("the model", format!("it could not be opened: {reason}")))?;
    Ok(bytes)
}

/// Writes a file in the model by its path in it, which must not lead out of the model.
fn write_file(staging: &Staging, name: &str, contents: &[u8]) -> Result<()> {
    let path = Path::new(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::data(format!("file `{}`", name.escape_debug()), "its path leads out of the model"));
    }
    let full = staging.path().join(path);
    if let Some(folder) = full.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", staging.shown(path)))?;
    }
    fs::write(&full, contents).map_err(Error::io("write", staging.shown(path)))
}
