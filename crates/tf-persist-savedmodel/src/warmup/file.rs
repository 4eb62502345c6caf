//! The file of recorded requests in a model.

use std::path::PathBuf;

use bytes::Bytes;

use super::decode;
use super::record::Record;
use super::tfrecord::Reader;
use crate::container::{FileReader, Files};
use crate::error::{Error, Result};
use crate::saved_model::SavedModel;

/// Its path in the model's folder (`kSavedModelAssetsExtraDirectory` and `kRequestsFileName` of TensorFlow Serving).
pub const FILE: &str = "assets.extra/tf_serving_warmup_requests";

/// The path of the records of a `Sequence`: a file that TensorFlow Serving does not run, because the requests write to
/// the model's state.
pub const SEQUENCE_FILE: &str = "assets.extra/tf-persist-sequence.tfrecord";

/// The number of records with which TensorFlow Serving still loads a model (`WarmupConsts::kMaxNumRecords`).
pub const MAX_RECORDS: usize = 1000;

/// The records of a model in the order of the file, read on demand. An error ends them.
#[derive(Debug)]
pub struct Records {
    reader: Reader<FileReader>,
    path: PathBuf,
    failed: bool,
    /// Whether the last record was read to its end, even if it is not a request.
    whole: bool,
}

impl Records {
    /// The records that may be replayed in any order, in [`FILE`]; `None` if nothing was recorded.
    ///
    /// # Errors
    /// If the file exists and cannot be opened.
    pub fn open(model: &SavedModel) -> Result<Option<Self>> {
        Self::in_file(model.files(), FILE)
    }

    /// The records that have to be replayed in order, on a freshly loaded model, in [`SEQUENCE_FILE`]; `None` if
    /// nothing was recorded.
    ///
    /// # Errors
    /// If the file exists and cannot be opened.
    pub fn open_sequence(model: &SavedModel) -> Result<Option<Self>> {
        Self::in_file(model.files(), SEQUENCE_FILE)
    }

    fn in_file(files: &Files, name: &str) -> Result<Option<Self>> {
        let Some((file, length)) = files.reader(name)? else { return Ok(None) };
        let path = files.path().join(name);
        Ok(Some(Self { reader: Reader::new(&path, file, length), path, failed: false, whole: true }))
    }

    /// Whether the file is intact as far as it was read. A record that was refused nevertheless is not a request.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        self.whole
    }

    /// The next record and its data.
    pub(crate) fn next_with_data(&mut self) -> Result<Option<(Record, Bytes)>> {
        if self.failed {
            return Ok(None);
        }
        let next = self.read();
        self.failed = next.is_err();
        next
    }

    /// All records and their data.
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
