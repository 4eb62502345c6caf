//! Recording: a model is asked, and request and answer are kept in its folder.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use protobuf::{Message, MessageField};
use tf_persist_proto::serving::prediction_log::prediction_log::Log_type;
use tf_persist_proto::serving::{LogMetadata, ModelSpec, PredictLog, PredictRequest, PredictResponse, PredictionLog};
use tf_persist_proto::tensorflow::TensorProto;

use super::file::{FILE, MAX_RECORDS, Records};
use super::record::{Kind, Record, Request, Tensors};
use super::replay::compare;
use super::state::what_it_writes;
use super::tfrecord::{MAX_RECORD_BYTES, write_record};
use crate::error::{Error, Result};
use crate::saved_model::{MetaGraph, SERVE, SavedModel, SignatureDef, TensorKind};
use crate::session::LoadedModel;
use crate::tensor::Tolerance;
use crate::tensor::proto::to_proto;

/// The golden examples of a model, as they shall be. Nothing is written before [`Recorder::write`].
#[derive(Debug)]
pub struct Recorder {
    model: SavedModel,
    tags: Vec<String>,
    /// Each with its data, which are written back as they were.
    records: Vec<(Record, Bytes)>,
    changed: bool,
}

/// What became of a request that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Added {
    /// It was asked, and stands with its answer.
    New,
    /// It stood there already, with the same answer.
    Known,
}

impl Recorder {
    /// Begins with what is recorded already, or with nothing, if it is to be replaced.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the model is no folder, or TensorFlow Serving would ask another meta graph than this one;
    /// those of [`Records`] if what is there cannot be read.
    pub fn begin(model: &SavedModel, meta_graph: &MetaGraph, replace: bool) -> Result<Self> {
        let refuse = |reason: &str, hint: &str| {
            let (path, reason) = (model.path().to_path_buf(), reason.to_owned());
            Err(Error::NotRecorded { path, reason, hint: Some(hint.to_owned()) })
        };
        if !model.path().is_dir() {
            return refuse(
                "it is no folder",
                "unpack it into a folder with export, record there, and export that to a pack again",
            );
        }
        if model.meta_graphs().len() > 1 && !meta_graph.has_tags(&[SERVE]) {
            let reason = format!(
                "TensorFlow Serving would ask the meta graph `{SERVE}` of it, and the one with the tags `{}` was chosen",
                meta_graph.tags().join(",")
            );
            return refuse(&reason, &format!("choose it with --tags {SERVE}, or export the other one alone"));
        }
        let mut recorder = Self {
            model: model.clone(),
            tags: meta_graph.tags().to_vec(),
            records: Vec::new(),
            changed: replace && model.path().join(FILE).exists(),
        };
        if !replace && let Some(mut records) = Records::of(model)? {
            while let Some(record) = records.next_with_data()? {
                recorder.records.push(record);
            }
        }
        Ok(recorder)
    }

    /// The number of records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether requests to a signature can be recorded.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if it writes to the model's state, so that its answer may be another one every time, or has
    /// inputs or outputs that are no dense tensors, which TensorFlow Serving fails on when it warms up.
    pub fn check(&self, meta_graph: &MetaGraph, signature: &SignatureDef) -> Result<()> {
        let name = &signature.name;
        let composite = |(_, info): &&(String, crate::TensorInfo)| !matches!(info.kind, TensorKind::Dense { .. });
        if let Some((key, _)) = signature.inputs.iter().chain(&signature.outputs).find(composite) {
            let reason = format!(
                "`{key}` of signature `{name}` is no dense tensor, and TensorFlow Serving, which runs what is recorded, \
                 does not load a model whose recorded requests fail"
            );
            return Err(self.refusal(reason, None));
        }
        if let Some((op, node)) = what_it_writes(&self.model, meta_graph, signature) {
            let reason = format!(
                "signature `{name}` writes to the model's state (`{op}`, node `{node}`), so what it answers may depend on what \
                 ran before"
            );
            return Err(self.refusal(reason, Some("record a signature that only reads, such as serving_default")));
        }
        Ok(())
    }

