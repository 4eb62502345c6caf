//! Files whose optimizer is not as it should be.

use serde_json::json;

use super::keras_file::{Copied, copy};
use crate::archive::hdf5::Hdf5;
use crate::archive::hdf5_writer::Group;
use crate::fuzzing;

/// Keras 3.15 fails half-way when it writes the state of `Adafactor` to an `.h5` file: the names of its variables are
/// not different. Such a file has all that inference needs.
#[test]
fn without_all_of_its_optimizer_a_model_is_for_inference() {
    let dense = json!({"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 2}});
    let input = json!({"module": "keras.layers", "class_name": "InputLayer",
        "config": {"name": "x", "batch_shape": [null, 3], "dtype": "float32"}});
    let config = json!({"module": "keras", "class_name": "Sequential",
        "config": {"name": "m", "layers": [input, dense], "build_input_shape": [null, 3]},
        "compile_config": {"optimizer": {"class_name": "Adam", "config": {}}, "loss": "mse"}});
    let bytes = fuzzing::h5_file(config.to_string().as_bytes(), Some("3.15.1")).unwrap();
    let whole = fuzzing::open(bytes.clone()).unwrap();
    assert_eq!(whole.why_inference_only().unwrap(), None);

    let mut tree = Group::default();
    let file = Hdf5::open(bytes, "m.h5".as_ref()).unwrap();
    copy(&file.root().unwrap(), &mut tree, &mut |_| Ok(Copied::Same)).unwrap();
    tree.group("optimizer_weights").unwrap().set_texts("weight_names", vec!["adam/velocity".into()]).unwrap();
    let model = fuzzing::open(tree.to_bytes().unwrap()).unwrap();
    let reason = model.why_inference_only().unwrap().unwrap();
    assert!(reason.starts_with("the file lacks the optimizer's weight `adam/velocity`"), "{reason}");
    let folder = tempfile::tempdir().unwrap();
    let exported = model.export(folder.path().join("out"), false).unwrap();
    assert_eq!(exported.why_inference_only, Some(reason));
    model.save(folder.path().join("back.keras"), &super::KerasSaveOptions::default()).unwrap();
}
