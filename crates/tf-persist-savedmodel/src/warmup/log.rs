//! The request log of a server: requests with their responses, as `tf-persist serve-local` writes them.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::log_line::LogLine;
use super::record::{Kind, Origin, Record, Request, Tensors};
use super::tfrecord::Reader;
use crate::error::{Error, Result};
use crate::saved_model::{MetaGraph, SignatureDef, TensorInfo};
use crate::tensor::Tensor;
use crate::tensor::json::{Request as JsonRequest, without_byte_order_mark};

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
                let line = if self.number == 1 { without_byte_order_mark(line) } else { line.as_slice() };
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

/// A request as JSON, with its outputs or results if they were logged. It may be one to another version of the model.
fn from_json(source: &str, number: usize, line: &[u8], meta_graph: &MetaGraph) -> Result<Record> {
    let json = JsonRequest::parse(source, line)?;
    let logged = LogLine::parse(line).map_err(|reason| Error::data(source, reason))?;
    let record = |request: Request, answer, reason_to_skip| {
        let (in_order, tags, origin) = (false, Vec::new(), Origin::default());
        Record { number, in_order, tags, origin, request, answer, reason_to_skip }
    };
    let signature = match json.signature_name() {
        Some(name) => meta_graph.signature(name),
        None => meta_graph.default_signature(),
    };
    let name = signature.as_ref().map_or(json.signature_name().unwrap_or_default(), |signature| &signature.name);
    let mut request = Request { kind: logged.kind(), ..Request::predict(name, Tensors::new()) };
    let reason_to_skip = logged.reason_to_skip();
    if reason_to_skip.is_some() || request.kind == Kind::MultiInference {
        // The inputs may be incomplete, or those that failed.
        return Ok(record(request, None, reason_to_skip));
    }
    // Without a signature nothing has a dtype.
    let signature = match signature {
        Ok(signature) => signature,
        Err(error) => return Ok(record(request, None, Some(error.to_string()))),
    };
    request.inputs = match json.logged_inputs(&signature.name, &signature.input_tensors()) {
        Err(Error::Signature(error)) => return Ok(record(request, None, Some(error.to_string()))),
        inputs => inputs?,
    };
    request.inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
    if request.kind != Kind::Predict {
        let answer = logged.answer(line).map_err(|reason| Error::data(source, reason))?;
        return Ok(record(request, answer, None));
    }
    let answer = json.logged_outputs(&signature.name, &outputs(signature))?;
    // A request with a filter has the outputs that it asked for.
    if let Some(answer) = answer.as_ref().filter(|_| json.has_output_filter()) {
        request.output_filter = answer.iter().map(|(name, _)| name.clone()).collect();
    }
    let reason_to_skip = without_elements(signature, &request.inputs, answer.as_ref());
    Ok(record(request, answer, reason_to_skip))
}

/// Why a request with tensors without elements cannot be replayed: `[]` stands for the shapes `[0]`, `[0, 3]`, ….
fn without_elements(signature: &SignatureDef, inputs: &Tensors, answer: Option<&Tensors>) -> Option<String> {
    let is_lost = |(name, tensor): &&(String, Tensor), infos: &[(String, TensorInfo)]| {
        let shape = infos.iter().find(|(key, _)| key == name).map(|(_, info)| &info.shape);
        tensor.is_empty() && shape.is_some_and(|shape| !shape.accepts(tensor.shape()))
    };
    let mut inputs = inputs.iter().filter(|input| is_lost(input, &signature.inputs));
    let mut outputs = answer.into_iter().flatten().filter(|output| is_lost(output, &signature.outputs));
    let (name, _) = inputs.next().or_else(|| outputs.next())?;
    Some(format!("`{name}` has no elements, and a log in JSON does not have its shape"))
}

/// The outputs of a signature with their dtypes.
fn outputs(signature: &SignatureDef) -> Vec<(String, crate::DType)> {
    let parts = signature.outputs.iter().flat_map(|(key, info)| info.parts(key));
    parts.map(|part| (part.name, part.dtype)).collect()
}
