//! Numbers below the smallest normal float are zero in every thread that runs a graph, as in TensorFlow's own threads.

use std::fs;

use tf_persist_core::tensor::npz as npz_files;
use tf_persist_core::{LoadedModel, Tensor};
use tf_persist_testing::{libtensorflow, root};

use crate::support::{Dir, floats, npy, npz};
use crate::verify::times;

/// Numbers of elements: one, which the calling thread computes, and enough for TensorFlow to use several threads.
const SIZES: [usize; 2] = [1, 200_000];

/// Options under which graphs run in TensorFlow's threads, and in the thread that calls.
const THREADS: [&str; 4] = [
    "",
    "--inter-op-threads -1",
    "--inter-op-threads 1 --intra-op-threads 4",
    "--inter-op-threads -1 --intra-op-threads 4",
];

/// How many numbers of an output have any bit set.
fn some(dir: &Dir, file: &str, output: &str) -> usize {
    let outputs = npz_files::read_file(dir.path(file)).unwrap();
    let (_, tensor) = outputs.iter().find(|(name, _)| name == output).unwrap();
    tensor.view::<f32>().unwrap().iter().filter(|number| number.to_bits() != 0).count()
}

#[test]
fn run_flushes_denormals_in_every_thread() {
    let dir = Dir::new();
    for size in SIZES {
        dir.write("tiny.npy", npy("<f4", &format!("({size},)"), &floats(&vec![1e-20; size])));
        dir.write("denormal.npy", npy("<f4", &format!("({size},)"), &floats(&vec![1e-40; size])));
        for threads in THREADS {
            let run = |input: &str| {
                let line = format!("run models/denormals/model --input x=@{input} --output y.npz {threads}");
                dir.cmd(&line).run().ok();
            };
            run("tiny.npy");
            assert_eq!(some(&dir, "y.npz", "square"), 0, "{size} squares, {threads}");
            assert_eq!(some(&dir, "y.npz", "multiple"), size, "{size} multiples, {threads}");
            run("denormal.npy");
            assert_eq!(some(&dir, "y.npz", "multiple"), 0, "{size} multiples of denormals, {threads}");
        }
    }
}

#[test]
fn train_flushes_denormals_in_every_thread() {
    let dir = Dir::new();
    for size in SIZES {
        dir.write("tiny.npz", npz(&[("x", npy("<f4", &format!("({size},)"), &floats(&vec![1e-20; size])))]));
        for threads in THREADS {
            let line = format!(
                "train models/denormals/model --data tiny.npz --batch-size {size} --epochs 2 --output out --overwrite {threads}"
            );
            dir.cmd(&line).run().ok();
            let inspected = dir.cmd("inspect out --stats --format json").without_tensorflow().run().ok().json();
            assert_eq!(inspected["variables"]["all"][0]["stats"]["max"], 0, "{size} squares, {threads}: {inspected}");
        }
    }
}

#[test]
fn unused_denormals_stay() {
    let dir = Dir::new();
    for threads in THREADS {
        let line = format!(
            "run models/dtypes/model --signature unknown_rank --input float32=1e-40 --input int64=1 --input string=\"a\" \
             --format json {threads}"
        );
        let answer = dir.cmd(&line).run().ok().json();
        assert_eq!(answer["outputs"]["float32"].as_f64().unwrap() as f32, 1e-40, "{threads}");
    }
    // Of a graph in text form a denormal is read as it is, and left so while the graph is prepared to be run.
    times(&dir, "text", "1e-40");
    let file = dir.path("text/saved_model.pbtxt");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("\"y:0\"", "\"c:0\"")).unwrap();
    let answer = dir.cmd("run text --input x=1 --format json").run().ok().json();
    assert_eq!(answer["outputs"]["y"].as_f64().unwrap() as f32, 1e-40);
}

#[test]
fn a_program_that_runs_models_keeps_its_own_denormals() {
    let search = tf_persist_core::runtime::Search::only(libtensorflow());
    let options = tf_persist_core::LoadOptions::default().search(search).inter_op_threads(-1);
    let model = LoadedModel::load(root().join("models/denormals/model"), options).unwrap();
    let x = Tensor::from_slice(&[1], &[1e-20_f32]).unwrap();
    let answer = model.signature("serving_default").unwrap().run([("x", &x)]).unwrap();
    assert_eq!(answer["square"].view::<f32>().unwrap()[0].to_bits(), 0);
    let tiny = std::hint::black_box(1e-20_f32);
    assert!((tiny * tiny).to_bits() != 0);
}
