//! A bar on a terminal while versions are transferred.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tf_persist_store::remote::Progress;

/// A bar with bytes. Where standard error is not a terminal it shows nothing.
#[derive(Debug)]
pub(crate) struct TransferBar(ProgressBar);

impl TransferBar {
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for TransferBar {
    fn start(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
