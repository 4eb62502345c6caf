//! The position of a training in its data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::STATE_FILE;
use crate::container::Files;
use crate::error::{Error, Result};
use crate::saved_model::SavedModel;

/// Changes when a reader of the old format would continue wrongly.
const FORMAT: u32 = 1;

/// The largest such file. Real ones have less than a thousand bytes, and some for each metric.
const MAX_BYTES: u64 = 1 << 20;

/// The position of a training: the data of the training, and the next batch.
///
/// Models that were saved during training have it in [`STATE_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainingState {
    /// The format of the file.
    format: u32,
    /// The signature that trains.
    pub signature: String,
    /// The seed of the order of the rows.
    pub seed: u64,
    /// Whether they are shuffled.
    pub shuffle: bool,
    /// Rows of a batch.
    pub batch_size: usize,
    /// The number of rows of the data.
    pub rows: usize,
    /// The digest of the data.
    pub data: String,
    /// The number of planned epochs.
    pub epochs: u64,
    /// The epoch of the next batch, counted from 0; `epochs` at the end.
    pub epoch: u64,
    /// The index of the next batch in its epoch.
    pub step: u64,
    /// The number of steps since the training began.
    pub steps: u64,
    /// The sums over the rows of the current epoch, by output: the bits of a float64 as hexadecimal digits, because
    /// readers of JSON disagree on the last digit of a number.
    sums: BTreeMap<String, String>,
    /// The fingerprint of `variables.index`, which shows whether the variables still belong to this state.
    #[doc(hidden)]
    pub variables: Option<u64>,
    /// Different for each run, so that a run recognizes its own checkpoints.
    #[doc(hidden)]
    pub run: u64,
}

impl TrainingState {
    /// The state at the beginning of a training.
    #[doc(hidden)]
    pub fn begin(signature: &str, seed: u64, shuffle: bool, batch_size: usize, rows: usize, data: String) -> Self {
        Self {
            format: FORMAT,
            signature: signature.to_owned(),
            seed,
            shuffle,
            batch_size,
            rows,
            data,
            epochs: 0,
            epoch: 0,
            step: 0,
            steps: 0,
            sums: BTreeMap::new(),
            variables: None,
            run: 0,
        }
    }

    /// The state in a model; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the file is invalid, [`Error::Unsupported`] if it is of a later version.
    pub fn from_saved_model(model: &SavedModel) -> Result<Option<Self>> {
        Self::read(model.files())
    }

    /// The file's bytes in the model at a path; `None` if there is no model with a state.
    #[doc(hidden)]
    pub fn bytes_at(path: &Path) -> Option<Vec<u8>> {
        let files = Files::open(path).ok()?;
        files.read(STATE_FILE, MAX_BYTES, "the limit of such a file").ok()?.map(Into::into)
    }

    fn read(files: &Files) -> Result<Option<Self>> {
        let path = files.path().join(STATE_FILE);
        let Some(bytes) = files.read(STATE_FILE, MAX_BYTES, "the limit of such a file")? else { return Ok(None) };
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let damaged = |error: serde_json::Error| Error::damaged(&path, error.to_string());
        let form: Form = serde_json::from_slice(&bytes).map_err(damaged)?;
        if form.format != FORMAT {
            let reason = format!("it is of form {}, and {FORMAT} is what is known", form.format);
            let hint = Some("use the version of tf-persist that wrote it, or a later one".into());
            return Err(Error::Unsupported { path, reason, hint });
        }
        let state: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        state.check().map_err(|reason| Error::damaged(&path, reason))?;
        Ok(Some(state))
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.batch_size == 0 || self.rows == 0 {
            return Err("a batch or the data has no rows");
        }
        if self.step >= self.steps_per_epoch() {
            return Err("it names a batch that its epoch does not have");
        }
        if self.step == 0 && !self.sums.is_empty() {
            return Err("it has sums of an epoch that has not begun");
        }
        if self.epoch > self.epochs || (self.epoch == self.epochs && self.step > 0) {
            return Err("it is beyond its last epoch");
        }
        self.sums().map(drop).ok_or("a sum is not the bits of a number")
    }

    /// The number of batches of an epoch; the last may be smaller.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.batch_size.max(1)) as u64
    }

    /// The sums of the current epoch.
    #[doc(hidden)]
    pub fn sums(&self) -> Option<BTreeMap<String, f64>> {
        let number = |digits: &String| u64::from_str_radix(digits, 16).ok().map(f64::from_bits);
        self.sums.iter().map(|(name, digits)| Some((name.clone(), number(digits)?))).collect()
    }

    #[doc(hidden)]
    pub fn set_sums(&mut self, sums: &BTreeMap<String, f64>) {
        self.sums = sums.iter().map(|(name, sum)| (name.clone(), format!("{:016x}", sum.to_bits()))).collect();
    }

    /// The file's bytes.
    #[doc(hidden)]
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|error| Error::data(STATE_FILE, error.to_string()))?;
        json.push(b'\n');
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn example() -> TrainingState {
        let mut state = TrainingState::begin("train", u64::MAX, true, 32, 100, "abc".into());
        (state.epochs, state.epoch, state.step, state.steps) = (3, 1, 2, 6);
        state.set_sums(&BTreeMap::from([("loss".into(), 0.1 + 0.2)]));
        state
    }

    fn read(json: &Value) -> Result<Option<TrainingState>> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("assets.extra")).unwrap();
        fs::write(folder.path().join(STATE_FILE), json.to_string()).unwrap();
        TrainingState::read(&Files::Folder(folder.path().to_path_buf()))
    }

    #[test]
    fn is_read_as_it_was_written_to_the_last_bit() {
        let state = example();
        let json: Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
        let again = read(&json).unwrap().unwrap();
        assert_eq!(again, state);
        assert_eq!(again.sums().unwrap()["loss"].to_bits(), (0.1_f64 + 0.2).to_bits());
        assert_eq!(TrainingState::read(&Files::Folder("/nonexistent".into())).unwrap(), None);
    }

    #[test]
    fn an_invalid_state_is_refused() {
        let whole: Value = serde_json::from_slice(&example().to_json().unwrap()).unwrap();
        let wrong = [
            ("batch_size", json!(0)),
            ("rows", json!(0)),
            ("rows", json!(-1)),
            ("step", json!(4)),
            ("step", json!(0)),
            ("epoch", json!(3)),
            ("epoch", json!(4)),
            ("sums", json!({"loss": "many"})),
            ("sums", json!([])),
            ("seed", json!(0.5)),
            ("seed", Value::Null),
        ];
        for (field, value) in wrong {
            let mut json = whole.clone();
            json[field] = value;
            assert!(matches!(read(&json), Err(Error::Damaged { .. })), "{field}");
        }
        assert!(matches!(read(&json!([1])), Err(Error::Damaged { .. })));
        let mut later = whole;
        later["format"] = json!(2);
        assert!(matches!(read(&later), Err(Error::Unsupported { .. })));
    }
}
