//! numpy's .npz form of several named arrays: a zip archive of .npy files.
//!
//! Stored and deflated members are read, as `np.savez` and `np.savez_compressed` write them. The sizes in an archive
//! are not trusted: they are compared with the array's own header, memory grows as data arrives, members must not share
//! their data, and the total size of all decoded arrays is limited.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::mem::ManuallyDrop;
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, System, ZIP64_BYTES_THR, ZipArchive, ZipWriter};

use super::Tensor;
use super::npy::{Length, Plan, read_sized};
use crate::error::{Error, Result, TensorError};

/// The most members, more than any model has inputs.
const MAX_MEMBERS: usize = 1 << 16;

/// The total size of the arrays that are decoded from one archive.
const MAX_DECODED: u64 = 16 << 30;

/// The suffix of a member's name; the array's name is without it.
const SUFFIX: &str = ".npy";

/// An open archive.
pub struct Npz<R> {
    source: String,
    archive: ZipArchive<R>,
    /// In the archive's order.
    members: Vec<Member>,
    /// The decoded bytes so far.
    decoded: u64,
}

impl<R> fmt::Debug for Npz<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Npz")
            .field("source", &self.source)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// One array of an archive, as the archive describes it.
struct Member {
    name: String,
    /// The declared length of the .npy file.
    size: u64,
    /// The number of its bytes that certainly exist.
    present: u64,
}

impl<R: Read + Seek> Npz<R> {
    /// Opens an archive and checks its directory; no array is read. `source` names it in errors.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`] if it is not a zip archive, or has a member that is not a .npy file, is a
    /// duplicate, is encrypted or shares its data with another; [`Error::Io`] if the reader fails.
    pub fn open(source: impl Into<String>, mut reader: R) -> Result<Self> {
        let source = source.into();
        let len = reader.seek(SeekFrom::End(0)).map_err(Error::io("read", &source))?;
        let mut archive = ZipArchive::new(reader).map_err(|error| damaged(&source, error))?;
        if archive.len() > MAX_MEMBERS {
            return Err(Error::data(source, format!("it has {} arrays, more than {MAX_MEMBERS}", archive.len())));
        }
        if archive.has_duplicate_names() {
            return Err(Error::data(source, "an array is in it twice"));
        }
        let metadata = archive.metadata();
        let mut members = Vec::with_capacity(metadata.len());
        for index in 0..metadata.len() {
            let entry = metadata.entry(index).map_err(|error| damaged(&source, error))?;
            let file = entry.name().map_err(|error| damaged(&source, error))?;
            let Some(name) = file.strip_suffix(SUFFIX) else {
                return Err(Error::data(source, format!("its member `{file}` is not a .npy array")));
            };
            if entry.encrypted() {
                return Err(Error::data(source, format!("its array `{name}` is encrypted")));
            }
            // A stored array takes what it is; a deflated one may be much longer than what the archive holds of it.
            let present = entry.size().min(entry.compressed_size()).min(len);
            members.push(Member { name: name.into(), size: entry.size(), present });
        }
        let mut names = HashSet::with_capacity(members.len());
        if let Some(twice) = members.iter().find(|member| !names.insert(member.name.as_str())) {
            return Err(Error::data(source, format!("its array `{}` is in it twice", twice.name)));
        }
        // Many members over the same few bytes are how an archive of kilobytes becomes terabytes.
        if archive.has_overlapping_files().map_err(|error| damaged(&source, error))? {
            return Err(Error::data(source, "two of its arrays share their data"));
        }
        Ok(Self { source, archive, members, decoded: 0 })
    }

    /// The names of the arrays, in the archive's order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Reads one array; `None` if the archive has no array of that name.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`] if it is not a .npy array, is damaged, has an unsupported element type, or if more
    /// than 16 GiB are decoded from one archive; [`Error::Io`] if the reader fails.
    pub fn read(&mut self, name: &str) -> Result<Option<Tensor>> {
        self.members.iter().position(|member| member.name == name).map(|index| self.read_member(index)).transpose()
    }

    /// Reads all arrays, in the archive's order.
    ///
    /// # Errors
    /// As [`Npz::read`].
    pub fn read_all(&mut self) -> Result<Vec<(String, Tensor)>> {
        (0..self.members.len()).map(|index| Ok((self.members[index].name.clone(), self.read_member(index)?))).collect()
    }

    fn read_member(&mut self, index: usize) -> Result<Tensor> {
        let Member { name, size, present } = &self.members[index];
        let source = format!("{}, array `{name}`", self.source);
        self.decoded = self.decoded.saturating_add(*size);
        if self.decoded > MAX_DECODED {
            return Err(Error::data(source, format!("it takes the archive above the limit of {MAX_DECODED} bytes")));
        }
        let mut reader = self.archive.by_index(index).map_err(|error| damaged(&source, error))?;
        read_sized(&source, &mut reader, Length { declared: Some(*size), present: *present })
    }
}

/// Writes arrays by name, without compression, as `np.savez` would. Equal arrays give equal bytes: the time of every
/// member is 1980-01-01. Returns the writer, so that it can be synced. Errors name `target`.
///
/// # Errors
/// [`TensorError::InvalidData`] if two arrays have the same name, or a string tensor cannot be written (see
/// [`npy`](super::npy::write)): nothing is written then. [`Error::Io`] if the writer fails.
pub fn write<'a, W: Write + Seek>(
    target: impl AsRef<Path>,
    writer: W,
    arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<W> {
    let target = target.as_ref();
    let source = target.display().to_string();
    let mut names = HashSet::new();
    let mut plans = Vec::new();
    for (name, tensor) in arrays {
        if !names.insert(name) {
            return Err(Error::data(source, format!("array `{name}` is to be written twice")));
        }
        plans.push((name, Plan::new(&format!("{source}, array `{name}`"), tensor)?));
    }
    let failed = |error: ZipError| match error {
        ZipError::Io(error) => Error::io("write", target)(error),
        other => Error::data(&source, format!("it cannot be written: {other}")),
    };
    // A writer that is dropped half-way writes an end and complains on standard error if it cannot. Half an archive is
    // no use to anybody, so it is forgotten instead, which leaks its list of members.
    let mut archive = ManuallyDrop::new(ZipWriter::new(writer));
    for (name, plan) in plans {
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Stored)
            .large_file(plan.len() >= ZIP64_BYTES_THR)
            .system(System::Unix);
        archive.start_file(format!("{name}{SUFFIX}"), options).map_err(failed)?;
        plan.write(&mut *archive).map_err(Error::io("write", target))?;
    }
    // Flushed here, where a failure can still be reported.
    archive.flush().map_err(Error::io("write", target))?;
    ManuallyDrop::into_inner(archive).finish().map_err(failed)
}

fn damaged(source: &str, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Error::io("read", source)(error),
        ZipError::CompressionMethodNotSupported(method) => {
            Error::data(source, format!("it is compressed by method {method}; stored and deflated arrays are read"))
        }
        other => Error::Tensor(TensorError::InvalidData {
            source_name: source.into(),
            reason: format!("it is not a .npz archive, or is damaged: {other}"),
            hint: Some("write it with `np.savez`".into()),
        }),
    }
}

#[cfg(test)]
mod tests;

/// Every array of a file, with its name, in the file's order.
///
/// # Errors
/// As [`Npz::open`] and [`Npz::read_all`].
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::io("open", path))?;
    Npz::open(path.display().to_string(), BufReader::new(file))?.read_all()
}
