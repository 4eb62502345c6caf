//! Files of inputs.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{ModelError, SignatureDef, SignatureError, Tensor};

use crate::error::UsageError;

/// The contents of a file of inputs.
pub(crate) enum FileInputs {
    Arrays(Vec<(String, Tensor)>),
    Json { source: String, bytes: Vec<u8> },
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
                Ok(Self::Json { source: "standard input".into(), bytes })
            }
            "npz" => Ok(Self::Arrays(npz::read_file(path)?)),
            "json" => {
                Ok(Self::Json { bytes: fs::read(path).with_context(|| format!("cannot read `{source}`"))?, source })
            }
            "npy" => {
                bail!(UsageError(format!("`{source}` is one array without a name: give it as --input NAME=@{source}")))
            }
            "jsonl" => bail!(UsageError(format!("`{source}` has many requests: give it as --requests {source}"))),
            _ => bail!(UsageError(format!("`{source}` does not end in .npz or .json"))),
        }
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
