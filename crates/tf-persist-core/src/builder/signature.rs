//! What a caller of the new model gives and gets.

use tf_persist_savedmodel::PartialShape;

/// The method name that TensorFlow Serving's Predict asks for (`kPredictMethodName`).
const PREDICT: &str = "tensorflow/serving/predict";

/// A signature of a model to be: which tensors of the graph a caller feeds and fetches, under which names.
///
/// A tensor is named `op:0`; without a number, the op's first output is meant. Dtypes and shapes are the graph's.
///
/// ```
/// use tf_persist_core::GraphSignature;
///
/// let train = GraphSignature::new("train")
///     .input("image", "image")
///     .input("label", "label")
///     .output("loss", "mean_loss:0")
///     .runs("train_op");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphSignature {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) inputs: Vec<Bound>,
    pub(super) outputs: Vec<Bound>,
    pub(super) runs: Vec<String>,
    /// Whether it was an output that was added last.
    last_is_output: bool,
}

/// An input or output, and the tensor behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) key: String,
    pub(super) tensor: String,
    /// The shape to declare, where it is not to be the graph's.
    pub(super) shape: Option<PartialShape>,
}

impl GraphSignature {
    /// A signature of this name, without inputs and outputs so far.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (name, method) = (name.into(), PREDICT.to_owned());
        let (inputs, outputs, runs) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, method, inputs, outputs, runs, last_is_output: false }
    }

    /// Adds an input: the value given as `key` is fed to `tensor`.
    #[must_use]
    pub fn input(mut self, key: impl Into<String>, tensor: impl Into<String>) -> Self {
        self.inputs.push(Bound { key: key.into(), tensor: tensor.into(), shape: None });
        self.last_is_output = false;
        self
    }

    /// Adds an output: the value of `tensor` comes back as `key`.
    #[must_use]
    pub fn output(mut self, key: impl Into<String>, tensor: impl Into<String>) -> Self {
        self.outputs.push(Bound { key: key.into(), tensor: tensor.into(), shape: None });
        self.last_is_output = true;
        self
    }

    /// Declares the shape of the input or output that was added last, where the graph leaves sizes open that are known to
    /// the caller. It must not contradict the graph.
    #[must_use]
    pub fn shape(mut self, shape: PartialShape) -> Self {
        let added = if self.last_is_output { &mut self.outputs } else { &mut self.inputs };
        if let Some(last) = added.last_mut() {
            last.shape = Some(shape);
        }
        self
    }

    /// Lets a run of the signature run this operation as well, for what it does: a train op. Callers fetch tensors only, so
    /// each output becomes a copy that waits for the operation.
    ///
    /// The values are those that the graph computes on the way: a loss is that from before the step if the step follows from
    /// it, as a gradient does. A variable itself is given as it is after the step.
    #[must_use]
    pub fn runs(mut self, operation: impl Into<String>) -> Self {
        self.runs.push(operation.into());
        self
    }

    /// The name of the method that servers look at; `tensorflow/serving/predict` by default. Classify and Regress have others.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }
}
