//! Entries for fuzz targets and tests of hostile files. They are not part of the library's interface.

use std::io::Cursor;
use std::path::Path;

use serde_json::Value;
use tf_persist_savedmodel::{Result, Tensor};

use crate::archive::Attribute;
use crate::archive::hdf5::Hdf5;
use crate::archive::hdf5_writer::Group;
use crate::archive::zip::KerasZip;
use crate::archive::zip_writer::KerasZipWriter;
use crate::layers::Weight;
use crate::source::Source;
use crate::{KerasModel, OpenOptions};

/// The path that errors name.
const PATH: &str = "fuzz.keras";

/// The most bytes of all weights that [`keras_file`] adds to a config.
const MAX_WEIGHTS: usize = 1 << 20;

/// The most elements of all constants and weights of a model that is written.
const MAX_WRITTEN: u64 = 1 << 20;

/// Opens the bytes of a `.keras` or `.h5` file.
///
/// # Errors
/// As [`crate::open`].
pub fn open(bytes: Vec<u8>) -> Result<KerasModel> {
    KerasModel::new(Source::from_bytes(Path::new(PATH), bytes, None)?, &OpenOptions::default())
}

/// Does with a file what commands do: opens it, describes it, and converts it if it is small.
///
/// # Errors
/// As [`crate::open`] and [`KerasModel::export`].
pub fn convert(bytes: Vec<u8>) -> Result<()> {
    describe_and_write(&open(bytes)?)
}

/// As [`convert`], of a file, of which only what is needed is in memory at a time.
///
/// # Errors
/// As [`convert`].
pub fn convert_file(path: &Path) -> Result<()> {
    describe_and_write(&crate::open(path)?)
}

fn describe_and_write(model: &KerasModel) -> Result<()> {
    let summary = model.summary()?;
    model.why_inference_only()?;
    if summary.parameters <= MAX_WRITTEN {
        model.to_saved_model()?;
    }
    Ok(())
}

/// Reads all entries of a zip archive.
///
/// # Errors
/// If it is no archive, or one of its entries cannot be read.
pub fn read_zip(bytes: Vec<u8>) -> Result<()> {
    let archive = KerasZip::from_bytes(bytes, Path::new(PATH))?;
    archive.names().try_for_each(|name| archive.read(name).map(|_| ()))
}

/// Reads all groups, datasets and attributes of an HDF5 file.
///
/// # Errors
/// If it is no HDF5 file, or something in it cannot be read.
pub fn read_hdf5(bytes: Vec<u8>) -> Result<()> {
    let file = Hdf5::open(bytes, Path::new(PATH))?;
    let mut groups = vec![file.root()?];
    while let Some(group) = groups.pop() {
        group.attributes()?;
        for name in group.members()?.groups {
            groups.extend(group.group(&name)?);
        }
    }
    for dataset in file.datasets()? {
        dataset.attributes()?;
        dataset.dtype()?;
        dataset.read()?;
    }
    Ok(())
}

/// A `.keras` file with this `config.json`, with zeros for all weights if they are small. None if it cannot be written.
#[must_use]
pub fn keras_file(config: &[u8], keras_version: Option<&str>) -> Option<Vec<u8>> {
    let bytes = archive(config, keras_version, &Group::default())?;
    let weights = open(bytes.clone()).and_then(|model| model.saved_weights());
    match weights.ok().and_then(|weights| zeros(&weights)) {
        Some(group) => archive(config, keras_version, &group),
        None => Some(bytes),
    }
}

/// A `.h5` file with this `model_config`, as [`keras_file`].
#[must_use]
pub fn h5_file(config: &[u8], keras_version: Option<&str>) -> Option<Vec<u8>> {
    let model = open(archive(config, keras_version, &Group::default())?).ok()?;
    let mut weights = model.saved_weights().ok()?;
    weights.sort_by_key(|weight| !weight.trainable);
    let mut root = Group::default();
    let mut config: Value = serde_json::from_slice(config).ok()?;
    let compiled = config.as_object_mut().and_then(|config| config.remove("compile_config"));
    root.set("model_config", Attribute::Text(config.to_string()));
    root.set("training_config", Attribute::Text(compiled.unwrap_or_default().to_string()));
    root.set("keras_version", Attribute::Text(keras_version.unwrap_or("2.4.0").to_owned()));
    root.set("backend", Attribute::FixedText("tensorflow".into()));
    let mut names: Vec<(String, Vec<String>)> = Vec::new();
    for weight in &weights {
        let layer = weight.place.layers.first()?.clone();
        let name = format!("{}/{}:0", weight.place.layers.join("/"), weight.name);
        let value = Tensor::zeros(weight.dtype, &weight.shape).ok()?;
        root.insert(&format!("model_weights/{layer}/{name}"), value).ok()?;
        match names.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, names)) => names.push(name),
            None => names.push((layer, vec![name])),
        }
    }
    let group = root.group("model_weights").ok()?;
    group.set_texts("layer_names", names.iter().map(|(layer, _)| layer.clone()).collect()).ok()?;
    for (layer, names) in names {
        group.group(&layer).ok()?.set_texts("weight_names", names).ok()?;
    }
    root.to_bytes().ok()
}

/// Zeros for weights, where `.keras` files have them.
fn zeros(weights: &[Weight]) -> Option<Group> {
    let mut left = MAX_WEIGHTS;
    let mut root = Group::default();
    for weight in weights {
        let elements = weight.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
        left = left.checked_sub(elements.checked_mul(weight.dtype.size()?)?)?;
        let folders: Vec<&str> =
            weight.place.folders.iter().filter_map(|names| names.first()).map(String::as_str).collect();
        let path = format!("{}/vars/{}", folders.join("/"), weight.index);
        root.insert(&path, Tensor::zeros(weight.dtype, &weight.shape).ok()?).ok()?;
    }
    Some(root)
}

fn archive(config: &[u8], keras_version: Option<&str>, weights: &Group) -> Option<Vec<u8>> {
    let mut writer = KerasZipWriter::new(Cursor::new(Vec::new()));
    if let Some(version) = keras_version {
        let metadata = serde_json::json!({"keras_version": version});
        writer.add("metadata.json", &serde_json::to_vec(&metadata).ok()?).ok()?;
    }
    writer.add("config.json", config).ok()?;
    writer.add("model.weights.h5", &weights.to_bytes().ok()?).ok()?;
    Some(writer.finish().ok()?.into_inner())
}

/// The config of a model in a file, with how it was compiled, and the version of Keras that wrote it.
///
/// # Errors
/// As [`crate::open`].
pub fn config_of(path: &Path) -> Result<(Value, Option<String>)> {
    let source = Source::open(path, None)?;
    let mut config = source.model;
    if let (Value::Object(config), Some(compiled)) = (&mut config, source.compile_config) {
        config.insert("compile_config".into(), compiled);
    }
    Ok((config, source.keras_version))
}
