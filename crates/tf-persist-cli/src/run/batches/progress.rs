//! A bar on a terminal while batches are run.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar with rows. Where standard error is not a terminal it shows nothing.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `rows` is the number of rows if it is known.
    pub(super) fn new(rows: Option<usize>, done: usize) -> Self {
        let bar = ProgressBar::with_draw_target(rows.map(|rows| rows as u64), ProgressDrawTarget::stderr());
        let template = match rows {
            Some(_) => "{wide_bar} {human_pos}/{human_len} rows  {per_sec}  {eta}",
            None => "{spinner} {human_pos} rows  {per_sec}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done as u64);
        bar.reset_eta();
        Self(bar)
    }

    pub(super) fn advance(&self, rows: usize) {
        self.0.inc(rows as u64);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
