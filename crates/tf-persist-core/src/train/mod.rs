//! Training: runs the train signature of a model over a dataset, with checkpoints that training can resume from.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use tf_persist_core::train::{Dataset, Event, TrainOptions, Trainer};
//! use tf_persist_core::{LoadOptions, LoadSavedModel, SaveOptions, SavedModel};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let saved_model = SavedModel::open("models/digits_trainable/model")?;
//! let data = Dataset::read("models/digits_trainable/train.npz")?; // image: float32 [n, 8, 8, 1], y: int64 [n]
//! let options = TrainOptions::default().batch_size(32).epochs(5).seed(1);
//! let trainer = Trainer::new(&saved_model, data, options)? // checks model and data, without TensorFlow
//!     .validate_on(Dataset::read("models/digits_trainable/validate.npz")?)?
//!     .save_to("digits-trained", SaveOptions::default())?;
//!
//! let model = saved_model.load(LoadOptions::default())?;
//! let trained = trainer.run(&model, |event| {
//!     if let Event::Epoch(epoch) = event {
//!         println!("epoch {}: {:?}", epoch.epoch, epoch.means);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert!(!trained.stopped); // `model` has the trained variables
//! # Ok(())
//! # }
//! ```
//!
//! # What is exact
//!
//! A training that is stopped and resumed makes the same steps as an uninterrupted one: the variables hold the whole
//! state of the model, and the [`TrainingState`] beside them names the next batch. On one thread (intra-op and inter-op
//! threads 1) the numbers are equal bit for bit, and equal to those that Python gets from the same signature. With more
//! threads TensorFlow adds numbers up in varying order.
//!
//! The means of an epoch weigh each batch by its size. That is exact for outputs that are means over rows, such as a
//! loss or an accuracy, and not for others, such as AUC: see [`is_mean_of_batches`]. What Keras calls
//! `root_mean_squared_error` is exact, too: its squares are averaged.
//!
//! A model whose optimizer averages its weights may have a signature [`FINALIZE_SIGNATURE`] without inputs, which
//! replaces the weights by their averages. It runs once, when the last epoch ends, as in `fit` of Keras.

mod check_data;
mod dataset;
mod error_context;
mod event;
mod metric_names;
mod options;
mod publish;
mod resume;
mod run;
mod shuffle;
mod signatures;
mod step;

use std::path::{Path, PathBuf};

pub use dataset::Dataset;
pub use event::{Epoch, Event, Step, TrainReport};
pub use metric_names::is_mean_of_batches;
pub use options::{EVALUATE_SIGNATURE, FINALIZE_SIGNATURE, TRAIN_SIGNATURE, TrainOptions};
pub use tf_persist_savedmodel::saved_model::TrainingState;
pub use tf_persist_savedmodel::saved_model::layout::STATE_FILE;

use tf_persist_savedmodel::SaveOptions;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};

use crate::error::{Error, Result, TrainError};
use check_data::{quoted_list, to_signature};
use signatures::{check_evaluates, check_trains, finalizes, train_signature};

/// A training that is ready to run: a signature, data that fit it, the state to begin in, and where to save.
#[derive(Debug)]
pub struct Trainer {
    saved_model: SavedModel,
    meta_graph: MetaGraph,
    options: TrainOptions,
    /// The output that must stay finite.
    loss: String,
    data: Dataset,
    validation: Option<Dataset>,
    target: Option<(PathBuf, SaveOptions)>,
    /// What hints call the target, if not by its path.
    shown: Option<PathBuf>,
    /// Whether the model has a signature that ends a training.
    finalizes: bool,
    state: TrainingState,
}

