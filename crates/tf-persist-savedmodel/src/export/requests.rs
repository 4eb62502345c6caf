//! Adapts recorded requests to changed signatures: TensorFlow Serving does not load a model that it cannot warm up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving::prediction_log::prediction_log::Log_type;
use tf_persist_proto::serving::{ModelSpec, PredictionLog};

use super::staging::Staging;
use crate::error::{Error, Result};
use crate::saved_model::DEFAULT_SIGNATURE;
use crate::warmup::{FILE, SEQUENCE_FILE, tfrecord};

/// Keeps the requests to kept signatures, under their new names. A file without requests is removed. A sequence, whose
/// answers depend on all requests before, is kept or removed as a whole. Returns whether one was removed.
///
/// # Errors
/// If a file is damaged.
pub(super) fn fit(source: &Path, staging: &Staging, kept: &BTreeMap<String, String>) -> Result<bool> {
    let file = |name| Recorded { name, source, staging };
    file(FILE).fit(kept, false)?;
    let sequence = staging.path().join(SEQUENCE_FILE);
    let had_sequence = sequence.exists();
    file(SEQUENCE_FILE).fit(kept, true)?;
    Ok(had_sequence && !sequence.exists())
}

/// A file of recorded requests in a staged model.
struct Recorded<'a> {
    name: &'static str,
    source: &'a Path,
    staging: &'a Staging,
}

impl Recorded<'_> {
    fn fit(&self, kept: &BTreeMap<String, String>, as_a_whole: bool) -> Result<()> {
        let path = self.staging.path().join(self.name);
        let shown = || self.staging.shown(self.name);
        let Ok(length) = fs::metadata(&path).map(|found| found.len()) else { return Ok(()) };
        let all_kept = self.all_kept(length, kept)?;
        if all_kept && kept.iter().all(|(old, new)| old == new) {
            return Ok(());
        }
        let fresh = path.with_extension("new");
        let mut count = 0;
        if all_kept || !as_a_whole {
            let file = File::create_new(&fresh).map_err(Error::io("write", shown()))?;
            let mut writer = BufWriter::new(file);
            self.for_each(length, |data, mut log| {
                let Some(renamed) = rename(&mut log, kept) else { return Ok(()) };
                let changed = if renamed { log.write_to_bytes().ok() } else { None };
                count += 1;
                tfrecord::write_record(&mut writer, changed.as_deref().unwrap_or(data))
                    .map_err(Error::io("write", shown()))
            })?;
            writer.flush().map_err(Error::io("write", shown()))?;
        }
        if count == 0 {
            let _ = fs::remove_file(&fresh);
            return fs::remove_file(&path).map_err(Error::io("write", shown()));
        }
        fs::rename(&fresh, &path).map_err(Error::io("write", shown()))
    }

    fn all_kept(&self, length: u64, kept: &BTreeMap<String, String>) -> Result<bool> {
        let mut all = true;
        self.for_each(length, |_, mut log| {
            all &= rename(&mut log, kept).is_some();
            Ok(())
        })?;
        Ok(all)
    }

    fn for_each(&self, length: u64, mut take: impl FnMut(&[u8], PredictionLog) -> Result<()>) -> Result<()> {
        // Reads the copy; errors name the original.
        let (path, shown) = (self.staging.path().join(self.name), self.source.join(self.name));
        let file = File::open(&path).map_err(Error::io("open", &shown))?;
        let mut reader = tfrecord::Reader::new(&shown, BufReader::new(file), length);
        while let Some(data) = reader.next_record()? {
            let number = reader.number();
            let log = tf_persist_proto::parse::<PredictionLog>(&data.clone().into())
                .map_err(|error| Error::flawed(&shown, format!("record {number}: {error}")))?;
            take(&data, log)?;
        }
        Ok(())
    }
}

/// Renames the signatures of a request. Returns whether a name changed; `None` if a signature is not kept.
fn rename(log: &mut PredictionLog, kept: &BTreeMap<String, String>) -> Option<bool> {
    let specs: Vec<&mut MessageField<ModelSpec>> = match log.log_type.as_mut()? {
        Log_type::PredictLog(log) => vec![&mut log.request.mut_or_insert_default().model_spec],
        Log_type::ClassifyLog(log) => vec![&mut log.request.mut_or_insert_default().model_spec],
        Log_type::RegressLog(log) => vec![&mut log.request.mut_or_insert_default().model_spec],
        Log_type::MultiInferenceLog(log) => {
            log.request.mut_or_insert_default().tasks.iter_mut().map(|task| &mut task.model_spec).collect()
        }
        Log_type::PredictStreamedLog(log) => log.request.iter_mut().map(|request| &mut request.model_spec).collect(),
        // It feeds and fetches by names of nodes, which may be gone.
        _ => return None,
    };
    specs.into_iter().try_fold(false, |changed, spec| Some(changed | rename_spec(spec, kept)?))
}

fn rename_spec(spec: &mut MessageField<ModelSpec>, kept: &BTreeMap<String, String>) -> Option<bool> {
    let name = if spec.signature_name.is_empty() { DEFAULT_SIGNATURE.to_owned() } else { spec.signature_name.clone() };
    let new = kept.get(&name)?;
    if *new == name {
        return Some(false);
    }
    spec.mut_or_insert_default().signature_name.clone_from(new);
    Some(true)
}
