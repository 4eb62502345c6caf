//! A small model for tests of batching. Its signature `held` waits in TensorFlow until `open` is run, so that a test
//! decides how long a worker of the server is busy.

use std::path::Path;
use std::sync::OnceLock;

use tf_persist_core::{
    GraphSignature, LoadSavedModel, LoadedModel, ModelBuilder, PartialShape, RunOptions, SavedModel, Tensor,
};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_proto::text_format;
use tf_persist_serve::internals::{Gauges, InferenceRequest, InferenceResponse, Metrics, Servable, ServedSignature};
use tf_persist_serve::{RunSettings, Status};
use tokio::task::JoinHandle;

use super::models::load_options;
use super::server::eventually;

/// The model as a pack; each test loads a session of its own, since sessions have state.
static PACK: OnceLock<Vec<u8>> = OnceLock::new();

pub(crate) type Outcome = Result<InferenceResponse, Status>;

/// Adds a node: its name, op, inputs and attributes.
type AddNode<'n> = dyn FnMut(&str, &str, &[&str], &str) + 'n;

/// The graph: `x` [-1, 2], and what the signatures need.
fn graph() -> Vec<u8> {
    let mut text = String::new();
    let mut node = |name: &str, op: &str, inputs: &[&str], attributes: &str| {
        let inputs: String = inputs.iter().map(|input| format!(" input: '{input}'")).collect();
        text.push_str(&format!("node {{ name: '{name}' op: '{op}'{inputs} {attributes} }}\n"));
    };
    let kind = |key: &str, dtype: &str| format!("attr {{ key: '{key}' value {{ type: {dtype} }} }} ");
    let t = kind("T", "DT_FLOAT");
    let constant = |name: &str, dtype: &str, tensor: &str, node: &mut AddNode<'_>| {
        let value = format!("attr {{ key: 'value' value {{ tensor {{ dtype: {dtype} {tensor} }} }} }}");
        node(name, "Const", &[], &(kind("dtype", dtype) + &value));
    };
    let placeholder = |dtype: &str, sizes: &[i64]| {
        let sizes: String = sizes.iter().map(|size| format!("dim {{ size: {size} }} ")).collect();
        kind("dtype", dtype) + &format!("attr {{ key: 'shape' value {{ shape {{ {sizes} }} }} }}")
    };
    node("x", "Placeholder", &[], &placeholder("DT_FLOAT", &[-1, 2]));
    node("s", "Placeholder", &[], &placeholder("DT_STRING", &[-1]));
    node("i", "Placeholder", &[], &placeholder("DT_INT32", &[-1]));
    node("v", "Placeholder", &[], &placeholder("DT_FLOAT", &[-1, -1]));
    constant("two", "DT_FLOAT", "tensor_shape {} float_val: 2", &mut node);
    constant("zero", "DT_FLOAT", "tensor_shape {} float_val: 0", &mut node);
    constant("axes", "DT_INT32", "tensor_shape { dim { size: 2 } } int_val: [0, 1]", &mut node);
    constant("first", "DT_INT32", "tensor_shape {} int_val: 0", &mut node);
    constant("one", "DT_INT32", "tensor_shape { dim { size: 1 } } int_val: 1", &mut node);
    constant("side", "DT_INT32", "tensor_shape { dim { size: 2 } } int_val: [200, 200]", &mut node);
    constant("table", "DT_FLOAT", "tensor_shape { dim { size: 3 } } float_val: [10, 20, 30]", &mut node);
    node("y", "Mul", &["x", "two"], &t);
    node("z", "Sub", &["x", "two"], &t);
    node("lower", "StringLower", &["s"], "");
    let reduce = t.clone() + &kind("Tidx", "DT_INT32");
    node("sum", "Sum", &["x", "axes"], &reduce);
    node("share", "RealDiv", &["x", "sum"], &t);
    node("total", "Reshape", &["sum", "one"], &(t.clone() + &kind("Tshape", "DT_INT32")));
    let gather = kind("Tparams", "DT_FLOAT") + &kind("Tindices", "DT_INT32") + &kind("Taxis", "DT_INT32");
    node("lookup", "GatherV2", &["table", "i", "first"], &gather);
    node("vsum", "Sum", &["v", "one"], &reduce);
    // Matrix products whose result does not matter: a run that takes longer than those that the server runs inline.
    node("square", "Fill", &["side", "sum"], &(t.clone() + &kind("index_type", "DT_INT32")));
    node("p0", "MatMul", &["square", "square"], &t);
    for step in 1..6 {
        node(&format!("p{step}"), "MatMul", &[&format!("p{}", step - 1), "square"], &t);
    }
    node("psum", "Sum", &["p5", "axes"], &reduce);
    node("nothing", "Mul", &["psum", "zero"], &t);
    // A run that waits at the gate until another run opens it.
    let gate = "attr { key: 'component_types' value { list { type: DT_FLOAT } } } attr { key: 'shared_name' value { s: 'gate' } }";
    node("gate", "FIFOQueueV2", &[], gate);
    node("arrived", "AssignAddVariableOp", &["arrivals", "step"], &kind("dtype", "DT_FLOAT"));
    let component = "attr { key: 'component_types' value { list { type: DT_FLOAT } } }";
    node("pass", "QueueDequeueV2", &["gate", "^arrived", "^nothing"], component);
    node("held", "AddV2", &["y", "pass"], &t);
    node("open", "QueueEnqueueV2", &["gate", "zero"], "attr { key: 'Tcomponents' value { list { type: DT_FLOAT } } }");
    node("opened", "Identity", &["x", "^open"], &t);
    // A count of the runs.
    let float = kind("dtype", "DT_FLOAT");
    for name in ["n", "arrivals"] {
        let shared_name = format!("attr {{ key: 'shared_name' value {{ s: '{name}' }} }}");
        node(name, "VarHandleOp", &[], &(float.clone() + "attr { key: 'shape' value { shape {} } }" + &shared_name));
    }
    constant("step", "DT_FLOAT", "tensor_shape {} float_val: 1", &mut node);
    node("more", "AssignAddVariableOp", &["n", "step"], &float);
    node("count", "ReadVariableOp", &["n", "^more"], &float);
    node("counted", "AddV2", &["z", "count"], &t);
    text_format::parse::<GraphDef>(text).unwrap().write_to_bytes().unwrap()
}

