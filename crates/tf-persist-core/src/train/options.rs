//! How a model is trained.

use std::num::NonZeroU64;

/// The name that exporters give the signature that trains.
pub const TRAIN_SIGNATURE: &str = "train";

/// The name that exporters give the signature that measures without training.
pub const EVALUATE_SIGNATURE: &str = "evaluate";

/// How a model is trained. The default: signature `train`, one epoch of batches of 32 rows, shuffled with seed 0.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    pub(super) tags: Option<Vec<String>>,
    pub(super) signature: String,
    pub(super) evaluate: String,
    pub(super) batch_size: usize,
    pub(super) epochs: Option<u64>,
    pub(super) seed: u64,
    pub(super) shuffle: bool,
    pub(super) checkpoint_every: Option<NonZeroU64>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            tags: None,
            signature: TRAIN_SIGNATURE.into(),
            evaluate: EVALUATE_SIGNATURE.into(),
            batch_size: 32,
            epochs: None,
            seed: 0,
            shuffle: true,
            checkpoint_every: None,
        }
    }
}

impl TrainOptions {
    /// The tag set of the meta graph, as for [`LoadOptions::tags`](crate::LoadOptions::tags).
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// The signature of which every run is a step of training.
    #[must_use]
    pub fn signature(mut self, name: impl Into<String>) -> Self {
        self.signature = name.into();
        self
    }

    /// The signature that measures the validation data.
    #[must_use]
    pub fn evaluate_signature(mut self, name: impl Into<String>) -> Self {
        self.evaluate = name.into();
        self
    }

    /// Rows of a batch, and so of a step; the last batch of an epoch may be smaller. 0 is refused.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// How often all rows are gone through, from the beginning of the training, whether it is resumed or not. Unless it is set:
    /// 1, and what was planned where training is resumed.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// The seed of the order of the rows. Each epoch has an order of its own, which depends on the seed, the number of the epoch
    /// and the number of rows, on nothing else, and stays the same in later versions. What the model draws itself, such as
    /// dropout, has seeds among its variables.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the rows of an epoch are shuffled. Otherwise they come in the order of the arrays.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Publishes the model after every so many steps of the whole training. Unless it is set: at the end of an epoch, if
    /// the last one was published at least ten times as long ago as that took, so that at most a tenth of the time goes into it;
    /// the end of a run's first epoch always is. Either way it is published at the end and where training is stopped.
    #[must_use]
    pub fn checkpoint_every(mut self, steps: NonZeroU64) -> Self {
        self.checkpoint_every = Some(steps);
        self
    }
}
