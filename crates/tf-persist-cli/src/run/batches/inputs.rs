//! The inputs of a run in batches: rows of files, and values that are the same for every batch.

use std::io::Read;
use std::path::Path;

use anyhow::bail;
use crc_fast::{CrcAlgorithm, Digest};
use tf_persist_core::saved_model::TensorKind;
use tf_persist_core::tensor::npy::ArrayReader;
use tf_persist_core::tensor::npz;
use tf_persist_core::{DType, MetaGraph, SavedModel, SignatureDef, Tensor};

use super::super::args::RunArgs;
use super::super::examples::{input_of_records, is_records, names_input};
use super::super::inputs::single;
use super::source::Source;
use crate::columns;
use crate::error::UsageError;
use crate::format::count;
use crate::inputs::{from_numpy, reinterpreted};

/// The inputs of each batch.
pub(super) struct Inputs {
    signature: SignatureDef,
    batch_size: usize,
    sources: Vec<Source>,
    /// One for each column of each source: the digest of its rows so far.
    digests: Vec<Digest>,
    /// Given with every batch.
    constants: Vec<(String, Tensor)>,
    /// The rows that were read.
    done: usize,
    ended: bool,
}

/// The inputs of one run.
pub(super) struct Batch {
    pub(super) rows: usize,
    pub(super) inputs: Vec<(String, Tensor)>,
    /// The digests of all rows up to the last of this batch.
    pub(super) digests: Vec<u64>,
}

/// An input does not have the rows that were read when the run was started.
#[derive(Debug, thiserror::Error)]
#[error("input `{0}` has other rows")]
pub(super) struct OtherRows(String);

/// An array of a file, before it is known whether it has rows or is the same for every batch.
struct Found {
    name: String,
    array: ArrayReader<Box<dyn Read + Send>>,
    is_constant: bool,
}

impl Inputs {
    /// Opens the files, and checks names, dtypes and numbers of rows.
    pub(super) fn open(
        args: &RunArgs,
        batch_size: usize,
        model: &SavedModel,
        meta_graph: &MetaGraph,
        signature: &SignatureDef,
    ) -> anyhow::Result<Self> {
        let mut constants = Vec::new();
        let mut found = Vec::new();
        let mut sources = Vec::new();
        if let Some(path) = &args.inputs {
            match columns::Format::of(path) {
                Some(format) => sources.push(Source::columns(path, format, batch_size, signature)?),
                None => found_in(path, signature, &mut found)?,
            }
        }
        for input in args.input.iter().filter(|input| !(args.examples.is_some() && names_input(input))) {
            match input.split_once('=').map(|(name, value)| (name, value.strip_prefix('@'))) {
                Some((name, Some(path))) => found.push(array_file(name, path, signature)?),
                _ => constants.push(single(signature, input)?),
            }
        }
        // Arrays of exactly the declared shape are rows all the same where nothing else is.
        let has_others = args.examples.is_some() || sources.iter().any(|source| !source.columns.is_empty());
        let only_constants = !has_others && found.iter().all(|found| found.is_constant);
        if let Some(path) = &args.examples {
            if !is_records(path) {
                let shown = path.display();
                bail!(UsageError(format!("--batch-size reads examples of .tfrecord files, not of `{shown}`")));
            }
            let input = input_of_records(&args.input, model, meta_graph, signature)?;
            sources.push(Source::records(input, path, signature)?);
        }
        for Found { name, array, is_constant } in found {
            if is_constant && (!only_constants || array.shape().is_empty()) {
                constants.push(from_numpy(signature, name, array.read_all()?)?);
            } else {
                // As all inputs are checked later, with a hint.
                from_numpy(signature, name.clone(), Tensor::zeros(array.dtype(), &[0])?)?;
                sources.push(Source::array(name, array));
            }
        }
        let inputs = Self::new(signature, batch_size, sources, constants);
        inputs.check()?;
        Ok(inputs)
    }

    fn new(
        signature: &SignatureDef,
        batch_size: usize,
        sources: Vec<Source>,
        constants: Vec<(String, Tensor)>,
    ) -> Self {
        let columns = sources.iter().map(|source| source.columns.len()).sum();
        let digests = std::iter::repeat_with(|| Digest::new(CrcAlgorithm::Crc64Nvme)).take(columns).collect();
        let signature = signature.clone();
        Self { signature, batch_size, sources, digests, constants, done: 0, ended: false }
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.sources.is_empty() {
            bail!(UsageError(
                "--batch-size needs an input with rows: --inputs FILE.npz, --input NAME=@FILE.npy or --examples \
                 FILE.tfrecord"
                    .to_owned()
            ));
        }
        let known = || self.sources.iter().filter_map(|source| Some((source, source.rows?)));
        if let Some((first, rows)) = known().next()
            && let Some((other, others)) = known().find(|(_, others)| *others != rows)
        {
            bail!(other_count(first, rows, other, others));
        }
        for (name, _) in self.columns() {
            let of = |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            let composite = self
                .signature
                .inputs
                .iter()
                .find(|(key, info)| !matches!(info.kind, TensorKind::Dense { .. }) && of(key));
            if let Some((key, _)) = composite {
                bail!(
                    "input `{key}` is several tensors, as a sparse or a ragged one, and has no rows for --batch-size"
                );
            }
        }
        Ok(())
    }

    /// The inputs and their dtypes in the files.
    fn columns(&self) -> impl Iterator<Item = (&str, DType)> {
        self.sources.iter().flat_map(|source| &source.columns).map(|column| (column.name.as_str(), column.dtype))
    }

