//! SIGINT and SIGTERM: the first requests a stop, a later one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Shells add this to the number of the signal that ended a process, for its exit code.
const SIGNALLED: i32 = 128;

/// Signals within this time after the first are ignored: `timeout` and supervisors send one signal to the process and
/// the same one to its group.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Whether SIGINT or SIGTERM has requested a stop.
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// From now on, the first such signal is recorded and calls `on_first`, and those within a second after it are
    /// ignored. The next one ends the process at once, whatever its threads are doing.
    pub(crate) fn on_signals(on_first: impl FnOnce(&'static str) + Send + 'static) -> anyhow::Result<Self> {
        let first_signal = Arc::new(AtomicUsize::new(0));
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
        let record = Arc::clone(&first_signal);
        let listen = move || {
            let Some(first) = signals.forever().next() else { return };
            record.store(first as usize, Ordering::Relaxed);
            on_first(if first == SIGINT { "SIGINT" } else { "SIGTERM" });
            thread::sleep(AT_ONCE);
            signals.pending().for_each(drop);
            if let Some(next) = signals.forever().next() {
                low_level::exit(SIGNALLED + next);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(listen).context("cannot listen for signals")?;
        Ok(Self(first_signal))
    }

    /// The exit code for the signal that requested a stop, if any did.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(SIGNALLED + signal as i32),
        }
    }
}
