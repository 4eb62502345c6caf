//! A Keras file, opened: its configuration, and where its weights are.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::internals::{check_fetched, recognize_foreign};
use tf_persist_savedmodel::{Error, Hint};

use crate::archive::hdf5::{Group, Hdf5};
use crate::archive::zip::KerasZip;
use crate::archive::{ByteRange, read_file};
use crate::config::Dialect;
use crate::reason::shown_name;

type Result<T> = tf_persist_savedmodel::Result<T>;

/// How the name of a file ends that lists the files into which weights were split.
const SHARDS_SUFFIX: &str = ".weights.json";

/// The largest such list, and the most files in it.
const MAX_LIST: u64 = 64 << 20;
const MAX_SHARDS: usize = 4096;

/// The number of bytes that tell what another file is.
const BEGINNING: usize = 64;

/// How a file holds the weights.
#[derive(Debug, Clone)]
pub(crate) enum WeightLayout {
    /// In folders named after classes, as `.keras` and `.weights.h5` files of Keras 3 have them.
    Folders(Group),
    /// The same in several files.
    Shards(Vec<Group>),
    /// In a group for each layer, as `.h5` files have them.
    Layers(Group),
}

/// An open Keras file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) dialect: Dialect,
    /// The version of Keras that wrote it, if the file tells.
    pub(crate) keras_version: Option<String>,
    /// The model: an object with `class_name` and `config`.
    pub(crate) model: Value,
    /// The sizes of its JSON and of the whole file.
    pub(crate) config_bytes: usize,
    pub(crate) file_bytes: usize,
    /// Whether the model is the file's own. Else it was given for weights alone.
    pub(crate) has_own_model: bool,
    /// How it was compiled, if it was.
    pub(crate) compile_config: Option<Value>,
    pub(crate) weights: WeightLayout,
    /// The state of the optimizer in an `.h5` file.
    pub(crate) optimizer_weights: Option<Group>,
    /// The archive of a `.keras` file.
    pub(crate) archive: Option<KerasZip>,
}

/// Whether a path is a file that its name says is of Keras: `.keras`, `.h5`, `.hdf5`, `.weights.json`.
pub fn is_keras_file(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let is_named = match extension.as_deref() {
        Some("keras" | "h5" | "hdf5") => true,
        Some("json") => path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SHARDS_SUFFIX)),
        _ => false,
    };
    is_named && !path.is_dir()
}

/// The Keras file at a path: the file itself, or the only one in a folder that is not a SavedModel, such as a version
/// of a served model.
pub fn find_keras_file(path: impl AsRef<Path>) -> Option<PathBuf> {
    let path = path.as_ref();
    if !path.is_dir() {
        return is_keras_file(path).then(|| path.to_path_buf());
    }
    let mut found = None;
    for entry in std::fs::read_dir(path).ok()? {
        let entry = entry.ok()?;
        if entry.file_name().to_string_lossy().starts_with("saved_model.") {
            return None;
        }
        if is_keras_file(entry.path()) && found.replace(entry.path()).is_some() {
            return None;
        }
    }
    found
}

impl Source {
    /// Opens a file. `architecture` is the JSON of the model where the file has only weights.
    pub(crate) fn open(path: &Path, architecture: Option<&Path>) -> Result<Self> {
        Self::from_bytes(path, ByteRange::open(path)?, architecture)
    }

