//! The tensorflow crate works in the same process, with the libtensorflow that our runtime opened.

use tensorflow::{Graph, SavedModelBundle, SessionOptions, SessionRunArgs};
use tf_persist_core::runtime::Runtime;
use tf_persist_core::{LoadOptions, LoadedModel, Tensor};
use tf_persist_testing::root;

#[test]
fn the_tensorflow_crate_gives_the_same_answer() {
    let runtime = Runtime::open().unwrap();
    let path = root().join("models/half_plus_two/model");
    let x = Tensor::from_slice(&[3], &[1.0_f32, -2.0, 0.5]).unwrap();
    let ours = LoadedModel::load(&path, LoadOptions::default()).unwrap();
    let ours = ours.signature("serving_default").unwrap().run([("x", &x)]).unwrap();

    let mut graph = Graph::new();
    let bundle = SavedModelBundle::load(&SessionOptions::new(), ["serve"], &mut graph, &path).unwrap();
    let signature = bundle.meta_graph_def().get_signature("serving_default").unwrap();
    let input = signature.get_input("x").unwrap().name();
    let output = signature.get_output("y").unwrap().name();
    let x = runtime.to_tensorflow_rust::<f32>(&x).unwrap();
    let mut args = SessionRunArgs::new();
    args.add_feed(&graph.operation_by_name_required(&input.name).unwrap(), input.index, &x);
    let y = args.request_fetch(&graph.operation_by_name_required(&output.name).unwrap(), output.index);
    bundle.session.run(&mut args).unwrap();
    let theirs = runtime.from_tensorflow_rust(&args.fetch::<f32>(y).unwrap()).unwrap();
    assert_eq!(ours["y"], theirs);
}

#[test]
fn scalars_and_empty_tensors_convert_both_ways() {
    let runtime = Runtime::open().unwrap();
    for tensor in [Tensor::scalar(7_i64).unwrap(), Tensor::from_slice::<i64>(&[2, 0], &[]).unwrap()] {
        let there = runtime.to_tensorflow_rust::<i64>(&tensor).unwrap();
        assert_eq!(runtime.from_tensorflow_rust(&there).unwrap(), tensor);
    }
    assert!(runtime.to_tensorflow_rust::<f32>(&Tensor::scalar(1_i64).unwrap()).is_err());
}
