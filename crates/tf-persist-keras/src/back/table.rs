//! Which variable of a SavedModel is which dataset of the Keras file that it came from: `variables.json`.

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::DType;

use super::keras_file::Container;
use crate::config::policy::dtype;
use crate::reason::{Result, refuse};

/// The version of the form of `variables.json`.
const FORMAT: u64 = 1;

/// The variables of a model and where its file has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) container: Container,
    pub(crate) entries: Vec<Entry>,
    /// The entries of the archive besides the weights, in order.
    pub(crate) files: Vec<String>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name in the SavedModel, such as `weights/dense/kernel`.
    pub(crate) name: String,
    /// The key in the checkpoint.
    pub(crate) key: String,
    /// The path of the dataset in the file of the weights.
    pub(crate) path: String,
    /// The layer and the name of the weight in it, as an `.h5` file has them. The optimizer is no layer.
    pub(crate) layer: Option<String>,
    pub(crate) weight: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
}

impl Table {
    pub(crate) fn to_json(&self) -> Value {
        let entry = |entry: &Entry| {
            json!({
                "name": entry.name,
                "key": entry.key,
                "path": entry.path,
                "layer": entry.layer,
                "weight": entry.weight,
                "dtype": entry.dtype.name(),
                "shape": entry.shape,
            })
        };
        json!({
            "format": FORMAT,
            "container": match self.container {
                Container::Archive => "keras",
                Container::Hdf5 => "h5",
            },
            "files": self.files,
            "variables": self.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn from_json(value: &Value) -> Result<Self> {
        match value.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(format) => refuse!("it has the form {format}, and {FORMAT} is known"),
            None => refuse!("it has no `format`"),
        }
        let container = match value.get("container").and_then(Value::as_str) {
            Some("keras") => Container::Archive,
            Some("h5") => Container::Hdf5,
            _ => refuse!("its `container` is neither `keras` nor `h5`"),
        };
        let list = |key: &str| match value.get(key) {
            Some(Value::Array(items)) => Ok(items),
            _ => refuse!("its `{key}` is not a list"),
        };
        let file = |file: &Value| match file.as_str() {
            Some(file) => Ok(file.to_owned()),
            None => refuse!("one of its `files` is not a name"),
        };
        Ok(Self {
            container,
            files: list("files")?.iter().map(file).collect::<Result<_>>()?,
            entries: list("variables")?.iter().map(entry).collect::<Result<_>>()?,
        })
    }
}

fn entry(value: &Value) -> Result<Entry> {
    let Some(object) = value.as_object() else { refuse!("one of its `variables` is not an object") };
    let shape = match object.get("shape") {
        Some(Value::Array(sizes)) => sizes.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect(),
        _ => None,
    };
    let Some(shape) = shape else { refuse!("a variable has no `shape`") };
    Ok(Entry {
        name: text(object, "name")?,
        key: text(object, "key")?,
        path: text(object, "path")?,
        layer: object.get("layer").and_then(Value::as_str).map(str::to_owned),
        weight: text(object, "weight")?,
        dtype: dtype(&text(object, "dtype")?)?,
        shape,
    })
}

fn text(object: &Map<String, Value>, key: &str) -> Result<String> {
    match object.get(key).and_then(Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => refuse!("a variable has no `{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = Entry {
            name: "weights/a/kernel".into(),
            key: "weights/a/kernel/.ATTRIBUTES/VARIABLE_VALUE".into(),
            path: "layers/dense/vars/0".into(),
            layer: Some("a".into()),
            weight: "a/kernel".into(),
            dtype: DType::BFloat16,
            shape: vec![2, 3],
        };
        let state = Entry { layer: None, dtype: DType::Int64, shape: Vec::new(), ..entry.clone() };
        let files = vec!["config.json".to_owned()];
        let table = Table { container: Container::Archive, entries: vec![entry, state], files };
        assert_eq!(Table::from_json(&table.to_json()), Ok(table.clone()));
        let table = Table { container: Container::Hdf5, ..table };
        assert_eq!(Table::from_json(&table.to_json()), Ok(table));
    }

    #[test]
    fn other_forms_are_refused() {
        for value in [json!([]), json!({"format": 2}), json!({"format": 1, "container": "h5", "files": []})] {
            assert!(Table::from_json(&value).is_err(), "{value}");
        }
    }
}
