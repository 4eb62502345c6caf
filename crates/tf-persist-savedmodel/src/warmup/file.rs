//! The file of golden examples in a model.

use std::path::PathBuf;

use bytes::Bytes;

use super::decode;
use super::record::Record;
use super::tfrecord::Reader;
use crate::container::{FileReader, Files};
use crate::error::{Error, Result};
use crate::saved_model::SavedModel;

/// Where it stands in the model's folder (`kSavedModelAssetsExtraDirectory` and `kRequestsFileName` of TensorFlow Serving).
pub const FILE: &str = "assets.extra/tf_serving_warmup_requests";

/// Where the records of a `Sequence` stand: apart from what TensorFlow Serving runs, because they write to the
/// model's state.
pub const SEQUENCE_FILE: &str = "assets.extra/tf-persist-sequence.tfrecord";

/// More records than this TensorFlow Serving does not load a model with (`WarmupConsts::kMaxNumRecords`).
pub const MAX_RECORDS: usize = 1000;

/// The records of a model, in the order of the file, each read when it is asked for. The first error is the last answer.
#[derive(Debug)]
pub struct Records {
    reader: Reader<FileReader>,
    path: PathBuf,
    failed: bool,
    /// Whether the last record was read to its end, whatever it says.
    whole: bool,
}

impl Records {
    /// The records of a model that may be asked in any order, in [`FILE`]; `None` if nothing was recorded.
    ///
    /// # Errors
    /// If the file is there and cannot be opened.
    pub fn of(model: &SavedModel) -> Result<Option<Self>> {
        Self::in_file(model.files(), FILE)
    }

    /// The records of a model that have to be asked in order, of one that is freshly loaded, in [`SEQUENCE_FILE`]; `None` if nothing was
    /// recorded.
    ///
    /// # Errors
    /// If the file is there and cannot be opened.
    pub fn of_sequence(model: &SavedModel) -> Result<Option<Self>> {
        Self::in_file(model.files(), SEQUENCE_FILE)
    }

    fn in_file(files: &Files, name: &str) -> Result<Option<Self>> {
        let Some((file, length)) = files.reader(name)? else { return Ok(None) };
        let path = files.path().join(name);
        Ok(Some(Self { reader: Reader::new(&path, file, length), path, failed: false, whole: true }))
    }

    /// Whether the file is sound as far as it was read. If the last record was refused all the same, it is no request.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        self.whole
    }

    /// The next record, and its data.
    pub(crate) fn next_with_data(&mut self) -> Result<Option<(Record, Bytes)>> {
        if self.failed {
            return Ok(None);
        }
        let next = self.read();
        self.failed = next.is_err();
        next
    }

    /// All records, and their data.
    #[doc(hidden)]
    pub fn all_with_data(mut self) -> Result<Vec<(Record, Bytes)>> {
        let mut records = Vec::new();
        while let Some(record) = self.next_with_data()? {
            records.push(record);
        }
        Ok(records)
    }

    fn read(&mut self) -> Result<Option<(Record, Bytes)>> {
        self.whole = false;
        let Some(data) = self.reader.next_record()?.map(Bytes::from) else { return Ok(None) };
        self.whole = true;
        let number = self.reader.number();
        if number > MAX_RECORDS {
            let serving = if self.path.ends_with(FILE) { ", with which TensorFlow Serving loads no model" } else { "" };
            let reason = format!("it has more than {MAX_RECORDS} records{serving}");
            return Err(Error::Unsupported { path: self.path.clone(), reason, hint: None });
        }
        let record = decode::record(number, &data);
        let damaged = |reason: String| Error::flawed(&self.path, format!("record {number}: {reason}"));
        let mut record = record.map_err(damaged)?;
        record.in_order = self.path.ends_with(SEQUENCE_FILE);
        Ok(Some((record, data)))
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with_data().map(|next| next.map(|(record, _)| record)).transpose()
    }
}
