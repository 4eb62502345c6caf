//! Reads files in pieces, which threads decode at the same time.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tf_persist_savedmodel::warmup::tfrecord::Reader;

use super::{Exchange, LogFile, line, record};
use crate::error::{MonitorError, Result};

/// The bytes of a piece.
const PIECE: usize = 1 << 20;

/// The longest line or record, in bytes: a request of a server is not longer.
const MAX_BYTES: usize = 1 << 30;

/// Pieces that wait for each thread.
const WAITING: usize = 2;

/// How the sentence ends about a file that is damaged, or no log.
pub(crate) const DAMAGED: &str = "the rest of the file is left out";

/// A part of a file: whole lines, or records.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Its place among all pieces.
    pub(crate) number: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Lines(Vec<u8>),
    Records(Vec<Vec<u8>>),
}

/// What became of a line or a record.
pub(crate) enum Reading<'e> {
    /// The exchange of the log.
    Exchange(&'e Exchange),
    /// It cannot be read, and why.
    Flawed(String),
}

impl Piece {
    /// Passes every exchange to a function.
    pub(crate) fn for_each(self, exchange: &mut Exchange, mut take: impl FnMut(Reading<'_>)) {
        let mut pass = |read: std::result::Result<(), String>, exchange: &Exchange| match read {
            Ok(()) => take(Reading::Exchange(exchange)),
            Err(reason) => take(Reading::Flawed(reason)),
        };
        match self.content {
            Content::Lines(bytes) => {
                for bytes in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                    pass(line::read(bytes, exchange), exchange);
                }
            }
            Content::Records(records) => {
                for (index, data) in records.into_iter().enumerate() {
                    pass(record::read(index + 1, data, exchange), exchange);
                }
            }
        }
    }
}

/// Reads all files in their order, and calls a function with every piece in one of `workers`, each in a thread of its
/// own. Returns the workers, and sentences about the files that end in the middle of a record or were deleted
/// meanwhile.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn for_each_piece<W: Send>(
    files: &[LogFile],
    workers: Vec<W>,
    take: impl Fn(&mut W, Piece) -> bool + Sync,
) -> Result<(Vec<W>, Vec<String>)> {
    let (sender, receiver) = sync_channel(WAITING * workers.len().max(1));
    let receiver = Mutex::new(receiver);
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let (receiver, take, has_ended) = (&receiver, &take, &has_ended);
                scope.spawn(move || {
                    while let Some(piece) = next(receiver) {
                        if !has_ended.load(Ordering::Relaxed) && !take(&mut worker, piece) {
                            has_ended.store(true, Ordering::Relaxed);
                        }
                    }
                    worker
                })
            })
            .collect();
        let read = read_all(files, &sender, &has_ended);
        drop(sender);
        let mut workers = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(worker) => workers.push(worker),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        read.map(|notes| (workers, notes))
    })
}

fn next(receiver: &Mutex<Receiver<Piece>>) -> Option<Piece> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn read_all(files: &[LogFile], sender: &SyncSender<Piece>, has_ended: &AtomicBool) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut number = 0;
    let mut gone: Vec<&Path> = Vec::new();
    for log in files {
        let mut send = |content| {
            number += 1;
            // The threads end only after the sender does.
            sender.send(Piece { number, content }).is_ok() && !has_ended.load(Ordering::Relaxed)
        };
        let mut read = |path: &Path| if log.is_records { records(path, &mut send) } else { lines(path, &mut send) };
        let found = match read(&log.path) {
            Err(error) if is_gone(&error) => match log.last_name() {
                // It is read under its last name, once.
                Some(path) if files.iter().any(|other| other.path == path) => continue,
                Some(path) => read(&path),
                None => Err(error),
            },
            found => found,
        };
        match found {
            Err(error) if is_gone(&error) => gone.push(&log.path),
            found => notes.extend(found?),
        }
    }
    if let Some(first) = gone.first() {
        let (count, plural) = (gone.len(), if gone.len() == 1 { "" } else { "s" });
        notes.push(format!("{count} file{plural} left out, deleted before reading; the first: `{}`", first.display()));
    }
    Ok(notes)
}

