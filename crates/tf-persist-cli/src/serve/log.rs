//! The log, on standard error. A full disk or a reader that has gone takes the log with it, and nothing else.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

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
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(Careless).log_internal_errors(false);
    // Another log is there already only in a test.
    let _ = match format {
        LogFormat::Text => log.with_ansi(colours).with_target(level > LevelFilter::INFO).try_init().is_ok(),
        LogFormat::Json => log.json().flatten_event(true).try_init().is_ok(),
    };
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, "this is a bug in tf-persist: {what}");
    }));
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
