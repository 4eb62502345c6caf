//! What reading a file costs, and whether an error is one sentence.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tf_persist_keras::fuzzing;

/// The bytes that may be allocated for a small file. Debug builds take more, and other tests run in the same process.
const MAX_BYTES: u64 = if cfg!(debug_assertions) { 500 << 20 } else { 200 << 20 };

/// The processor time that a small file may take, in milliseconds. Debug builds are slower by far.
fn max_milliseconds() -> u64 {
    let given = std::env::var("TF_PERSIST_HOSTILE_MILLISECONDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if cfg!(debug_assertions) { 15_000 } else { 1000 })
}

/// What went wrong, or what the error says; `None` if there was none.
pub(crate) type Outcome = Result<Option<String>, String>;

/// Converts a file, and checks what it costs.
pub(crate) fn convert(bytes: Vec<u8>) -> Outcome {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    fs::write(&file, bytes).map_err(|error| error.to_string())?;
    measured(|| fuzzing::convert_file(file.path()))
}

/// Runs something, and checks what it costs, and that an error is one sentence.
///
/// One at a time, because memory and time are those of the process.
pub(crate) fn measured(run: impl FnOnce() -> tf_persist_savedmodel::Result<()>) -> Outcome {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, start) = (memory(), processor_time());
    let result = catch_unwind(AssertUnwindSafe(run));
    let (after, end) = (memory(), processor_time());
    let result = result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("panic: {}", text.unwrap_or("?"))
    })?;
    if let (Some(before), Some(after)) = (before, after) {
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            let more = after.saturating_sub(*before);
            if more > MAX_BYTES {
                return Err(format!("{name} grew by {} MB: {result:?}", more >> 20));
            }
        }
    }
    if let (Some(start), Some(end)) = (start, end) {
        let milliseconds = (end - start) / 1_000_000;
        if milliseconds > max_milliseconds() {
            return Err(format!("it took {milliseconds} ms: {result:?}"));
        }
    }
    match result {
        Ok(()) => Ok(None),
        Err(error) => {
            let text = error.to_string();
            check_sentence(&text)?;
            if let Some(hint) = error.hint() {
                check_sentence(&hint.to_string())?;
            }
            Ok(Some(text))
        }
    }
}

fn check_sentence(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(char::is_control) || text.ends_with('.') || text.contains("  ") {
        return Err(format!("not one sentence: {text:?}"));
    }
    if text.len() > 8000 {
        return Err(format!("a message of {} bytes: {}", text.len(), text.chars().take(500).collect::<String>()));
    }
    Ok(())
}

/// The most memory that was in use, and the most that was reserved, in bytes.
fn memory() -> Option<[(&'static str, u64); 2]> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &'static str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some((name, kilobytes << 10))
    };
    Some([of("VmHWM")?, of("VmPeak")?])
}

/// The nanoseconds that this thread ran.
fn processor_time() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

/// Ends the process where one file takes for ever.
pub(crate) struct Watch(Sender<String>);

impl Watch {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = channel::<String>();
        std::thread::spawn(move || {
            let mut current = String::new();
            loop {
                match receiver.recv_timeout(Duration::from_secs(100)) {
                    Ok(next) => current = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{current} takes for ever");
                        std::process::abort();
                    }
                }
            }
        });
        Self(sender)
    }

    /// Names the file that is read next.
    pub(crate) fn begin(&self, what: impl Into<String>) {
        let _ = self.0.send(what.into());
    }
}
