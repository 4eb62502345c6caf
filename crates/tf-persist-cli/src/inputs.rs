//! Files of inputs.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tf_persist_core::tensor::json::without_byte_order_mark;
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{ModelError, SignatureDef, SignatureError, Tensor};

use crate::columns::{self, ColumnReader};
use crate::error::{self, Hinted, UsageError};

/// As many columns that are not read are named.
const SHOWN: usize = 10;

/// The contents of a file of inputs.
pub(crate) enum FileInputs {
    Arrays(Vec<(String, Tensor)>),
    Json {
        source: String,
        bytes: Vec<u8>,
    },
    /// A file of columns, which is read when it is known which of them are inputs.
    Columns(PathBuf, columns::Format),
}

impl FileInputs {
    /// Reads a file; the ending of its name tells the format.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let source = path.display().to_string();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending {
            _ if source == "-" => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
                Ok(Self::json("standard input".into(), bytes))
            }
            "npz" => Ok(Self::Arrays(npz::read_file(path)?)),
            "json" => {
                let bytes = fs::read(path).with_context(|| format!("cannot read `{source}`"))?;
                Ok(Self::json(source, bytes))
            }
            "npy" => {
                bail!(UsageError(format!("`{source}` is one array without a name: give it as --input NAME=@{source}")))
            }
            "jsonl" => bail!(UsageError(format!("`{source}` has many requests: give it as --requests {source}"))),
            _ => match columns::Format::of(path) {
                Some(format) => Ok(Self::Columns(path.to_path_buf(), format)),
                None => bail!(UsageError(format!("`{source}` does not end in .npz, .json, .parquet or .arrow"))),
            },
        }
    }

    fn json(source: String, mut bytes: Vec<u8>) -> Self {
        let mark = bytes.len() - without_byte_order_mark(&bytes).len();
        bytes.drain(..mark);
        Self::Json { source, bytes }
    }
}

/// Opens the columns of a file that are inputs of a signature, to be read about `window` rows at a time.
pub(crate) fn open_columns(
    signature: &SignatureDef,
    path: &Path,
    format: columns::Format,
    window: usize,
) -> anyhow::Result<ColumnReader> {
    let inputs = signature.input_tensors();
    let reader = ColumnReader::open(path, format, window, |name| inputs.iter().any(|(input, _)| input == name))?;
    if !reader.others().is_empty() {
        let others: Vec<String> = reader.others().iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        let more = reader.others().len() - others.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (path, signature) = (path.display(), &signature.name);
        error::warn(&format!("signature `{signature}` does not read {}{more} of `{path}`", others.join(", ")));
    }
    Ok(reader)
}

/// The rows of a column as an input takes them: single values may be a column of a matrix.
pub(crate) fn column_rows(signature: &SignatureDef, name: &str, rows: Tensor) -> anyhow::Result<Tensor> {
    let has_column = matches!(signature.input(name).and_then(|info| info.shape.sizes()), Some([_, Some(1)]));
    match *rows.shape() {
        [count] if has_column => Ok(rows.reshape(&[count, 1])?),
        _ => Ok(rows),
    }
}

/// A numpy array with the signature's dtype, where that keeps its bits, such as uint16 for bfloat16.
pub(crate) fn reinterpreted(
    signature: &SignatureDef,
    name: String,
    array: Tensor,
) -> Result<(String, Tensor), ModelError> {
    let expected = signature.input_dtype(&name)?;
    match npy::into_dtype(array, expected) {
        Ok(tensor) => Ok((name, tensor)),
        Err(given) => {
            Err(SignatureError::WrongDType { signature: signature.name.clone(), input: name, expected, given }.into())
        }
    }
}

/// As [`reinterpreted`], of an array that comes from numpy, whose dtype can be changed there.
pub(crate) fn from_numpy(signature: &SignatureDef, name: String, array: Tensor) -> anyhow::Result<(String, Tensor)> {
    reinterpreted(signature, name, array).map_err(|error| {
        let hint = match &error {
            ModelError::Signature(SignatureError::WrongDType { input, expected, .. }) => {
                npy::conversion(input, *expected)
            }
            _ => return error.into(),
        };
        Hinted { error: error.into(), hint }.into()
    })
}
