//! Signatures of a new model.

use tf_persist_savedmodel::PartialShape;

/// The method name of TensorFlow Serving's Predict (`kPredictMethodName`).
const PREDICT: &str = "tensorflow/serving/predict";

/// A signature of a new model: the tensors that callers feed and fetch, and their names.
///
/// A tensor is named `op:0`; `op` is its first output. Dtypes and shapes come from the graph.
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
    /// Whether the last addition was an output.
    last_is_output: bool,
}

/// An input or output, and its tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) key: String,
    pub(super) tensor: String,
    /// The shape to declare, if not that of the graph.
    pub(super) shape: Option<PartialShape>,
}

impl GraphSignature {
    /// Creates a signature without inputs and outputs.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (name, method) = (name.into(), PREDICT.to_owned());
        let (inputs, outputs, runs) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, method, inputs, outputs, runs, last_is_output: false }
    }

    /// Adds an input: the value of `key` is fed to `tensor`.
    #[must_use]
    pub fn input(mut self, key: impl Into<String>, tensor: impl Into<String>) -> Self {
        self.inputs.push(Bound { key: key.into(), tensor: tensor.into(), shape: None });
        self.last_is_output = false;
        self
    }

    /// Adds an output: the value of `tensor` is returned as `key`.
    #[must_use]
    pub fn output(mut self, key: impl Into<String>, tensor: impl Into<String>) -> Self {
        self.outputs.push(Bound { key: key.into(), tensor: tensor.into(), shape: None });
        self.last_is_output = true;
        self
    }

    /// Declares the shape of the last input or output, if the graph leaves known sizes open. It must not contradict the
    /// graph.
    #[must_use]
    pub fn shape(mut self, shape: PartialShape) -> Self {
        let added = if self.last_is_output { &mut self.outputs } else { &mut self.inputs };
        if let Some(last) = added.last_mut() {
            last.shape = Some(shape);
        }
        self
    }

    /// Makes every run of the signature also run this operation, such as a train op. Callers only fetch tensors, so
    /// each output becomes a copy with a control input.
    ///
    /// The values are those that the graph computes: a loss is that before the step, if the step depends on it. A
    /// variable is returned as it is after the step.
    #[must_use]
    pub fn runs(mut self, operation: impl Into<String>) -> Self {
        self.runs.push(operation.into());
        self
    }

    /// Sets the method name for servers. Default: `tensorflow/serving/predict`; Classify and Regress have others.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }
}
