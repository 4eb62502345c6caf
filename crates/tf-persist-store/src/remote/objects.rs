//! What a remote store must be able to do.

use std::fmt::Debug;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::{RemoteError, RemoteErrorKind};
use crate::error::Result;

/// Which state of an object is meant, in the server's words. Google compares the version, the others the tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) e_tag: Option<String>,
    pub(crate) version: Option<String>,
}

/// The answer to a request for an object.
pub(crate) enum Answer {
    /// There is none.
    Absent,
    /// It is what the caller knows.
    Unchanged,
    Found(Body),
}

/// The bytes of an object, or of a part of it.
pub(crate) struct Body {
    /// Of the whole object.
    pub(crate) size: u64,
    pub(crate) tag: Tag,
    pub(crate) chunks: Box<dyn Iterator<Item = Result<Bytes>> + Send>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
    /// Which state of the object it is: its tag, or else when it was written.
    pub(crate) state: String,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// The condition does not hold.
    Refused,
}

/// A store of objects by key, such as a bucket. The keys are relative to the place of the store and have `/`. What
/// cannot be written has the methods for reading only.
pub(crate) trait Objects: Debug + Send + Sync {
    /// The place of a key, for messages.
    fn place(&self, key: &str) -> String;

    /// An object, or a range of its bytes. With a tag, only if it is another state than that.
    fn get(&self, key: &str, range: Option<Range<u64>>, unless: Option<&Tag>) -> Result<Answer>;

    /// The objects whose keys begin with `prefix`, which ends with `/`.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        Err(self.refuse(prefix, RemoteErrorKind::NoListing))
    }

    /// The names of the folders at the top.
    fn folders(&self) -> Result<Vec<String>> {
        Err(self.refuse("", RemoteErrorKind::NoListing))
    }

    /// The address of the store that this place is in, or of the first one in it. What cannot be read is not looked at.
    fn store_nearby(&self) -> Option<String> {
        None
    }

    /// Whether it can be written.
    fn is_writable(&self) -> bool {
        false
    }

    /// Writes an object that does not exist.
    fn create(&self, key: &str, _bytes: Bytes) -> Result<Written> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Writes an object that is still in this state.
    fn replace(&self, key: &str, _bytes: Bytes, _unchanged: &Tag) -> Result<Written> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Writes an object, whatever is there.
    fn put(&self, key: &str, _bytes: Bytes) -> Result<()> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Begins an upload in parts. Returns its id.
    fn begin(&self, key: &str) -> Result<String> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Uploads a part. Returns its id.
    fn part(&self, key: &str, _upload: &str, _index: usize, _bytes: Bytes) -> Result<String> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Makes an object of the parts.
    fn finish(&self, key: &str, _upload: &str, _parts: Vec<String>) -> Result<()> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// Copies an object without a transfer.
    fn copy(&self, _from: &str, to: &str) -> Result<()> {
        Err(self.refuse(to, RemoteErrorKind::ReadOnly))
    }

    /// Deletes an object, if there is one.
    fn delete(&self, key: &str) -> Result<()> {
        Err(self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    /// An error about a key.
    fn refuse(&self, key: &str, kind: RemoteErrorKind) -> crate::StoreError {
        RemoteError::new(self.place(key), kind).into()
    }
}

/// Reads a small object whole; `None` if there is none.
pub(crate) fn read(objects: &dyn Objects, key: &str, limit: u64) -> Result<Option<(Vec<u8>, Tag)>> {
    match objects.get(key, None, None)? {
        Answer::Found(body) => read_body(objects, key, body, limit).map(Some),
        Answer::Absent | Answer::Unchanged => Ok(None),
    }
}

/// Reads the bytes of a small object.
pub(crate) fn read_body(objects: &dyn Objects, key: &str, body: Body, limit: u64) -> Result<(Vec<u8>, Tag)> {
    let too_large = || objects.refuse(key, RemoteErrorKind::TooLarge { limit });
    if body.size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    for chunk in body.chunks {
        bytes.extend_from_slice(&chunk?);
        // The server may send more than it said.
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
    }
    let found = bytes.len() as u64;
    match found == body.size {
        true => Ok((bytes, body.tag)),
        false => Err(objects.refuse(key, RemoteErrorKind::WrongSize { expected: body.size, found })),
    }
}
