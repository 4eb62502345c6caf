//! The log, on standard error. A full disk or a reader that has gone takes the log with it, and nothing else.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{LogFormat, LogLevel};

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Begins to log. Panics go into the log from here on.
pub(super) fn begin(format: LogFormat, level: LogLevel) {
    let level = LevelFilter::from(level);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(Careless).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(wanted(level));
    // Another log is there already only in a test.
    let _ = match format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(colours).with_target(level > LevelFilter::INFO)).try_init().is_ok()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init().is_ok(),
    };
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, "this is a bug in tf-persist: {what}");
    }));
}

/// What is logged: of the libraries that serve connections their errors alone, unless more than usual is asked for. They warn of what
/// clients do, a line a connection, with which a hostile one could fill a disk.
fn wanted(level: LevelFilter) -> Targets {
    let others = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::ERROR) };
    Targets::new().with_default(others).with_target("tf_persist", level)
}

/// Standard error, which always takes what it is given.
struct Careless;

impl<'a> MakeWriter<'a> for Careless {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Careless {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_warn_only_those_who_ask_for_more() {
        for (level, own, others) in [
            (LevelFilter::ERROR, Level::ERROR, Level::ERROR),
            (LevelFilter::WARN, Level::WARN, Level::ERROR),
            (LevelFilter::INFO, Level::INFO, Level::ERROR),
            (LevelFilter::DEBUG, Level::DEBUG, Level::DEBUG),
        ] {
            let wanted = wanted(level);
            assert!(wanted.would_enable("tf_persist_serve::models", &own), "{level}");
            assert!(wanted.would_enable(module_path!(), &own), "{level}");
            assert_eq!(wanted.would_enable("h2::proto", &Level::WARN), others >= Level::WARN, "{level}");
            assert!(wanted.would_enable("h2::proto", &others), "{level}");
        }
    }
}
