//! A Keras file that is to be written.

use std::io::{self, Cursor, Seek, Write};
use std::path::Path;

use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::scratch::NewFile;
use tf_persist_savedmodel::{Error, Result};

use crate::archive::hdf5::{Dataset, Group};
use crate::archive::hdf5_writer;
use crate::archive::zip_writer::KerasZipWriter;
use crate::reason::Reason;

/// The name of the weights in an archive.
pub(super) const WEIGHTS: &str = "model.weights.h5";

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// A `.keras` file.
    Archive,
    /// An `.h5` file.
    Hdf5,
}

/// The contents of a file.
#[derive(Debug)]
pub(super) enum KerasFile {
    /// The entries, without that of the weights, and the weights.
    Archive(Vec<(String, Bytes)>, hdf5_writer::Group),
    Hdf5(hdf5_writer::Group),
}

impl Container {
    /// The kind of file that a name is for. `None` if it is not for a Keras file.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "keras" => Some(Self::Archive),
            "h5" | "hdf5" => Some(Self::Hdf5),
            _ => None,
        }
    }
}

impl KerasFile {
    pub(super) fn container(&self) -> Container {
        match self {
            Self::Archive(..) => Container::Archive,
            Self::Hdf5(_) => Container::Hdf5,
        }
    }

    /// The groups and datasets: of the weights, or the whole file.
    pub(super) fn tree(&mut self) -> &mut hdf5_writer::Group {
        match self {
            Self::Archive(_, tree) | Self::Hdf5(tree) => tree,
        }
    }

    /// Writes the file. It appears whole or not at all.
    ///
    /// # Errors
    /// If something is at the target and `overwrite` is not set, or it cannot be written.
    pub(super) fn write(&self, target: &Path, overwrite: bool) -> Result<()> {
        check_target(target, overwrite)?;
        let mut file = NewFile::beside(target).map_err(Error::io("write", target))?;
        let written = match self {
            Self::Archive(..) => self.write_to(file.as_file()),
            Self::Hdf5(_) => {
                let mut buffered = io::BufWriter::new(&mut file);
                self.write_to(Unseekable(&mut buffered)).and_then(|()| buffered.flush().map_err(Problem::Io))
            }
        };
        match written {
            Ok(()) => {}
            Err(Problem::Io(error)) => return Err(Error::io("write", target)(error)),
            Err(Problem::Reason(reason)) => return Err(Error::data("the model", reason.to_string())),
        }
        file.publish(overwrite).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: target.to_path_buf() },
            _ => Error::io("write", target)(error),
        })
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Result<Bytes> {
        let mut bytes = Cursor::new(Vec::new());
        match self.write_to(&mut bytes) {
            Ok(()) => Ok(bytes.into_inner().into()),
            Err(Problem::Io(error)) => Err(Error::data("the model", error.to_string())),
            Err(Problem::Reason(reason)) => Err(Error::data("the model", reason.to_string())),
        }
    }

    fn write_to(&self, target: impl Write + Seek) -> Result<(), Problem> {
        match self {
            Self::Hdf5(tree) => {
                let mut target = target;
                tree.plan()?.write(&mut target)?;
            }
            Self::Archive(entries, tree) => {
                let plan = tree.plan()?;
                let mut archive = KerasZipWriter::new(target);
                for (name, contents) in entries {
                    archive.add(name, contents)?;
                }
                archive.add_with(WEIGHTS, plan.len(), |entry| plan.write(entry))?;
                archive.finish()?;
            }
        }
        Ok(())
    }
}

/// Refuses a target that exists.
pub(super) fn check_target(target: &Path, overwrite: bool) -> Result<()> {
    match target.symlink_metadata() {
        Ok(found) if found.is_dir() || !overwrite => Err(Error::Exists { path: target.to_path_buf() }),
        _ => Ok(()),
    }
}

/// Why a file cannot be written.
enum Problem {
    Io(io::Error),
    Reason(Reason),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// A writer that only archives would seek in.
struct Unseekable<W>(W);

impl<W: Write> Write for Unseekable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W> Seek for Unseekable<W> {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What becomes of a dataset that is copied.
pub(super) enum Copied {
    /// It stays as it is.
    Same,
    /// It is left out.
    LeftOut,
}

/// Copies the members and attributes of a group. `choose` says what becomes of each dataset.
pub(super) fn copy(
    from: &Group,
    to: &mut hdf5_writer::Group,
    choose: &mut dyn FnMut(&Dataset) -> Result<Copied>,
) -> Result<()> {
    let invalid = |reason: Reason| Error::flawed(from.file().path(), reason.to_string());
    for (name, value) in from.attributes()? {
        to.set(&name, value);
    }
    let members = from.members()?;
    for name in &members.datasets {
        let Some(dataset) = from.dataset(name)? else { continue };
        let value = match choose(&dataset)? {
            Copied::Same => dataset.read()?,
            Copied::LeftOut => continue,
        };
        let is_same_dtype = value.dtype() == dataset.dtype()?;
        let written = to.insert(name, value).map_err(invalid)?;
        for (name, value) in dataset.attributes()? {
            // Keras's name for a dtype that HDF5 does not have.
            if name != "dtype" || is_same_dtype {
                written.set(&name, value);
            }
        }
    }
    for name in &members.groups {
        if let Some(group) = from.group(name)? {
            copy(&group, to.group(name).map_err(invalid)?, choose)?;
        }
    }
    Ok(())
}
