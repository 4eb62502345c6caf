//! How a failure is told: what, why, and what to do.

use std::io;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use tf_persist_core::printable;

/// What was tried when standard output cannot be written to.
pub(crate) const PRINTING: &str = "cannot print to standard output";

/// It could not be done.
pub(crate) const FAILED: i32 = 1;
/// It was not asked for in the right way.
const MISUSED: i32 = 2;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// A failure that has been told already: the report says it, or each request's answer does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Told(pub(crate) String);

/// What was asked for cannot be meant: a variable of the environment that makes no sense. Clap tells the rest itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// It was stopped by a signal, and has said so: the exit code that shells give a process which such a signal ends.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub(crate) struct Stopped(pub(crate) i32);

/// What went wrong, and what to do about it, where the library has no hint.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Hinted {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: &'static str,
}

/// The report on standard output says it all: two things differ. Nothing is printed beside it.
#[derive(Debug, thiserror::Error)]
#[error("they differ")]
pub(crate) struct Verdict;

/// Prints an error with its causes and hint; gives the exit code. `choose_signature` is what to do where the signature is not one of the
/// model's, which every command is told in its own way.
pub(crate) fn print(error: &anyhow::Error, choose_signature: Option<String>) -> i32 {
    if let Some(Stopped(code)) = error.downcast_ref() {
        return *code;
    }
    if error.is::<Verdict>() {
        return FAILED;
    }
    eprintln!("{ERROR}error:{ERROR:#} {}", printable(&message(error)));
    let core = error.chain().find_map(|cause| cause.downcast_ref::<tf_persist_core::Error>());
    if let Some(detail) = core.and_then(tf_persist_core::Error::detail) {
        eprintln!("TensorFlow says further:");
        for line in detail.lines() {
            eprintln!("  {}", printable(line));
        }
    }
    if let Some(tf_persist_core::Error::MissingOps(missing)) = core
        && missing.ops().len() > 1
    {
        missing.places().iter().for_each(|place| eprintln!("  {}", printable(place)));
    }
    let hint = match core {
        Some(tf_persist_core::Error::UnknownSignature { .. }) => choose_signature,
        _ => None,
    };
    if let Some(hint) = hint.or_else(|| core?.hint()) {
        eprintln!("{HINT}hint:{HINT:#} {}", printable(&hint));
    }
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        eprintln!("{HINT}hint:{HINT:#} {}", hinted.hint);
    }
    if error.chain().any(|cause| cause.is::<Misuse>()) { MISUSED } else { FAILED }
}

/// Says what the user should know although it was done.
pub(crate) fn warn(text: &str) {
    eprintln!("{WARNING}warning:{WARNING:#} {}", printable(text));
}

/// The error and its causes in one line, each said once: many errors end with their cause.
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

/// Whether the reader of our output has gone, as `head` does: that is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let direct = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let in_json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        direct.or(in_json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// A panic is a bug of ours, and is told as one, without a backtrace.
pub(crate) fn report_panics_as_bugs() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no message");
        eprintln!("{ERROR}error:{ERROR:#} this is a bug in tf-persist: {what}{place}");
        eprintln!("{HINT}hint:{HINT:#} report it with the command and the model, if you can share it");
    }));
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
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
