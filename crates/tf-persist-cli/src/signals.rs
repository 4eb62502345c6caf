//! Ctrl-C: the first asks for an end, the second is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What shells add to a signal's number for the exit code of the process that it ends.
const SIGNALLED: i32 = 128;

/// Whether an end was asked for, by SIGINT or SIGTERM.
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// From now on, the first such signal is only noted, and the second ends the process at once.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let (asked, which) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: a signal is compared with those before it, and then noted.
            flag::register_conditional_shutdown(signal, SIGNALLED + signal, asked.clone())
                .and_then(|_| flag::register(signal, asked.clone()))
                .and_then(|_| flag::register_usize(signal, which.clone(), signal as usize))
                .context("cannot prepare for Ctrl-C")?;
        }
        Ok(Self(which))
    }

    /// The exit code for the signal that asked for an end, if any did.
    pub(crate) fn asked(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(SIGNALLED + signal as i32),
        }
    }
}
