//! Opening and scanning models, without TensorFlow.
//!
//! ```sh
//! cargo bench -p tf-persist-savedmodel
//! ```

mod constants;
mod functions;

use std::fs;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use tf_persist_savedmodel::SavedModel;

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
        let saved_model = SavedModel::open(model(name)).unwrap();
        group.bench_function(name, |b| b.iter(|| saved_model.scan().unwrap()));
    }
    // 10 MB of nodes, every function reached.
    let folder = functions::write(&model("digits"), 10_000_000);
    let saved_model = SavedModel::open(folder.path()).unwrap();
    group.sample_size(20);
    group.bench_function("open 10 MB of functions", |b| b.iter(|| SavedModel::open(folder.path()).unwrap()));
    group.bench_function("scan 10 MB of functions", |b| b.iter(|| saved_model.scan().unwrap()));
    group.finish();
}

criterion_group!(benches, open, scan);
criterion_main!(benches);
