//! The files of a store in a folder, read by key as those of any other remote. Its changes are made by
//! [`Store`](crate::Store).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use super::error::{RemoteError, RemoteErrorKind};
use super::objects::{Answer, Body, Objects, Tag};
use crate::error::{Result, StoreError};
use crate::files::is_safe;

/// The bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// A store in a folder.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Objects for Folder {
    fn place(&self, key: &str) -> String {
        self.path.join(key).display().to_string()
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Answer> {
        if !is_safe(key) {
            return Err(self.refuse(key, RemoteErrorKind::Absent));
        }
        let path = self.path.join(key);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Absent),
            file => file.map_err(StoreError::io("open", &path))?,
        };
        let metadata = file.metadata().map_err(StoreError::io("read", &path))?;
        if !metadata.is_file() {
            return Ok(Answer::Absent);
        }
        let size = metadata.len();
        let range = range.unwrap_or(0..size);
        file.seek(SeekFrom::Start(range.start)).map_err(StoreError::io("read", &path))?;
        let chunks = Chunks { file, path, left: range.end.min(size).saturating_sub(range.start) };
        Ok(Answer::Found(Body { size, tag: Tag::default(), chunks: Box::new(chunks) }))
    }
}

struct Chunks {
    file: File,
    path: PathBuf,
    left: u64,
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let length = usize::try_from(self.left).map_or(BLOCK, |left| left.min(BLOCK));
        let mut block = vec![0; length];
        let read = self.file.read_exact(&mut block);
        self.left -= length as u64;
        Some(match read {
            Ok(()) => Ok(block.into()),
            Err(error) => {
                let reason = error.to_string();
                Err(RemoteError::new(self.path.display(), RemoteErrorKind::Failed { reason }).into())
            }
        })
    }
}
