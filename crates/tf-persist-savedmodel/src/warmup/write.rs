//! Writes records: their data and their file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use protobuf::{Message, MessageField};
use tf_persist_proto::serving::prediction_log::prediction_log::Log_type;
use tf_persist_proto::serving::{LogMetadata, ModelSpec, PredictLog, PredictRequest, PredictResponse, PredictionLog};
use tf_persist_proto::tensorflow::TensorProto;

use super::record::{Request, Tensors};
use super::tfrecord::{MAX_RECORD_BYTES, write_record};
use crate::error::{Error, Result, WarmupError};
use crate::saved_model::SavedModel;
use crate::scratch::NewFile;
use crate::tensor::proto::to_proto;

/// Refuses a pack: requests can only be recorded into a folder.
pub fn check_folder(model: &SavedModel) -> Result<()> {
    if model.path().is_dir() {
        return Ok(());
    }
    Err(Error::Warmup(WarmupError::NotRecorded {
        path: model.path().to_path_buf(),
        reason: "it is not a folder".into(),
        hint: Some("unpack it into a folder with export, record there, and export that to a pack again".into()),
    }))
}

/// The `PredictionLog` of a request to the meta graph with these tags and its response.
///
/// # Errors
/// A sentence and a hint, if it would be larger than protobuf's limit.
pub fn encode(tags: &[String], request: &Request, answer: &Tensors) -> Result<Bytes, (String, Option<&'static str>)> {
    let spec = MessageField::some(ModelSpec { signature_name: request.signature().to_owned(), ..Default::default() });
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
        log_metadata: MessageField::some(LogMetadata { saved_model_tags: tags.to_vec(), ..Default::default() }),
        log_type: Some(Log_type::PredictLog(log)),
        ..Default::default()
    };
    let bytes = log.compute_size();
    if bytes > MAX_RECORD_BYTES {
        let reason = format!("request and answer have {bytes} bytes, and the limit is {MAX_RECORD_BYTES}");
        return Err((reason, Some("record a smaller request")));
    }
    log.write_to_bytes().map(Bytes::from).map_err(|error| (error.to_string(), None))
}

/// Writes a file of records in a model's folder, and atomically replaces the old one.
///
/// # Errors
/// If the folder cannot be written to, or the disk is full. The old file stays.
pub fn write_file<'a>(model: &Path, name: &str, records: impl Iterator<Item = &'a Bytes>) -> Result<()> {
    let target = model.join(name);
    let folder = target.parent().unwrap_or(Path::new("."));
    let made = !folder.exists();
    if made {
        fs::create_dir(folder).map_err(Error::io("create", folder))?;
    }
    let written = write_to(&target, folder, records);
    if written.is_err() && made {
        // Remove the folder if it is empty.
        let _ = fs::remove_dir(folder);
    }
    written?;
    if made { sync(model) } else { Ok(()) }
}

fn write_to<'a>(target: &Path, folder: &Path, mut records: impl Iterator<Item = &'a Bytes>) -> Result<()> {
    // The original error names the hidden folder.
    let creating = |error: std::io::Error| Error::io("create a file in", folder)(error.kind().into());
    let file = NewFile::beside(target).map_err(creating)?;
    let mut out = BufWriter::new(file);
    records
        .try_for_each(|data| write_record(&mut out, data))
        .and_then(|()| out.flush())
        .map_err(Error::io("write", target))?;
    let file = out.into_inner().map_err(|error| Error::io("write", target)(error.into_error()))?;
    file.publish(true).map_err(Error::io("write", target))?;
    sync(folder)
}

fn protos(tensors: &Tensors) -> BTreeMap<String, TensorProto> {
    tensors.iter().map(|(name, tensor)| (name.clone(), to_proto(tensor))).collect()
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write to disk", folder))
}
