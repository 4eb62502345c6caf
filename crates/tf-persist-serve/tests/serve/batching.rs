//! Requests that share a run get the responses that they get alone.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tf_persist_core::{Code, LoadedModel, Tensor};
use tf_persist_serve::RunSettings;
use tf_persist_serve::internals::{Gauges, InferenceRequest};
use tf_persist_testing::model;

use crate::common::gated_model::{Outcome, TestModel, floats, load, one_worker, request, x};
use crate::common::models::{has_tensorflow, load_options};
use crate::common::server::eventually;

/// TensorFlow Serving's batching with these parameters, and one worker.
fn with_parameters(text: &str) -> RunSettings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.keep().join("parameters.pbtxt");
    fs::write(&file, text).unwrap();
    let mut settings = one_worker();
    settings.batching.parameters_file = Some(file);
    settings
}

/// Parameters of a batch of four rows without a wait.
const FOUR_ROWS: &str = "max_batch_size { value: 4 } batch_timeout_micros { value: 0 } num_batch_threads { value: 1 }";

fn error(outcome: &Outcome) -> (Code, &str) {
    let status = outcome.as_ref().unwrap_err();
    (status.code, &status.message)
}

/// Strings, several inputs and outputs, output filters and numbers of rows, in one queue.
#[tokio::test]
async fn mixed_requests_share_runs() {
    if !has_tensorflow("mixed_requests_share_runs") {
        return;
    }
    let served = TestModel::new(&one_worker());
    // From the second round on the signature is known to be batchable.
    for round in 0..4_usize {
        let text = |rows: usize, number: usize| {
            let strings = (0..rows).map(|row| format!("Text {row} \u{c4} {number}").into_bytes());
            Tensor::from_strings(&[rows], strings).unwrap()
        };
        let requests: Vec<InferenceRequest> = (0..24)
            .map(|number| {
                let rows = 1 + (number + round) % 3;
                let mut request = x(rows, 10.0 * number as f32 + 0.25);
                request.inputs.push(("s".into(), text(rows, number)));
                if number % 2 == 0 {
                    request.inputs.reverse();
                }
                if number % 5 == 0 {
                    request.outputs = vec!["lower".into()];
                }
                request
            })
            .collect();
        let outcomes = served.run_together("mixed", requests.clone()).await;
        for (request, outcome) in requests.iter().zip(outcomes) {
            assert_eq!(outcome.unwrap(), served.alone("mixed", request));
        }
    }
}

/// Short requests of many connections, run by the connections' own threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_requests_of_many_connections_share_runs() {
    if !has_tensorflow("short_requests_of_many_connections_share_runs") {
        return;
    }
    let served = Arc::new(TestModel::new(&RunSettings::default()));
    let connection = |number: usize| {
        let served = served.clone();
        tokio::spawn(async move {
            for index in 0..200 {
                let mut request = x(1 + index % 3, (number * 1000 + index) as f32);
                if number.is_multiple_of(4) {
                    request.outputs = vec!["z".into()];
                }
                let expected = served.alone("both", &request);
                assert_eq!(served.run("both", request).await.unwrap(), expected);
                tokio::task::yield_now().await;
            }
        })
    };
    for connection in (0..32).map(connection).collect::<Vec<_>>() {
        connection.await.unwrap();
    }
}

/// Rows that depend on each other, and outputs that are not rows although the signature says so.
#[tokio::test]
async fn dependent_rows_share_no_runs() {
    if !has_tensorflow("dependent_rows_share_no_runs") {
        return;
    }
    for signature in ["share", "total"] {
        let served = TestModel::new(&one_worker());
        for first in [1.0, 1.0, 7.0] {
            // Equal requests at first: their equal responses prove nothing.
            let step = if first > 1.0 { 1.0 } else { 0.0 };
            let requests: Vec<_> = (0..6).map(|number| x(1, first + step * number as f32)).collect();
            let outcomes = served.run_together(signature, requests.clone()).await;
            for (request, outcome) in requests.iter().zip(outcomes) {
                assert_eq!(outcome.unwrap(), served.alone(signature, request), "{signature}");
            }
        }
    }
}

