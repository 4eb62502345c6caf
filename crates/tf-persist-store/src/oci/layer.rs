//! Layers of images: archives with nothing in their headers that differs from time to time.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::manifest::Descriptor;
use crate::copy::Hashed;
use crate::error::{Result, StoreError};
use crate::files::is_safe;
use crate::manifest::hex;

/// Media types of layers.
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A file or a folder in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    name: String,
    mode: u32,
    owner: u64,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Folder,
    Bytes(Vec<u8>),
    /// A file of this machine, with its SHA-256 if that is known.
    File {
        path: PathBuf,
        sha256: Option<String>,
    },
}

impl LayerEntry {
    /// A folder that belongs to root. Those above it have to be entries of their own, if their modes matter.
    #[must_use]
    pub fn folder(name: impl Into<String>, mode: u32) -> Self {
        Self { name: name.into(), mode, owner: 0, source: Source::Folder }
    }

    /// A file with these contents that belongs to root.
    #[must_use]
    pub fn bytes(name: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), mode, owner: 0, source: Source::Bytes(bytes.into()) }
    }

    /// A file of this machine, which is read when the layer is written. It belongs to root.
    #[must_use]
    pub fn file(name: impl Into<String>, mode: u32, path: impl Into<PathBuf>) -> Self {
        let source = Source::File { path: path.into(), sha256: None };
        Self { name: name.into(), mode, owner: 0, source }
    }

    /// The same with this SHA-256 as the only one that its file may have.
    #[must_use]
    pub fn sha256(mut self, wanted: &str) -> Self {
        if let Source::File { sha256, .. } = &mut self.source {
            *sha256 = Some(wanted.to_owned());
        }
        self
    }

    /// The same for a user and its group.
    #[must_use]
    pub fn owner(mut self, id: u32) -> Self {
        self.owner = id.into();
        self
    }

    /// The name in the image, without a `/` at the beginning.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of this machine.
    pub(crate) fn path(&self) -> &Path {
        match &self.source {
            Source::File { path, .. } => path,
            _ => Path::new(&self.name),
        }
    }
}

/// A layer in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) descriptor: Descriptor,
    /// The SHA-256 of the archive before it was compressed.
    pub(crate) diff_id: String,
}

/// The error for a file whose contents are not those of its SHA-256.
pub(crate) type Changed<'a> = &'a dyn Fn(&LayerEntry) -> StoreError;

/// The SHA-256 and the size of the archive that [`write()`] would write.
pub(crate) fn measure(entries: &[LayerEntry], changed: Changed<'_>) -> Result<Hashed> {
    let sink = archive(entries, Hashing::new(io::sink()), Path::new("the layer"), changed)?;
    let (_, sha256, size) = sink.finish();
    Ok(Hashed { size, sha256 })
}

/// Writes the layer to a file, which is made durable.
pub(crate) fn write(entries: &[LayerEntry], target: &Path, gzip: bool, changed: Changed<'_>) -> Result<Layer> {
    let writing = || StoreError::io("write", target);
    let file = BufWriter::with_capacity(1 << 20, File::create(target).map_err(writing())?);
    let (blob, diff_id) = if gzip {
        // No name and no time.
        let encoder = GzBuilder::new().mtime(0).write(Hashing::new(file), flate2::Compression::default());
        let (encoder, diff_id, _): (GzEncoder<_>, _, _) =
            archive(entries, Hashing::new(encoder), target, changed)?.finish();
        (encoder.finish().map_err(writing())?.finish(), Some(diff_id))
    } else {
        // The archive is the blob.
        (archive(entries, Hashing::new(file), target, changed)?.finish(), None)
    };
    let (file, sha256, size) = blob;
    file.into_inner().map_err(|error| writing()(error.into_error()))?.sync_all().map_err(writing())?;
    let descriptor = Descriptor::new(if gzip { TAR_GZIP } else { TAR }, &sha256, size);
    Ok(Layer { descriptor, diff_id: diff_id.unwrap_or(sha256) })
}

