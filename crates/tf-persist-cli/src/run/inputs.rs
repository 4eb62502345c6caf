//! The inputs of one run, from the command line and from a file.

use std::path::Path;

use anyhow::bail;
use tf_persist_core::tensor::json::{ExtraInputs, Request, read_value};
use tf_persist_core::tensor::npy;
use tf_persist_core::{DType, ModelError, SignatureDef, Tensor, TensorError};

use super::args::RunArgs;
use super::examples;
use crate::error::UsageError;
use crate::inputs::{FileInputs, column_rows, from_numpy, open_columns, reinterpreted};

/// Rows of columns are decoded in windows of this size.
const WINDOW: usize = 8192;

/// The given inputs, read but not yet converted to tensors: that needs the signature's dtypes.
pub(super) struct Given<'a> {
    args: &'a RunArgs,
    file: Option<FileInputs>,
    signature_name: Option<String>,
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

    /// The signature that `--signature` or the request names.
    pub(super) fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// The given tensors by name. [`check_inputs`](tf_persist_core::SavedModel::check_inputs) checks names and dtypes.
    pub(super) fn tensors(self, signature: &SignatureDef) -> anyhow::Result<Vec<(String, Tensor)>> {
        let mut tensors = match self.file {
            None => Vec::new(),
            Some(FileInputs::Arrays(arrays)) => arrays
                .into_iter()
                .map(|(name, array)| from_numpy(signature, name, array))
                .collect::<anyhow::Result<_>>()?,
            Some(FileInputs::Columns(path, format)) => {
                let mut reader = open_columns(signature, &path, format, WINDOW)?;
                let names: Vec<String> = reader.columns().map(|(name, _)| name.to_owned()).collect();
                let tensors = names.into_iter().zip(reader.read_rows(usize::MAX)?);
                let tensors = tensors.map(|(name, rows)| {
                    let rows = column_rows(signature, &name, rows)?;
                    Ok(reinterpreted(signature, name, rows)?)
                });
                tensors.collect::<anyhow::Result<_>>()?
            }
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

/// One `NAME=JSON` or `NAME=@FILE.npy`.
pub(super) fn single(signature: &SignatureDef, input: &str) -> anyhow::Result<(String, Tensor)> {
    let Some((name, value)) = input.split_once('=') else {
        bail!("--input `{input}` is not NAME=JSON or NAME=@FILE.npy");
    };
    if let Some(path) = value.strip_prefix('@') {
        if Path::new(path).extension().is_none_or(|ending| ending != "npy") {
            bail!(UsageError(format!("--input {name}: `{path}` does not end in .npy")));
        }
        return from_numpy(signature, name.to_owned(), npy::read_file(path)?);
    }
    let dtype = signature.input_dtype(name)?;
    let source = format!("--input {name}");
    let tensor = read_value(&source, value.as_bytes(), dtype).map_err(|error| match error {
        ModelError::Tensor(TensorError::InvalidData { source_name, reason, hint: None }) if dtype == DType::String => {
            let hint = Some(format!("quote text as in JSON: --input '{name}=\"some text\"'").into());
            TensorError::InvalidData { source_name, reason, hint }.into()
        }
        other => other,
    })?;
    Ok((name.to_owned(), tensor))
}
