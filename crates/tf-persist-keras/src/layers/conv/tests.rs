use serde_json::json;

use crate::layers::emitted::Call;

#[test]
fn convolutions_have_the_shapes_of_keras() {
    let call = |class, input| Call::new(class, input);
    let config = json!({"filters": 5, "kernel_size": [3], "strides": [2], "padding": "same"});
    assert_eq!(call("Conv1D", &[-1, 9, 4]).shape(config.clone()), "[?,5,5]");
    assert_eq!(call("Conv1D", &[-1, -1, 4]).shape(config), "[?,?,5]");
    let config = json!({"filters": 6, "kernel_size": [3, 2], "data_format": "channels_first", "groups": 2});
    let emitted = call("Conv2D", &[2, 4, 8, 8]).with(config).unwrap();
    assert_eq!((emitted.shapes[0].as_str(), emitted.count("Transpose")), ("[2,6,6,7]", 2));
    assert_eq!(emitted.weights, ["layers/0 kernel [3, 2, 2, 6]", "layers/1 bias [6]"]);
    let config = json!({"filters": 2, "kernel_size": 2, "strides": 3, "padding": "valid"});
    assert_eq!(call("Conv3D", &[-1, 5, 8, 9, 3]).shape(config.clone()), "[?,2,3,3,2]");
    assert_eq!(call("Conv3DTranspose", &[-1, 2, 3, 3, 3]).shape(config), "[?,6,9,9,2]");
    let config = json!({"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0});
    assert_eq!(call("Conv2DTranspose", &[-1, 4, -1, 3]).shape(config), "[?,7,?,2]");
    let config = json!({"kernel_size": 3, "depth_multiplier": 2, "use_bias": false});
    assert_eq!(call("DepthwiseConv2D", &[-1, 8, 8, 3]).shape(config), "[?,6,6,6]");
    let config = json!({"filters": 4, "kernel_size": 3, "dilation_rate": 2, "strides": 2, "padding": "same"});
    assert_eq!(call("SeparableConv2D", &[-1, 9, 9, 3]).shape(config), "[?,5,5,4]");
}

#[test]
fn dilation_moves_elements_to_the_batch() {
    let config = json!({"filters": 4, "kernel_size": 3, "dilation_rate": [1, 2], "padding": "same"});
    for input in [[-1, 7, 9, 3], [-1, 7, -1, 3]] {
        let emitted = Call::new("Conv2D", &input).with(config.clone()).unwrap();
        assert_eq!((emitted.count("SpaceToBatchND"), emitted.count("BatchToSpaceND")), (1, 1));
    }
    assert_eq!(Call::new("Conv2D", &[-1, 7, 9, 3]).shape(config), "[?,7,9,4]");
    let config = json!({"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "causal"});
    assert_eq!(Call::new("Conv1D", &[-1, 7, 3]).shape(config), "[?,7,4]");
}

#[test]
fn training_uses_ops_that_have_gradients() {
    let config = json!({"filters": 6, "kernel_size": 3, "groups": 2});
    let call = Call::new("Conv2D", &[-1, 7, 7, 4]);
    assert_eq!(call.with(config.clone()).unwrap().count("Conv2D"), 1);
    assert_eq!(call.training().with(config).unwrap().count("Conv2D"), 2);
    let config = json!({"filters": 8, "kernel_size": 3, "groups": 4});
    assert_eq!(call.training().with(config).unwrap().count("DepthwiseConv2dNative"), 1);
    let config = json!({"filters": 8, "kernel_size": 3, "dilation_rate": 2});
    let call = Call::new("Conv2DTranspose", &[-1, 7, 7, 4]);
    assert_eq!(call.with(config.clone()).unwrap().count("SpaceToBatchND"), 0);
    assert_eq!(call.training().with(config).unwrap().count("SpaceToBatchND"), 1);
}

#[test]
fn impossible_convolutions_are_refused() {
    let refused = |class, config| Call::new(class, &[-1, 7, 7, 4]).shape(config);
    let cases = [
        (json!({"filters": 4, "kernel_size": 0}), "`kernel_size` is [0, 0], and should be 2 sizes"),
        (json!({"filters": 4, "kernel_size": [1, 2, 3]}), "`kernel_size` is [1, 2, 3], and should be 2 sizes"),
        (json!({"filters": 5, "kernel_size": 1, "groups": 2}), "5 filters cannot be in 2 groups"),
        (json!({"filters": 3, "kernel_size": 1, "groups": 3}), "4 channels cannot be in 3 groups"),
        (json!({"filters": 3, "kernel_size": 9}), "a window of 9 does not fit a dimension of size 7"),
        (json!({"filters": 3, "kernel_size": 1, "padding": "causal"}), "`padding` is `causal`, which is not supported"),
        (
            json!({"filters": 3, "kernel_size": 1, "strides": 2, "dilation_rate": 2}),
            "`strides` and `dilation_rate` are both above 1, which is impossible",
        ),
        (
            json!({"filters": 3, "kernel_size": 1, "rounds": 2}),
            "its config has the key `rounds`, which is unknown for this class",
        ),
    ];
    for (config, reason) in cases {
        assert_eq!(refused("Conv2D", config), reason);
    }
    let config = json!({"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 5});
    assert_eq!(refused("Conv2DTranspose", config), "its `output_padding` does not fit the strides");
    let huge = json!({"filters": 4_000_000_000_u64, "kernel_size": 4_000_000_000_u64});
    assert_eq!(refused("Conv2D", huge), "`kernel` of shape [4000000000, 4000000000, 4, 4000000000] is too large");
    let config = json!({"kernel_size": 3, "strides": [1, 2]});
    let reason = "a depthwise convolution with strides 1 and 2 is impossible: they differ";
    assert_eq!(refused("DepthwiseConv2D", config), reason);
}

#[test]
fn locally_connected_layers_are_of_keras_2() {
    let call = Call::new("LocallyConnected2D", &[-1, 6, 5, 2]).keras2();
    for implementation in 1..=3 {
        let config = json!({"filters": 3, "kernel_size": [3, 2], "implementation": implementation});
        let emitted = call.with(config).unwrap();
        assert_eq!(emitted.shapes, ["[?,4,4,3]"]);
        let kernel = ["[16, 12, 3]", "[6, 5, 2, 4, 4, 3]", "[576]"][implementation - 1];
        assert_eq!(emitted.weights, [format!("layers/0 kernel {kernel}"), "layers/1 bias [4, 4, 3]".into()]);
    }
    let config = json!({"filters": 3, "kernel_size": 2, "padding": "same"});
    assert_eq!(call.shape(config), "`padding` must be `valid` where `implementation` is 1");
}