fn build(folder: &Path) -> Vec<u8> {
    let any_rows = |size: u64| PartialShape::new(vec![None, Some(size)]);
    let on_x = |name: &str| GraphSignature::new(name).input("x", "x");
    let builder = ModelBuilder::new(graph()).unwrap();
    let zero = || Tensor::scalar(0.0_f32).unwrap();
    builder
        .state("n", zero())
        .state("arrivals", zero())
        .signature(on_x("both").output("y", "y").output("z", "z"))
        .signature(
            GraphSignature::new("mixed").input("x", "x").input("s", "s").output("lower", "lower").output("y", "y"),
        )
        .signature(on_x("share").output("share", "share"))
        .signature(on_x("total").output("total", "total").shape(PartialShape::new(vec![Some(1)])))
        .signature(GraphSignature::new("lookup").input("i", "i").output("lookup", "lookup"))
        .signature(GraphSignature::new("vsum").input("v", "v").output("vsum", "vsum"))
        .signature(on_x("held").output("held", "held").shape(any_rows(2)))
        .signature(on_x("open").output("opened", "opened").shape(any_rows(2)))
        .signature(on_x("count").output("count", "counted").shape(any_rows(2)))
        .save(folder.join("model"))
        .unwrap();
    SavedModel::open(folder.join("model")).unwrap().to_bytes().unwrap()
}

/// The model in a session of its own.
pub(crate) fn load() -> LoadedModel {
    let pack = PACK.get_or_init(|| build(tempfile::tempdir().unwrap().path()));
    SavedModel::from_bytes(pack.clone()).unwrap().load(load_options().intra_op_threads(1)).unwrap()
}