    /// Asks a loaded model, twice, and keeps the request with its answer.
    ///
    /// The signature was [checked](Self::check). A request that is there without an answer is given one.
    ///
    /// # Errors
    /// If the request fails; [`Error::NotRecorded`] if it leaves an input out that has no default, the two answers differ, it is there already with another answer, there
    /// are [`MAX_RECORDS`] already, or the record would be larger than protobuf's limit.
    pub fn add(&mut self, model: &LoadedModel, signature: &str, mut inputs: Tensors) -> Result<Added> {
        inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let definition = model.meta_graph().signature(signature)?;
        let is_left_out = |(name, dtype): &(String, crate::DType)| {
            !inputs.iter().any(|(given, _)| given == name) && definition.default_of(name, *dtype).is_none()
        };
        if let Some((name, _)) = definition.input_tensors().into_iter().find(is_left_out) {
            let reason = format!(
                "input `{name}` of signature `{signature}` was left out: the graph computes it, but TensorFlow Serving, which runs \
                 what is recorded, wants every input"
            );
            return Err(self.refusal(reason, Some("give the input")));
        }
        let request = Request {
            kind: Kind::Predict,
            signature: signature.to_owned(),
            inputs,
            output_filter: vec![],
            tasks: vec![],
        };
        let place = self.records.iter().position(|(record, _)| record.request.is_same(&request));
        if place.is_none() && self.records.len() >= MAX_RECORDS {
            let reason = format!("there are {MAX_RECORDS} records already, and TensorFlow Serving takes no more");
            return Err(self.refusal(reason, Some("begin anew with --replace")));
        }
        let answer = ask(model, &request)?;
        let again = compare(&ask(model, &request)?, &answer, Tolerance::Rounding)?;
        if let Some(output) = again.iter().find(|output| !output.is_same()) {
            let reason =
                format!("signature `{signature}` answers the same request otherwise the second time: {output}");
            return Err(self.refusal(reason, None));
        }
        if let Some((record, _)) = place.map(|place| &self.records[place])
            && let Some(recorded) = &record.answer
        {
            let outputs = compare(&answer, recorded, Tolerance::Rounding)?;
            let Some(output) = outputs.iter().find(|output| !output.is_same()) else { return Ok(Added::Known) };
            let reason = format!("record {} is the same request with another answer: {output}", record.number);
            let hint = "if the model was meant to change, begin anew with --replace";
            return Err(self.refusal(reason, Some(hint)));
        }
        let data = self.encode(&request, &answer)?;
        let number = place.unwrap_or(self.records.len()) + 1;
        let record = Record { number, tags: self.tags.clone(), request, answer: Some(answer) };
        match place {
            Some(place) => self.records[place] = (record, data),
            None => self.records.push((record, data)),
        }
        self.changed = true;
        Ok(Added::New)
    }

    /// Writes the file, if something has changed; it appears whole or not at all. Gives the number of its records.
    ///
    /// # Errors
    /// If the folder cannot be written to, or the disk is full: what was there before stays.
    pub fn write(self) -> Result<usize> {
        if !self.changed {
            return Ok(self.records.len());
        }
        let target = self.model.path().join(FILE);
        let folder = target.parent().unwrap_or(Path::new("."));
        let made = !folder.exists();
        if made {
            fs::create_dir(folder).map_err(Error::io("create", folder))?;
        }
        let written = self.write_to(&target, folder);
        if written.is_err() && made {
            // Of a folder that nobody else has put anything into, nothing is left.
            let _ = fs::remove_dir(folder);
        }
        written?;
        if made {
            sync(self.model.path())?;
        }
        Ok(self.records.len())
    }

    fn write_to(&self, target: &Path, folder: &Path) -> Result<()> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}.tmp-"))
            // As readable as any other new file: the process's mask says by whom.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            // Its own words name the temporary file, which nobody asked for.
            .map_err(|error| Error::io("create a file in", folder)(error.kind().into()))?;
        let mut out = BufWriter::new(file);
        self.records
            .iter()
            .try_for_each(|(_, data)| write_record(&mut out, data))
            .and_then(|()| out.flush())
            .map_err(Error::io("write", target))?;
        let file = out.into_inner().map_err(|error| Error::io("write", target)(error.into_error()))?;
        file.as_file().sync_all().map_err(Error::io("write", target))?;
        file.persist(target).map_err(|error| Error::io("write", target)(error.error))?;
        sync(folder)
    }

    /// The `PredictionLog` of a request and its answer.
    fn encode(&self, request: &Request, answer: &Tensors) -> Result<Bytes> {
        let spec =
            MessageField::some(ModelSpec { signature_name: request.signature().to_owned(), ..Default::default() });
        let log = PredictLog {
            request: MessageField::some(PredictRequest {
                model_spec: spec.clone(),
                inputs: protos(&request.inputs),
                ..Default::default()
            }),
            response: MessageField::some(PredictResponse {
                model_spec: spec,
                outputs: protos(answer),
                ..Default::default()
            }),
            ..Default::default()
        };
        let log = PredictionLog {
            log_metadata: MessageField::some(LogMetadata { saved_model_tags: self.tags.clone(), ..Default::default() }),
            log_type: Some(Log_type::PredictLog(log)),
            ..Default::default()
        };
        let bytes = log.compute_size();
        if bytes > MAX_RECORD_BYTES {
            let reason = format!("request and answer have {bytes} bytes, and the limit is {MAX_RECORD_BYTES}");
            return Err(self.refusal(reason, Some("record a smaller request")));
        }
        let data = log.write_to_bytes().map_err(|error| self.refusal(error.to_string(), None))?;
        Ok(data.into())
    }

    fn refusal(&self, reason: String, hint: Option<&str>) -> Error {
        let (path, hint) = (self.model.path().to_path_buf(), hint.map(str::to_owned));
        Error::NotRecorded { path, reason, hint }
    }
}

fn ask(model: &LoadedModel, request: &Request) -> Result<Tensors> {
    let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let outputs = model.signature(request.signature())?.run(inputs)?;
    let mut outputs: Tensors = outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(outputs)
}

fn protos(tensors: &Tensors) -> BTreeMap<String, TensorProto> {
    tensors.iter().map(|(name, tensor)| (name.clone(), to_proto(tensor))).collect()
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write to disk", folder))
}
