//! Training: the model's own train signature over real data, with checkpoints to go on from.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use tf_persist_core::train::{Dataset, Event, TrainOptions, Trainer};
//! use tf_persist_core::{LoadOptions, SaveOptions, SavedModel};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let artefact = SavedModel::open("models/digits_trainable/model")?;
//! let data = Dataset::read("models/digits_trainable/train.npz")?; // image: float32 [n, 8, 8, 1], y: int64 [n]
//! let options = TrainOptions::default().batch_size(32).epochs(5).seed(1);
//! let trainer = Trainer::new(&artefact, data, options)? // whatever does not fit is told here, without TensorFlow
//!     .validate_on(Dataset::read("models/digits_trainable/validate.npz")?)?
//!     .save_to("digits-trained", SaveOptions::default())?;
//!
//! let model = artefact.load(LoadOptions::default())?;
//! let trained = trainer.run(&model, |event| {
//!     if let Event::Epoch(epoch) = event {
//!         println!("epoch {}: {:?}", epoch.epoch, epoch.means);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert!(!trained.stopped); // `model` can be used now, too
//! # Ok(())
//! # }
//! ```
//!
//! # What is exact
//!
//! A training that is stopped and resumed makes the steps that an uninterrupted one makes: the model has all state in its
//! variables, and the [`TrainingState`] that is published with it says which batch comes next. On one thread (intra-op and inter-op
//! threads 1) the numbers are equal bit for bit, and equal to those that Python gets from the same signature; with more threads
//! TensorFlow adds up in an order that changes.
//!
//! The means of an epoch weigh each batch by its size. That is exact for what is itself a mean over rows, such as a loss or an
//! accuracy, and not for others, such as AUC.

mod blame;
mod dataset;
mod event;
mod fit;
mod options;
mod order;
mod publish;
mod resume;
mod roles;
mod run;
mod step;

use std::path::{Path, PathBuf};

pub use dataset::Dataset;
pub use event::{Epoch, Event, Step, Trained};
pub use options::{EVALUATE_SIGNATURE, TRAIN_SIGNATURE, TrainOptions};
pub use tf_persist_savedmodel::saved_model::TrainingState;
pub use tf_persist_savedmodel::saved_model::layout::STATE_FILE;

use tf_persist_savedmodel::SaveOptions;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel};

use crate::error::{Error, Result, TrainError};
use fit::{fit, listed};
use roles::{check_evaluates, check_trains, train_signature};

/// A training that is checked and ready: a signature, data that fit it, a place to begin at, and one to save to.
#[derive(Debug)]
pub struct Trainer {
    artefact: SavedModel,
    meta_graph: MetaGraph,
    options: TrainOptions,
    /// The output that must stay a number.
    loss: String,
    data: Dataset,
    validation: Option<Dataset>,
    target: Option<(PathBuf, SaveOptions)>,
    place: TrainingState,
}

impl Trainer {
    /// A training from the beginning of the data, whatever the model was trained on before. Needs no TensorFlow.
    ///
    /// # Errors
    /// - [`TrainError::NotTrainable`] if the model is for inference only, its signature cannot be trained with rows of arrays, is the
    ///   one that evaluates, or writes nothing and has no `train` in its name;
    /// - [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature) if it can be trained, but not by a signature of that name;
    /// - [`TensorError::InvalidData`](crate::TensorError::InvalidData) if the data do not fit the signature: names, dtypes, inner shapes, or the batch size is 0.
    pub fn new(artefact: &SavedModel, data: Dataset, options: TrainOptions) -> Result<Self> {
        let meta_graph = artefact.meta_graph(options.tags.as_deref())?.clone();
        let signature = train_signature(artefact, &meta_graph, &options)?;
        if options.batch_size == 0 {
            return Err(Error::data("batch size", "it is 0: a batch has one row at least"));
        }
        let data = fit(data, signature, artefact.path(), options.batch_size)?;
        let loss = step::loss_of(signature).ok_or_else(|| {
            Error::Train(TrainError::NotTrainable {
                path: artefact.path().to_path_buf(),
                reason: format!(
                    "signature `{}` has no output `loss`, nor a single float that could be it; its outputs are {}",
                    signature.name,
                    listed(signature.outputs.iter().map(|(name, _)| name.as_str()))
                ),
                hint: None,
            })
        })?;
        check_trains(artefact, &meta_graph, signature)?;
        let loss = loss.to_owned();
        let mut place = TrainingState::begin(
            &signature.name,
            options.seed,
            options.shuffle,
            options.batch_size,
            data.rows(),
            data.digest(),
        );
        place.epochs = options.epochs.unwrap_or(1);
        place.run = new_run();
        Ok(Self { artefact: artefact.clone(), meta_graph, options, loss, data, validation: None, target: None, place })
    }

    /// Whether the model can be trained at all, by the signature of these options; for those who have no data yet.
    ///
    /// # Errors
    /// [`TrainError::NotTrainable`] or [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature), as [`Trainer::new`].
    pub fn check(artefact: &SavedModel, options: &TrainOptions) -> Result<()> {
        train_signature(artefact, artefact.meta_graph(options.tags.as_deref())?, options).map(drop)
    }

    /// Measures these data with the `evaluate` signature at the end of each epoch.
    ///
    /// # Errors
    /// [`SavedModelError::UnknownSignature`](crate::SavedModelError::UnknownSignature) if the model has none, [`TrainError::NotTrainable`] if it would train on these data (it is the
    /// train signature, or has `train` in its name) or has no output that is one float, [`TensorError::InvalidData`](crate::TensorError::InvalidData) if the data do
    /// not fit it.
    pub fn validate_on(mut self, data: Dataset) -> Result<Self> {
        let signature = self.meta_graph.signature(&self.options.evaluate)?;
        check_evaluates(&self.artefact, &self.meta_graph, signature, &self.place.signature)?;
        self.validation = Some(fit(data, signature, self.artefact.path(), self.options.batch_size)?);
        Ok(self)
    }

    /// Publishes the model at `target`: checkpoints on the way, and the trained model. Without it, nothing is written.
    ///
    /// What stands at the target when the first of them is published is only replaced with [`SaveOptions::overwrite`]; after
    /// that each replaces the one before it, and nothing that this training did not put there.
    ///
    /// # Errors
    /// As [`SaveOptions::check_target`], and if no folder can be made there.
    pub fn save_to(mut self, target: impl AsRef<Path>, options: SaveOptions) -> Result<Self> {
        options.try_target(target.as_ref())?;
        self.target = Some((target.as_ref().to_path_buf(), options));
        Ok(self)
    }

    /// Where it will begin.
    #[must_use]
    pub fn place(&self) -> &TrainingState {
        &self.place
    }
}

/// A random number. The standard library draws one, too, to seed its hash maps.
fn new_run() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
