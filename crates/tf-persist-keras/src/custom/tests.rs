//! Custom layers that are models: `models/custom_keras` has the files, which real Keras wrote.

use std::fs;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::{Result, SavedModel, Tensor};

use super::CustomObjects;
use crate::convert::{Emitted, KerasModel, OpenOptions};
use crate::graph::Resource;
use crate::layers::Weight;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/custom_keras")
}

/// A folder with the file of recipes, and with the models in it.
fn with_recipes(recipes: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["encoder.keras", "with_encoder.keras"] {
        fs::copy(folder().join(name), dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("recipes.toml"), recipes).unwrap();
    dir
}

fn custom(recipes: &str) -> Result<CustomObjects> {
    let mut custom = CustomObjects::new();
    custom.add_file(with_recipes(recipes).path().join("recipes.toml"))?;
    Ok(custom)
}

fn opened(name: &str, custom: CustomObjects) -> Result<KerasModel> {
    OpenOptions::default().custom_objects(custom).open(folder().join(name))
}

const ENCODER: &str = "[layers.\"my_package>Encoder\"]\nmodel = \"encoder.keras\"\n";

fn emitted(name: &str) -> Emitted {
    opened(name, custom(ENCODER).unwrap()).unwrap().emitted().unwrap()
}

fn names(emitted: &Emitted, is_it: impl Fn(&Weight) -> bool) -> Vec<String> {
    let variables = emitted.program.variables.borrow();
    let name = |weight: &Weight| match weight.resource {
        Resource::Variable(index) => variables[index].name.clone(),
        Resource::Table(_) => String::new(),
    };
    emitted.weights.iter().filter(|weight| is_it(weight)).map(name).collect()
}

#[test]
fn the_documentation_shows_the_file() {
    let shown = fs::read_to_string(folder().join("../../docs/keras.md")).unwrap();
    assert!(shown.contains(&fs::read_to_string(folder().join("encoder.toml")).unwrap()));
}

#[test]
fn weights_come_from_the_model_unless_the_outer_file_has_them() {
    let inner = ["hidden/kernel", "hidden/bias", "code/kernel", "code/bias"];
    let inner = inner.map(|name| format!("weights/encode/{name}"));
    let of_model = emitted("with_encoder.keras");
    assert_eq!(names(&of_model, |weight| !weight.is_saved), inner);
    assert_eq!(names(&of_model, |weight| weight.trainable), ["weights/dense/kernel", "weights/dense/bias"]);
    let tuned = emitted("with_tuned_encoder.keras");
    assert_eq!(names(&tuned, |weight| !weight.is_saved), [""; 0]);
    assert_eq!(names(&tuned, |weight| weight.trainable).len(), 6);
    assert_eq!(names(&tuned, |_| true)[0], "weights/encode/encoder/hidden/kernel");
}

#[test]
fn values_are_those_of_the_model() {
    let kernel = |model: &KerasModel, name: &str| -> Tensor {
        let dir = tempfile::tempdir().unwrap();
        model.export(dir.path().join("model"), false).unwrap();
        let saved = SavedModel::open(dir.path().join("model")).unwrap();
        saved.read_variable(name).unwrap()
    };
    let encoder = crate::open(folder().join("encoder.keras")).unwrap();
    let of_model = opened("with_encoder.keras", custom(ENCODER).unwrap()).unwrap();
    let tuned = opened("with_tuned_encoder.keras", custom(ENCODER).unwrap()).unwrap();
    let wanted = kernel(&encoder, "weights/hidden/kernel");
    assert_eq!(kernel(&of_model, "weights/encode/hidden/kernel"), wanted);
    assert_ne!(kernel(&tuned, "weights/encode/encoder/hidden/kernel"), wanted);
}

/// A folder with recipes, and the encoder as a SavedModel.
fn with_saved_model(recipes: &str) -> tempfile::TempDir {
    let dir = with_recipes(recipes);
    crate::open(folder().join("encoder.keras")).unwrap().export(dir.path().join("encoder"), false).unwrap();
    dir
}

#[test]
fn a_saved_model_is_a_layer() {
    let dir = with_saved_model("[layers.\"my_package>Encoder\"]\nmodel = \"encoder\"\n");
    let mut custom = CustomObjects::new();
    custom.add_file(dir.path().join("recipes.toml")).unwrap();
    let model = opened("with_encoder.keras", custom.clone()).unwrap();
    let emitted = model.emitted().unwrap();
    assert_eq!(names(&emitted, |_| true), ["weights/dense/kernel", "weights/dense/bias"]);
    assert_eq!(model.summary().unwrap().outputs[0].shape, [None, Some(2)]);
    model.export(dir.path().join("outer"), false).unwrap();
    let outer = SavedModel::open(dir.path().join("outer")).unwrap();
    assert_eq!(outer.meta_graphs()[0].signature("serving_default").unwrap().inputs.len(), 1);
    let error = opened("with_tuned_encoder.keras", custom).unwrap().export(dir.path().join("tuned"), false);
    assert!(error.unwrap_err().to_string().contains("that the model does not have"));
}

#[test]
fn wrong_saved_models_are_refused() {
    let refusal = |recipe: &str| {
        let dir = with_saved_model(&format!("[layers.Encoder]\nmodel = \"encoder\"\n{recipe}\n"));
        CustomObjects::new().add_file(dir.path().join("recipes.toml")).unwrap_err().to_string()
    };
    assert!(refusal("signature = \"frob\"").contains("frob"));
    assert!(refusal("attribute = \"frob\"").contains("`attribute` does not go with a SavedModel"));
    assert!(refusal("inputs = [\"x\", \"y\"]").contains("`y`, which is no input"));
    let dir = with_recipes("[layers.Encoder]\nmodel = \"folder\"\n");
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(CustomObjects::new().add_file(dir.path().join("recipes.toml")).is_err());
}

#[test]
fn saved_models_with_tables_are_refused() {
    for name in ["text", "bare_table"] {
        let dir = with_recipes("[layers.Encoder]\nmodel = \"tables\"\n");
        copy_folder(&folder().join("..").join(name).join("model"), &dir.path().join("tables"));
        let error = CustomObjects::new().add_file(dir.path().join("recipes.toml")).unwrap_err().to_string();
        assert!(error.contains("table") || error.contains("init op"), "{error}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match source.is_dir() {
            true => copy_folder(&source, &target),
            false => assert!(fs::copy(source, target).is_ok()),
        }
    }
}

#[test]
fn paths_stay_in_the_folder_of_the_recipes() {
    for path in ["../encoder.keras", "/etc/passwd", "", "a/../../encoder.keras"] {
        let error = custom(&format!("[layers.Encoder]\nmodel = \"{path}\"\n")).unwrap_err().to_string();
        assert!(error.contains("is not one in the folder of the recipes"), "{error}");
    }
    let error = CustomObjects::new().add_toml(ENCODER).unwrap_err();
    assert!(error.contains("only a file of recipes can name a model"), "{error}");
}

#[test]
fn wrong_recipes_are_refused() {
    let refusal = |recipe: &str| custom(&format!("[layers.Encoder]\n{recipe}\n")).unwrap_err().to_string();
    assert!(refusal("model = \"frob.keras\"").contains("frob.keras"));
    assert!(refusal("model = 3").contains("should be a text"));
    assert!(refusal("model = \"recipes.toml\"").contains("neither a zip archive"));
    assert!(refusal("model = \"encoder.keras\"\nsteps = []").contains("`steps` does not go with `model`"));
    assert!(refusal("model = \"encoder.keras\"\nmask = \"keep\"").contains("`pass` nor `drop`"));
}

#[test]
fn a_model_in_itself_is_refused() {
    let recursive = custom("[layers.\"my_package>Encoder\"]\nmodel = \"with_encoder.keras\"\n").unwrap();
    let error = opened("with_encoder.keras", recursive).unwrap_err().to_string();
    assert!(error.contains("that stands for it has such a layer itself"), "{error}");
}

#[test]
fn other_attributes_have_no_weights_in_the_file() {
    let other = custom(&format!("{ENCODER}attribute = \"frob\"\n")).unwrap();
    let error = opened("with_tuned_encoder.keras", other).unwrap().export("/nonexistent/x", false).unwrap_err();
    assert!(error.to_string().contains("that the model does not have"), "{error}");
}
