//! SIGINT and SIGTERM: the first asks for an end, another one later is the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// What shells add to a signal's number for the exit code of the process that it ends.
const SIGNALLED: i32 = 128;

/// Signals that come so soon after the first say the same once more: `timeout` and supervisors send one to the process and one to its
/// group.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Whether an end was asked for, by SIGINT or SIGTERM.
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// From now on, the first such signal is only noted and told, as are those within a second after it. The next one ends the process
    /// at once, whatever its threads are doing.
    pub(crate) fn on_signals(tell: impl FnOnce(&'static str) + Send + 'static) -> anyhow::Result<Self> {
        let which = Arc::new(AtomicUsize::new(0));
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot prepare for Ctrl-C")?;
        let note = Arc::clone(&which);
        let listen = move || {
            let Some(first) = signals.forever().next() else { return };
            note.store(first as usize, Ordering::Relaxed);
            tell(if first == SIGINT { "SIGINT" } else { "SIGTERM" });
            thread::sleep(AT_ONCE);
            signals.pending().for_each(drop);
            if let Some(next) = signals.forever().next() {
                low_level::exit(SIGNALLED + next);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(listen).context("cannot prepare for Ctrl-C")?;
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
