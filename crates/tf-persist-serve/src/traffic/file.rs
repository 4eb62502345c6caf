//! Rules in a file that may change while the server runs.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::rules::TrafficRules;
use super::settings::TrafficSource;

/// The longest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A file that has just changed must stay the same for this long before it is read: its writer may not be done.
const SETTLE: Duration = Duration::from_millis(50);

/// How often that is waited for in one look.
const MAX_SETTLES: usize = 10;

/// A file of rules, in TOML: a table for each model, as [`TrafficRules::parse`] reads them.
#[derive(Debug)]
pub struct TrafficFile {
    path: PathBuf,
    last: Mutex<Option<Look>>,
    settle: Duration,
}

/// What was found in the file.
#[derive(Debug)]
struct Look {
    stamp: Stamp,
    /// What is wrong with it.
    problem: Option<String>,
}

/// What changes when a file is written or replaced.
type Stamp = [i64; 7];

impl TrafficFile {
    /// The rules in the file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), last: Mutex::new(None), settle: SETTLE }
    }

    /// Waits this long for a file to settle.
    #[cfg(test)]
    pub(super) fn settle(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn stamp(&self) -> Result<Stamp, String> {
        let found = fs::metadata(&self.path).map_err(unreadable)?;
        // To open a pipe would wait for its writer.
        if found.is_file() { Ok(stamp(&found)) } else { Err("it is not a file".to_owned()) }
    }

    /// The stamp of the file once it does not change any more.
    fn settled(&self, mut stamp: Stamp) -> Result<Stamp, String> {
        for _ in 0..MAX_SETTLES {
            thread::sleep(self.settle);
            let now = self.stamp()?;
            if now == stamp {
                return Ok(stamp);
            }
            stamp = now;
        }
        Err("it keeps changing".to_owned())
    }

    fn read(&self) -> Result<TrafficRules, String> {
        let file = File::open(&self.path).map_err(unreadable)?;
        let mut text = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        TrafficRules::parse(&text)
    }
}

impl TrafficSource for TrafficFile {
    fn name(&self) -> String {
        format!("the traffic file `{}`", self.path.display())
    }

    fn look(&self) -> Result<Option<TrafficRules>, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stamp = match self.stamp() {
            Ok(stamp) => stamp,
            Err(problem) => {
                // It is read again when it is back.
                if let Some(last) = &mut *last {
                    last.stamp = Stamp::default();
                }
                return Err(problem);
            }
        };
        match &*last {
            Some(last) if last.stamp == stamp => return last.problem.clone().map_or(Ok(None), Err),
            Some(_) => stamp = self.settled(stamp)?,
            // The start does not wait.
            None => {}
        }
        let rules = self.read();
        // A change since the stamp is found in the next look.
        *last = Some(Look { stamp, problem: rules.as_ref().err().cloned() });
        rules.map(Some)
    }
}

fn unreadable(error: io::Error) -> String {
    format!("it cannot be read: {error}")
}

fn stamp(found: &Metadata) -> Stamp {
    [
        found.dev().cast_signed(),
        found.ino().cast_signed(),
        found.size().cast_signed(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ]
}