/// Whether a file was deleted or renamed since it was found.
fn is_gone(error: &MonitorError) -> bool {
    use tf_persist_savedmodel::Error;
    match error {
        MonitorError::Io { source, .. } | MonitorError::Model(Error::Io { source, .. }) => {
            source.kind() == ErrorKind::NotFound
        }
        _ => false,
    }
}

/// Sends pieces of whole lines. What follows the last line break is a line, too, if it is whole.
fn lines(path: &Path, send: &mut impl FnMut(Content) -> bool) -> Result<Option<String>> {
    let mut file = File::open(path).map_err(MonitorError::io("open", path))?;
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let start = buffer.len();
        buffer.reserve(PIECE);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut buffer).map_err(MonitorError::io("read", path))?;
        let new = buffer.get(start..).unwrap_or_default();
        let end = new.iter().rposition(|byte| *byte == b'\n').map(|at| start + at + 1);
        if read == 0 {
            let rest = buffer.trim_ascii();
            let is_whole = rest.is_empty() || rest.ends_with(b"}");
            if is_whole {
                send(Content::Lines(buffer));
                return Ok(None);
            }
            return Ok(Some(format!("`{}` ends in the middle of a line, which is left out", path.display())));
        }
        match end {
            Some(end) => {
                let rest = buffer.split_off(end);
                if !send(Content::Lines(mem::replace(&mut buffer, rest))) {
                    return Ok(None);
                }
            }
            None if buffer.len() > MAX_BYTES => {
                return Err(MonitorError::file(path, format!("has a line of more than {MAX_BYTES} bytes")));
            }
            None => {}
        }
    }
}

/// Sends pieces of records. A record that is cut off or damaged ends the file: nobody knows where the next one begins.
fn records(path: &Path, send: &mut impl FnMut(Content) -> bool) -> Result<Option<String>> {
    let mut reader = Reader::open(path)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        let (is_end, note) = match reader.next_record() {
            Ok(Some(data)) => {
                bytes += data.len();
                batch.push(data);
                (false, None)
            }
            Ok(None) => (true, None),
            Err(error @ tf_persist_savedmodel::Error::Io { .. }) => return Err(error.into()),
            Err(error) => (true, Some(format!("{error}; {DAMAGED}"))),
        };
        if is_end || bytes > PIECE {
            bytes = 0;
            if !send(Content::Records(mem::take(&mut batch))) || is_end {
                return Ok(note);
            }
        }
    }
}

/// The exchange of a line.
///
/// # Errors
/// A sentence, if it is not one.
pub(crate) fn read_line(text: &[u8]) -> std::result::Result<Exchange, String> {
    let mut exchange = Exchange::default();
    line::read(text, &mut exchange).map(|()| exchange)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log::find;

    /// The lines and the notes of files.
    fn read(files: &[LogFile]) -> (usize, Vec<String>) {
        let take = |count: &mut usize, piece: Piece| {
            piece.for_each(&mut Exchange::default(), |_| *count += 1);
            true
        };
        let (counts, notes) = for_each_piece(files, vec![0], take).unwrap();
        (counts.iter().sum(), notes)
    }

    #[test]
    fn files_may_be_renamed_and_deleted_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let names = ["a.jsonl", "b.jsonl.part", "c.jsonl.part", "d.tfrecord", "e.tfrecord.part"];
        names.iter().for_each(|name| fs::write(path(name), if name.contains("jsonl") { "{}\n" } else { "" }).unwrap());
        let files = find(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(read(&files), (3, Vec::new()));
        fs::rename(path("b.jsonl.part"), path("b.jsonl")).unwrap();
        fs::rename(path("e.tfrecord.part"), path("e.tfrecord")).unwrap();
        assert_eq!(read(&files), (3, Vec::new()));
        fs::remove_file(path("c.jsonl.part")).unwrap();
        fs::remove_file(path("d.tfrecord")).unwrap();
        let note = format!("2 files left out, deleted before reading; the first: `{}`", path(names[2]).display());
        assert_eq!(read(&files), (2, vec![note]));
        // Renamed while the folder was listed, it is there under both names.
        let both = [find(&[path("b.jsonl")]).unwrap(), files[1..2].to_vec()].concat();
        assert_eq!(read(&both), (1, Vec::new()));
    }
}
