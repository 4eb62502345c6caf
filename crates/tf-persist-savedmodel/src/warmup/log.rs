//! The request log of a server: requests with their responses, as `tf-persist serve-local` writes them.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::record::{Origin, Record, Request};
use super::tfrecord::Reader;
use crate::error::{Error, Result};
use crate::saved_model::{MetaGraph, SignatureDef};
use crate::tensor::json::{ExtraInputs, Request as JsonRequest};

/// The longest line of JSON, in bytes.
const MAX_LINE: u64 = 1 << 30;

/// The requests of a request log in its order, read on demand: `PredictionLog`s if the file has `.tfrecord` in its
/// name, and one JSON object a line otherwise. An error ends them.
pub struct LoggedRequests<'g> {
    path: PathBuf,
    meta_graph: &'g MetaGraph,
    source: Source,
    /// The records or lines that were read.
    number: usize,
    has_failed: bool,
}

enum Source {
    Records(Reader<Box<dyn Read + Send>>),
    Lines(BufReader<File>, Vec<u8>),
}

impl fmt::Debug for LoggedRequests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedRequests").field("path", &self.path).field("number", &self.number).finish_non_exhaustive()
    }
}

impl<'g> LoggedRequests<'g> {
    /// Whether a file has records (TFRecord) and not JSON, as its name tells.
    #[must_use]
    pub fn is_records(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains(".tfrecord"))
    }

    /// Opens a log of requests to this meta graph. JSON needs its dtypes.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: impl AsRef<Path>, meta_graph: &'g MetaGraph) -> Result<Self> {
        let path = path.as_ref();
        let source = if Self::is_records(path) {
            Source::Records(Reader::open(path)?)
        } else {
            Source::Lines(BufReader::new(File::open(path).map_err(Error::io("open", path))?), Vec::new())
        };
        Ok(Self { path: path.to_path_buf(), meta_graph, source, number: 0, has_failed: false })
    }

    fn read(&mut self) -> Result<Option<Record>> {
        match &mut self.source {
            Source::Records(reader) => {
                let Some(data) = reader.next_record()? else { return Ok(None) };
                self.number = reader.number();
                let refused = |reason: String| Error::flawed(&self.path, format!("record {}: {reason}", self.number));
                Record::parse(self.number, data).map(Some).map_err(refused)
            }
            Source::Lines(lines, line) => loop {
                line.clear();
                let read =
                    lines.by_ref().take(MAX_LINE).read_until(b'\n', line).map_err(Error::io("read", &self.path))?;
                if read == 0 {
                    return Ok(None);
                }
                self.number += 1;
                if !line.trim_ascii().is_empty() {
                    let source = format!("`{}`, line {}", self.path.display(), self.number);
                    return from_json(&source, self.number, line, self.meta_graph).map(Some);
                }
            },
        }
    }
}

impl Iterator for LoggedRequests<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let next = self.read().transpose();
        self.has_failed = matches!(next, Some(Err(_)));
        next
    }
}

/// A request as JSON, with its outputs if they were logged.
fn from_json(source: &str, number: usize, line: &[u8], meta_graph: &MetaGraph) -> Result<Record> {
    let json = JsonRequest::parse(source, line)?;
    let signature = match json.signature_name() {
        Some(name) => meta_graph.signature(name)?,
        None => meta_graph.default_signature()?,
    };
    let inputs = json.tensors(&signature.name, &signature.input_tensors(), ExtraInputs::Refuse)?;
    let mut request = Request::predict(&signature.name, inputs);
    let answer = json.logged_outputs(&signature.name, &outputs(signature))?;
    // A request with a filter has the outputs that it asked for.
    if let Some(answer) = answer.as_ref().filter(|_| json.has_output_filter()) {
        request.output_filter = answer.iter().map(|(name, _)| name.clone()).collect();
    }
    Ok(Record { number, in_order: false, tags: Vec::new(), origin: Origin::default(), request, answer })
}

/// The outputs of a signature with their dtypes.
fn outputs(signature: &SignatureDef) -> Vec<(String, crate::DType)> {
    let parts = signature.outputs.iter().flat_map(|(key, info)| info.parts(key));
    parts.map(|part| (part.name, part.dtype)).collect()
}