    /// Opens a file of these bytes. Errors name `path`.
    pub(crate) fn from_bytes(path: &Path, bytes: impl Into<ByteRange>, architecture: Option<&Path>) -> Result<Self> {
        let bytes = bytes.into();
        let beginning = bytes.beginning(BEGINNING).map_err(Error::io("read", path))?;
        if beginning.starts_with(b"\x89HDF\r\n\x1a\n") {
            return Self::hdf5(path, bytes, architecture);
        }
        if beginning.starts_with(b"PK") {
            if architecture.is_some() {
                let hint = Hint::new("the model in the file is read").unset("architecture");
                let reason = "it has a model of its own, so another one cannot be given".into();
                return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: Some(hint) });
            }
            return Self::archive(path, bytes);
        }
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SHARDS_SUFFIX)) {
            return Self::shards(path, &bytes, architecture);
        }
        Err(not_keras(path, &beginning))
    }

    /// The text files of vocabularies in a `.keras` file, by their paths.
    pub(crate) fn vocabularies(&self) -> Result<HashMap<String, Bytes>> {
        let Some(archive) = &self.archive else { return Ok(HashMap::new()) };
        let names = archive.names().filter(|name| name.starts_with("assets/") && name.ends_with("/vocabulary.txt"));
        names.map(|name| Ok((name.to_owned(), archive.read(name)?))).collect()
    }

    fn archive(path: &Path, bytes: ByteRange) -> Result<Self> {
        let file_bytes = shown_length(&bytes);
        let archive = KerasZip::from_bytes(bytes, path)?;
        if !archive.contains("config.json") {
            return Err(without_config(path, &archive));
        }
        let config = archive.read("config.json")?;
        let model = json(path, "config.json", &config)?;
        let metadata = match archive.contains("metadata.json") {
            true => Some(json(path, "metadata.json", &archive.read("metadata.json")?)?),
            false => None,
        };
        if !archive.contains("model.weights.h5") {
            return Err(Error::Unsupported {
                path: path.to_path_buf(),
                reason: match archive.contains("model.weights.npz") {
                    true => "its weights are in `model.weights.npz`, an archive of numpy, which is not read".into(),
                    false => "it has no `model.weights.h5`".into(),
                },
                hint: Some(Hint::new("save the model again with its weights in HDF5, as Keras does by default")),
            });
        }
        let weights = Hdf5::open_in(archive.range("model.weights.h5")?, path, archive.len())?;
        let version = metadata.as_ref().and_then(|metadata| metadata.get("keras_version")?.as_str()).map(str::to_owned);
        Ok(Self {
            path: path.to_path_buf(),
            dialect: dialect(path, version.as_deref(), &model)?,
            keras_version: version,
            compile_config: present(model.get("compile_config")),
            model,
            config_bytes: config.len(),
            file_bytes,
            has_own_model: true,
            weights: WeightLayout::Folders(weights.root()?),
            optimizer_weights: None,
            archive: Some(archive),
        })
    }

    fn hdf5(path: &Path, bytes: ByteRange, architecture: Option<&Path>) -> Result<Self> {
        let file_bytes = shown_length(&bytes);
        let root = Hdf5::open(bytes, path)?.root()?;
        let text = |name: &str| -> Result<Option<String>> {
            Ok(root.attribute(name)?.and_then(|attribute| attribute.text().map(str::to_owned)))
        };
        let (config, config_bytes) = match (text("model_config")?, architecture) {
            (_, Some(architecture)) => {
                let text = read_file(architecture)?;
                (json(architecture, "", &text)?, text.len())
            }
            (Some(text), None) => (json(path, "model_config", text.as_bytes())?, text.len()),
            (None, None) if root.members()?.groups.is_empty() => {
                let reason = "it is an HDF5 file without a Keras model, and without weights of one".into();
                let hint = Some(Hint::new("give a file that Keras wrote: `model.save(\"model.keras\")`"));
                return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint });
            }
            (None, None) => return Err(without_model(path)),
        };
        let (of_file, in_config) = (text("keras_version")?, version_in(&config));
        let version = if architecture.is_some() { in_config.or(of_file) } else { of_file.or(in_config) };
        let weights = match root.group("model_weights")? {
            Some(group) => WeightLayout::Layers(group),
            None if root.attribute("layer_names")?.is_some() || root.attribute("layer_names0")?.is_some() => {
                WeightLayout::Layers(root.clone())
            }
            None => WeightLayout::Folders(root.clone()),
        };
        let compile_config = match text("training_config")? {
            Some(config) => Some(json(path, "training_config", config.as_bytes())?),
            None => None,
        };
        Ok(Self {
            path: path.to_path_buf(),
            dialect: dialect(path, version.as_deref(), &config)?,
            keras_version: version,
            model: config,
            config_bytes,
            file_bytes,
            has_own_model: architecture.is_none(),
            compile_config: present(compile_config.as_ref()),
            weights,
            optimizer_weights: root.group("optimizer_weights")?,
            archive: None,
        })
    }

    /// Weights that were split into several files, which a list names by the paths in them.
    fn shards(path: &Path, bytes: &ByteRange, architecture: Option<&Path>) -> Result<Self> {
        let Some(architecture) = architecture else { return Err(without_model(path)) };
        if bytes.len() > MAX_LIST {
            return Err(Error::flawed(path, format!("it has {} bytes, more than {MAX_LIST}", bytes.len())));
        }
        let bytes = bytes.bytes().map_err(Error::io("read", path))?;
        let list = json(path, "", &bytes)?;
        let Some(map) = list.get("weight_map").and_then(Value::as_object) else {
            return Err(Error::flawed(path, "it has no `weight_map`"));
        };
        let files = map.values().flat_map(|files| match files {
            Value::Array(files) => files.iter().map(Value::as_str).collect(),
            file => vec![file.as_str()],
        });
        let files: Option<BTreeSet<&str>> = files.collect();
        let Some(files) = files.filter(|files| files.len() <= MAX_SHARDS) else {
            return Err(Error::flawed(path, format!("its `weight_map` does not name at most {MAX_SHARDS} files")));
        };
        let mut roots = Vec::new();
        for file in files {
            let is_name = !file.is_empty() && Path::new(file).file_name() == Some(file.as_ref());
            if !is_name {
                let file = tf_persist_savedmodel::printable(file);
                return Err(Error::flawed(path, format!("its file `{file}` is not a name in its folder")));
            }
            let file = path.with_file_name(file);
            if !file.exists() {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let reason = format!("its shard `{name}` is missing");
                let hint = Some("copy all files that Keras wrote, into one folder".into());
                return Err(Error::Damaged { path: path.to_path_buf(), reason, hint });
            }
            roots.push(Hdf5::open(ByteRange::open(&file)?, &file)?.root()?);
        }
        let config = json(architecture, "", &read_file(architecture)?)?;
        let version = version_in(&config);
        Ok(Self {
            path: path.to_path_buf(),
            dialect: dialect(path, version.as_deref(), &config)?,
            keras_version: version,
            model: config,
            config_bytes: bytes.len(),
            file_bytes: bytes.len(),
            has_own_model: false,
            compile_config: None,
            weights: WeightLayout::Shards(roots),
            optimizer_weights: None,
            archive: None,
        })
    }
}