#[tokio::test]
async fn invalid_request_fails_alone() {
    if !has_tensorflow("invalid_request_fails_alone") {
        return;
    }
    let served = TestModel::new(&one_worker());
    for _ in 0..4 {
        let lookup = |index: i32| request(vec![("i", Tensor::from_slice(&[1], &[index]).unwrap())]);
        let outcomes = served.run_together("lookup", [0, 1, 99, 2].map(lookup).to_vec()).await;
        let (code, message) = error(&outcomes[2]);
        assert!(code == Code::InvalidArgument && message.contains("99"), "{message}");
        for (index, value) in [(0, 10.0), (1, 20.0), (3, 30.0)] {
            assert_eq!(floats(&outcomes[index]), [value]);
        }
        // A dtype that is not the signature's is refused, not batched.
        let wrong = request(vec![("i", Tensor::from_slice(&[1], &[1.0_f32]).unwrap())]);
        let outcomes = served.run_together("lookup", vec![wrong, lookup(0)]).await;
        assert_eq!((error(&outcomes[0]).0, outcomes[1].is_ok()), (Code::InvalidArgument, true));
    }
}

#[tokio::test]
async fn batching_parameters_limit_rows_and_batches() {
    if !has_tensorflow("batching_parameters_limit_rows_and_batches") {
        return;
    }
    let served = TestModel::new(&with_parameters(&format!("{FOUR_ROWS} allowed_batch_sizes: [3, 4]")));
    let requests: Vec<_> = (0..5).map(|number| x(1, number as f32)).chain([x(4, 9.0), x(5, 9.0)]).collect();
    let mut outcomes = served.run_together("both", requests.clone()).await;
    let too_large = outcomes.pop().unwrap();
    let message = "Task size 5 is larger than maximum input batch size 4";
    assert_eq!(error(&too_large), (Code::InvalidArgument, message));
    for (request, outcome) in requests.iter().zip(outcomes) {
        assert_eq!(outcome.unwrap(), served.alone("both", request));
    }

    // Parameters force batching, also of rows that depend on each other.
    let outcomes = served.run_together("share", vec![x(2, 1.0), x(2, 1.0)]).await;
    let sum: f32 = outcomes.iter().flat_map(floats).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");

    let served = TestModel::new(&with_parameters(&format!("{FOUR_ROWS} max_enqueued_batches {{ value: 2 }}")));
    let outcomes = served.run_together("both", (0..3).map(|number| x(4, number as f32)).collect()).await;
    let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_err()).map(error).collect();
    let [(Code::Unavailable, message)] = refused[..] else { panic!("{refused:?}") };
    let end = "is full; currently 2 batches enqueued and max_enqueued_batches is 2";
    assert!(message.ends_with(end), "{message}");
}

