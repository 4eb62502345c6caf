//! Options of a training.

use std::num::NonZeroU64;

/// The usual name of the signature that trains.
pub const TRAIN_SIGNATURE: &str = "train";

/// The usual name of the signature that measures without training.
pub const EVALUATE_SIGNATURE: &str = "evaluate";

/// The name of the signature that replaces weights by their averages when the last epoch of a training has ended. It
/// has no inputs.
pub const FINALIZE_SIGNATURE: &str = "finalize";

/// Options of a training. The default: signature `train`, one epoch of batches of 32 rows, shuffled with seed 0.
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

    /// The signature whose every run is one training step.
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

    /// The rows of a batch. The last batch of an epoch may be smaller. 0 is refused.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// The epochs of the whole training, those before a resumption included. Default: 1, and for a resumed training
    /// what was planned.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// The seed of the order of the rows. Each epoch has its own order, which depends on the seed, the number of the
    /// epoch and the number of rows only, and stays the same in later versions. Random ops of the model, such as
    /// dropout, have seeds among its variables.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the rows of an epoch are shuffled. Otherwise they keep the order of the arrays.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Publishes a checkpoint whenever the steps of the whole training are a multiple of this. Default: at the end of
    /// the first epoch of a run, then at the end of an epoch once ten times the duration of the last checkpoint has
    /// passed since it, so that saving takes at most a tenth of the time. The end of a training and a stop always
    /// publish.
    #[must_use]
    pub fn checkpoint_every(mut self, steps: NonZeroU64) -> Self {
        self.checkpoint_every = Some(steps);
        self
    }
}
