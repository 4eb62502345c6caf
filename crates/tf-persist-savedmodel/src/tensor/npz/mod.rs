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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, System, ZIP64_BYTES_THR, ZipArchive, ZipWriter};

mod member;

pub use member::MemberReader;

use super::Tensor;
use super::npy::{ArrayReader, Length, Plan, read_sized};
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
        plans.push((name, Plan::of(&format!("{source}, array `{name}`"), tensor)?, tensor));
    }
    let mut archive = NpzWriter::new(target, writer);
    for (name, plan, tensor) in plans {
        archive.start(name, plan)?;
        archive.write_rows(tensor)?;
    }
    archive.finish()
}

/// Writes an archive array by array, and an array in pieces of rows. [`write()`] writes whole tensors.
pub struct NpzWriter<W: Write + Seek> {
    target: PathBuf,
    /// A writer that is dropped half-way writes an end and complains on standard error if it cannot. Half an archive is
    /// no use to anybody, so it is forgotten instead, which leaks its list of members.
    archive: ManuallyDrop<ZipWriter<W>>,
    /// That of the array that is being written.
    plan: Option<Plan>,
}

impl<W: Write + Seek> fmt::Debug for NpzWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NpzWriter").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<W: Write + Seek> NpzWriter<W> {
    /// A writer of an archive without arrays. Errors name `target`.
    pub fn new(target: impl AsRef<Path>, writer: W) -> Self {
        let archive = ManuallyDrop::new(ZipWriter::new(writer));
        Self { target: target.as_ref().to_path_buf(), archive, plan: None }
    }

    /// Starts an array. Its rows follow by [`NpzWriter::write_rows`], as many as the plan says.
    ///
    /// # Errors
    /// If an array has the name already, or the writer fails.
    pub fn start(&mut self, name: &str, plan: Plan) -> Result<()> {
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Stored)
            .large_file(plan.len() >= ZIP64_BYTES_THR)
            .system(System::Unix);
        let started = self.archive.start_file(format!("{name}{SUFFIX}"), options);
        started.map_err(|error| not_written(&self.target, error))?;
        plan.write_header(&mut *self.archive).map_err(Error::io("write", &self.target))?;
        self.plan = Some(plan);
        Ok(())
    }

    /// Writes the next rows of the array that was started.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn write_rows(&mut self, rows: &Tensor) -> Result<()> {
        let written = self.plan.as_ref().map_or(Ok(()), |plan| plan.write_elements(&mut *self.archive, rows));
        written.map_err(Error::io("write", &self.target))
    }

    /// Writes the directory of the archive.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn finish(mut self) -> Result<W> {
        // Flushed here, where a failure can still be reported.
        self.archive.flush().map_err(Error::io("write", &self.target))?;
        ManuallyDrop::into_inner(self.archive).finish().map_err(|error| not_written(&self.target, error))
    }
}

fn not_written(target: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => Error::io("write", target)(error),
        other => Error::data(target.display().to_string(), format!("it cannot be written: {other}")),
    }
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

/// Opens every array of a file and reads its header, in the file's order. Each is read independently of the others, row
/// by row, and may be larger than memory.
///
/// # Errors
/// As [`Npz::open`], and if a member is not a .npy array.
pub fn open_arrays(path: impl AsRef<Path>) -> Result<Vec<(String, ArrayReader<MemberReader>)>> {
    let path = path.as_ref();
    let file = Arc::new(File::open(path).map_err(Error::io("open", path))?);
    let mut npz = Npz::open(path.display().to_string(), BufReader::new(&*file))?;
    (0..npz.members.len())
        .map(|index| {
            let Member { name, size, present } = &npz.members[index];
            let source = format!("{}, array `{name}`", npz.source);
            let entry = npz.archive.by_index_raw(index).map_err(|error| damaged(&source, error))?;
            let Some(member) = MemberReader::new(Arc::clone(&file), &entry) else {
                let method = entry.compression();
                return Err(Error::data(source, format!("it is {method}; stored and deflated arrays are read")));
            };
            let length = Length { declared: Some(*size), present: *present };
            Ok((name.clone(), ArrayReader::with_length(source, member, length)?))
        })
        .collect()
}

/// Every array of a file, with its name, in the file's order.
///
/// # Errors
/// As [`Npz::open`] and [`Npz::read_all`].
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::io("open", path))?;
    Npz::open(path.display().to_string(), BufReader::new(file))?.read_all()
}
