//! Requests of other clients change no bit of a response: the models of `models/` under thirty-two clients.

#![expect(clippy::print_stdout, reason = "it reports which models share runs")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tf_persist_core::{
    DType, LoadSavedModel, RunOptions, SaveOptions, SavedModel, Signature, Tensor, TensorInfo, warmup,
};
use tf_persist_serve::internals::{InferenceRequest, InferenceResponse, Metrics, Servable, ServedSignature};
use tf_persist_serve::{RunSettings, Status};
use tf_persist_testing::{in_own_process, root};

use crate::common::models::{has_tensorflow, load_options};

const CLIENTS: usize = 32;

/// The least number of responses over all models.
const MIN_RESPONSES: usize = 20_000;

/// Models whose rows are independent. The test waits until the server has measured whether they may share runs.
const MEASURED: [&str; 6] = ["attention", "digits", "frozen_digits", "half_plus_two", "lstm", "two_in_two_out"];

/// Models whose rows depend on each other, or may.
const DEPENDENT: [&str; 3] = ["bare_table", "padded_text", "text"];

/// A tensor for an input: some numbers, or texts of two words, and longer ones where `number` is large.
fn tensor(info: &TensorInfo, rows: usize, number: usize) -> Option<Tensor> {
    let [None, inner @ ..] = info.shape.sizes()? else { return None };
    let inner: Vec<usize> = inner.iter().map(|size| size.map(|size| size as usize)).collect::<Option<_>>()?;
    let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
    let count = shape.iter().product();
    let at = |index: usize| (index * 7919 + number * 104_729) % 1009;
    Some(match info.dtype {
        DType::Float32 => {
            let values: Vec<f32> = (0..count).map(|index| at(index) as f32 / 1009.0 * 2.0 - 0.7).collect();
            Tensor::from_slice(&shape, &values).unwrap()
        }
        DType::Int32 => {
            Tensor::from_slice(&shape, &(0..count).map(|index| (at(index) % 50) as i32).collect::<Vec<_>>()).unwrap()
        }
        DType::Int64 => {
            Tensor::from_slice(&shape, &(0..count).map(|index| (at(index) % 50) as i64).collect::<Vec<_>>()).unwrap()
        }
        DType::String => {
            const WORDS: [&str; 5] = ["good", "bad", "film", "awful", "was"];
            let words = |index: usize| if number >= 40 { 3 + at(index) % 6 } else { 2 };
            let text = |index: usize| -> String {
                (0..words(index)).map(|word| WORDS[at(index + word * 31) % 5]).collect::<Vec<_>>().join(" ")
            };
            Tensor::from_strings(&shape, (0..count).map(text)).unwrap()
        }
        dtype => Tensor::zeros(dtype, &shape).ok()?,
    })
}

/// Requests of a signature with their responses when they run alone; the last ones have longer texts. `None` if it
/// takes no batches.
fn requests(signature: &Signature) -> Option<Vec<(InferenceRequest, InferenceResponse)>> {
    let definition = signature.definition();
    let model = signature.model();
    if definition.inputs.is_empty()
        || warmup::first_state_write(model.saved_model(), model.meta_graph(), definition).is_some()
    {
        return None;
    }
    let mut all = Vec::new();
    for number in 0..48 {
        let inputs =
            definition.inputs.iter().map(|(name, info)| Some((name.clone(), tensor(info, 1 + number % 2, number)?)));
        let call =
            InferenceRequest { inputs: inputs.collect::<Option<Vec<_>>>()?, outputs: Vec::new(), deadline: None };
        let fed = call.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        // Requests that the model refuses, such as text that is not a tf.Example, are left out.
        let answer = signature.run_with(fed, &RunOptions::default()).ok()?.into_vec();
        all.push((call, answer));
    }
    Some(all)
}

/// Sends the first `count` requests from thirty-two clients, and compares the responses.
async fn send(
    served: &Arc<ServedSignature>,
    requests: &Arc<Vec<(InferenceRequest, InferenceResponse)>>,
    count: usize,
    times: usize,
    what: &str,
) {
    let clients = (0..CLIENTS).map(|client| {
        let (served, requests, what) = (served.clone(), requests.clone(), what.to_owned());
        tokio::spawn(async move {
            for time in 0..times {
                let (call, expected) = &requests[(client * 13 + time * 7) % count];
                let answer = served.queue.run(&served.signature, call.clone()).await.unwrap();
                assert_eq!(answer, *expected, "{what}, client {client}, request {time}");
                tokio::task::yield_now().await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

async fn check_signature(servable: &Servable, model: &str, name: &str, times: usize) -> usize {
    let absent = || Status::not_found("no such signature");
    let Ok(served) = servable.signature(name, absent).cloned() else { return 0 };
    let Some(requests) = requests(&served.signature).map(Arc::new) else { return 0 };
    let what = format!("{model} {name}");
    // Texts of one length, as a health check sends them; later of several.
    send(&served, &requests, 40, times / 2, &what).await;
    let (started, mut more) = (Instant::now(), 0);
    while MEASURED.contains(&model) && served.queue.batching().1.contains("is measured") {
        assert!(started.elapsed() < Duration::from_secs(120), "gave up waiting until {what} is measured");
        send(&served, &requests, 40, 20, &what).await;
        more += 20;
    }
    send(&served, &requests, 48, times, &what).await;
    let (together, why) = served.queue.batching();
    println!("{what}: {} ({why})", if together { "together" } else { "alone" });
    assert!(!together || !DEPENDENT.contains(&model), "{what}");
    (times / 2 + more + times) * CLIENTS
}

#[test]
fn other_requests_change_no_response() {
    in_own_process("batching_equality::other_requests_change_no_response", || {
        if has_tensorflow("other_requests_change_no_response") {
            check_models();
        }
    });
}

fn check_models() {
    let models = root().join("models");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let mut responses = 0;
    let folders = std::fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|folder| folder.join("model").is_dir()).collect();
    folders.sort();
    // Constant weights are multiplied by other kernels than variables.
    let temporary = tempfile::tempdir().unwrap();
    let frozen = temporary.path().join("frozen_digits");
    let digits = SavedModel::open(models.join("digits/model")).unwrap();
    digits.save(frozen.join("model"), SaveOptions::default().frozen(true)).unwrap();
    folders.push(frozen);
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let saved_model = SavedModel::open(folder.join("model")).unwrap();
        // Models with several meta graphs need tags, and show nothing new.
        let Ok(model) = saved_model.load(load_options()) else { continue };
        let servable = Servable::new(&name, 1, model.clone(), &RunSettings::default(), &Metrics::new()).unwrap();
        for signature in model.meta_graph().signatures() {
            responses += runtime.block_on(check_signature(&servable, &name, &signature.name, 30));
        }
    }
    println!("{responses} responses");
    assert!(responses >= MIN_RESPONSES, "{responses}");
}