impl Trainer {
    /// Prepares a new training, whatever the model was trained on before. Needs no TensorFlow.
    ///
    /// # Errors
    /// - [`TrainError::NotTrainable`] if the model is for inference only, or if the signature does not take rows of
    ///   arrays, is the one that evaluates, or writes no variable and has no `train` in its name;
    /// - [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature) if the model can be trained,
    ///   but has no signature of that name;
    /// - [`TensorError::InvalidData`](crate::TensorError::InvalidData) if names, dtypes or inner shapes of the data do
    ///   not fit the signature, or the batch size is 0.
    pub fn new(saved_model: &SavedModel, data: Dataset, options: TrainOptions) -> Result<Self> {
        let meta_graph = saved_model.meta_graph(options.tags.as_deref())?.clone();
        let signature = train_signature(saved_model, &meta_graph, &options)?;
        if options.batch_size == 0 {
            return Err(Error::data("batch size", "it is 0, and a batch has at least one row"));
        }
        let data = to_signature(data, signature, saved_model.path(), options.batch_size)?;
        let loss = step::loss_of(signature).ok_or_else(|| {
            Error::Train(TrainError::NotTrainable {
                path: saved_model.path().to_path_buf(),
                reason: format!(
                    "signature `{}` has no output `loss`, nor a single float that could be it; its outputs are {}",
                    signature.name,
                    quoted_list(signature.outputs.iter().map(|(name, _)| name.as_str()))
                ),
                hint: None,
            })
        })?;
        check_trains(saved_model, &meta_graph, signature)?;
        let loss = loss.to_owned();
        let mut state = TrainingState::begin(
            &signature.name,
            options.seed,
            options.shuffle,
            options.batch_size,
            data.rows(),
            data.digest(),
        );
        state.epochs = options.epochs.unwrap_or(1);
        state.run = new_run();
        let finalizes = finalizes(saved_model, &meta_graph);
        let saved_model = saved_model.clone();
        let (validation, target, shown) = (None, None, None);
        Ok(Self { saved_model, meta_graph, options, loss, data, validation, target, shown, finalizes, state })
    }

    /// Checks that the model can be trained by the signature of these options, without data.
    ///
    /// # Errors
    /// [`TrainError::NotTrainable`] or [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature),
    /// as [`Trainer::new`].
    pub fn check(saved_model: &SavedModel, options: &TrainOptions) -> Result<()> {
        train_signature(saved_model, saved_model.meta_graph(options.tags.as_deref())?, options).map(drop)
    }

    /// Runs the `evaluate` signature over these data at the end of each epoch.
    ///
    /// # Errors
    /// - [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature) if the model has no such
    ///   signature;
    /// - [`TrainError::NotTrainable`] if the signature would train on these data (it is the train signature, or has
    ///   `train` in its name), or has no output that is a single float;
    /// - [`TensorError::InvalidData`](crate::TensorError::InvalidData) if the data do not fit it.
    pub fn validate_on(mut self, data: Dataset) -> Result<Self> {
        let signature = self.meta_graph.signature(&self.options.evaluate)?;
        check_evaluates(&self.saved_model, &self.meta_graph, signature, &self.state.signature)?;
        self.validation = Some(to_signature(data, signature, self.saved_model.path(), self.options.batch_size)?);
        Ok(self)
    }

    /// Publishes checkpoints and the trained model at `target`. Without this call, nothing is written.
    ///
    /// The first checkpoint replaces a model at the target only with [`SaveOptions::overwrite`]. Each later one
    /// replaces the one before it, and nothing else.
    ///
    /// # Errors
    /// As [`SaveOptions::check_target`], and if a folder cannot be created there.
    pub fn save_to(mut self, target: impl AsRef<Path>, options: SaveOptions) -> Result<Self> {
        options.try_target(target.as_ref())?;
        self.target = Some((target.as_ref().to_path_buf(), options));
        Ok(self)
    }

    /// Calls the output by another path where an error says what was kept, such as that of a file which the observer
    /// makes of every checkpoint.
    #[must_use]
    pub fn shown_as(mut self, path: impl Into<PathBuf>) -> Self {
        self.shown = Some(path.into());
        self
    }

    /// The state that it begins in.
    #[must_use]
    pub fn state(&self) -> &TrainingState {
        &self.state
    }
}

/// A random number: the standard library seeds its hash maps with one.
fn new_run() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
