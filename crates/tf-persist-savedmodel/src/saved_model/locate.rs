//! Finding the file of a SavedModel, or describing what the path has instead.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Hint, Result, SavedModelError, names as list_names};
use tf_persist_proto::wire::Reader;

use super::layout::{CHUNKED_GRAPH_FILE as CHUNKED, GRAPH_FILE as BINARY, TEXT_GRAPH_FILE as TEXT};
use crate::container::pack::Pack;
use crate::foreign;
use crate::stand_in;

/// The most entries of a folder that are read to describe it.
const MAX_ENTRIES: usize = 10_000;

/// The file of a SavedModel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModelFile {
    /// A protobuf.
    Binary(PathBuf),
    /// A protobuf in text format.
    Text(PathBuf),
}

/// The file of the SavedModel in a pack.
///
/// # Errors
/// [`SavedModelError::NotASavedModel`] if the pack has none.
pub(super) fn locate_in(pack: &Pack) -> Result<ModelFile> {
    let path = |name| pack.path().join(name);
    if pack.find(BINARY).is_some() {
        return Ok(ModelFile::Binary(path(BINARY)));
    }
    if pack.find(TEXT).is_some() {
        return Ok(ModelFile::Text(path(TEXT)));
    }
    let reason = format!("it is a pack without `{BINARY}` and without `{TEXT}`");
    Err(Error::SavedModel(SavedModelError::NotASavedModel { path: pack.path().to_path_buf(), reason, hint: None }))
}

/// The reason and the hint of an error.
type Refusal = (String, Option<Hint>);

/// The file of the SavedModel in a folder.
///
/// # Errors
/// [`SavedModelError::NotASavedModel`] with a description of the folder; [`Error::Unsupported`] for a model in chunks.
pub(super) fn locate(path: &Path) -> Result<ModelFile> {
    let refuse = |(reason, hint): Refusal| {
        Error::SavedModel(SavedModelError::NotASavedModel { path: path.to_path_buf(), reason, hint })
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(refuse(("it does not exist".into(), None)));
        }
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    if metadata.is_file() {
        return Err(refuse(of_file(path)));
    }
    if !metadata.is_dir() {
        return Err(refuse(("it is neither a folder nor a file".into(), None)));
    }
    if path.join(BINARY).exists() {
        return Ok(ModelFile::Binary(path.join(BINARY)));
    }
    if path.join(TEXT).exists() {
        return Ok(ModelFile::Text(path.join(TEXT)));
    }
    if path.join(CHUNKED).exists() {
        return Err(Error::Unsupported {
            path: path.join(CHUNKED),
            reason: "it is a model in chunks, which open-source TensorFlow up to 2.21 neither writes nor reads: its loaders do not \
                     look at this file"
                .into(),
            hint: Some("export it anew where it was written, as a `saved_model.pb` with its weights as variables".into()),
        });
    }
    of_folder(path).map(refuse).map(Err)?
}

/// Describes a file at a path that should be a folder.
fn of_file(path: &Path) -> Refusal {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    if [BINARY, TEXT, CHUNKED].contains(&name.as_ref()) {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let hint = format!("give the folder that it is in: `{}`", folder.display());
        return ("it is the file inside a SavedModel".into(), Some(hint.into()));
    }
    let begins = beginning(path);
    if extension == "keras" || extension == "h5" || extension == "hdf5" || begins.starts_with(b"\x89HDF") {
        return keras_file(&name);
    }
    if begins.starts_with(b"PK\x03\x04") && foreign::is_keras_archive(&begins) {
        return (
            "it is a Keras file without the end `.keras` of its name".into(),
            Some("rename it, to `.keras`".into()),
        );
    }
    if extension == "tflite" || begins.get(4..8) == Some(b"TFL3") {
        return tflite();
    }
    if [".index", ".ckpt", ".meta"].iter().any(|end| name.ends_with(end)) || name.contains(".data-0") {
        return checkpoint();
    }
    if name.ends_with(".weights.json") {
        return sharded_weights(&name);
    }
    if extension == "npz" || extension == "npy" {
        let hint = Hint::new("name the model, and give the arrays as inputs of a signature, or as data to train on");
        return ("it is a file of numpy arrays".into(), Some(hint.set("inputs").set("data")));
    }
    let is_archive = ["zip", "tar", "tgz", "gz", "zst", "xz"].contains(&extension.as_str());
    if let Some((what, hint)) = foreign::recognize(path, &begins).filter(|_| !is_archive && !begins.is_empty()) {
        return (format!("it is {what}"), Some(hint));
    }
    if is_archive || begins.starts_with(b"PK\x03\x04") {
        return ("it is an archive".into(), Some("unpack it, and give the folder with `saved_model.pb`".into()));
    }
    if looks_like_graph(path) {
        return graph_refusal(&name);
    }
    if extension == "pb" || extension == "pbtxt" {
        let hint = "export a SavedModel in Python, with `tf.saved_model.save`";
        return ("it is a single file, perhaps a frozen graph; a SavedModel is a folder".into(), Some(hint.into()));
    }
    if extension == "json" {
        let hint = Hint::new("give the file with the weights, and the JSON of a Keras model beside it");
        return ("it is JSON, perhaps a model without its weights".into(), Some(hint.set("architecture")));
    }
    (
        "it is a file; a SavedModel is a folder".into(),
        Some("name the folder with `saved_model.pb`, or a Keras file".into()),
    )
}

