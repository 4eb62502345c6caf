//! How long runs take.

use std::time::{Duration, Instant};

use tf_persist_core::Outputs;

/// The durations of runs, without the first one, which warms up.
pub(super) struct Timings {
    sorted: Vec<Duration>,
}

impl Timings {
    pub(super) fn measure(
        times: u32,
        mut run: impl FnMut() -> tf_persist_core::Result<Outputs>,
    ) -> anyhow::Result<Self> {
        let mut sorted = Vec::new();
        for _ in 0..times {
            let started = Instant::now();
            let outputs = run()?;
            sorted.push(started.elapsed());
            drop(outputs);
        }
        sorted.sort_unstable();
        Ok(Self { sorted })
    }

    pub(super) fn runs(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn min(&self) -> Duration {
        self.sorted.first().copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or_default()
    }

    pub(super) fn max(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }
}
