//! The file `MLmodel`, by which MLflow loads a model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};
use tf_persist_savedmodel::saved_model::{MetaGraph, TensorInfo};
use tf_persist_savedmodel::{DType, SavedModel, SignatureDef};

use crate::files::is_safe;
use crate::manifest::Manifest;

/// The name of the file.
pub(super) const ML_MODEL: &str = "MLmodel";

/// The most bytes of the file.
pub(super) const MAX_ML_MODEL: u64 = 4 << 20;

/// The folder of the SavedModel that a push writes.
pub(super) const MODEL_FOLDER: &str = "model/";

/// The files beside it that say what loading it needs.
pub(super) const REQUIREMENTS: &str = "requirements.txt";
pub(super) const PYTHON_ENV: &str = "python_env.yaml";

/// The signature that TensorFlow names so by default.
const DEFAULT_SIGNATURE: &str = "serving_default";

/// What a model is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// The folder with the SavedModel or the Keras file, with `/` at the end.
    pub(super) folder: String,
}

/// Finds the files of a model by its `MLmodel`.
///
/// # Errors
/// A sentence, if it is not YAML, or not a model of TensorFlow or Keras.
pub(super) fn read(text: &[u8]) -> Result<Contents, String> {
    #[derive(Deserialize)]
    struct MlModel {
        #[serde(default)]
        flavors: BTreeMap<String, Value>,
    }
    // Only Python's objects that are in there twice have aliases. An alias can make a file of any size.
    let budget = serde_saphyr::budget! { max_depth: 32, max_nodes: 50_000, max_aliases: 100, max_anchors: 100 };
    let options = serde_saphyr::options! { budget: budget };
    let model: MlModel = serde_saphyr::from_slice_with_options(text, options)
        .map_err(|error| format!("its `{ML_MODEL}` cannot be read: {}", first_line(&error.to_string())))?;
    let flavor = ["tensorflow", "keras"].into_iter().find_map(|name| model.flavors.get(name));
    let Some(flavor) = flavor else {
        let known: Vec<&str> =
            model.flavors.keys().map(String::as_str).filter(|name| *name != "python_function").collect();
        return Err(match known.is_empty() {
            true => "it is not a model of TensorFlow or Keras".to_owned(),
            false => format!("it is a model of {}, and not of TensorFlow or Keras", known.join(", ")),
        });
    };
    let text = |key: &str| flavor.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let folder = text("saved_model_dir").or_else(|| text("data")).unwrap_or("data").trim_end_matches('/');
    match is_safe(folder) {
        true => Ok(Contents { folder: format!("{folder}/") }),
        false => Err(format!("its `{ML_MODEL}` names a folder `{folder}`, which leads elsewhere")),
    }
}

/// What an `MLmodel` is written for.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) model: &'a SavedModel,
    pub(super) manifest: &'a Manifest,
    /// The SHA-256 of the manifest.
    pub(super) digest: &'a str,
    /// MLflow's name for the logged model.
    pub(super) id: &'a str,
    pub(super) artifact_uri: &'a str,
}

impl Written<'_> {
    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let (manifest, mut text) = (self.manifest, String::new());
        let graphs = self.model.meta_graphs();
        let graph = graphs.iter().find(|graph| graph.has_tags(&["serve"])).or_else(|| graphs.first());
        let signature = graph.and_then(chosen_signature);
        let mut line = |indent: usize, key: &str, value: Option<&Value>| {
            let value = value.map_or(String::new(), |value| format!(" {}", yaml(value)));
            let _ = writeln!(text, "{:indent$}{key}:{value}", "");
        };
        line(0, "artifact_path", Some(&self.artifact_uri.into()));
        line(0, "flavors", None);
        line(2, "python_function", None);
        line(4, "env", None);
        line(6, "virtualenv", Some(&PYTHON_ENV.into()));
        line(4, "loader_module", Some(&"mlflow.tensorflow".into()));
        line(2, "tensorflow", None);
        // With this type MLflow calls the signature, with the other one the object, which most exports do not have.
        let kind = if signature.is_some() { "tf1-estimator" } else { "tf2-module" };
        line(4, "model_type", Some(&kind.into()));
        line(4, "saved_model_dir", Some(&MODEL_FOLDER.trim_end_matches('/').into()));
        if let (Some(graph), Some(signature)) = (graph, signature) {
            line(4, "meta_graph_tags", Some(&graph.tags().into()));
            line(4, "signature_def_key", Some(&signature.name.as_str().into()));
        }
        let about = json!({"model": manifest.model, "version": manifest.version, "manifest_sha256": self.digest});
        line(0, "metadata", None);
        line(2, "tf_persist", Some(&about));
        line(0, "model_id", Some(&self.id.into()));
        line(0, "model_size_bytes", Some(&manifest.bytes().into()));
        line(0, "model_uuid", Some(&self.id.into()));
        if let Some(signature) = signature
            && let Some(inputs) = specs(&signature.inputs)
        {
            // JSON within a string.
            line(0, "signature", None);
            line(2, "inputs", Some(&inputs.to_string().into()));
            let outputs = specs(&signature.outputs).map(|outputs| outputs.to_string().into());
            line(2, "outputs", Some(&outputs.unwrap_or(Value::Null)));
        }
        let created = manifest.published_at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
        line(0, "utc_time_created", Some(&created.into()));
        text
    }
}

