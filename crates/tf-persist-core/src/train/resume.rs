//! Going on from where a published model says it was left.

use tf_persist_savedmodel::checkpoint::CheckpointIndex;
use tf_persist_savedmodel::saved_model::SavedModel;

use super::STATE_FILE;
use super::{Dataset, TrainOptions, Trainer, TrainingState, new_run};
use crate::error::{Error, Hint, Result, TrainError};

impl Trainer {
    /// A training that goes on with the batch that would have come next. Signature, batch size, seed and shuffling are those it
    /// was begun with, whatever the options say; so is the number of epochs, unless the options have one. Needs no TensorFlow.
    ///
    /// # Errors
    /// As [`Trainer::new`], and [`TrainError::CannotResume`] if the model was not published by a training, has come to its end, has
    /// other variables than were published, or was trained on other data.
    pub fn resume(artefact: &SavedModel, data: Dataset, options: TrainOptions) -> Result<Self> {
        let refuse = |reason: String, hint: Option<Hint>| {
            Error::Train(TrainError::CannotResume { path: artefact.path().to_path_buf(), reason, hint })
        };
        let Some(mut place) = TrainingState::of(artefact)? else {
            let hint = Hint::new("begin a new training").unset("resume");
            return Err(refuse(format!("it has no `{STATE_FILE}`: no training of tf-persist wrote it"), Some(hint)));
        };
        place.epochs = options.epochs.unwrap_or(place.epochs);
        if (place.epoch, place.step) >= (place.epochs, 0) {
            let reason = match (place.epoch, place.step) {
                (epochs, 0) => format!("{epochs} of {} epochs are done", place.epochs),
                (epoch, step) => {
                    format!("it is at step {step} of epoch {}, and {} epochs are asked for", epoch + 1, place.epochs)
                }
            };
            let hint = Hint::new("to train longer, ask for more epochs in all").set("epochs");
            return Err(refuse(reason, Some(hint)));
        }
        if place.variables != artefact.variables()?.index.as_ref().map(CheckpointIndex::fingerprint) {
            let reason = format!("its variables are not those that `{STATE_FILE}` was written with");
            let hint = Hint::new("begin a new training from these variables").unset("resume");
            return Err(refuse(reason, Some(hint)));
        }
        let options = TrainOptions {
            signature: place.signature.clone(),
            batch_size: place.batch_size,
            seed: place.seed,
            shuffle: place.shuffle,
            ..options
        };
        let source = data.source().to_owned();
        let mut trainer = Self::new(artefact, data, options)?;
        let given = trainer.place();
        if given.data != place.data {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            let reason = format!(
                "it was trained on other data than those of `{source}`: {} rows with the SHA-256 {}…, not {} rows with {}…",
                place.rows,
                short(&place.data),
                given.rows,
                short(&given.data)
            );
            let hint = Hint::new("give the data that it was trained on, or begin a new training").unset("resume");
            return Err(refuse(reason, Some(hint)));
        }
        if given.rows != place.rows {
            return Err(Error::damaged(artefact.path().join(STATE_FILE), "its number of rows is not that of its data"));
        }
        place.run = new_run();
        trainer.place = place;
        Ok(trainer)
    }
}
