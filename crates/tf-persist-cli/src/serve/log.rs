//! The log, on standard error. If standard error cannot be written to, the log is lost and the server runs on.

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

/// Starts logging. From here on, panics are logged too.
pub(super) fn begin(format: LogFormat, level: LogLevel) {
    let level = LevelFilter::from(level);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(Lossy).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter(level));
    // Only in a test is there a logger already.
    let _ = match format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(colours).with_target(level > LevelFilter::INFO)).try_init().is_ok()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init().is_ok(),
    };
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(location, "this is a bug in tf-persist: {message}");
    }));
}

/// Filters log lines. Libraries that serve connections log only errors at the default level: they warn once per
/// connection about what clients do, with which a hostile client could fill a disk.
fn filter(level: LevelFilter) -> Targets {
    let others = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::ERROR) };
    Targets::new().with_default(others).with_target("tf_persist", level)
}

/// Standard error, where a failed write is ignored.
struct Lossy;

impl<'a> MakeWriter<'a> for Lossy {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lossy {
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
    fn libraries_log_warnings_only_at_debug_level() {
        for (level, own, others) in [
            (LevelFilter::ERROR, Level::ERROR, Level::ERROR),
            (LevelFilter::WARN, Level::WARN, Level::ERROR),
            (LevelFilter::INFO, Level::INFO, Level::ERROR),
            (LevelFilter::DEBUG, Level::DEBUG, Level::DEBUG),
        ] {
            let filter = filter(level);
            assert!(filter.would_enable("tf_persist_serve::models", &own), "{level}");
            assert!(filter.would_enable(module_path!(), &own), "{level}");
            assert_eq!(filter.would_enable("h2::proto", &Level::WARN), others >= Level::WARN, "{level}");
            assert!(filter.would_enable("h2::proto", &others), "{level}");
        }
    }
}
