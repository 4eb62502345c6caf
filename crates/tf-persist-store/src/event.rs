//! What happened to a model, in order.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::sync_folder;
use crate::error::{Result, StoreError};
use crate::layout::Layout;
use crate::name::Label;

/// The most bytes of an event in the log.
pub(crate) const MAX_EVENT: u64 = 1 << 20;

/// A change to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The number of the change, from 1 without gaps.
    pub sequence: u64,
    /// When it was made. Never before the change before, even where a clock was set back.
    pub at: Timestamp,
    /// Who made it: user and machine.
    pub by: String,
    /// What was changed.
    #[serde(flatten)]
    pub what: What,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A version was published.
    Published {
        /// Its number.
        version: u64,
        /// The SHA-256 of its manifest.
        manifest: String,
        /// The store that it was pulled from; `None` if it was published here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A label was moved, given or taken away.
    Labelled {
        /// The label.
        label: Label,
        /// The version that it pointed to.
        from: Option<u64>,
        /// The version that it points to.
        to: Option<u64>,
        /// Which command moved it.
        why: Why,
    },
    /// A version was signed.
    Signed {
        /// Its number.
        version: u64,
        /// The SHA-256 of the PEM text of the public key.
        key: String,
    },
    /// A version was removed.
    Removed {
        /// Its number.
        version: u64,
        /// The SHA-256 of its manifest.
        manifest: String,
    },
}

/// Why a label was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The version was published with it.
    Publish,
    /// It was set.
    Label,
    /// The version was promoted.
    Promote,
    /// It was rolled back.
    Rollback,
}

/// All events of a model: those of the log, and those that are only in the labels file as yet.
pub(crate) fn read_all(layout: &Layout, recent: &[Event]) -> Result<Vec<Event>> {
    let path = layout.log();
    let mut events: Vec<Event> = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => events = decode(file.map_err(StoreError::io("open", &path))?, &path)?,
    }
    complete(events, recent, &path)
}

/// The events in a log.
pub(crate) fn decode(log: impl Read, path: &Path) -> Result<Vec<Event>> {
    let (mut reader, mut events) = (BufReader::new(log), Vec::new());
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MAX_EVENT).read_until(b'\n', &mut line);
        read.map_err(StoreError::io("read", path))?;
        // A line without an end is one whose writer was killed.
        let Some(line) = line.strip_suffix(b"\n") else { return Ok(events) };
        events.push(parse(path, line)?);
    }
}

/// The events of a log, and those that are only in the labels file as yet.
pub(crate) fn complete(mut events: Vec<Event>, recent: &[Event], path: &Path) -> Result<Vec<Event>> {
    let known = events.last().map_or(0, |event| event.sequence);
    events.extend(recent.iter().filter(|event| event.sequence > known).cloned());
    let wrong = events.iter().zip(1..).find(|(event, sequence)| event.sequence != *sequence);
    match wrong {
        Some((event, sequence)) => {
            let reason = format!("event {} stands where event {sequence} should", event.sequence);
            Err(StoreError::damaged(path, reason))
        }
        None => Ok(events),
    }
}

fn parse(path: &Path, line: &[u8]) -> Result<Event> {
    serde_json::from_slice(line).map_err(|error| StoreError::damaged(path, format!("an event is invalid: {error}")))
}

/// Appends to the log the events that it lacks, under the lock. A half-written event at its end is cut off first.
pub(crate) fn append_missing(layout: &Layout, recent: &[Event]) -> Result<()> {
    let path = layout.log();
    let tail = Tail::open(&path)?;
    let known = tail.last.as_deref().map(|line| parse(&path, line)).transpose()?.map_or(0, |event| event.sequence);
    let lines = encode(recent.iter().filter(|event| event.sequence > known), &path)?;
    tail.append(&lines)
}

/// The end of a file of lines, whose last writer may have been killed.
pub(crate) struct Tail<'a> {
    path: &'a Path,
    file: File,
    /// The bytes of whole lines.
    kept: u64,
    end: u64,
    /// The last whole line, without its end.
    pub(crate) last: Option<Vec<u8>>,
}

impl<'a> Tail<'a> {
    /// Opens a file, which is created unless it exists.
    pub(crate) fn open(path: &'a Path) -> Result<Self> {
        let writing = || StoreError::io("write", path);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(writing())?;
        let end = file.seek(SeekFrom::End(0)).map_err(writing())?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(end.saturating_sub(2 * MAX_EVENT))).map_err(writing())?;
        file.read_to_end(&mut tail).map_err(writing())?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        let kept = end - (tail.len() - whole) as u64;
        let last =
            tail[..whole].strip_suffix(b"\n").map(|lines| lines.rsplit(|byte| *byte == b'\n').next().unwrap_or(lines));
        let last = last.map(<[u8]>::to_vec);
        Ok(Self { path, file, kept, end, last })
    }

    /// Cuts off a half-written line, and adds whole ones.
    pub(crate) fn append(mut self, lines: &[u8]) -> Result<()> {
        if lines.is_empty() && self.kept == self.end {
            return Ok(());
        }
        let mut append = || -> io::Result<()> {
            self.file.set_len(self.kept)?;
            self.file.seek(SeekFrom::Start(self.kept))?;
            self.file.write_all(lines)?;
            self.file.sync_all()?;
            // Without this, a power failure could lose a file that is new.
            if self.end == 0 { self.path.parent().map_or(Ok(()), sync_folder) } else { Ok(()) }
        };
        append().map_err(StoreError::io("write", self.path))
    }
}

/// The lines of events in a log of this path.
pub(crate) fn encode<'a>(events: impl Iterator<Item = &'a Event>, path: &Path) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event).map_err(|error| StoreError::io("write", path)(error.into()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The user and the machine, as `user@machine`.
pub(crate) fn whoami() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}
