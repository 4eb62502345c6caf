//! Requests run together get the answers they get alone. One test, because it opens TensorFlow.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tf_persist_core::{
    Code, GraphSignature, LoadOptions, LoadSavedModel, LoadedModel, ModelBuilder, PartialShape, RunOptions, SavedModel,
    Tensor,
};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_proto::text_format;
use tf_persist_serve::internals::{Gauges, InferenceRequest, InferenceResponse, Metrics, Servable, ServedSignature};
use tf_persist_serve::{RunSettings, Status};

/// Adds a node: its name, op, inputs and attributes.
type AddNode<'n> = dyn FnMut(&str, &str, &[&str], &str) + 'n;

fn absent() -> Status {
    Status::not_found("no such signature")
}

/// A graph in text: `x` [-1, 2], `row` (2 numbers), `all` (an axis), and what the signatures below need.
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
    constant("side", "DT_INT32", "tensor_shape { dim { size: 2 } } int_val: [900, 900]", &mut node);
    constant("table", "DT_FLOAT", "tensor_shape { dim { size: 3 } } float_val: [10, 20, 30]", &mut node);
    node("y", "Mul", &["x", "two"], &t);
    node("z", "Sub", &["x", "two"], &t);
    node("lower", "StringLower", &["s"], "");
    let reduce = t.clone() + &kind("Tidx", "DT_INT32");
    node("sum", "Sum", &["x", "axes"], &reduce);
    node("share", "RealDiv", &["x", "sum"], &t);
    node("total", "Reshape", &["sum", "one"], &(t.clone() + &kind("Tshape", "DT_INT32")));
    let gather = kind("Tparams", "DT_FLOAT") + &kind("Tindices", "DT_INT32") + &kind("Taxis", "DT_INT32");
    node("look", "GatherV2", &["table", "i", "first"], &gather);
    node("vsum", "Sum", &["v", "one"], &reduce);
    // Some matrix products whose result is thrown away.
    node("square", "Fill", &["side", "sum"], &(t.clone() + &kind("index_type", "DT_INT32")));
    node("p0", "MatMul", &["square", "square"], &t);
    for step in 1..6 {
        node(&format!("p{step}"), "MatMul", &[&format!("p{}", step - 1), "square"], &t);
    }
    node("psum", "Sum", &["p5", "axes"], &reduce);
    node("nothing", "Mul", &["psum", "zero"], &t);
    node("slow", "AddV2", &["y", "nothing"], &t);
    // A count of the runs.
    let of = kind("dtype", "DT_FLOAT");
    node(
        "n",
        "VarHandleOp",
        &[],
        &(of.clone() + "attr { key: 'shape' value { shape {} } } attr { key: 'shared_name' value { s: 'n' } }"),
    );
    constant("step", "DT_FLOAT", "tensor_shape {} float_val: 1", &mut node);
    node("more", "AssignAddVariableOp", &["n", "step"], &of);
    node("count", "ReadVariableOp", &["n", "^more"], &of);
    node("counted", "AddV2", &["z", "count"], &t);
    text_format::parse::<GraphDef>(text).unwrap().write_to_bytes().unwrap()
}

fn model(folder: &Path) -> LoadedModel {
    let open = |size: u64| PartialShape::new(vec![None, Some(size)]);
    let on_x = |name: &str| GraphSignature::new(name).input("x", "x");
    let model = ModelBuilder::new(graph()).unwrap().state("n", Tensor::scalar(0.0_f32).unwrap());
    model
        .signature(on_x("both").output("y", "y").output("z", "z"))
        .signature(
            GraphSignature::new("mixed").input("x", "x").input("s", "s").output("lower", "lower").output("y", "y"),
        )
        .signature(on_x("share").output("share", "share"))
        .signature(on_x("total").output("total", "total").shape(PartialShape::new(vec![Some(1)])))
        .signature(GraphSignature::new("look").input("i", "i").output("look", "look"))
        .signature(GraphSignature::new("vsum").input("v", "v").output("vsum", "vsum"))
        .signature(on_x("slow").output("slow", "slow").shape(open(2)))
        .signature(on_x("count").output("count", "counted").shape(open(2)))
        .save(folder.join("model"))
        .unwrap();
    let model = SavedModel::open(folder.join("model")).unwrap();
    model.load(LoadOptions::default().inter_op_threads(-1).intra_op_threads(1)).unwrap()
}

fn serve(model: &LoadedModel, settings: &RunSettings) -> Servable {
    Servable::new("m", 1, model.clone(), settings, &Metrics::new()).unwrap()
}