/// The number of bytes of a file, or as many as a number can count.
fn shown_length(bytes: &ByteRange) -> usize {
    usize::try_from(bytes.len()).unwrap_or(usize::MAX)
}

/// The version in a config, as `model.to_json()` of Keras 2 has it.
fn version_in(config: &Value) -> Option<String> {
    config.get("keras_version").and_then(Value::as_str).map(str::to_owned)
}

fn without_model(path: &Path) -> Error {
    let config = path.with_file_name("config.json");
    let beside = match path.file_name().is_some_and(|name| name == "model.weights.h5") {
        true => std::fs::read_to_string(&config).ok(),
        false => None,
    };
    let (reason, hint) = match beside {
        Some(text) if text.contains("\"keras_hub>") || text.contains("\"keras_nlp>") => (
            "it has the weights of a preset of Keras Hub, whose layers are code",
            Hint::new("load it in Python with `from_preset`, and write it with `model.export(DIR)`"),
        ),
        Some(_) => {
            let text = format!("the model is beside it, in `{}`", config.display());
            ("it has weights and no model", Hint::new(text).set_to("architecture", config.display().to_string()))
        }
        None => (
            "it has weights and no model",
            Hint::new("give the JSON of the model (`model.to_json()`)").set("architecture"),
        ),
    };
    Error::Unsupported { path: path.to_path_buf(), reason: reason.into(), hint: Some(hint) }
}

/// The error for a file with this beginning, which is neither a zip archive nor of HDF5.
fn not_keras(path: &Path, beginning: &[u8]) -> Error {
    if let Err(error) = check_fetched(path, beginning) {
        return error;
    }
    let (reason, hint) = match recognize_foreign(path, beginning) {
        Some((what, hint)) => (format!("it is {what}"), hint),
        None => (
            "it is neither a zip archive (`.keras`) nor an HDF5 file (`.h5`)".into(),
            Hint::new("save the model with `model.save(\"model.keras\")`"),
        ),
    };
    Error::Unsupported { path: path.to_path_buf(), reason, hint: Some(hint) }
}

