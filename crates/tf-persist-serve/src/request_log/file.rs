//! One file of a request log while it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tf_persist_core::warmup::tfrecord;

use super::name::{LogName, PART, file_name};
use super::rules::Destination;
use super::settings::RequestLogFormat;

/// How often another name is tried, a millisecond later.
const NAME_ATTEMPTS: u64 = 1000;

/// A file that is being written. It has whole records only, and its final name once it is [finished](Self::finish).
pub(super) struct OpenFile {
    /// Locked, so that another server knows that it is in use.
    file: File,
    part: PathBuf,
    path: PathBuf,
    pub(super) bytes: u64,
    pub(super) since: Instant,
}

impl OpenFile {
    /// Begins a file.
    pub(super) fn create(destination: &Destination) -> io::Result<Self> {
        let now = SystemTime::now();
        let mut last = io::ErrorKind::AlreadyExists.into();
        for attempt in 0..NAME_ATTEMPTS {
            let path = destination.folder.join(file_name(destination, now + Duration::from_millis(attempt)));
            let mut part = path.clone().into_os_string();
            part.push(PART);
            let part = PathBuf::from(part);
            if path.exists() {
                continue;
            }
            match OpenOptions::new().append(true).create_new(true).open(&part) {
                Ok(file) => {
                    // File systems without locks are used without.
                    let _ = file.try_lock();
                    return Ok(Self { file, part, path, bytes: 0, since: Instant::now() });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Appends whole records. If that fails, the file is as long as before.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(records);
        match written {
            Ok(()) => self.bytes += records.len() as u64,
            // If this fails, it is tried again when the file ends.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }

    /// Gives the file its final name. An empty one is deleted. Returns its path and length.
    pub(super) fn finish(self) -> io::Result<Option<(PathBuf, u64)>> {
        if self.bytes == 0 {
            fs::remove_file(&self.part)?;
            return Ok(None);
        }
        if self.file.metadata()?.len() != self.bytes {
            self.file.set_len(self.bytes)?;
        }
        fs::rename(&self.part, &self.path)?;
        Ok(Some((self.path, self.bytes)))
    }
}

/// Gives files their final names that servers left behind when they were killed, without what is not a whole record.
pub(super) fn recover(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(found) = name.to_str().and_then(LogName::parse).filter(|name| name.is_part) else { continue };
        let part = entry.path();
        match recover_file(&part, found.format) {
            Ok(true) => {
                tracing::info!(path = %part.display(), "a request log of a server that was killed is completed")
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(path = %part.display(), %error, "a request log cannot be completed"),
        }
    }
    Ok(())
}

/// Whether the file was left behind.
fn recover_file(part: &Path, format: RequestLogFormat) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(part)?;
    if file.try_lock().is_err() {
        return Ok(false);
    }
    let length = file.metadata()?.len();
    let whole = match format {
        RequestLogFormat::TfRecord => whole_records(part, &file, length),
        RequestLogFormat::JsonLines => whole_lines(&mut file, length)?,
    };
    file.set_len(whole)?;
    match part.to_str().and_then(|part| part.strip_suffix(PART)) {
        Some(path) if whole > 0 => fs::rename(part, path)?,
        _ => fs::remove_file(part)?,
    }
    Ok(true)
}

/// The bytes of the records before the first that is damaged or cut off.
fn whole_records(part: &Path, file: &File, length: u64) -> u64 {
    /// The length and the checksums around the data of a record.
    const AROUND: u64 = 16;
    let mut reader = tfrecord::Reader::new(part, io::BufReader::new(file), length);
    let mut whole = 0;
    while let Ok(Some(record)) = reader.next_record() {
        whole += record.len() as u64 + AROUND;
    }
    whole
}

/// The bytes up to the last line break.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    let mut end = length;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        file.take(end - start).read_to_end(&mut piece)?;
        if let Some(index) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + index as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