fn one_runner() -> RunSettings {
    RunSettings::default().runs_at_once(1)
}

/// TensorFlow Serving's batching with these parameters.
fn with_parameters(folder: &Path, text: &str) -> RunSettings {
    let file = folder.join(format!("{}.pbtxt", text.len()));
    std::fs::write(&file, text).unwrap();
    let mut settings = one_runner();
    settings.batching.parameters_file = Some(file);
    settings
}

fn call(inputs: Vec<(&str, Tensor)>) -> InferenceRequest {
    let inputs = inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    InferenceRequest { inputs, outputs: Vec::new(), deadline: None }
}

fn x(rows: usize, begin: f32) -> InferenceRequest {
    let values: Vec<f32> = (0..rows * 2).map(|place| begin + place as f32).collect();
    call(vec![("x", Tensor::from_slice(&[rows, 2], &values).unwrap())])
}

/// What the signature says of a request outside of the lanes.
fn alone(served: &ServedSignature, call: &InferenceRequest) -> InferenceResponse {
    let inputs = call.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let options = RunOptions::default();
    let options = if call.outputs.is_empty() { options } else { options.outputs(&call.outputs) };
    served.signature.run_with(inputs, &options).unwrap().into_vec()
}

type Outcome = Result<InferenceResponse, tf_persist_serve::Status>;

/// Runs requests at once, behind a slow one that keeps the only runner busy, so that all of them wait.
async fn behind_a_slow_one(servable: &Servable, signature: &str, calls: Vec<InferenceRequest>) -> Vec<Outcome> {
    let spawn = |signature: &str, call: InferenceRequest| {
        let served = servable.signature(signature, absent).unwrap().clone();
        tokio::spawn(async move { served.queue.run(&served.signature, call).await })
    };
    let slow = spawn("slow", x(1, 0.5));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting: Vec<_> = calls.into_iter().map(|call| spawn(signature, call)).collect();
    let mut outcomes = Vec::new();
    for task in waiting {
        outcomes.push(task.await.unwrap());
    }
    slow.await.unwrap().unwrap();
    outcomes
}

#[test]
fn requests_get_the_answers_they_get_alone() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        together(&model).await;
        gathered(&model).await;
        what_cannot_be_split(&model).await;
        a_bad_one(&model).await;
        as_tensorflow_serving(&model, folder.path()).await;
        state(&model).await;
        deadlines_and_limits(&model).await;
        starvation(&model).await;
        shapes().await;
    });
}

/// Strings, several inputs and outputs, filters and sizes, in one queue.
async fn together(model: &LoadedModel) {
    let servable = serve(model, &one_runner());
    // The second and third time it has been shown that requests may be run together.
    for round in 0..4_usize {
        let text = |rows: usize, at: usize| {
            let strings = (0..rows).map(|row| format!("Text {row} \u{c4} {at}").into_bytes());
            Tensor::from_strings(&[rows], strings).unwrap()
        };
        let calls: Vec<InferenceRequest> = (0..24)
            .map(|at| {
                let rows = 1 + (at + round) % 3;
                let mut call = x(rows, 10.0 * at as f32 + 0.25);
                call.inputs.push(("s".into(), text(rows, at)));
                if at % 2 == 0 {
                    call.inputs.reverse();
                }
                if at % 5 == 0 {
                    call.outputs = vec!["lower".into()];
                }
                call
            })
            .collect();
        let served = servable.signature("mixed", absent).unwrap();
        let outcomes = behind_a_slow_one(&servable, "mixed", calls.clone()).await;
        for (call, outcome) in calls.iter().zip(outcomes) {
            assert_eq!(outcome.unwrap(), alone(served, call));
        }
    }
}

