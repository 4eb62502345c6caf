//! Recording: runs requests on a model, and keeps them with their answers in its folder.

use bytes::Bytes;
use tf_persist_savedmodel::error::names;
use tf_persist_savedmodel::internals::{Request, Tensors, check_folder, compare, encode, write_file};
use tf_persist_savedmodel::saved_model::{MetaGraph, SERVE, SavedModel, SignatureDef, TensorKind};
use tf_persist_savedmodel::tensor::Tolerance;
use tf_persist_savedmodel::warmup::{FILE, MAX_RECORDS, Origin, Record, Records, first_state_write};

use super::{ask, not_recorded};
use crate::error::{Hint, Result};
use crate::session::LoadedModel;

/// The recorded requests of a model, with new ones. Nothing is written before [`Recorder::write`].
#[derive(Debug)]
pub struct Recorder {
    model: SavedModel,
    tags: Vec<String>,
    /// Each record with its bytes, which are written back unchanged.
    records: Vec<(Record, Bytes)>,
    changed: bool,
}

/// The result of adding a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Added {
    /// It was run and recorded with its answer.
    New,
    /// It was recorded already, with the same answer.
    Known,
}

impl Recorder {
    /// Begins with the existing records, or with none if `replace` is set.
    ///
    /// # Errors
    /// [`WarmupError::NotRecorded`](crate::WarmupError::NotRecorded) if the model is not a folder, or TensorFlow
    /// Serving would use another meta graph than this one; those of [`Records`] if the existing records cannot be read.
    pub fn begin(model: &SavedModel, meta_graph: &MetaGraph, replace: bool) -> Result<Self> {
        check_folder(model)?;
        if model.meta_graphs().len() > 1 && !meta_graph.has_tags(&[SERVE]) {
            let reason = format!(
                "TensorFlow Serving would use the meta graph `{SERVE}`, but the one with the tags `{}` was chosen",
                meta_graph.tags().join(",")
            );
            let alone = format!("export the meta graph `{}` alone, and record there", meta_graph.tags().join(","));
            let has_serve = model.meta_graphs().iter().any(|other| other.has_tags(&[SERVE]));
            let hint = if has_serve {
                Hint::new(format!("choose the meta graph `{SERVE}`, or {alone}")).set_to("tags", SERVE)
            } else {
                alone.into()
            };
            return Err(not_recorded(model.path(), reason, Some(hint)));
        }
        let before = if replace { None } else { Records::open(model)? };
        Ok(Self {
            model: model.clone(),
            tags: meta_graph.tags().to_vec(),
            records: before.map_or_else(|| Ok(Vec::new()), Records::all_with_data)?,
            changed: replace && model.path().join(FILE).exists(),
        })
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether requests to a signature can be recorded.
    ///
    /// # Errors
    /// [`WarmupError::NotRecorded`](crate::WarmupError::NotRecorded) if the signature writes to the model's state, so
    /// its answer may differ every time, or has inputs or outputs that are not dense tensors, on which the warm-up of
    /// TensorFlow Serving fails.
    pub fn check(&self, meta_graph: &MetaGraph, signature: &SignatureDef) -> Result<()> {
        let name = &signature.name;
        let composite = |(_, info): &&(String, crate::TensorInfo)| !matches!(info.kind, TensorKind::Dense { .. });
        if let Some((key, _)) = signature.inputs.iter().chain(&signature.outputs).find(composite) {
            let reason = format!(
                "`{key}` of signature `{name}` is not a dense tensor, and TensorFlow Serving, which runs what is recorded, \
                 does not load a model whose recorded requests fail"
            );
            return Err(not_recorded(self.model.path(), reason, None));
        }
        if let Some((op, node)) = first_state_write(&self.model, meta_graph, signature) {
            let reason = format!(
                "signature `{name}` writes to the model's state (`{op}`, node `{node}`), so what it answers may depend on what \
                 ran before"
            );
            return Err(not_recorded(self.model.path(), reason, Some(self.recordable(meta_graph))));
        }
        Ok(())
    }

    /// The hint for a signature that writes to the model's state: what can be recorded.
    fn recordable(&self, meta_graph: &MetaGraph) -> Hint {
        let in_order =
            "record its requests in order, as a `Sequence` that a freshly loaded model answers in that order";
        let reads = |signature: &&SignatureDef| first_state_write(&self.model, meta_graph, signature).is_none();
        let reading = meta_graph.signatures().iter().filter(reads).map(|signature| signature.name.clone());
        let text = match reading.collect::<Vec<_>>().as_slice() {
            [] => in_order.to_owned(),
            [only] => format!("{in_order}; `{only}` only reads, and is recorded as it is"),
            several => format!("{in_order}; {} only read, and are recorded as they are", names(several)),
        };
        Hint::new(text).set("in_order")
    }

    /// Runs a request twice on a loaded model, and keeps it with its answer.
    ///
    /// [Check](Self::check) the signature first. A recorded request without an answer gets one.
    ///
    /// # Errors
    /// If the request fails; [`WarmupError::NotRecorded`](crate::WarmupError::NotRecorded) if it leaves out an input
    /// without a default, the two answers differ, it is recorded with another answer, there are [`MAX_RECORDS`]
    /// already, or the record would exceed the limit of protobuf.
    pub fn add(&mut self, model: &LoadedModel, signature: &str, inputs: Tensors) -> Result<Added> {
        let definition = model.meta_graph().signature(signature)?;
        let is_left_out = |(name, dtype): &(String, crate::DType)| {
            !inputs.iter().any(|(given, _)| given == name) && definition.default_of(name, *dtype).is_none()
        };
        if let Some((name, _)) = definition.input_tensors().into_iter().find(is_left_out) {
            let reason = format!(
                "input `{name}` of signature `{signature}` was left out: the graph computes it, but TensorFlow Serving, which runs \
                 what is recorded, needs every input"
            );
            return Err(not_recorded(self.model.path(), reason, Some("give the input".into())));
        }
        let request = Request::predict(signature, inputs);
        let index = self.records.iter().position(|(record, _)| record.request.is_same(&request));
        if index.is_none() && self.records.len() >= MAX_RECORDS {
            let reason = format!("there are {MAX_RECORDS} records already, and TensorFlow Serving takes no more");
            return Err(not_recorded(
                self.model.path(),
                reason,
                Some(Hint::new("begin a new recording").set("replace")),
            ));
        }
        let answer = ask(model, &request)?;
        let again = compare(&ask(model, &request)?, &answer, Tolerance::Rounding)?;
        if let Some(output) = again.iter().find(|output| !output.is_same()) {
            let reason =
                format!("signature `{signature}` gives another answer to the same request the second time: {output}");
            return Err(not_recorded(self.model.path(), reason, None));
        }
        if let Some((record, _)) = index.map(|index| &self.records[index])
            && let Some(recorded) = &record.answer
        {
            let outputs = compare(&answer, recorded, Tolerance::Rounding)?;
            let Some(output) = outputs.iter().find(|output| !output.is_same()) else { return Ok(Added::Known) };
            let reason = format!("record {} is the same request with another answer: {output}", record.number);
            let hint = Hint::new("if the model was meant to change, begin a new recording").set("replace");
            return Err(not_recorded(self.model.path(), reason, Some(hint)));
        }
        let data = encode(&self.tags, &request, &answer)
            .map_err(|(reason, hint)| not_recorded(self.model.path(), reason, hint.map(Hint::from)))?;
        let number = index.unwrap_or(self.records.len()) + 1;
        let record = Record {
            number,
            in_order: false,
            tags: self.tags.clone(),
            origin: Origin::default(),
            request,
            answer: Some(answer),
            reason_to_skip: None,
        };
        match index {
            Some(index) => self.records[index] = (record, data),
            None => self.records.push((record, data)),
        }
        self.changed = true;
        Ok(Added::New)
    }

    /// Writes the file atomically if something has changed. Returns the number of its records.
    ///
    /// # Errors
    /// If the folder cannot be written to, or the disk is full. The old file is then left as it was.
    pub fn write(self) -> Result<usize> {
        if self.changed {
            write_file(self.model.path(), FILE, self.records.iter().map(|(_, data)| data))?;
        }
        Ok(self.records.len())
    }
}