/// The error for a zip archive without the config of a model.
fn without_config(path: &Path, archive: &KerasZip) -> Error {
    let inside = archive.names().find_map(|name| name.strip_suffix("/config.json"));
    let any = |end: &str| archive.names().any(|name| name.ends_with(end));
    let (reason, hint) = if let Some(folder) = inside {
        let folder = tf_persist_savedmodel::printable(folder);
        let hint = Hint::new("pack the files themselves, without the folder");
        (format!("its files are in a folder `{folder}`, where Keras does not have them"), hint)
    } else if any(".npy") {
        let hint = Hint::new("save the weights with `model.save_weights(\"model.weights.h5\")`");
        ("it is an archive of numpy (`.npz`), and weights are read from HDF5 files".into(), hint)
    } else if any("data.pkl") {
        ("it is a file of PyTorch".into(), Hint::new("make the model in Keras or TensorFlow, and save it there"))
    } else {
        let hint = Hint::new("save the model with `model.save(\"model.keras\")`");
        ("it is a zip archive without `config.json`, so it is not a Keras file".into(), hint)
    };
    Error::Unsupported { path: path.to_path_buf(), reason, hint: Some(hint) }
}

/// `name` is the part of the file that should be JSON; empty for the whole.
fn json(path: &Path, name: &str, bytes: &[u8]) -> Result<Value> {
    let value = serde_json::from_slice(bytes).or_else(|error| match with_quoted_numbers(bytes) {
        Some(quoted) => serde_json::from_slice(&quoted),
        None => Err(error),
    });
    let what = if name.is_empty() { "it".to_owned() } else { format!("`{name}`") };
    value.map_err(|error| Error::flawed(path, format!("{what} is not JSON: {error}")))
}

/// The text with the numbers that Python writes and JSON does not have as strings: `Infinity`, `-Infinity` and `NaN`.
/// `None` if it has none of them.
fn with_quoted_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let mut quoted = Vec::with_capacity(bytes.len() + 64);
    let (mut in_string, mut found, mut index) = (false, false, 0);
    while let Some(byte) = bytes.get(index) {
        let name = NAMES.iter().find(|name| !in_string && bytes[index..].starts_with(name.as_bytes()));
        if let Some(name) = name {
            quoted.extend_from_slice(format!("\"{name}\"").as_bytes());
            index += name.len();
            found = true;
            continue;
        }
        quoted.push(*byte);
        index += 1;
        match byte {
            b'"' => in_string = !in_string,
            // The next byte belongs to this one.
            b'\\' if in_string => {
                quoted.extend(bytes.get(index));
                index += 1;
            }
            _ => {}
        }
    }
    found.then_some(quoted)
}

/// The value, if it is not null or empty.
fn present(value: Option<&Value>) -> Option<Value> {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    value.filter(|value| !is_empty(value)).cloned()
}

/// The dialect, by the version that the file gives, else by the form of its config.
fn dialect(path: &Path, version: Option<&str>, model: &Value) -> Result<Dialect> {
    let Some(version) = version else {
        let text = model.to_string();
        let has = |key: &str| text.contains(&format!("\"{key}\""));
        if has("nb_filter") || has("init") && !has("kernel_initializer") {
            return Err(too_old(path, "1"));
        }
        return match (has("batch_shape"), has("batch_input_shape")) {
            (true, false) => Ok(Dialect::Keras3),
            (_, true) => Ok(Dialect::Keras2),
            _ if model.get("module").is_some() => Ok(Dialect::Keras3),
            _ if has("output_dim") && !has("units") => Err(too_old(path, "1")),
            _ => Ok(Dialect::Keras2),
        };
    };
    match version.split('.').next() {
        Some("3") => Ok(Dialect::Keras3),
        Some("2") => Ok(Dialect::Keras2),
        _ => Err(too_old(path, version)),
    }
}

fn too_old(path: &Path, version: &str) -> Error {
    let version = shown_name(version);
    Error::Unsupported {
        path: path.to_path_buf(),
        reason: format!("it was written by Keras {version}, and Keras 2 and 3 are read"),
        hint: Some(match version.split('.').next().map(str::parse::<u64>) {
            Some(Ok(4..)) => Hint::new("save it with Keras 3, or look for a newer tf-persist"),
            _ => Hint::new("load it with Keras 2, such as 2.3, and save it again"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python_become_strings() {
        let read = |text: &str| json(Path::new("x"), "config.json", text.as_bytes());
        let value = read(r#"{"a": [Infinity, -Infinity, NaN, 1], "b\" Infinity": "NaN \\"}"#).unwrap();
        assert_eq!(value, serde_json::json!({"a": ["Infinity", "-Infinity", "NaN", 1], "b\" Infinity": "NaN \\"}));
        assert!(read("{Infinit}").is_err() && read("[NaN").is_err() && read("").is_err());
    }
}
