//! The thread that writes request logs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tf_persist_core::warmup::tfrecord::{MAX_RECORD_BYTES, write_record};

use super::file::OpenFile;
use super::folder::LogFolder;
use super::queue::{Queue, Taken};
use super::record::Record;
use super::rules::{Destination, ModelLog};
use super::settings::{RequestLogFormat, RequestLogSettings};
use super::{json_line, prediction_log};
use crate::metrics::LogLoss;

/// Records are written together up to this many bytes.
const WRITE_BYTES: usize = 1 << 20;

/// How long nothing is tried after a failed write.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Writes the records of a queue until it is closed.
pub(super) struct Writer {
    settings: RequestLogSettings,
    queue: Arc<Queue<Record>>,
    logs: HashMap<Destination, OpenLog>,
    folders: HashMap<PathBuf, LogFolder>,
    record: Vec<u8>,
    last_warning: Option<Instant>,
    /// The records that could not be written since the last one that was.
    lost: u64,
    /// The records that found the queue full since the last warning.
    refused: u64,
}

/// The log of one destination.
#[derive(Default)]
struct OpenLog {
    file: Option<OpenFile>,
    /// Encoded records, and of which models they are.
    pending: Vec<u8>,
    models: Vec<(Arc<ModelLog>, u64)>,
    /// Until then nothing is tried, after a failure.
    paused_until: Option<Instant>,
}

impl Writer {
    pub(super) fn new(settings: RequestLogSettings, queue: Arc<Queue<Record>>) -> Self {
        let (logs, folders) = (HashMap::new(), HashMap::new());
        Self { settings, queue, logs, folders, record: Vec::new(), last_warning: None, lost: 0, refused: 0 }
    }

    /// Writes until the queue is closed.
    pub(super) fn run(mut self) {
        loop {
            let (records, is_last) = match self.queue.take(self.next_deadline()) {
                Taken::Records(records) => (records, false),
                Taken::Closed(records) => (records, true),
            };
            records.into_iter().for_each(|record| self.add(&record));
            let destinations: Vec<Destination> = self.logs.keys().cloned().collect();
            let now = Instant::now();
            for destination in &destinations {
                self.flush(destination);
                if is_last || self.is_due(destination, now) {
                    self.finish(destination);
                }
            }
            self.note_refused();
            if is_last {
                return;
            }
        }
    }

    /// When the first file is old enough to end.
    fn next_deadline(&self) -> Option<Instant> {
        let ends = self.logs.values().filter_map(|log| log.file.as_ref()?.since.checked_add(self.settings.file_time));
        ends.min()
    }

    fn is_due(&self, destination: &Destination, now: Instant) -> bool {
        let file = self.logs.get(destination).and_then(|log| log.file.as_ref());
        file.is_some_and(|file| now.saturating_duration_since(file.since) >= self.settings.file_time)
    }

    /// Encodes a record.
    fn add(&mut self, record: &Record) {
        let destination = &record.log.destination;
        let log = self.logs.entry(destination.clone()).or_default();
        if log.paused_until.is_some_and(|until| until > Instant::now()) {
            record.log.metrics.record_log_loss(LogLoss::Disk, 1);
            self.lost += 1;
            return;
        }
        match destination.format {
            RequestLogFormat::JsonLines => json_line::write(record, &mut log.pending),
            RequestLogFormat::TfRecord => {
                self.record.clear();
                if !prediction_log::write(record, &mut self.record) {
                    return;
                }
                if self.record.len() as u64 > MAX_RECORD_BYTES {
                    record.log.metrics.record_log_loss(LogLoss::Size, 1);
                    return;
                }
                // Writing to memory does not fail.
                let _ = write_record(&mut log.pending, &self.record);
                // A large record does not keep its memory.
                self.record.shrink_to(WRITE_BYTES);
            }
        }
        match log.models.iter_mut().find(|(model, _)| Arc::ptr_eq(model, &record.log)) {
            Some((_, count)) => *count += 1,
            None => log.models.push((record.log.clone(), 1)),
        }
        if log.pending.len() >= WRITE_BYTES.min(usize::try_from(self.settings.bytes_of_a_file()).unwrap_or(WRITE_BYTES))
        {
            let destination = destination.clone();
            self.flush(&destination);
        }
    }