#[tokio::test]
async fn batching_parameters_split_and_pad() {
    if !has_tensorflow("batching_parameters_split_and_pad") {
        return;
    }
    let parts = "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 3 }";
    let parameters = format!("max_batch_size {{ value: 10 }} {parts} pad_variable_length_inputs: true");
    let served = TestModel::new(&with_parameters(&parameters));
    let requests = vec![x(10, 1.0), x(2, 5.0)];
    let outcomes = served.run_together("both", requests.clone()).await;
    for (request, outcome) in requests.iter().zip(outcomes) {
        assert_eq!(outcome.unwrap(), served.alone("both", request));
    }
    // Padded with the first element, which the sum shows.
    let v = |values: &[f32]| request(vec![("v", Tensor::from_slice(&[1, values.len()], values).unwrap())]);
    let outcomes = served.run_together("vsum", vec![v(&[1.0, 2.0, 3.0]), v(&[5.0])]).await;
    assert_eq!(outcomes.iter().flat_map(floats).copied().collect::<Vec<_>>(), [6.0, 15.0]);

    // Shapes are checked even if a request comes alone.
    let served = TestModel::new(&with_parameters(&format!("{FOUR_ROWS} pad_variable_length_inputs: false")));
    let text = |shape: &[usize]| Tensor::from_strings(shape, vec!["a"; shape.iter().product()]).unwrap();
    let with = |strings: Tensor| request(vec![("x", x(2, 1.0).inputs[0].1.clone()), ("s", strings)]);
    for round in 0..3 {
        let outcome = served.run("mixed", with(text(&[]))).await;
        let message = "Batching Run() input tensors must have at least one dimension";
        assert_eq!(error(&outcome), (Code::InvalidArgument, message), "{round}");
        let outcome = served.run("mixed", with(text(&[3]))).await;
        let message = "Batching Run() input tensors must have equal 0th-dimension size";
        assert_eq!(error(&outcome), (Code::InvalidArgument, message), "{round}");
        let outcome = served.run("total", x(2, 1.0)).await;
        let message = "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors";
        assert_eq!(error(&outcome), (Code::FailedPrecondition, message), "{round}");
        assert!(served.run("total", x(1, 1.0)).await.is_ok());
    }
}

/// Every run is counted, also that of a request by itself.
#[tokio::test]
async fn runs_are_counted_in_tensorflow_servings_metrics() {
    if !has_tensorflow("runs_are_counted_in_tensorflow_servings_metrics") {
        return;
    }
    let served = TestModel::new(&with_parameters(&format!("{FOUR_ROWS} allowed_batch_sizes: [2, 4]")));
    for rows in [1, 2, 3] {
        served.run("both", x(rows, 1.0)).await.unwrap();
    }
    let page = served.metrics.page(&Gauges::default());
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
}

/// A batch that is full runs at once: otherwise it would wait for an hour.
#[tokio::test]
async fn batch_waits_for_its_timeout_unless_it_is_full() {
    if !has_tensorflow("batch_waits_for_its_timeout_unless_it_is_full") {
        return;
    }
    let served = TestModel::new(&with_parameters("max_batch_size { value: 2 } batch_timeout_micros { value: 400000 }"));
    served.run("both", x(1, 1.0)).await.unwrap();
    let page = served.metrics.page(&Gauges::default());
    let name = "tf_persist_request_phase_seconds_sum{model=\"m\",phase=\"queue\"} ";
    let waited: f64 = page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!(waited >= 0.4, "{waited}");
    let served =
        TestModel::new(&with_parameters("max_batch_size { value: 2 } batch_timeout_micros { value: 3600000000 }"));
    let (first, second) = tokio::join!(served.run("both", x(1, 1.0)), served.run("both", x(1, 2.0)));
    assert!(first.is_ok() && second.is_ok());
}

/// A signature that writes state runs once for each request, even if batching is forced.
#[tokio::test]
async fn writing_signature_runs_once_per_request() {
    if !has_tensorflow("writing_signature_runs_once_per_request") {
        return;
    }
    let mut settings = one_worker();
    settings.batching.explicit = true;
    let served = TestModel::new(&settings);
    let before = count(&served).await;
    let outcomes = served.run_together("count", (0..6).map(|_| x(1, 2.0)).collect()).await;
    let mut counts: Vec<f32> = outcomes.iter().map(|outcome| floats(outcome)[0]).collect();
    counts.sort_by(f32::total_cmp);
    assert_eq!(counts, (1..=6).map(|more| before + more as f32).collect::<Vec<_>>());
}

/// Runs the signature that counts its runs, and returns the count.
async fn count(served: &TestModel) -> f32 {
    floats(&served.run("count", x(1, 2.0)).await)[0]
}