/// Writes the archive: USTAR, sorted, with times of 0. Files are streamed.
fn archive<W: Write>(entries: &[LayerEntry], sink: W, target: &Path, changed: Changed<'_>) -> Result<W> {
    let mut sorted: Vec<&LayerEntry> = entries.iter().collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(StoreError::refused(pair[0].path(), "it would be in its layer twice"));
    }
    let writing = || StoreError::io("write", target);
    let mut archive = tar::Builder::new(sink);
    for entry in sorted {
        let path = entry.path();
        if !is_safe(&entry.name) {
            return Err(StoreError::refused(path, "its name leads out of its layer"));
        }
        match &entry.source {
            Source::Folder => {
                let header = header(entry, tar::EntryType::Directory, 0)?;
                archive.append(&header, io::empty()).map_err(writing())?;
            }
            Source::Bytes(bytes) => {
                let header = header(entry, tar::EntryType::Regular, bytes.len() as u64)?;
                archive.append(&header, &bytes[..]).map_err(writing())?;
            }
            Source::File { sha256, .. } => {
                let reading = || StoreError::io("read", path);
                let source = File::open(path).map_err(reading())?;
                let metadata = source.metadata().map_err(reading())?;
                if !metadata.is_file() {
                    return Err(StoreError::refused(path, "it is not a file"));
                }
                let header = header(entry, tar::EntryType::Regular, metadata.len())?;
                let hasher = sha256.is_some().then(Sha256::new);
                let mut source = Exactly { source: source.take(metadata.len()), left: metadata.len(), hasher };
                archive.append(&header, &mut source).map_err(writing())?;
                let found = source.hasher.map(|hasher| hex(&hasher.finalize()));
                if found != *sha256 {
                    return Err(changed(entry));
                }
            }
        }
    }
    archive.into_inner().map_err(writing())
}

fn header(entry: &LayerEntry, kind: tar::EntryType, size: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    let is_folder = kind == tar::EntryType::Directory;
    let name = if is_folder { format!("{}/", entry.name) } else { entry.name.clone() };
    header.set_path(&name).map_err(|_| StoreError::refused(entry.path(), "its name is too long for a layer"))?;
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(entry.owner);
    header.set_gid(entry.owner);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// Counts and hashes what it passes on.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// The target, and the SHA-256 and the number of the bytes.
    fn finish(self) -> (W, String, u64) {
        (self.inner, hex(&self.hasher.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file of a known size. One that has become shorter would damage the archive.
struct Exactly {
    source: io::Take<File>,
    left: u64,
    hasher: Option<Sha256>,
}

impl Read for Exactly {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        if read == 0 && self.left > 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(read as u64);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(entry: &LayerEntry) -> StoreError {
        StoreError::damaged(entry.path(), "changed")
    }

    #[test]
    fn archives_depend_on_their_entries_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        std::fs::write(&path, "weights").unwrap();
        let file = || LayerEntry::file("opt/a/weights", 0o644, &path);
        let home = || LayerEntry::folder("opt/a/home", 0o700).owner(65532);
        let text = || LayerEntry::bytes("etc/passwd", 0o644, "root");
        let written =
            |entries: &[LayerEntry], name: &str, gzip| write(entries, &folder.path().join(name), gzip, &never).unwrap();
        let one = written(&[file(), home(), text()], "one", false);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let other = written(&[text(), file(), home()], "other", false);
        assert_eq!(one, other);
        let measured = measure(&[home(), text(), file()], &never).unwrap();
        assert_eq!((Some(&*measured.sha256), measured.size), (one.descriptor.sha256(), one.descriptor.size));
        let gzip = written(&[file(), home(), text()], "gzip", true);
        assert_eq!(gzip.diff_id, one.diff_id);
        assert_eq!(gzip, written(&[file(), home(), text()], "gzip again", true));
        let bytes = std::fs::read(folder.path().join("one")).unwrap();
        let mut found = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.username().unwrap()), (0, Some("")));
            found.push((entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.uid().unwrap()));
        }
        let wanted = [("etc/passwd", 0o644, 0), ("opt/a/home/", 0o700, 65532), ("opt/a/weights", 0o644, 0)]
            .map(|(name, mode, id)| (name.to_owned(), mode, id));
        assert_eq!(found, wanted);
    }

    #[test]
    fn entries_that_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |entries: &[LayerEntry]| measure(entries, &never).unwrap_err().to_string();
        let file = |name: &str| LayerEntry::bytes(name, 0o644, "");
        assert!(refused(&[file("a"), file("a")]).contains("twice"));
        for name in ["../a", "/a", "a//b", ""] {
            assert!(refused(&[file(name)]).contains("leads out"), "{name}");
        }
        assert!(refused(&[file(&["long"; 60].join("/"))]).contains("too long"));
        assert!(refused(&[LayerEntry::file("a", 0o644, folder.path())]).contains("not a file"));
        let path = folder.path().join("source");
        std::fs::write(&path, "weights").unwrap();
        let changed = LayerEntry::file("a", 0o644, &path).sha256(&"0".repeat(64));
        assert!(refused(&[changed]).contains("changed"));
    }
}