    /// Writes what is encoded. If that fails, it is lost.
    fn flush(&mut self, destination: &Destination) {
        let Some(log) = self.logs.get_mut(destination).filter(|log| !log.pending.is_empty()) else { return };
        let mut pending = std::mem::take(&mut log.pending);
        let models = std::mem::take(&mut log.models);
        let written = self.write(destination, &pending);
        for (model, count) in &models {
            match &written {
                Ok(()) => model.metrics.record_logged(*count),
                Err(_) => {
                    model.metrics.record_log_loss(LogLoss::Disk, *count);
                    self.lost += count;
                }
            }
        }
        if let Some(log) = self.logs.get_mut(destination) {
            pending.clear();
            pending.shrink_to(2 * WRITE_BYTES);
            log.pending = pending;
            log.paused_until = written.is_err().then(|| Instant::now() + PAUSE);
        }
        match written {
            Ok(()) if self.lost > 0 => {
                tracing::info!(lost = self.lost, "the request log is written again");
                (self.lost, self.last_warning) = (0, None);
            }
            Ok(()) => {}
            Err(error) => self.warn(&destination.folder, &error),
        }
    }

    fn write(&mut self, destination: &Destination, records: &[u8]) -> io::Result<()> {
        let (bytes, limit) = (records.len() as u64, self.settings.bytes_of_a_file());
        let log = self.logs.entry(destination.clone()).or_default();
        if log.file.as_ref().is_some_and(|file| file.bytes > 0 && file.bytes + bytes > limit) {
            self.finish(destination);
        }
        self.make_room(&destination.folder, bytes)?;
        let log = self.logs.entry(destination.clone()).or_default();
        let file = match &mut log.file {
            Some(file) => file,
            None => log.file.insert(OpenFile::create(destination)?),
        };
        let written = file.append(records);
        if written.is_err() {
            // What was written so far becomes readable, also if the server is killed while the disk is full.
            self.finish(destination);
        }
        written
    }

    /// Gives the file of a destination its final name.
    fn finish(&mut self, destination: &Destination) {
        let Some(file) = self.logs.get_mut(destination).and_then(|log| log.file.take()) else { return };
        match file.finish() {
            Ok(Some((path, bytes))) => {
                if let Some(folder) = self.folders.get_mut(&destination.folder) {
                    folder.add(path, bytes);
                }
            }
            Ok(None) => {}
            Err(error) => self.warn(&destination.folder, &error),
        }
    }

    /// Deletes old files of a folder until there is room for more bytes. If files that are being written take too much,
    /// the oldest of them ends and is deleted.
    fn make_room(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        if !self.folders.contains_key(path) || !path.is_dir() {
            // Files of a folder that was deleted are lost.
            let in_folder = self.logs.iter_mut().filter(|(destination, _)| destination.folder == path);
            in_folder.for_each(|(_, log)| log.file = None);
            self.folders.insert(path.to_path_buf(), LogFolder::open(path)?);
        }
        loop {
            let open = self.logs.iter().filter(|(destination, _)| destination.folder == path);
            let open = open.filter_map(|(destination, log)| Some((destination, log.file.as_ref()?)));
            let being_written: u64 = open.clone().map(|(_, file)| file.bytes).sum();
            let oldest = open.min_by_key(|(_, file)| file.since).map(|(destination, _)| destination.clone());
            let Some(folder) = self.folders.get_mut(path) else { return Ok(()) };
            let left = self.settings.max_bytes.checked_sub(being_written + bytes);
            if left.is_some_and(|left| folder.shrink_to(left)) {
                return Ok(());
            }
            match oldest {
                Some(destination) => self.finish(&destination),
                None => {
                    return Err(io::Error::other("the records have more bytes than all logs of the folder may have"));
                }
            }
        }
    }

    /// Warns of a failure, once in a while.
    fn warn(&mut self, folder: &Path, error: &io::Error) {
        if self.may_warn() {
            let (folder, lost) = (folder.display(), self.lost);
            tracing::warn!(%folder, %error, lost, "the request log cannot be written; requests are answered all the same");
        }
    }

    /// Warns of requests that found the queue full, once in a while.
    fn note_refused(&mut self) {
        self.refused += self.queue.take_refused();
        if self.refused > 0 && self.may_warn() {
            tracing::warn!(
                lost = self.refused,
                "the request log cannot keep up, and leaves out requests; lower its rate"
            );
            self.refused = 0;
        }
    }

    fn may_warn(&mut self) -> bool {
        let may = self.last_warning.is_none_or(|last| last.elapsed() >= WARN_INTERVAL);
        if may {
            self.last_warning = Some(Instant::now());
        }
        may
    }
}