/// The model, served.
pub(crate) struct TestModel {
    pub(crate) servable: Servable,
    pub(crate) metrics: Metrics,
    model: LoadedModel,
}

impl TestModel {
    pub(crate) fn new(settings: &RunSettings) -> Self {
        Self::from_model(&load(), settings)
    }

    pub(crate) fn from_model(model: &LoadedModel, settings: &RunSettings) -> Self {
        let metrics = Metrics::new();
        let servable = Servable::new("m", 1, model.clone(), settings, &metrics).unwrap();
        Self { servable, metrics, model: model.clone() }
    }

    pub(crate) fn signature(&self, name: &str) -> &std::sync::Arc<ServedSignature> {
        self.servable.signature(name, || Status::not_found("no such signature")).unwrap()
    }

    pub(crate) async fn run(&self, signature: &str, request: InferenceRequest) -> Outcome {
        let served = self.signature(signature);
        served.queue.run(&served.signature, request).await
    }

    /// Runs a request in a task of its own.
    pub(crate) fn spawn(&self, signature: &str, request: InferenceRequest) -> JoinHandle<Outcome> {
        let served = self.signature(signature).clone();
        tokio::spawn(async move { served.queue.run(&served.signature, request).await })
    }

    /// Makes a worker busy until [`Self::release`]; returns once it is.
    pub(crate) async fn hold(&self) -> JoinHandle<Outcome> {
        let started = self.started_runs();
        let held = self.spawn("held", x(1, 0.5));
        eventually("a worker is held", async || self.started_runs() > started).await;
        held
    }

    /// Lets one held run go on.
    pub(crate) fn release(&self) {
        alone(&self.model, "open", &x(1, 0.0)).unwrap();
    }

    /// How many runs workers or connections have begun.
    pub(crate) fn started_runs(&self) -> u64 {
        let page = self.metrics.page(&Gauges::default());
        let name = "tf_persist_request_phase_seconds_count{model=\"m\",phase=\"queue\"} ";
        page.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
    }

    /// Runs requests together: they are sent while the only worker is held.
    pub(crate) async fn run_together(&self, signature: &str, requests: Vec<InferenceRequest>) -> Vec<Outcome> {
        let held = self.hold().await;
        let waiting: Vec<_> = requests.into_iter().map(|request| self.spawn(signature, request)).collect();
        // The tasks run in the order in which they were made, so all of them wait once this one has had its turn.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        self.release();
        let mut outcomes = Vec::new();
        for task in waiting {
            outcomes.push(task.await.unwrap());
        }
        held.await.unwrap().unwrap();
        outcomes
    }

    /// The response to a request that is run by itself, outside of the server.
    pub(crate) fn alone(&self, signature: &str, request: &InferenceRequest) -> InferenceResponse {
        alone(&self.model, signature, request).unwrap()
    }
}

fn alone(
    model: &LoadedModel,
    signature: &str,
    request: &InferenceRequest,
) -> tf_persist_core::Result<InferenceResponse> {
    let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let options = RunOptions::default();
    let options = if request.outputs.is_empty() { options } else { options.outputs(&request.outputs) };
    Ok(model.signature(signature)?.run_with(inputs, &options)?.into_vec())
}

pub(crate) fn request(inputs: Vec<(&str, Tensor)>) -> InferenceRequest {
    let inputs = inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    InferenceRequest { inputs, outputs: Vec::new(), deadline: None }
}

/// A request with `x` of shape `[rows, 2]`, whose numbers are `first` and those that follow.
pub(crate) fn x(rows: usize, first: f32) -> InferenceRequest {
    let values: Vec<f32> = (0..rows * 2).map(|index| first + index as f32).collect();
    request(vec![("x", Tensor::from_slice(&[rows, 2], &values).unwrap())])
}

/// The numbers of the only output.
pub(crate) fn floats(outcome: &Outcome) -> &[f32] {
    outcome.as_ref().unwrap()[0].1.view().unwrap()
}

/// Settings with one worker.
pub(crate) fn one_worker() -> RunSettings {
    RunSettings::default().runs_at_once(1)
}
