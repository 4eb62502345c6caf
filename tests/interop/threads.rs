//! Concurrent runs of one signature.

use std::thread;

use tf_persist_core::{LoadOptions, LoadedModel, Tensor};
use tf_persist_testing::root;

#[test]
fn many_threads_run_one_signature() {
    let model = LoadedModel::load(root().join("models/half_plus_two/model"), LoadOptions::default()).unwrap();
    let signature = model.signature("serving_default").unwrap();
    thread::scope(|scope| {
        for number in 0..8 {
            let signature = &signature;
            scope.spawn(move || {
                for round in 0..200 {
                    let x = (number * 1000 + round) as f32;
                    let inputs = [("x", Tensor::from_slice(&[2], &[x, -x]).unwrap())];
                    let outputs = signature.run(inputs).unwrap();
                    assert_eq!(outputs["y"].view::<f32>().unwrap(), [x / 2.0 + 2.0, -x / 2.0 + 2.0]);
                }
            });
        }
    });
}

#[test]
fn outputs_and_signatures_outlive_their_model() {
    let model = LoadedModel::load(root().join("models/half_plus_two/model"), LoadOptions::default()).unwrap();
    let signature = model.signature("serving_default").unwrap();
    drop(model);
    let outputs = signature.run([("x", Tensor::from_slice(&[1], &[4.0_f32]).unwrap())]).unwrap();
    drop(signature);
    assert_eq!(outputs["y"].view::<f32>().unwrap(), [4.0]);
}
