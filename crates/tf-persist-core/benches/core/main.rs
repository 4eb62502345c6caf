//! Open, load and run: what this library adds to TensorFlow, and to reading a file.
//!
//! ```sh
//! cargo bench -p tf-persist-core
//! ```

mod constants;
mod ffi;
mod functions;

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use tf_persist_core::runtime::Search;
use tf_persist_core::scan::Trust;
use tf_persist_core::{DType, Element, LoadOptions, LoadedModel, SavedModel, Tensor};

fn model(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("model")
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    for name in ["half_plus_two", "digits"] {
        let path = model(name);
        group.bench_function(name, |b| b.iter(|| SavedModel::open(&path).unwrap()));
    }
    group.finish();

    // 500 MB of constants: opening against reading the file, in turn.
    let folder = constants::write(500_000_000);
    let file = folder.path().join("saved_model.pb");
    let mut group = c.benchmark_group("500 MB of constants");
    group.sample_size(10);
    group.bench_function("read the file", |b| b.iter(|| fs::read(&file).unwrap()));
    group.bench_function("open", |b| b.iter(|| SavedModel::open(folder.path()).unwrap()));
    group.finish();
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    for name in ["half_plus_two", "digits"] {
        let artefact = SavedModel::open(model(name)).unwrap();
        group.bench_function(name, |b| b.iter(|| artefact.scan().unwrap()));
    }
    // 10 MB of nodes, every function reached.
    let folder = functions::write(&model("digits"), 10_000_000);
    let artefact = SavedModel::open(folder.path()).unwrap();
    group.sample_size(20);
    group.bench_function("open 10 MB of functions", |b| b.iter(|| SavedModel::open(folder.path()).unwrap()));
    group.bench_function("scan 10 MB of functions", |b| b.iter(|| artefact.scan().unwrap()));
    // What loading does before TensorFlow is opened, with the check of what the graph may do and without: there is no TensorFlow.
    for (what, artefact) in [("half_plus_two", SavedModel::open(model("half_plus_two")).unwrap()), ("10 MB", artefact)]
    {
        for (with, trust) in [("with", Trust::Nothing), ("without", Trust::Everything)] {
            let options = LoadOptions::default().search(Search::only(folder.path())).trust(trust);
            group.bench_function(format!("before loading {what}, {with} the check"), |b| {
                b.iter(|| artefact.load(options.clone()).unwrap_err());
            });
        }
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(20);
    for name in ["half_plus_two", "digits"] {
        let artefact = SavedModel::open(model(name)).unwrap();
        group.bench_function(name, |b| b.iter(|| artefact.load(LoadOptions::default()).unwrap()));
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

criterion_group!(benches, open, scan, load, run, tensors);
criterion_main!(benches);