/// Describes a folder without the file of a model.
fn of_folder(path: &Path) -> Result<Refusal> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("read", path))?.take(MAX_ENTRIES) {
        names.push(entry.map_err(Error::io("read", path))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        return Ok(("it is an empty folder".into(), None));
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let ends = |end: &str| names.iter().find(|name| name.to_ascii_lowercase().ends_with(end));
    let is_model = |name: &&String| [BINARY, TEXT].iter().any(|file| path.join(name).join(file).exists());

    if has("export.meta") {
        let hint = "load it in TensorFlow 1 and export it with `tf.saved_model`";
        return Ok(("it is a SessionBundle of 2016, the format before SavedModel".into(), Some(hint.into())));
    }
    let versions = names.iter().filter(|name| name.parse::<u64>().is_ok()).filter(is_model);
    if let Some(latest) = versions.max_by_key(|name| name.parse::<u64>().unwrap_or_default()) {
        let hint = format!("name a version, such as `{}`", path.join(latest).display());
        return Ok(("it is a folder of versions, as TensorFlow Serving has them".into(), Some(hint.into())));
    }
    if names.iter().any(|name| path.join(name).join("export.meta").exists()) {
        let hint = "load them in TensorFlow 1 and export them with `tf.saved_model`";
        return Ok((
            "it is a folder of SessionBundles of 2016, the format before SavedModel".into(),
            Some(hint.into()),
        ));
    }
    let models: Vec<&String> = names.iter().filter(is_model).collect();
    if let [only] = models[..] {
        let hint = format!("the folder `{}` inside it is one", path.join(only).display());
        return Ok((format!("it has no `{BINARY}`"), Some(hint.into())));
    }
    if let [first, ..] = models[..] {
        let named: Vec<String> = models.iter().map(|name| (*name).clone()).collect();
        let hint = format!("name one of them, such as `{}`", path.join(first).display());
        return Ok((
            format!("it is a folder with {} models in it: {}", named.len(), list_names(&named)),
            Some(hint.into()),
        ));
    }
    if let Some(name) = ends(".keras").or_else(|| ends(".h5")).or_else(|| ends(".hdf5")) {
        return Ok(keras_file(name));
    }
    if let Some(name) = ends(".weights.json") {
        return Ok(sharded_weights(name));
    }
    if has("config.json") && has("model.weights.h5") {
        return Ok(keras_file("config.json"));
    }
    if ends(".tflite").is_some() {
        return Ok(tflite());
    }
    if has("model.json") {
        let hint = "export a SavedModel from the model that it was made of";
        return Ok(("it is a model of TensorFlow.js".into(), Some(hint.into())));
    }
    if has("checkpoint") || ends(".index").is_some() {
        return Ok(checkpoint());
    }
    let is_graph = |name: &&String| {
        [".pb", ".pbtxt"].iter().any(|end| name.to_ascii_lowercase().ends_with(end))
            && looks_like_graph(&path.join(name))
    };
    if let Some(name) = names.iter().find(is_graph) {
        return Ok(graph_refusal(name));
    }
    Ok((format!("it has no `{BINARY}` and no `{TEXT}`"), None))
}

/// The error for a bare graph, in the folder of a model or by itself.
pub(super) fn bare_graph(path: &Path, name: &str) -> Error {
    let (reason, hint) = graph_refusal(name);
    Error::SavedModel(SavedModelError::NotASavedModel { path: path.to_path_buf(), reason, hint })
}

fn graph_refusal(name: &str) -> Refusal {
    let hint = "export a SavedModel of it in Python: import it with `tf.import_graph_def` in a `tf.compat.v1.Session`, and name its \
                inputs and outputs to `tf.compat.v1.saved_model.simple_save`";
    let reason =
        format!("`{}` is a bare graph (GraphDef), a frozen one perhaps, without signatures", name.escape_debug());
    (reason, Some(hint.into()))
}

/// Whether a file begins like a serialized `GraphDef` with nodes, or like its text.
fn looks_like_graph(path: &Path) -> bool {
    let begins = beginning(path);
    // A length-delimited field 1 that begins with a field 1: a node and its name.
    let mut reader = Reader::new(begins.get(1..).unwrap_or_default());
    let is_node = begins.first() == Some(&0x0a) && reader.varint().is_ok();
    is_node && begins.get(1 + reader.position()) == Some(&0x0a) || looks_like_graph_text(&begins)
}

/// Whether a text begins like a `GraphDef`.
pub(super) fn looks_like_graph_text(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).unwrap_or_default();
    ["node", "library", "versions"].iter().any(|field| {
        let rest = first.strip_prefix(field.as_bytes()).map(<[u8]>::trim_ascii_start);
        rest.is_some_and(|rest| matches!(rest.first(), Some(b'{' | b'<' | b':')))
    })
}

