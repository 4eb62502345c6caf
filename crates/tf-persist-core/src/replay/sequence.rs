//! Requests that write to the model's state: recorded and asked again in order, of a model that is freshly loaded.

use bytes::Bytes;
use tf_persist_savedmodel::internals::{Request, Tensors, check_folder, compare, encode, write_file};
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};
use tf_persist_savedmodel::tensor::Tolerance;
use tf_persist_savedmodel::warmup::{MAX_RECORDS, Record, Records, SEQUENCE_FILE};

use super::ask;
use crate::error::{Error, Hint, ModelError, Result, WarmupError};
use crate::session::{LoadOptions, LoadSavedModel, LoadedModel};

/// The recorded requests of a model whose answers depend on what was asked before, such as a recurrent network that keeps its state.
///
/// They stand in [`SEQUENCE_FILE`], and not where TensorFlow Serving would run them before it serves the model. Their order is part of
/// them: [`LoadedModel::replay`] compares their answers if it is given all of them, in order, of a model on which nothing else ran.
/// Nothing is written before [`Sequence::write`].
#[derive(Debug)]
pub struct Sequence {
    model: SavedModel,
    tags: Vec<String>,
    /// Each with its data, which are written back as they were.
    records: Vec<(Record, Bytes)>,
    changed: bool,
}

impl Sequence {
    /// Begins with what is recorded already, which further requests follow, or with nothing, if it is to be replaced.
    ///
    /// # Errors
    /// [`WarmupError::NotRecorded`] if the model is no folder; those of [`Records`] if what is there cannot be read.
    pub fn begin(model: &SavedModel, meta_graph: &MetaGraph, replace: bool) -> Result<Self> {
        check_folder(model)?;
        let before = if replace { None } else { Records::open_sequence(model)? };
        Ok(Self {
            model: model.clone(),
            tags: meta_graph.tags().to_vec(),
            records: before.map_or_else(|| Ok(Vec::new()), Records::all_with_data)?,
            changed: replace,
        })
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

    /// Loads the model, asks it what is recorded and then these requests (signature, and inputs by name), does the same once more, and
    /// keeps the requests with their answers.
    ///
    /// # Errors
    /// As [`SavedModel::load`]; if a request fails; [`WarmupError::NotRecorded`] if what is recorded is answered otherwise now, the answers of
    /// the two loads differ, there would be more than [`MAX_RECORDS`] records, or one would be larger than protobuf's limit.
    pub fn add(&mut self, options: &LoadOptions, requests: Vec<(String, Tensors)>) -> Result<()> {
        if self.records.len() + requests.len() > MAX_RECORDS {
            let reason = format!("there would be more than {MAX_RECORDS} records, the limit");
            return Err(self.refusal(reason, Some(Hint::new("begin a new recording").set("replace"))));
        }
        let requests: Vec<Request> =
            requests.into_iter().map(|(signature, inputs)| Request::predict(&signature, inputs)).collect();
        // One model at a time: it may be large.
        let answers = self.answers(self.model.load(options.clone())?, &requests)?;
        let again = self.answers(self.model.load(options.clone())?, &requests)?;
        for ((request, answer), again) in requests.iter().zip(&answers).zip(&again) {
            let outputs = compare(again, answer, Tolerance::Rounding)?;
            if let Some(output) = outputs.iter().find(|output| !output.is_same()) {
                let name = request.signature();
                let reason = format!(
                    "signature `{name}` answers otherwise when the same requests are asked of the model loaded anew: {output}"
                );
                return Err(self.refusal(reason, None));
            }
        }
        for (request, answer) in requests.into_iter().zip(answers) {
            let data = encode(&self.tags, &request, &answer)
                .map_err(|(reason, hint)| self.refusal(reason, hint.map(Hint::from)))?;
            let number = self.records.len() + 1;
            self.records.push((
                Record { number, in_order: true, tags: self.tags.clone(), request, answer: Some(answer) },
                data,
            ));
            self.changed = true;
        }
        Ok(())
    }

    /// The answers of a fresh model to the requests, after what is recorded.
    fn answers(&self, model: LoadedModel, requests: &[Request]) -> Result<Vec<Tensors>> {
        for (record, _) in &self.records {
            let answer = ask(&model, &record.request)?;
            let outputs = compare(&answer, record.answer.as_ref().unwrap_or(&answer), Tolerance::Rounding)?;
            if let Some(output) = outputs.iter().find(|output| !output.is_same()) {
                let reason = format!("record {} of the sequence is answered otherwise now: {output}", record.number);
                let hint = Hint::new("if the model was meant to change, begin a new recording").set("replace");
                return Err(self.refusal(reason, Some(hint)));
            }
        }
        requests.iter().map(|request| ask(&model, request)).collect()
    }

    /// Writes the file, if something has changed; it appears whole or not at all. Gives the number of its records.
    ///
    /// # Errors
    /// If the folder cannot be written to, or the disk is full: what was there before stays.
    pub fn write(self) -> Result<usize> {
        if self.changed {
            write_file(self.model.path(), SEQUENCE_FILE, self.records.iter().map(|(_, data)| data))?;
        }
        Ok(self.records.len())
    }

    fn refusal(&self, reason: String, hint: Option<Hint>) -> Error {
        let path = self.model.path().to_path_buf();
        Error::Model(ModelError::Warmup(WarmupError::NotRecorded { path, reason, hint }))
    }
}
