//! The state of a run in batches, in a file beside what it has computed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use tf_persist_core::DType;

/// The name of the file.
pub(super) const STATE_FILE: &str = "state.json";

/// The name under which a new state is written before it replaces the old one.
pub(super) const NEW_STATE_FILE: &str = "state.json.new";

/// The version of the format.
const FORMAT: u64 = 1;

/// A run, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// What the outputs depend on besides the rows: the model's digest and the options, by their names.
    pub(super) request: Vec<(String, String)>,
    /// The rows that are done.
    pub(super) rows: usize,
    /// The digest of these rows, for each input that has rows.
    pub(super) digests: Vec<u64>,
    /// The outputs so far; none before the first batch.
    pub(super) outputs: Vec<OutputState>,
}

/// One output, and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputState {
    pub(super) name: String,
    pub(super) dtype: DType,
    /// The shape of one row.
    pub(super) row_shape: Vec<usize>,
    /// The bytes in its file.
    pub(super) bytes: u64,
    /// The longest string, in bytes.
    pub(super) longest: usize,
    /// Whether all strings are UTF-8.
    pub(super) is_text: bool,
}

impl State {
    /// Reads the state in a folder; `None` if there is none, or none that this program understands.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(folder.join(STATE_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => Ok(serde_json::from_slice(&bytes?).ok().and_then(|json| Self::parse(&json))),
        }
    }

    /// Replaces the state in a folder in one step.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(NEW_STATE_FILE);
        let mut file = File::create(&new)?;
        file.write_all(self.to_json().to_string().as_bytes())?;
        file.sync_data()?;
        fs::rename(new, folder.join(STATE_FILE))
    }

    fn to_json(&self) -> Value {
        let request: Map<_, _> =
            self.request.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
        let outputs: Vec<_> = self.outputs.iter().map(OutputState::to_json).collect();
        json!({
            "format": FORMAT,
            "request": request,
            "rows": self.rows,
            "digests": self.digests,
            "outputs": outputs,
        })
    }

    fn parse(json: &Value) -> Option<Self> {
        if json.get("format")?.as_u64()? != FORMAT {
            return None;
        }
        let request = json.get("request")?.as_object()?.iter();
        let request = request.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let digests = json.get("digests")?.as_array()?.iter().map(Value::as_u64);
        let outputs = json.get("outputs")?.as_array()?.iter().map(OutputState::parse);
        Some(Self {
            request: request.collect::<Option<_>>()?,
            rows: number(json, "rows")?,
            digests: digests.collect::<Option<_>>()?,
            outputs: outputs.collect::<Option<_>>()?,
        })
    }
}

impl OutputState {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "dtype": self.dtype.number(),
            "row_shape": self.row_shape,
            "bytes": self.bytes,
            "longest": self.longest,
            "is_text": self.is_text,
        })
    }

    fn parse(json: &Value) -> Option<Self> {
        let dtype = json.get("dtype")?.as_i64().and_then(|number| i32::try_from(number).ok())?;
        let sizes = json.get("row_shape")?.as_array()?.iter();
        let sizes = sizes.map(|size| size.as_u64().and_then(|size| size.try_into().ok()));
        Some(Self {
            name: json.get("name")?.as_str()?.to_owned(),
            dtype: DType::from_number(dtype),
            row_shape: sizes.collect::<Option<_>>()?,
            bytes: json.get("bytes")?.as_u64()?,
            longest: number(json, "longest")?,
            is_text: json.get("is_text")?.as_bool()?,
        })
    }
}

fn number(json: &Value, key: &str) -> Option<usize> {
    json.get(key)?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        let output = OutputState {
            name: "y".to_owned(),
            dtype: DType::BFloat16,
            row_shape: vec![2, 0],
            bytes: u64::MAX,
            longest: 7,
            is_text: true,
        };
        let request = vec![("model".to_owned(), "ab".to_owned()), ("--batch-size".to_owned(), "3".to_owned())];
        let state = State { request, rows: 12, digests: vec![u64::MAX, 0], outputs: vec![output] };
        state.write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), Some(state));
        for other in ["", "{}", "[1", r#"{"format": 2, "request": {}, "rows": 0, "digests": [], "outputs": []}"#] {
            fs::write(folder.path().join(STATE_FILE), other).unwrap();
            assert_eq!(State::read(folder.path()).unwrap(), None, "{other}");
        }
    }
}