    /// The names of the inputs that have rows, in the order of the digests.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns().map(|(name, _)| name.to_owned()).collect()
    }

    /// Tensors with names and dtypes as each batch has them.
    pub(super) fn examples(&self) -> anyhow::Result<Vec<(String, Tensor)>> {
        let mut examples = self.constants.clone();
        for (name, dtype) in self.columns() {
            examples.push(reinterpreted(&self.signature, name.to_owned(), Tensor::zeros(dtype, &[0])?)?);
        }
        Ok(examples)
    }

    /// The number of rows, where it is known before all are read.
    pub(super) fn rows(&self) -> Option<usize> {
        self.sources.iter().find_map(|source| source.rows)
    }

    /// A digest of the inputs that are the same for every batch.
    pub(super) fn constants_digest(&self) -> u64 {
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        for (name, tensor) in &self.constants {
            add_text(&mut digest, name.as_bytes());
            add(&mut digest, tensor);
            tensor.shape().iter().for_each(|size| digest.update(&(*size as u64).to_le_bytes()));
        }
        digest.finalize()
    }

    /// Reads the rows that a run before this one has done.
    ///
    /// # Errors
    /// [`OtherRows`] if they do not have these digests.
    pub(super) fn skip(&mut self, rows: usize, digests: &[u64]) -> anyhow::Result<()> {
        let mut read = Vec::new();
        while self.done < rows {
            match self.next()? {
                Some(batch) => read = batch.digests,
                None => break,
            }
        }
        let differs = |index: usize| read.get(index) != digests.get(index);
        match self.names().into_iter().enumerate().find(|(index, _)| rows > 0 && differs(*index)) {
            Some((_, name)) => Err(OtherRows(name).into()),
            None => Ok(()),
        }
    }

    /// The next batch; `None` after the last row. Without rows, there is one batch without rows.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        if self.ended {
            return Ok(None);
        }
        let mut read = Vec::with_capacity(self.sources.len());
        for source in &mut self.sources {
            read.push(source.reader.read_rows(self.batch_size)?);
        }
        let rows_of = |tensors: &Vec<Tensor>| tensors.first().and_then(Tensor::row_count).unwrap_or(0);
        let rows = read.first().map_or(0, rows_of);
        if let Some(other) = read.iter().position(|tensors| rows_of(tensors) != rows) {
            let others = self.done + rows_of(&read[other]);
            bail!(other_count(&self.sources[0], self.done + rows, &self.sources[other], others));
        }
        self.ended = rows < self.batch_size;
        if rows == 0 && self.done > 0 {
            return Ok(None);
        }
        self.done += rows;
        let mut inputs = self.constants.clone();
        let columns = self.sources.iter().flat_map(|source| &source.columns);
        for ((column, tensor), digest) in columns.zip(read.into_iter().flatten()).zip(&mut self.digests) {
            add(digest, &tensor);
            inputs.push(reinterpreted(&self.signature, column.name.clone(), tensor)?);
        }
        let digests = self.digests.iter().map(Digest::finalize).collect();
        Ok(Some(Batch { rows, inputs, digests }))
    }
}

/// The error for two sources with different numbers of rows.
fn other_count(first: &Source, rows: usize, other: &Source, others: usize) -> anyhow::Error {
    let (rows, others) = (count(rows as u64, "row"), count(others as u64, "row"));
    anyhow::anyhow!(
        "the inputs have different numbers of rows: {} has {rows}, and {} has {others}",
        first.name,
        other.name
    )
}

/// The arrays in the file of `--inputs`.
fn found_in(path: &Path, signature: &SignatureDef, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let shown = path.display();
    match ending {
        "npz" => {
            for (name, array) in npz::open_arrays(path)? {
                found.push(Found::new(name, array.into_boxed(), signature)?);
            }
            Ok(())
        }
        "npy" => bail!(UsageError(format!("`{shown}` is one array without a name: give it as --input NAME=@{shown}"))),
        _ => bail!(UsageError(format!(
            "--batch-size reads rows of .npz, .npy, .parquet and .arrow files, not of `{shown}`"
        ))),
    }
}

/// The array of `--input NAME=@FILE.npy`.
fn array_file(name: &str, path: &str, signature: &SignatureDef) -> anyhow::Result<Found> {
    if Path::new(path).extension().is_none_or(|ending| ending != "npy") {
        bail!(UsageError(format!("--input {name}: `{path}` does not end in .npy")));
    }
    Found::new(name.to_owned(), ArrayReader::open(path)?.into_boxed(), signature)
}

impl Found {
    /// An array is the same for every batch if the signature declares exactly its shape, with no size left open.
    fn new(name: String, array: ArrayReader<Box<dyn Read + Send>>, signature: &SignatureDef) -> anyhow::Result<Self> {
        signature.input_dtype(&name)?;
        let declared = signature.input(&name).and_then(|info| info.shape.sizes());
        let fits =
            |sizes: &[Option<u64>]| sizes.iter().copied().eq(array.shape().iter().map(|size| Some(*size as u64)));
        let is_constant = array.shape().is_empty() || declared.is_some_and(fits);
        Ok(Self { name, array, is_constant })
    }
}

/// Adds dtype, shape of a row and elements of a tensor to a digest.
fn add(digest: &mut Digest, tensor: &Tensor) {
    add_text(digest, tensor.dtype().name().as_bytes());
    tensor.shape().iter().skip(1).for_each(|size| digest.update(&(*size as u64).to_le_bytes()));
    match (tensor.bytes(), tensor.strings()) {
        (Ok(bytes), _) => digest.update(bytes),
        (_, Ok(strings)) => strings.iter().for_each(|string| add_text(digest, string)),
        _ => {}
    }
}

fn add_text(digest: &mut Digest, text: &[u8]) {
    digest.update(&(text.len() as u64).to_le_bytes());
    digest.update(text);
}