/// Short requests of many connections, run by the connections' own threads.
async fn gathered(model: &LoadedModel) {
    let servable = serve(model, &RunSettings::default());
    let served = servable.signature("both", absent).unwrap();
    let connections: Vec<_> = (0..32)
        .map(|connection| {
            let served = served.clone();
            tokio::spawn(async move {
                for at in 0..200 {
                    let mut call = x(1 + at % 3, (connection * 1000 + at) as f32);
                    if connection % 4 == 0 {
                        call.outputs = vec!["z".into()];
                    }
                    let expected = alone(&served, &call);
                    assert_eq!(served.queue.run(&served.signature, call).await.unwrap(), expected);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for connection in connections {
        connection.await.unwrap();
    }
}

/// Rows that know of each other, and outputs that are not rows, although the signature says so.
async fn what_cannot_be_split(model: &LoadedModel) {
    for signature in ["share", "total"] {
        let servable = serve(model, &one_runner());
        let served = servable.signature(signature, absent).unwrap();
        for begin in [1.0, 1.0, 7.0] {
            // Equal requests at first: they must not be taken for a proof.
            let calls: Vec<InferenceRequest> =
                (0..6).map(|at| x(1, begin + if begin > 1.0 { at as f32 } else { 0.0 })).collect();
            let outcomes = behind_a_slow_one(&servable, signature, calls.clone()).await;
            for (call, outcome) in calls.iter().zip(outcomes) {
                assert_eq!(outcome.unwrap(), alone(served, call), "{signature}");
            }
        }
    }
}

async fn a_bad_one(model: &LoadedModel) {
    let servable = serve(model, &one_runner());
    for _ in 0..4 {
        let at = |index: i32| call(vec![("i", Tensor::from_slice(&[1], &[index]).unwrap())]);
        let outcomes = behind_a_slow_one(&servable, "look", [0, 1, 99, 2].map(at).to_vec()).await;
        let refused = outcomes[2].as_ref().unwrap_err();
        assert!(refused.code == Code::InvalidArgument && refused.message.contains("99"), "{refused}");
        for (place, value) in [(0, 10.0), (1, 20.0), (3, 30.0)] {
            assert_eq!(outcomes[place].as_ref().unwrap()[0].1.view::<f32>().unwrap(), [value]);
        }
        // Names and dtypes that are not the signature's are refused, not batched.
        let wrong = call(vec![("i", Tensor::from_slice(&[1], &[1.0_f32]).unwrap())]);
        let outcomes = behind_a_slow_one(&servable, "look", vec![wrong, at(0)]).await;
        assert_eq!((outcomes[0].as_ref().unwrap_err().code, outcomes[1].is_ok()), (Code::InvalidArgument, true));
    }
}

async fn as_tensorflow_serving(model: &LoadedModel, folder: &Path) {
    let common = "max_batch_size { value: 4 } batch_timeout_micros { value: 0 } num_batch_threads { value: 1 }";
    let settings = with_parameters(folder, &format!("{common} allowed_batch_sizes: [3, 4]"));
    let servable = serve(model, &settings);
    let calls: Vec<InferenceRequest> = (0..5).map(|at| x(1, at as f32)).chain([x(4, 9.0), x(5, 9.0)]).collect();
    let mut outcomes = behind_a_slow_one(&servable, "both", calls.clone()).await;
    let refused = outcomes.pop().unwrap().unwrap_err();
    assert_eq!(refused.message, "Task size 5 is larger than maximum input batch size 4");
    assert_eq!(refused.code, Code::InvalidArgument);
    let served = servable.signature("both", absent).unwrap();
    for (call, outcome) in calls.iter().zip(outcomes) {
        assert_eq!(outcome.unwrap(), alone(served, call));
    }

    // Where rows are asked to be run together they are, whether they know of each other or not.
    let outcomes = behind_a_slow_one(&servable, "share", vec![x(2, 1.0), x(2, 1.0)]).await;
    let sum: f32 =
        outcomes.iter().map(|outcome| outcome.as_ref().unwrap()[0].1.view::<f32>().unwrap().iter().sum::<f32>()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");

    let settings = with_parameters(folder, &format!("{common} max_enqueued_batches {{ value: 2 }}"));
    let servable = serve(model, &settings);
    let outcomes = behind_a_slow_one(&servable, "both", (0..3).map(|at| x(4, at as f32)).collect()).await;
    let full: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(full.len(), 1);
    assert!(
        full[0].message.ends_with("is full; currently 2 batches enqueued and max_enqueued_batches is 2"),
        "{}",
        full[0]
    );
    assert_eq!(full[0].code, Code::Unavailable);

    let parts = "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 3 }";
    let settings =
        with_parameters(folder, &format!("max_batch_size {{ value: 10 }} {parts} pad_variable_length_inputs: true"));
    let servable = serve(model, &settings);
    let served = servable.signature("both", absent).unwrap();
    let outcomes = behind_a_slow_one(&servable, "both", vec![x(10, 1.0), x(2, 5.0)]).await;
    assert_eq!(*outcomes[0].as_ref().unwrap(), alone(served, &x(10, 1.0)));
    assert_eq!(*outcomes[1].as_ref().unwrap(), alone(served, &x(2, 5.0)));
    // Filled up with the first element, which the sum shows; without a limit of time it is the runner that decides.
    let v = |values: &[f32]| call(vec![("v", Tensor::from_slice(&[1, values.len()], values).unwrap())]);
    let outcomes = behind_a_slow_one(&servable, "vsum", vec![v(&[1.0, 2.0, 3.0]), v(&[5.0])]).await;
    let sums = outcomes.iter().map(|outcome| outcome.as_ref().unwrap()[0].1.view::<f32>().unwrap()[0]);
    assert_eq!(sums.collect::<Vec<_>>(), [6.0, 15.0]);

    // What rows there are is asked of a request that comes alone too.
    let settings = with_parameters(folder, &format!("{common} pad_variable_length_inputs: false"));
    let servable = serve(model, &settings);
    let refuse = |signature: &str, call: InferenceRequest| {
        let served = servable.signature(signature, absent).unwrap().clone();
        async move { served.queue.run(&served.signature, call).await.unwrap_err() }
    };
    let text = |shape: &[usize]| Tensor::from_strings(shape, vec!["a"; shape.iter().product()]).unwrap();
    let with = |strings: Tensor| call(vec![("x", x(2, 1.0).inputs[0].1.clone()), ("s", strings)]);
    for round in 0..3 {
        let refused = refuse("mixed", with(text(&[]))).await;
        let words = "Batching Run() input tensors must have at least one dimension";
        assert_eq!((refused.code, refused.message.as_str()), (Code::InvalidArgument, words), "{round}");
        let refused = refuse("mixed", with(text(&[3]))).await;
        let words = "Batching Run() input tensors must have equal 0th-dimension size";
        assert_eq!((refused.code, refused.message.as_str()), (Code::InvalidArgument, words), "{round}");
        let refused = refuse("total", x(2, 1.0)).await;
        let words = "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors";
        assert_eq!((refused.code, refused.message.as_str()), (Code::FailedPrecondition, words), "{round}");
        assert!(
            servable
                .signature("total", absent)
                .unwrap()
                .queue
                .run(&servable.signature("total", absent).unwrap().signature, x(1, 1.0))
                .await
                .is_ok()
        );
    }

    // Each run is measured, also of a request by itself.
    let settings = with_parameters(folder, &format!("{common} allowed_batch_sizes: [2, 4]"));
    let metrics = Metrics::new();
    let servable = Servable::new("m", 1, model.clone(), &settings, &metrics).unwrap();
    let served = servable.signature("both", absent).unwrap();
    for rows in [1, 2, 3] {
        served.queue.run(&served.signature, x(rows, 1.0)).await.unwrap();
    }
    let page = metrics.page(&Gauges::default());
    for line in [
        "wrapped_run_count{} 3",
        "input_batch_size_sum{} 6",
        "input_batch_size_count{} 3",
        "processed_batch_size_sum{} 8",
        "padding_size_sum{execution_batch_size=\"2\"} 1",
        "padding_size_count{execution_batch_size=\"2\"} 2",
        "padding_size_sum{execution_batch_size=\"4\"} 1",
        "queuing_latency_count{thread_pool_name=\"\"} 3",
    ] {
        let line = format!(":tensorflow:serving:batching_session:{line}");
        assert!(page.lines().any(|found| found == line), "`{line}` is missing from\n{page}");
    }

    // A time to wait is waited, unless the batch is full before.
    let settings = with_parameters(folder, "max_batch_size { value: 2 } batch_timeout_micros { value: 400000 }");
    let servable = serve(model, &settings);
    let served = servable.signature("both", absent).unwrap();
    let begin = Instant::now();
    served.queue.run(&served.signature, x(1, 1.0)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(400));
    let begin = Instant::now();
    let (a, b) =
        tokio::join!(served.queue.run(&served.signature, x(1, 1.0)), served.queue.run(&served.signature, x(1, 2.0)));
    assert!(a.is_ok() && b.is_ok() && begin.elapsed() < Duration::from_millis(390), "{:?}", begin.elapsed());
}

/// What writes is run once for each request, also if batching was asked for.
async fn state(model: &LoadedModel) {
    let mut settings = one_runner();
    settings.batching.explicit = true;
    let servable = serve(model, &settings);
    let before = count(&servable).await;
    let outcomes = behind_a_slow_one(&servable, "count", (0..6).map(|_| x(1, 2.0)).collect()).await;
    let mut counts: Vec<f32> =
        outcomes.iter().map(|outcome| outcome.as_ref().unwrap()[0].1.view::<f32>().unwrap()[0]).collect();
    counts.sort_by(f32::total_cmp);
    assert_eq!(counts, (1..=6).map(|more| before + more as f32).collect::<Vec<_>>());
}

/// Counts once more.
async fn count(servable: &Servable) -> f32 {
    let served = servable.signature("count", absent).unwrap();
    served.queue.run(&served.signature, x(1, 2.0)).await.unwrap()[0].1.view::<f32>().unwrap()[0]
}

async fn deadlines_and_limits(model: &LoadedModel) {
    let servable = serve(model, &one_runner().max_waiting(3));
    let before = count(&servable).await;
    let slow = servable.signature("slow", absent).unwrap().clone();
    let counting = servable.signature("count", absent).unwrap().clone();
    let busy = tokio::spawn(async move { slow.queue.run(&slow.signature, x(1, 0.5)).await });
    tokio::time::sleep(Duration::from_millis(20)).await;

    // A deadline that passes while it waits, and a caller that goes away: neither is run.
    let late = InferenceRequest { deadline: Some(Instant::now() + Duration::from_millis(5)), ..x(1, 2.0) };
    let refused = counting.queue.run(&counting.signature, late).await.unwrap_err();
    assert_eq!(refused.code, Code::DeadlineExceeded);
    let gone = counting.clone();
    let gone = tokio::spawn(async move { gone.queue.run(&gone.signature, x(1, 2.0)).await });
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());

    let mut others = Vec::new();
    for _ in 0..6 {
        let counting = counting.clone();
        others.push(tokio::spawn(async move { counting.queue.run(&counting.signature, x(1, 2.0)).await }));
    }
    let mut refused = 0;
    for other in others {
        if let Err(status) = other.await.unwrap() {
            assert!(status.code == Code::Unavailable && status.message.contains("is full"), "{status}");
            refused += 1;
        }
    }
    assert!(busy.await.unwrap().is_ok());
    // Those two that nobody waits for took up room, until they were dropped without a run.
    assert_eq!((refused, count(&servable).await), (5, before + 2.0));

    // A run that is under way goes on; who waits for it hears in time.
    let slow = servable.signature("slow", absent).unwrap();
    let begin = Instant::now();
    let late = InferenceRequest { deadline: Some(begin + Duration::from_millis(10)), ..x(1, 0.5) };
    assert_eq!(slow.queue.run(&slow.signature, late).await.unwrap_err().code, Code::DeadlineExceeded);
    let soon = begin.elapsed();
    slow.queue.run(&slow.signature, x(1, 0.5)).await.unwrap();
    assert!(soon < begin.elapsed() / 2, "{soon:?} of {:?}", begin.elapsed());
    let past = InferenceRequest { deadline: Some(begin), ..x(1, 0.5) };
    assert_eq!(slow.queue.run(&slow.signature, past).await.unwrap_err().code, Code::DeadlineExceeded);
}

/// A model whose runs are long keeps no other waiting.
async fn starvation(model: &LoadedModel) {
    let (large, small) = (serve(model, &RunSettings::default()), serve(model, &RunSettings::default()));
    let done = Arc::new(AtomicUsize::new(0));
    let slow: Vec<_> = (0..12)
        .map(|at| {
            let (served, done) = (large.signature("slow", absent).unwrap().clone(), done.clone());
            tokio::spawn(async move {
                served.queue.run(&served.signature, x(1, at as f32)).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let served = small.signature("both", absent).unwrap();
    for at in 0..100 {
        served.queue.run(&served.signature, x(1, at as f32)).await.unwrap();
    }
    assert!(done.load(Ordering::SeqCst) < 12, "the small model waited for the large one");
    for task in slow {
        task.await.unwrap();
    }
}

/// Shapes are the graph's business where its ops look at them.
async fn shapes() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let load = |name: &str| {
        let model = LoadedModel::load(models.join(name).join("model"), LoadOptions::default().inter_op_threads(-1));
        serve(&model.unwrap(), &RunSettings::default())
    };
    let half = load("half_plus_two");
    let served = half.signature("serving_default", absent).unwrap();
    let (name, _) = served.signature.inputs().next().unwrap();
    for shape in [vec![], vec![3], vec![2, 2], vec![1, 2, 1]] {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        let fed = call(vec![(name, Tensor::from_slice(&shape, &values).unwrap())]);
        let answer = served.queue.run(&served.signature, fed).await.unwrap();
        let expected: Vec<f32> = values.iter().map(|value| value / 2.0 + 2.0).collect();
        assert_eq!((answer[0].1.shape(), answer[0].1.view::<f32>().unwrap()), (&shape[..], &expected[..]));
    }
    // A convolution would end the process.
    let digits = load("digits");
    let served = digits.signature("serving_default", absent).unwrap();
    assert!(!served.signature.checks_shapes_itself());
    let fed = call(vec![("image", Tensor::from_slice(&[3], &[1.0_f32; 3]).unwrap())]);
    let refused = served.queue.run(&served.signature, fed).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
}
