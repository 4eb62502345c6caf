//! How errors are printed: what went wrong, why, and what helps.

use std::cell::Cell;
use std::io;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use tf_persist_savedmodel::printable;

use crate::hint::{self, Flags, Found};

/// What was tried when standard output cannot be written to.
pub(crate) const PRINTING: &str = "cannot print to standard output";

/// The exit code of a failure.
pub(crate) const FAILURE: i32 = 1;
/// The exit code of a usage error.
const USAGE: i32 = 2;

const ERROR: Style = AnsiColor::Red.on_default().bold();
#[cfg(feature = "runtime")]
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// A failure that the report, or the answer to each request, has described already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AlreadyReported(pub(crate) String);

/// A usage error that clap does not see, such as an invalid environment variable.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A signal stopped the command, which has said so. Holds the exit code that shells give such a process.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub(crate) struct Interrupted(pub(crate) i32);

/// An error with a hint of its own.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Hinted {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: String,
}

/// Two things differ, as the report on standard output says. Nothing is printed beside it.
#[derive(Debug, thiserror::Error)]
#[error("they differ")]
pub(crate) struct Differs;

/// Prints an error with its causes and its hint; returns the exit code. `choose_signature` is the hint for an unknown
/// signature.
pub(crate) fn print(error: &anyhow::Error, flags: &Flags, choose_signature: Option<String>) -> i32 {
    if let Some(Interrupted(code)) = error.downcast_ref() {
        return *code;
    }
    if error.is::<Differs>() {
        return FAILURE;
    }
    eprintln!("{ERROR}error:{ERROR:#} {}", printable(&message(error)));
    let found = Found::in_chain(error);
    if let Some(detail) = found.and_then(Found::detail) {
        eprintln!("TensorFlow says further:");
        for line in detail.lines() {
            eprintln!("  {}", printable(line));
        }
    }
    if let Some(missing) = found.and_then(Found::missing_ops).filter(|missing| missing.ops().len() > 1) {
        missing.places().iter().for_each(|place| eprintln!("  {}", printable(place)));
    }
    let hint = match error.downcast_ref::<Hinted>() {
        Some(Hinted { hint, .. }) => Some(hint.clone()),
        None => {
            let of_store = error.downcast_ref().and_then(hint::of_store);
            of_store.or_else(|| found.and_then(|found| hint::hint(found, flags, choose_signature)))
        }
    };
    if let Some(hint) = hint {
        eprintln!("{HINT}hint:{HINT:#} {}", printable(&hint));
    }
    if error.chain().any(|cause| cause.is::<UsageError>()) { USAGE } else { FAILURE }
}

/// Prints what the user should know although the command succeeds.
#[cfg(feature = "runtime")]
pub(crate) fn warn(text: &str) {
    eprintln!("{WARNING}warning:{WARNING:#} {}", printable(text));
}

/// Prints what was done where the user may have expected something else.
#[cfg(feature = "runtime")]
pub(crate) fn note(text: &str) {
    eprintln!("note: {}", printable(text));
}

/// The error and its causes in one line, each once: many errors end with their cause.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Whether the reader of standard output has closed it, as `head` does: that is not a failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let direct = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let in_json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        direct.or(in_json) == Some(io::ErrorKind::BrokenPipe)
    })
}

thread_local! {
    static PANICS_ARE_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a function whose panics in this thread are not reported: the caller turns them into errors.
#[cfg(feature = "columns")]
pub(crate) fn expecting_panics<T>(function: impl FnOnce() -> T) -> T {
    let before = PANICS_ARE_EXPECTED.replace(true);
    let result = function();
    PANICS_ARE_EXPECTED.set(before);
    result
}

/// Leaves panics that are expected out of the output of a test, which would be long.
#[cfg(all(test, feature = "columns"))]
pub(crate) fn hide_expected_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !PANICS_ARE_EXPECTED.get() {
                report(info);
            }
        }));
    });
}

/// Reports a panic as a bug, without a backtrace.
pub(crate) fn report_panics_as_bugs() {
    std::panic::set_hook(Box::new(|info| {
        if PANICS_ARE_EXPECTED.get() {
            return;
        }
        let location = info.location().map(|it| format!(" at {}:{}", it.file(), it.line())).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        eprintln!("{ERROR}error:{ERROR:#} this is a bug in tf-persist: {message}{location}");
        eprintln!("{HINT}hint:{HINT:#} report it with the command and the model, if you can share it");
    }));
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_printed_once() {
        let error = io::Error::other("disk full");
        let error = anyhow::Error::new(error).context("cannot write `x`: disk full");
        assert_eq!(message(&error), "cannot write `x`: disk full");
        let error = Err::<(), _>(io::Error::other("disk full")).context("cannot write `x`").unwrap_err();
        assert_eq!(message(&error), "cannot write `x`: disk full");
    }

    #[test]
    fn a_broken_pipe_is_found_under_its_context() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