fn keras_file(name: &str) -> Refusal {
    let hint =
        "name the Keras file itself, which ends in `.keras` or `.h5`; in Rust the crate tf-persist-keras reads it";
    (format!("`{}` is a Keras file", name.escape_debug()), Some(hint.into()))
}

fn sharded_weights(name: &str) -> Refusal {
    let hint = "load them in Python with `model.load_weights(FILE)`, and write that model with `model.export(DIR)`";
    (format!("`{}` lists the shards of Keras's sharded weights", name.escape_debug()), Some(hint.into()))
}

fn tflite() -> Refusal {
    let hint = "export a SavedModel from the model that it was made of";
    ("it is a TensorFlow Lite model".into(), Some(hint.into()))
}

fn checkpoint() -> Refusal {
    let hint = "a checkpoint has variables without a graph: restore it in Python into its model, and export that";
    ("it is a bare checkpoint".into(), Some(hint.into()))
}

/// The first bytes of a file, or none.
fn beginning(path: &Path) -> Vec<u8> {
    fs::File::open(path).map(stand_in::beginning).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for a folder with these files; `PATH` replaces the folder.
    fn refusal(files: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        said(folder.path()).replace(&folder.path().display().to_string(), "PATH")
    }

    fn said(path: &Path) -> String {
        let error = locate(path).unwrap_err();
        format!("{error}; {}", error.hint().map_or_else(String::new, |hint| hint.to_string()))
    }

    #[test]
    fn finds_the_file_that_tensorflow_takes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TEXT), "").unwrap();
        assert_eq!(locate(folder.path()).unwrap(), ModelFile::Text(folder.path().join(TEXT)));
        fs::write(folder.path().join(BINARY), "").unwrap();
        assert_eq!(locate(folder.path()).unwrap(), ModelFile::Binary(folder.path().join(BINARY)));
    }

    #[test]
    fn says_what_a_folder_is() {
        assert!(refusal(&[]).contains("it is an empty folder"));
        assert!(refusal(&["export.meta", "export-00000-of-00001"]).contains("SessionBundle"));
        assert!(refusal(&["00000123/export.meta"]).contains("a folder of SessionBundles"));
        assert!(refusal(&["checkpoint", "m.index", "m.data-00000-of-00001"]).contains("bare checkpoint"));
        assert!(refusal(&["9/saved_model.pb", "10/saved_model.pb", "a"]).contains("such as `PATH/10`"));
        assert!(refusal(&["model/saved_model.pb"]).contains("the folder `PATH/model` inside it"));
        assert!(refusal(&["model.keras"]).contains("ends in `.keras` or `.h5`"));
        assert!(refusal(&["config.json", "metadata.json", "model.weights.h5"]).contains("Keras"));
        assert!(
            refusal(&["a/saved_model.pb", "b/saved_model.pbtxt", "c"])
                .contains("2 models in it: `a` and `b`; name one")
        );
        assert!(refusal(&["model.tflite"]).contains("TensorFlow Lite"));
        assert!(refusal(&["model.json", "group1-shard1of1.bin"]).contains("TensorFlow.js"));
        assert!(refusal(&["saved_model.cpb"]).contains("neither writes nor reads"));
        assert!(refusal(&["weights.bin"]).contains("no `saved_model.pb` and no `saved_model.pbtxt`"));
    }

    #[test]
    fn says_where_a_bare_graph_is() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        write("labels.txt", b"a");
        for (name, content) in [
            ("frozen_graph.pb", &b"\x0a\x1d\x0a\x01x\x12\x0bPlaceholder"[..]),
            ("graph.pbtxt", b"# made by hand\nnode {\n  name: \"x\"\n}\n"),
        ] {
            write(name, content);
            let said = [said(folder.path()), said(&folder.path().join(name))];
            for said in said {
                let expected = format!("`{name}` is a bare graph (GraphDef)");
                assert!(said.contains(&expected) && said.contains("export a SavedModel"), "{said}");
            }
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        write("weights.pb", b"\x08\x01");
        assert!(said(folder.path()).contains("no `saved_model.pb` and no"));
    }

    #[test]
    fn says_what_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            said(&path)
        };
        let hint = format!("give the folder that it is in: `{}`", folder.path().display());
        assert!(file("saved_model.pb", b"").contains(&hint));
        assert!(file("model.keras", b"").contains("Keras file"));
        assert!(file("weights", b"\x89HDF\r\n\x1a\n").contains("Keras file"));
        assert!(file("model", b"\x1c\0\0\0TFL3").contains("TensorFlow Lite"));
        assert!(file("variables.index", b"").contains("bare checkpoint"));
        assert!(file("model.tar.gz", b"").contains("archive"));
        assert!(file("frozen.pb", b"").contains("frozen graph"));
        assert!(file("m.weights.json", b"{}").contains("sharded weights; load them in Python"));
        assert!(file("a.in.npz", b"PK\x03\x04").contains("numpy arrays; name the model"));
        assert!(file("notes", b"").contains("a SavedModel is a folder"));
        assert!(said(&folder.path().join("nothing")).contains("it does not exist"));
        assert!(said(&folder.path().join("notes/below")).contains("it does not exist"));
    }
}
