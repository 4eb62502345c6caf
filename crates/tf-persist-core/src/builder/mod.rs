//! Builds a model from a graph and the values of its variables.

mod assets;
mod nodes;
mod saver;
mod signature;
mod signatures;
mod variables;
mod write;

use std::fmt;
use std::path::PathBuf;

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_savedmodel::internals::decode_graph;
use tf_persist_savedmodel::saved_model::SERVE;
use tf_persist_savedmodel::tensor::Tensor;

pub use signature::GraphSignature;

use crate::error::{Error, Result};
use assets::GivenAsset;
use variables::Given;

/// Writes a SavedModel from a graph that was built in this process, with the tensorflow crate or by hand.
///
/// Like the exporter in Python, it adds the nodes that save and restore the variables, the collections by which Python
/// finds them, signatures with dtypes and shapes, and the definitions of the ops. Python's `tf.saved_model.load` and v1
/// session, TensorFlow Serving and [`LoadedModel`](crate::LoadedModel) load the result, and can train it with a
/// signature that [runs](GraphSignature::runs) a train op.
///
/// ```no_run
/// use tensorflow::{DataType, Scope, Session, SessionOptions, SessionRunArgs, Tensor, Variable, ops};
/// use tf_persist_core::runtime::Runtime;
/// use tf_persist_core::{GraphSignature, ModelBuilder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::open()?; // before the first call of the tensorflow crate, which panics otherwise
/// let mut scope = Scope::new_root_scope();
/// let x = ops::Placeholder::new().dtype(DataType::Float).shape([3]).build(&mut scope.with_op_name("x"))?;
/// let factor = Variable::builder().const_initial_value(2.0_f32).build(&mut scope.with_op_name("factor"))?;
/// ops::mul(x, factor.output().clone(), &mut scope.with_op_name("y"))?;
///
/// let session = Session::new(&SessionOptions::new(), &scope.graph())?;
/// let mut args = SessionRunArgs::new();
/// args.add_target(factor.initializer());
/// session.run(&mut args)?;
/// // … trained …
/// let mut args = SessionRunArgs::new();
/// let token = args.request_fetch(&factor.output().operation, 0);
/// session.run(&mut args)?;
/// let value: Tensor<f32> = args.fetch(token)?;
///
/// let model = ModelBuilder::new(scope.graph().graph_def()?)?
///     .variable(factor.name(), runtime.from_tensorflow_rust(&value)?)
///     .signature(GraphSignature::new("serving_default").input("x", "x").output("y", "y"))
///     .save("my_model")?;
/// println!("{}", model.signature("serving_default")?);
/// # Ok(())
/// # }
/// ```
///
/// `examples/born_in_rust.rs` is a complete program with a train op.
#[derive(Clone)]
pub struct ModelBuilder {
    /// The serialized graph, whose constants the decoded one shares.
    bytes: Bytes,
    graph: GraphDef,
    variables: Vec<Given>,
    signatures: Vec<GraphSignature>,
    assets: Vec<GivenAsset>,
    tags: Vec<String>,
    init_op: Option<String>,
    overwrite: bool,
}

impl ModelBuilder {
    /// Begins with a serialized `GraphDef`, as from `tensorflow::Graph::graph_def`.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`](crate::TensorError::InvalidData) if the bytes are not a graph, exceed the limit of
    /// protobuf (2 GiB), are nested more than 100 deep, or need far more memory than their size.
    pub fn new(graph_def: Vec<u8>) -> Result<Self> {
        let bytes = Bytes::from(graph_def);
        let graph = decode_graph(&bytes).map_err(|reason| Error::data("the graph", reason))?;
        Ok(Self {
            bytes,
            graph,
            variables: Vec::new(),
            signatures: Vec::new(),
            assets: Vec::new(),
            tags: vec![SERVE.to_owned()],
            init_op: None,
            overwrite: false,
        })
    }

    /// Sets the value of a trainable variable, by the name of its operation: a `VarHandleOp`, `VariableV2` or
    /// `Variable`.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: Tensor) -> Self {
        self.variables.push(Given { name: name.into(), value, trainable: true });
        self
    }

    /// Sets the value of a variable that is not trainable, such as a step counter or the state of an optimizer.
    #[must_use]
    pub fn state(mut self, name: impl Into<String>, value: Tensor) -> Self {
        self.variables.push(Given { name: name.into(), value, trainable: false });
        self
    }

    /// Adds a signature.
    #[must_use]
    pub fn signature(mut self, signature: GraphSignature) -> Self {
        self.signatures.push(signature);
        self
    }

    /// Adds a file that the init op reads. It is copied to the `assets` of the model, and its path is fed to the string
    /// `tensor`.
    #[must_use]
    pub fn asset(mut self, tensor: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        self.assets.push(GivenAsset { tensor: tensor.into(), file: file.into() });
        self
    }

    /// Sets the tags. Default: `serve`.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the operation that loaders run once after restoring the variables, for example to fill tables. It must not
    /// initialise the variables.
    #[must_use]
    pub fn init_op(mut self, operation: impl Into<String>) -> Self {
        self.init_op = Some(operation.into());
        self
    }

    /// Whether a model at the target is replaced, atomically. Default: false.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }
}

/// Prints names only: a graph may have millions of nodes.
impl fmt::Debug for ModelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.variables.iter().map(|given| given.name.as_str()).collect();
        let signatures: Vec<&str> = self.signatures.iter().map(|signature| signature.name.as_str()).collect();
        f.debug_struct("ModelBuilder")
            .field("nodes", &self.graph.node.len())
            .field("variables", &variables)
            .field("signatures", &signatures)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