#[tokio::test]
async fn abandoned_requests_are_not_run_and_the_queue_is_limited() {
    if !has_tensorflow("abandoned_requests_are_not_run_and_the_queue_is_limited") {
        return;
    }
    let served = TestModel::new(&one_worker().max_waiting(3));
    let before = count(&served).await;
    let held = served.hold().await;

    // A deadline that passes in the queue, and a caller that goes away.
    let late = InferenceRequest { deadline: Some(Instant::now() + Duration::from_secs(1)), ..x(1, 2.0) };
    assert_eq!(error(&served.run("count", late).await).0, Code::DeadlineExceeded);
    let gone = served.spawn("count", x(1, 2.0));
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());

    let others: Vec<_> = (0..6).map(|_| served.spawn("count", x(1, 2.0))).collect();
    tokio::task::yield_now().await;
    served.release();
    let mut refused = 0;
    for other in others {
        if let Err(status) = other.await.unwrap() {
            assert!(status.code == Code::Unavailable && status.message.contains("is full"), "{status}");
            refused += 1;
        }
    }
    assert!(held.await.unwrap().is_ok());
    // The two abandoned ones had places in the queue until the worker dropped them.
    assert_eq!((refused, count(&served).await), (5, before + 2.0));
}

#[tokio::test]
async fn deadline_is_kept_while_the_run_goes_on() {
    if !has_tensorflow("deadline_is_kept_while_the_run_goes_on") {
        return;
    }
    let served = TestModel::new(&one_worker());
    let started = served.started_runs();
    let request = InferenceRequest { deadline: Some(Instant::now() + Duration::from_secs(4)), ..x(1, 0.5) };
    let late = served.spawn("held", request);
    eventually("it runs", async || served.started_runs() > started).await;
    // Nobody opens the gate before.
    assert_eq!(error(&late.await.unwrap()).0, Code::DeadlineExceeded);
    served.release();
    // The worker is free again.
    let held = served.hold().await;
    served.release();
    held.await.unwrap().unwrap();
    let past = InferenceRequest { deadline: Some(Instant::now()), ..x(1, 0.5) };
    assert_eq!(error(&served.run("held", past).await).0, Code::DeadlineExceeded);
}

#[tokio::test]
async fn long_runs_of_one_model_do_not_block_another() {
    if !has_tensorflow("long_runs_of_one_model_do_not_block_another") {
        return;
    }
    let session = load();
    let served = || TestModel::from_model(&session, &RunSettings::default());
    let (large, small) = (served(), served());
    let held: Vec<_> = (0..12).map(|number| large.spawn("held", x(1, number as f32))).collect();
    eventually("the large model runs", async || large.started_runs() > 0).await;
    for number in 0..100 {
        small.run("both", x(1, number as f32)).await.unwrap();
    }
    assert!(held.iter().all(|run| !run.is_finished()));
    held.iter().for_each(|_| large.release());
    for run in held {
        run.await.unwrap().unwrap();
    }
}

/// Shapes that differ from the signature's are accepted where the graph's ops check shapes themselves.
#[tokio::test]
async fn shapes_are_checked_where_ops_do_not() {
    if !has_tensorflow("shapes_are_checked_where_ops_do_not") {
        return;
    }
    let serve = |name: &str| {
        let loaded = LoadedModel::load(model(name), load_options()).unwrap();
        TestModel::from_model(&loaded, &RunSettings::default())
    };
    let half = serve("half_plus_two");
    let input = half.signature("serving_default").signature.inputs().next().unwrap().0.to_owned();
    for shape in [vec![], vec![3], vec![2, 2], vec![1, 2, 1]] {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        let fed = request(vec![(&input, Tensor::from_slice(&shape, &values).unwrap())]);
        let response = half.run("serving_default", fed).await.unwrap();
        let expected: Vec<f32> = values.iter().map(|value| value / 2.0 + 2.0).collect();
        assert_eq!((response[0].1.shape(), response[0].1.view::<f32>().unwrap()), (&shape[..], &expected[..]));
    }
    // A convolution would end the process.
    let digits = serve("digits");
    assert!(!digits.signature("serving_default").signature.ops_check_shapes());
    let fed = request(vec![("image", Tensor::from_slice(&[3], &[1.0_f32; 3]).unwrap())]);
    assert_eq!(error(&digits.run("serving_default", fed).await).0, Code::InvalidArgument);
}
