//! Resumes a training from a published model.

use tf_persist_savedmodel::checkpoint::CheckpointIndex;
use tf_persist_savedmodel::saved_model::SavedModel;

use super::{Dataset, STATE_FILE, TrainOptions, Trainer, TrainingState, new_run};
use crate::error::{Error, Hint, Result, TrainError};

impl Trainer {
    /// Prepares a training that resumes with the next batch. Signature, batch size, seed and shuffling are those of its
    /// beginning, whatever the options are, and so are the epochs, unless the options set them. Needs no TensorFlow.
    ///
    /// # Errors
    /// As [`Trainer::new`], and [`TrainError::CannotResume`] if the model was not published by a training, its training
    /// is complete, its variables changed since, or it was trained on other data.
    pub fn resume(saved_model: &SavedModel, data: Dataset, options: TrainOptions) -> Result<Self> {
        let refuse = |reason: String, hint: Option<Hint>| {
            Error::Train(TrainError::CannotResume { path: saved_model.path().to_path_buf(), reason, hint })
        };
        let Some(mut state) = TrainingState::from_saved_model(saved_model)? else {
            let hint = Hint::new("begin a new training").unset("resume");
            return Err(refuse(
                format!("it has no `{STATE_FILE}`: it was not written by a training of tf-persist"),
                Some(hint),
            ));
        };
        state.epochs = options.epochs.unwrap_or(state.epochs);
        if (state.epoch, state.step) >= (state.epochs, 0) {
            let reason = match (state.epoch, state.step) {
                (epochs, 0) => format!("{epochs} of {} epochs are done", state.epochs),
                (epoch, step) => {
                    format!("it is at step {step} of epoch {}, and {} epochs are requested", epoch + 1, state.epochs)
                }
            };
            let hint = Hint::new("to train longer, ask for more epochs in all").set("epochs");
            return Err(refuse(reason, Some(hint)));
        }
        if state.variables != saved_model.variables()?.index.as_ref().map(CheckpointIndex::fingerprint) {
            let reason = format!("its variables are not those that `{STATE_FILE}` was written with");
            let hint = Hint::new("begin a new training from these variables").unset("resume");
            return Err(refuse(reason, Some(hint)));
        }
        let options = TrainOptions {
            signature: state.signature.clone(),
            batch_size: state.batch_size,
            seed: state.seed,
            shuffle: state.shuffle,
            ..options
        };
        let source = data.source().to_owned();
        let mut trainer = Self::new(saved_model, data, options)?;
        let given = trainer.state();
        if given.data != state.data {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            let reason = format!(
                "it was trained on other data than those of `{source}`: {} rows with the SHA-256 {}…, not {} rows with {}…",
                state.rows,
                short(&state.data),
                given.rows,
                short(&given.data)
            );
            let hint = Hint::new("give the data that it was trained on, or begin a new training").unset("resume");
            return Err(refuse(reason, Some(hint)));
        }
        if given.rows != state.rows {
            let file = saved_model.path().join(STATE_FILE);
            return Err(Error::damaged(file, "its number of rows is not that of its data"));
        }
        state.run = new_run();
        trainer.state = state;
        Ok(trainer)
    }
}