/// The packages that load a model.
pub(super) fn requirements(manifest: &Manifest) -> String {
    let version = &manifest.tensorflow_version;
    let is_version = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte));
    // Models of TensorFlow 1 are loaded by every later one, and no Python of today has a package of it.
    match version.split('.').next().and_then(|major| major.parse::<u64>().ok()) {
        Some(2..) if is_version => format!("mlflow>=3\ntensorflow=={version}\n"),
        _ => "mlflow>=3\ntensorflow\n".to_owned(),
    }
}

/// The environment that MLflow makes for the model: its packages, under any version of Python.
pub(super) fn python_env() -> String {
    format!("dependencies:\n- -r {REQUIREMENTS}\n")
}

/// The signature that MLflow calls: the one that is the default, or else the first with an output.
fn chosen_signature(graph: &MetaGraph) -> Option<&SignatureDef> {
    let all = || graph.signatures().iter().filter(|signature| !signature.outputs.is_empty());
    all().find(|signature| signature.name == DEFAULT_SIGNATURE).or_else(|| all().next())
}

/// Inputs or outputs as MLflow describes them. `None` if it has no word for one of them.
fn specs(tensors: &[(String, TensorInfo)]) -> Option<Value> {
    let spec = |(name, info): &(String, TensorInfo)| {
        let shape = info.shape.sizes()?.iter().map(|size| size.map_or(Some(-1), |size| i64::try_from(size).ok()));
        let shape: Vec<i64> = shape.collect::<Option<_>>()?;
        let dtype = numpy_name(info.dtype)?;
        Some(json!({"name": name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}))
    };
    let specs: Vec<Value> = tensors.iter().map(spec).collect::<Option<_>>()?;
    (!specs.is_empty()).then(|| specs.into())
}

/// What numpy calls a dtype, if it has it.
fn numpy_name(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "bool",
        DType::Int8 => "int8",
        DType::Int16 => "int16",
        DType::Int32 => "int32",
        DType::Int64 => "int64",
        DType::UInt8 => "uint8",
        DType::UInt16 => "uint16",
        DType::UInt32 => "uint32",
        DType::UInt64 => "uint64",
        DType::Float16 => "float16",
        DType::Float32 => "float32",
        DType::Float64 => "float64",
        DType::Complex64 => "complex64",
        DType::Complex128 => "complex128",
        DType::String => "str",
        _ => return None,
    })
}

/// A value as YAML: JSON is YAML, but PyYAML refuses some letters that JSON may have as they are.
fn yaml(value: &Value) -> String {
    let is_refused = |letter: char| matches!(u32::from(letter), 0x7f..=0x9f | 0xfffe | 0xffff | 0xfeff);
    // JSON within a string is legible between single quotes only.
    if let Value::String(text) = value
        && text.contains('"')
        && !text.contains(|letter: char| letter.is_control() || is_refused(letter))
    {
        return format!("'{}'", text.replace('\'', "''"));
    }
    value.to_string().chars().fold(String::new(), |mut text, letter| {
        match is_refused(letter) {
            true => drop(write!(text, "\\u{:04x}", u32::from(letter))),
            false => text.push(letter),
        }
        text
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
