use serde_json::json;

use crate::layers::emitted::Call;

#[test]
fn batch_normalization_moves_its_statistics_in_training_only() {
    let call = Call::new("BatchNormalization", &[-1, 5, 4]);
    let config = json!({"axis": -1, "momentum": 0.9});
    let emitted = call.with(config.clone()).unwrap();
    let weights = ["gamma", "beta", "moving_mean", "moving_variance"];
    let weights: Vec<String> = (0..4).map(|index| format!("layers/{index} {} [4]", weights[index])).collect();
    assert_eq!((emitted.updates, emitted.count("Mean"), emitted.weights), (0, 0, weights));
    let emitted = call.training().with(config).unwrap();
    assert_eq!((emitted.updates, emitted.count("Mean"), emitted.shapes), (2, 2, vec!["[?,5,4]".to_owned()]));
    let frozen = json!({"axis": -1, "renorm": true});
    assert_eq!(call.with(frozen.clone()).unwrap().weights.len(), 7);
    assert_eq!(call.training().shape(frozen), "`renorm` is not supported in training");
}

#[test]
fn masked_steps_do_not_count_in_batches() {
    let call = Call::new("BatchNormalization", &[-1, 5, 4]).masked();
    let emitted = call.training().with(json!({"axis": -1})).unwrap();
    assert_eq!((emitted.has_mask, emitted.count("Mean"), emitted.count("Sum")), (true, 0, 3));
    assert!(call.with(json!({"axis": -1})).unwrap().has_mask);
}

#[test]
fn keras_2_fuses_what_it_can() {
    let fused =
        |class, input: &[i64], config| Call::new(class, input).keras2().with(config).unwrap().count("FusedBatchNormV3");
    assert_eq!(fused("BatchNormalization", &[-1, 5, 5, 3], json!({"axis": [3]})), 1);
    assert_eq!(fused("BatchNormalization", &[-1, 5, 5, 3], json!({"axis": [1]})), 1);
    assert_eq!(fused("BatchNormalization", &[-1, 5, 5, 3], json!({"axis": [2]})), 0);
    assert_eq!(fused("BatchNormalization", &[-1, 5, 3], json!({"axis": [2]})), 0);
    assert_eq!(fused("BatchNormalization", &[-1, 5, 5, 3], json!({"axis": [3], "renorm": true})), 0);
    assert_eq!(fused("LayerNormalization", &[-1, 5, 3], json!({"axis": [1, 2]})), 1);
    assert_eq!(fused("LayerNormalization", &[-1, 5, 3], json!({"axis": [1]})), 0);
    assert_eq!(fused("LayerNormalization", &[-1, 5, 3], json!({"axis": [2], "epsilon": 1e-6})), 0);
    let call = Call::new("BatchNormalization", &[-1, 5, 5, 3]).keras2().training();
    let emitted = call.with(json!({"axis": [3]})).unwrap();
    assert_eq!((emitted.updates, emitted.count("FusedBatchNormV3")), (2, 1));
}

#[test]
fn groups_split_the_channels() {
    let call = Call::new("GroupNormalization", &[-1, -1, 6]);
    assert_eq!(call.shape(json!({"groups": 3})), "[?,?,6]");
    assert_eq!(call.shape(json!({"groups": -1})), "[?,?,6]");
    assert_eq!(call.shape(json!({"groups": 4})), "axis -1 of size 6 cannot be in 4 groups");
    assert_eq!(call.shape(json!({"groups": 0})), "`groups` is 0, and should be positive or -1");
    assert_eq!(
        call.shape(json!({"groups": 1, "axis": 1})),
        "the size of axis 1 of its input is unknown, and must be known"
    );
}

#[test]
fn spectral_normalization_has_the_kernel_of_its_layer() {
    let dense = json!({"class_name": "Dense", "config": {"name": "dense", "trainable": true, "units": 3}});
    let call = Call::new("SpectralNormalization", &[-1, 5]);
    let config = json!({"layer": dense, "power_iterations": 1});
    let emitted = call.with(config.clone()).unwrap();
    let weights = ["layers/layer/0 kernel [5, 3]", "layers/layer/1 bias [3]", "layers/1 vector_u [1, 3]"];
    assert_eq!(emitted.weights, weights);
    assert_eq!(call.training().shape(config), "it is not supported in training");
}
