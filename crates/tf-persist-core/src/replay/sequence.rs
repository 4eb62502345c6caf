//! Requests that write to the model's state: recorded and replayed in order, on a freshly loaded model.

use bytes::Bytes;
use tf_persist_savedmodel::internals::{Request, Tensors, check_folder, compare, encode, write_file};
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};
use tf_persist_savedmodel::tensor::Tolerance;
use tf_persist_savedmodel::warmup::{MAX_RECORDS, Origin, Record, Records, SEQUENCE_FILE};

use super::{ask, not_recorded};
use crate::error::{Hint, Result};
use crate::session::{LoadOptions, LoadSavedModel, LoadedModel};

/// The recorded requests of a model whose answers depend on earlier requests, such as a recurrent network that keeps
/// its state.
///
/// They are stored in [`SEQUENCE_FILE`], which TensorFlow Serving does not run when it warms up. Their order matters:
/// give [`LoadedModel::replay`] all of them, in order, on a model on which nothing else ran. Nothing is written before
/// [`Sequence::write`].
#[derive(Debug)]
pub struct Sequence {
    model: SavedModel,
    tags: Vec<String>,
    /// Each record with its bytes, which are written back unchanged.
    records: Vec<(Record, Bytes)>,
    changed: bool,
}

impl Sequence {
    /// Begins with the existing records, which further requests follow, or with none if `replace` is set.
    ///
    /// # Errors
    /// [`WarmupError::NotRecorded`](crate::WarmupError::NotRecorded) if the model is not a folder; those of [`Records`]
    /// if the existing records cannot be read.
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

    /// Loads the model, replays the records, and runs these requests (signature, and inputs by name). Does the same
    /// with a second load, and keeps the requests with their answers.
    ///
    /// # Errors
    /// As [`SavedModel::load`]; if a request fails; [`WarmupError::NotRecorded`](crate::WarmupError::NotRecorded) if a
    /// record has another answer now, the answers of the two loads differ, there would be more than [`MAX_RECORDS`]
    /// records, or one would exceed the limit of protobuf.
    pub fn add(&mut self, options: &LoadOptions, requests: Vec<(String, Tensors)>) -> Result<()> {
        if self.records.len() + requests.len() > MAX_RECORDS {
            let reason = format!("there would be more than {MAX_RECORDS} records, the limit");
            return Err(not_recorded(
                self.model.path(),
                reason,
                Some(Hint::new("begin a new recording").set("replace")),
            ));
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
                    "signature `{name}` gives another answer when the same requests run on the model loaded anew: {output}"
                );
                return Err(not_recorded(self.model.path(), reason, None));
            }
        }
        for (request, answer) in requests.into_iter().zip(answers) {
            let data = encode(&self.tags, &request, &answer)
                .map_err(|(reason, hint)| not_recorded(self.model.path(), reason, hint.map(Hint::from)))?;
            let number = self.records.len() + 1;
            self.records.push((
                Record {
                    number,
                    in_order: true,
                    tags: self.tags.clone(),
                    origin: Origin::default(),
                    request,
                    answer: Some(answer),
                    reason_to_skip: None,
                },
                data,
            ));
            self.changed = true;
        }
        Ok(())
    }

    /// The answers of a fresh model to these requests, after replaying the records.
    fn answers(&self, model: LoadedModel, requests: &[Request]) -> Result<Vec<Tensors>> {
        for (record, _) in &self.records {
            let answer = ask(&model, &record.request)?;
            let outputs = compare(&answer, record.answer.as_ref().unwrap_or(&answer), Tolerance::Rounding)?;
            if let Some(output) = outputs.iter().find(|output| !output.is_same()) {
                let reason = format!("record {} of the sequence has another answer now: {output}", record.number);
                let hint = Hint::new("if the model was meant to change, begin a new recording").set("replace");
                return Err(not_recorded(self.model.path(), reason, Some(hint)));
            }
        }
        requests.iter().map(|request| ask(&model, request)).collect()
    }

    /// Writes the file atomically if something has changed. Returns the number of its records.
    ///
    /// # Errors
    /// If the folder cannot be written to, or the disk is full. The old file is then left as it was.
    pub fn write(self) -> Result<usize> {
        if self.changed {
            write_file(self.model.path(), SEQUENCE_FILE, self.records.iter().map(|(_, data)| data))?;
        }
        Ok(self.records.len())
    }
}
