//! Inputs from the command line and from files.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use tf_persist_core::tensor::json::{ExtraInputs, Request, read_value};
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{DType, ModelError, SignatureDef, SignatureError, Tensor, TensorError};

use super::examples;
use crate::args::RunArgs;
use crate::error::UsageError;

/// What was given, read but not yet made tensors of: that takes the signature's dtypes.
pub(super) struct Given<'a> {
    args: &'a RunArgs,
    file: Option<FileInputs>,
    signature_name: Option<String>,
}

/// What stands in a file of inputs.
pub(crate) enum FileInputs {
    Arrays(Vec<(String, Tensor)>),
    Json { source: String, bytes: Vec<u8> },
}

impl<'a> Given<'a> {
    pub(super) fn read(args: &'a RunArgs) -> anyhow::Result<Self> {
        let file = args.inputs.as_deref().map(FileInputs::read).transpose()?;
        let mut signature_name = args.signature.clone();
        if let Some(FileInputs::Json { source, bytes }) = &file {
            let named = Request::parse(source, bytes)?.signature_name().map(str::to_owned);
            match (&signature_name, named) {
                (Some(asked), Some(named)) if *asked != named => {
                    bail!("`{source}` is for the signature `{named}`, and --signature names `{asked}`")
                }
                (None, named) => signature_name = named,
                _ => {}
            }
        }
        Ok(Self { args, file, signature_name })
    }

    /// The signature that was asked for, by `--signature` or in the request.
    pub(super) fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// The tensors that were given, by name. Names and dtypes are the signature's to check.
    pub(super) fn tensors(self, signature: &SignatureDef) -> anyhow::Result<Vec<(String, Tensor)>> {
        let mut tensors = match self.file {
            None => Vec::new(),
            Some(FileInputs::Arrays(arrays)) => arrays
                .into_iter()
                .map(|(name, array)| reinterpreted(signature, name, array))
                .collect::<Result<_, _>>()?,
            Some(FileInputs::Json { source, bytes }) => {
                let wanted = signature.input_tensors();
                Request::parse(&source, &bytes)?.tensors(&signature.name, &wanted, ExtraInputs::Refuse)?
            }
        };
        let naming = self.args.examples.is_some();
        for input in self.args.input.iter().filter(|input| !(naming && examples::names_input(input))) {
            tensors.push(single(signature, input)?);
        }
        Ok(tensors)
    }
}

impl FileInputs {
    /// Reads a file by the ending of its name.
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
                bail!(UsageError(format!("`{source}` is one array without a name; give it as --input NAME=@{source}")))
            }
            "jsonl" => bail!(UsageError(format!("`{source}` has many requests; give it as --requests {source}"))),
            _ => bail!(UsageError(format!("`{source}` ends neither in .npz nor in .json"))),
        }
    }
}

/// One `NAME=JSON` or `NAME=@FILE.npy`.
fn single(signature: &SignatureDef, input: &str) -> anyhow::Result<(String, Tensor)> {
    let Some((name, value)) = input.split_once('=') else {
        bail!("--input `{input}` is not NAME=JSON or NAME=@FILE.npy");
    };
    if let Some(path) = value.strip_prefix('@') {
        if Path::new(path).extension().is_none_or(|ending| ending != "npy") {
            bail!(UsageError(format!("--input {name}: `{path}` does not end in .npy")));
        }
        return Ok(reinterpreted(signature, name.to_owned(), npy::read_file(path)?)?);
    }
    let dtype = signature.input_dtype(name)?;
    let source = format!("--input {name}");
    let tensor = read_value(&source, value.as_bytes(), dtype).map_err(|error| match error {
        ModelError::Tensor(TensorError::InvalidData { source_name, reason, hint: None }) if dtype == DType::String => {
            let hint = Some(format!("quote text in JSON: --input '{name}=\"some text\"'").into());
            TensorError::InvalidData { source_name, reason, hint }.into()
        }
        other => other,
    })?;
    Ok((name.to_owned(), tensor))
}

/// An array of numpy's as the signature's dtype, where that keeps its bits: uint16 as bfloat16, say. Any other is left for the
/// signature to refuse by name.
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
