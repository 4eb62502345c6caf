//! Copies and hashes files in one pass.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use sha2::{Digest, Sha256};

use crate::error::{Result, StoreError};
use crate::manifest::hex;

/// The bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// The bytes that are written before they are made durable.
const FLUSHED: usize = 32 << 20;

/// Buffers on their way to the thread that hashes.
const BUFFERS: usize = 4;

/// The size and the SHA-256 of what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// Hashes a file. Reading and hashing go on at the same time.
pub(crate) fn hash(path: &Path) -> Result<Hashed> {
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    pump(&mut file, |_| Ok(())).map_err(StoreError::io("read", path))
}

/// Copies a file to a new one, which is made durable, and hashes it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<Hashed> {
    let mut source = File::open(from).map_err(StoreError::io("open", from))?;
    let writing = || StoreError::io("write", to);
    let target = File::create_new(to).map_err(writing())?;
    let (hashed, durable) = thread::scope(|scope| {
        // It is made durable while the rest is written: else the disk would be idle until the last byte is hashed.
        let (written, flush) = sync_channel::<()>(1);
        let target = &target;
        let flusher = scope.spawn(move || {
            flush.iter().try_for_each(|()| target.sync_data())?;
            target.sync_all()
        });
        let (mut writer, mut unflushed) = (target, 0);
        let hashed = pump(&mut source, |bytes| {
            writer.write_all(bytes)?;
            unflushed += bytes.len();
            // One that is still flushing has the next notice waiting.
            if unflushed >= FLUSHED && written.try_send(()).is_ok() {
                unflushed = 0;
            }
            Ok(())
        });
        drop(written);
        let panicked = |_| Err(io::Error::other("the thread that flushes has panicked"));
        (hashed, flusher.join().unwrap_or_else(panicked))
    });
    let hashed = hashed.map_err(StoreError::io("copy", from))?;
    durable.map_err(writing())?;
    Ok(hashed)
}

/// If a file is equal to one of these, byte by byte, links it to that one under a new name. One pass over the file.
pub(crate) fn link_equal(from: &Path, candidates: &[std::path::PathBuf], to: &Path) -> Result<Option<Hashed>> {
    for candidate in candidates {
        let Some(hashed) = equal(from, candidate)? else { continue };
        // Where the file system has no hard links, or a file has too many, it is copied.
        return Ok(fs::hard_link(candidate, to).is_ok().then_some(hashed));
    }
    Ok(None)
}

/// Hashes a file as far as it is equal to another; `None` if it is not.
fn equal(path: &Path, other: &Path) -> Result<Option<Hashed>> {
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    let Ok(mut other) = File::open(other) else { return Ok(None) };
    let mut buffer = vec![0; BLOCK];
    let mut is_equal = true;
    let compared = pump(&mut file, |bytes| {
        let same = &mut buffer[..bytes.len()];
        is_equal = other.read_exact(same).is_ok() && same == bytes;
        if is_equal { Ok(()) } else { Err(io::Error::other("different")) }
    });
    match compared {
        Err(_) if !is_equal => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
        Ok(hashed) => {
            let is_longer = other.stream_position().ok() != other.metadata().ok().map(|it| it.len());
            Ok((!is_longer).then_some(hashed))
        }
    }
}

/// Reads everything, hands each block on, and hashes it in another thread.
fn pump(source: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Hashed> {
    let mut size = 0;
    let mut first = vec![0; BLOCK];
    let read = fill(source, &mut first)?;
    if read < BLOCK {
        // Small files do not need a thread.
        each(&first[..read])?;
        return Ok(Hashed { size: read as u64, sha256: hex(&Sha256::digest(&first[..read])) });
    }
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (give_back, returned) = sync_channel::<Vec<u8>>(BUFFERS + 2);
        let hasher = scope.spawn(move || {
            let mut hasher = Sha256::new();
            for (buffer, length) in receive {
                hasher.update(&buffer[..length]);
                // Nobody waits for the last buffers.
                let _ = give_back.send(buffer);
            }
            hasher.finalize()
        });
        let (mut buffer, mut read, mut made) = (first, read, 1);
        while read > 0 {
            each(&buffer[..read])?;
            size += read as u64;
            if send.send((buffer, read)).is_err() {
                break;
            }
            buffer = match returned.try_recv() {
                Ok(buffer) => buffer,
                Err(_) if made <= BUFFERS => {
                    made += 1;
                    vec![0; BLOCK]
                }
                Err(_) => returned.recv().map_err(io::Error::other)?,
            };
            read = fill(source, &mut buffer)?;
        }
        drop(send);
        let digest = hasher.join().map_err(|_| io::Error::other("the thread that hashes has panicked"))?;
        Ok(Hashed { size, sha256: hex(&digest) })
    })
}

/// Reads until the buffer is full or the file ends.
fn fill(source: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_hashed_in_one_pass() {
        let folder = tempfile::tempdir().unwrap();
        for (number, size) in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 17].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|index| (index * 7 % 251) as u8).collect();
            let (from, to) = (folder.path().join(format!("{number}")), folder.path().join(format!("{number}.copy")));
            fs::write(&from, &bytes).unwrap();
            let wanted = Hashed { size: size as u64, sha256: hex(&Sha256::digest(&bytes)) };
            assert_eq!(copy(&from, &to).unwrap(), wanted);
            assert_eq!(fs::read(&to).unwrap(), bytes);
            assert_eq!(hash(&from).unwrap(), wanted);
        }
    }

    #[test]
    fn only_equal_files_are_linked() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut bytes = vec![1; 3 * BLOCK];
        fs::write(path("a"), &bytes).unwrap();
        fs::write(path("same"), &bytes).unwrap();
        bytes[2 * BLOCK + 5] = 2;
        fs::write(path("changed"), &bytes).unwrap();
        fs::write(path("shorter"), &bytes[..BLOCK]).unwrap();
        bytes[2 * BLOCK + 5] = 1;
        bytes.push(1);
        fs::write(path("longer"), &bytes).unwrap();
        for other in ["changed", "shorter", "longer", "absent"] {
            assert_eq!(link_equal(&path("a"), &[path(other)], &path("link")).unwrap(), None, "{other}");
        }
        let linked = link_equal(&path("a"), &[path("changed"), path("same")], &path("link")).unwrap();
        assert_eq!(linked, Some(hash(&path("a")).unwrap()));
    }
}
