//! Load and run: what this library adds to TensorFlow.
//!
//! ```sh
//! cargo bench -p tf-persist-core
//! ```

mod ffi;
#[path = "../../../tf-persist-savedmodel/benches/savedmodel/functions.rs"]
mod functions;

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use tf_persist_core::runtime::Search;
use tf_persist_core::scan::Trust;
use tf_persist_core::{DType, Element, LoadOptions, LoadSavedModel, LoadedModel, SavedModel, Tensor};

fn model(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("model")
}

/// What loading does before TensorFlow is opened, with the check of what the graph may do and without: there is no
/// TensorFlow.
fn before_loading(c: &mut Criterion) {
    let mut group = c.benchmark_group("before loading");
    let nowhere = tempfile::tempdir().unwrap();
    let small = SavedModel::open(model("half_plus_two")).unwrap();
    // 10 MB of nodes, every function reached.
    let folder = functions::write(&model("digits"), 10_000_000);
    let large = SavedModel::open(folder.path()).unwrap();
    for (what, saved_model) in [("half_plus_two", small), ("10 MB", large)] {
        for (with, trust) in [("with", Trust::Nothing), ("without", Trust::Everything)] {
            let options = LoadOptions::default().search(Search::only(nowhere.path())).trust(trust);
            group.bench_function(format!("{what}, {with} the check"), |b| {
                b.iter(|| saved_model.load(options.clone()).unwrap_err());
            });
        }
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(20);
    for name in ["half_plus_two", "digits"] {
        let saved_model = SavedModel::open(model(name)).unwrap();
        group.bench_function(name, |b| b.iter(|| saved_model.load(LoadOptions::default()).unwrap()));
    }
    group.finish();
}

fn run(c: &mut Criterion) {
    let path = model("half_plus_two");
    for (what, inter_op_threads) in [("default threads", 0), ("calling thread", -1)] {
        let mut group = c.benchmark_group(format!("run half_plus_two, {what}"));
        let bare = ffi::BareSession::load(&path, inter_op_threads);
        group.bench_function("bare TF_SessionRun", |b| b.iter(|| bare.run()));
        let options = LoadOptions::default().soft_placement(false).inter_op_threads(inter_op_threads);
        let signature = LoadedModel::load(&path, options).unwrap().signature("serving_default").unwrap();
        let x = Tensor::from_slice(&[3], &[1.0_f32, 2.0, 3.0]).unwrap();
        group.bench_function("Signature::run", |b| b.iter(|| signature.run([("x", &x)]).unwrap()));
        group.finish();
    }
}

fn tensors(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 MB tensor");
    group.sample_size(20);
    let values = vec![1.0_f32; 16 << 20];
    group.bench_function("copy a slice with copy_from_slice", |b| b.iter(|| black_box(&values).clone()));
    group.bench_function("Tensor::from_slice", |b| b.iter(|| from_slice(&values)));
    let echo = LoadedModel::load(model("dtypes"), LoadOptions::default()).unwrap().signature("unknown_rank").unwrap();
    let large = from_slice(&values);
    let inputs: Vec<(String, Tensor)> = echo
        .inputs()
        .map(|(name, dtype)| {
            let tensor = if dtype == DType::Float32 { large.clone() } else { Tensor::zeros(dtype, &[1]).unwrap() };
            (name.to_owned(), tensor)
        })
        .collect();
    group.bench_function("into TensorFlow and back", |b| {
        b.iter(|| echo.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap());
    });
    group.finish();
}

fn from_slice<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).unwrap()
}

criterion_group!(benches, before_loading, load, run, tensors);
criterion_main!(benches);
