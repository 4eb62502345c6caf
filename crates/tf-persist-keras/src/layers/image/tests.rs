use serde_json::json;
use tf_persist_savedmodel::DType;

use crate::layers::emitted::Call;

#[test]
fn images_are_resized_and_cropped() {
    let shape = |class, input: &[i64], config| Call::new(class, input).shape(config);
    let size = json!({"height": 5, "width": 7});
    assert_eq!(shape("Resizing", &[-1, 9, 8, 3], size.clone()), "[?,5,7,3]");
    assert_eq!(shape("Resizing", &[-1, -1, 3], size.clone()), "[5,7,3]");
    assert_eq!(shape("CenterCrop", &[-1, 9, 8, 3], size.clone()), "[?,5,7,3]");
    assert_eq!(shape("CenterCrop", &[-1, -1, -1, 3], size.clone()), "[?,5,7,3]");
    let emitted = Call::new("CenterCrop", &[-1, 4, 8, 3]).with(size.clone()).unwrap();
    assert_eq!((emitted.shapes[0].as_str(), emitted.count("ResizeBilinear")), ("[?,5,7,3]", 1));
    let emitted = Call::new("CenterCrop", &[-1, -1, 8, 3]).keras2().with(size).unwrap();
    assert_eq!((emitted.shapes[0].as_str(), emitted.count("SelectV2")), ("[?,5,7,3]", 1));
    let padded = json!({"height": 5, "width": 7, "pad_to_aspect_ratio": true, "data_format": "channels_first"});
    assert_eq!(shape("Resizing", &[-1, 3, -1, 8], padded), "[?,3,5,7]");
    let both = json!({"height": 5, "width": 7, "pad_to_aspect_ratio": true, "crop_to_aspect_ratio": true});
    let reason = "`crop_to_aspect_ratio` and `pad_to_aspect_ratio` exclude each other";
    assert_eq!(shape("Resizing", &[-1, 9, 8, 3], both), reason);
    let none = json!({"height": 0, "width": 7});
    assert_eq!(shape("Resizing", &[-1, 9, 8, 3], none), "`height` is 0, and should be a positive size");
}

#[test]
fn integers_are_rounded() {
    let size = json!({"height": 5, "width": 7, "dtype": "uint8"});
    let emitted = Call { dtype: DType::UInt8, ..Call::new("Resizing", &[-1, 9, 8, 3]) }.with(size.clone()).unwrap();
    assert_eq!((emitted.count("Round"), emitted.count("Minimum")), (1, 1));
    assert_eq!(Call::new("Resizing", &[-1, 9, 8, 3]).with(json!({"height": 5, "width": 7})).unwrap().count("Round"), 0);
    let doubled = json!({"size": 2, "interpolation": "bilinear"});
    let emitted = Call { dtype: DType::UInt8, ..Call::new("UpSampling2D", &[-1, 9, 8, 3]) }.with(doubled).unwrap();
    assert_eq!(emitted.count("Round"), 1);
}

#[test]
fn augmentations_are_not_for_training() {
    let call = Call::new("RandomFlip", &[-1, 9, 8, 3]);
    let config = json!({"mode": "horizontal", "seed": null});
    assert_eq!(call.shape(config.clone()), "[?,9,8,3]");
    assert_eq!(call.training().shape(config), "its random changes are not supported in training");
    let reason = "its config has the key `strength`, which is unknown for this class";
    assert_eq!(call.shape(json!({"strength": 1})), reason);
    // Keras 2 resizes to the size of the crop at inference.
    let crop = json!({"height": 5, "width": 7});
    assert_eq!(Call::new("RandomCrop", &[-1, 9, 8, 3]).keras2().shape(crop.clone()), "[?,5,7,3]");
    assert_eq!(Call::new("RandomCrop", &[-1, 9, 8, 3]).shape(crop), "[?,9,8,3]");
}

#[test]
fn histograms_need_tiles_that_fit() {
    let shape = |input: &[i64], grid| {
        let class = "ContrastLimitedAdaptiveHistogramEqualization";
        Call::new(class, input).shape(json!({"tile_grid_size": grid}))
    };
    assert_eq!(shape(&[-1, 9, 14, 3], json!([2, 3])), "[?,9,14,3]");
    assert_eq!(shape(&[-1, 9, 14, 3], json!([2, 30])), "images of 9 by 14 pixels cannot be in 2 by 30 tiles");
    assert_eq!(shape(&[-1, 9, 14, 3], json!([0, 3])), "`tile_grid_size` is [0, 3], which is not supported");
    assert_eq!(shape(&[-1, -1, 14, 3], json!(2)), "the size of axis 1 of its input is unknown, and must be known");
}

#[test]
fn spectrograms_have_frames_and_bins() {
    let config = json!({"frame_length": 16, "frame_step": 8, "mode": "stft", "expand_dims": true});
    assert_eq!(Call::new("STFTSpectrogram", &[-1, 100, 2]).shape(config.clone()), "[?,11,18,2]");
    assert_eq!(Call::new("STFTSpectrogram", &[-1, -1, 2]).shape(config), "[?,?,18,2]");
    let config = json!({"fft_length": 64, "sequence_stride": 16, "num_mel_bins": 8});
    assert_eq!(Call::new("MelSpectrogram", &[-1, 300]).shape(config.clone()), "[?,8,19]");
    assert_eq!(Call::new("MelSpectrogram", &[-1, -1]).shape(config.clone()), "[?,8,?]");
    let reason = "its input of shape [?,20] is shorter than half of `fft_length`";
    assert_eq!(Call::new("MelSpectrogram", &[-1, 20]).shape(config), reason);
}
