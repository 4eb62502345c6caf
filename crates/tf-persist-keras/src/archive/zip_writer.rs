//! Writing a `.keras` archive.

use std::io::{self, Seek, Write};
use std::mem::ManuallyDrop;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, System, ZIP64_BYTES_THR, ZipWriter};

/// Writes stored entries one after another. Equal entries give equal bytes: the time of each is 1980-01-01.
///
/// An archive without [`KerasZipWriter::finish`] has no directory, and is no archive.
#[derive(Debug)]
pub(crate) struct KerasZipWriter<W: Write + Seek> {
    // A writer that is dropped half-way writes a directory and complains on standard error if it cannot. Half an
    // archive is no use to anybody, so it is forgotten instead, which leaks its list of entries.
    archive: ManuallyDrop<ZipWriter<W>>,
}

impl<W: Write + Seek> KerasZipWriter<W> {
    pub(crate) fn new(target: W) -> Self {
        Self { archive: ManuallyDrop::new(ZipWriter::new(target)) }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If an entry of the name was added before, or the target cannot be written.
    pub(crate) fn add(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.add_with(name, contents.len() as u64, |entry| entry.write_all(contents))
    }

    /// Adds an entry of a known length whose contents are written by a function.
    ///
    /// # Errors
    /// As [`KerasZipWriter::add`], or if the function fails.
    pub(crate) fn add_with(
        &mut self,
        name: &str,
        length: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Stored)
            .large_file(length >= ZIP64_BYTES_THR)
            .system(System::Unix);
        self.archive.start_file(name, options)?;
        write(&mut *self.archive)
    }

    /// Writes the directory and returns the target.
    ///
    /// # Errors
    /// If the target cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        // Flushed here, where a failure can still be reported.
        self.archive.flush()?;
        Ok(ManuallyDrop::into_inner(self.archive).finish()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::super::zip::KerasZip;
    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = KerasZipWriter::new(Cursor::new(Vec::new()));
        writer.add("metadata.json", b"{}").unwrap();
        writer.add_with("model.weights.h5", 5, |entry| entry.write_all(b"hello")).unwrap();
        writer.add("assets/ü/vocabulary.txt", b"").unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_written_is_read_and_the_same_each_time() {
        let bytes = archive();
        assert_eq!(bytes, archive());
        // 1980-01-01 00:00, stored, in the first local header.
        assert_eq!(bytes[8..14], [0, 0, 0, 0, 0x21, 0]);
        let read = KerasZip::from_bytes(bytes, Path::new("a.keras")).unwrap();
        let names: Vec<&str> = read.names().collect();
        assert_eq!(names, ["metadata.json", "model.weights.h5", "assets/ü/vocabulary.txt"]);
        assert_eq!(read.read("model.weights.h5").unwrap(), b"hello"[..]);
        assert_eq!(read.read("assets/ü/vocabulary.txt").unwrap(), b""[..]);
    }

    #[test]
    fn a_name_is_written_once() {
        let mut writer = KerasZipWriter::new(Cursor::new(Vec::new()));
        writer.add("config.json", b"{}").unwrap();
        assert!(writer.add("config.json", b"{}").is_err());
    }

    #[test]
    fn an_error_of_the_contents_is_passed_on() {
        let mut writer = KerasZipWriter::new(Cursor::new(Vec::new()));
        assert!(writer.add_with("a", 1, |_| Err(io::Error::other("no"))).is_err());
    }
}
