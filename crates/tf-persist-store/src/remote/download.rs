//! Answers with the bytes of files.

use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};

use super::api::{cause, pause, wait};
use super::client::count_received;
use super::error::{RemoteError, RemoteErrorKind};
use super::objects::Body;
use crate::error::{Result, StoreError};
use crate::manifest::hex;

/// The bytes of an answer as they come.
pub(crate) struct Chunks {
    response: Response,
    place: String,
}

impl Chunks {
    pub(crate) fn new(response: Response, place: String) -> Self {
        Self { response, place }
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = wait(async { Ok(self.response.chunk().await) });
        match chunk {
            Ok(Ok(chunk)) => {
                let chunk = chunk?;
                count_received(chunk.len());
                Some(Ok(chunk))
            }
            Ok(Err(error)) => {
                let kind = RemoteErrorKind::Unreachable { reason: cause(&error) };
                Some(Err(RemoteError::new(&self.place, kind).into()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// Whether an answer has the bytes that were wanted, all or a range of them. `None` if it is an error.
pub(crate) fn is_as_wanted(response: &Response, range: Option<&Range<u64>>) -> Option<bool> {
    match (response.status(), range) {
        (StatusCode::OK, None) => Some(true),
        (StatusCode::PARTIAL_CONTENT, Some(range)) => {
            Some(content_range(response).is_some_and(|(given, _)| given == *range))
        }
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => Some(false),
        _ => None,
    }
}

/// The range of an answer, and the size of the whole.
pub(crate) fn content_range(response: &Response) -> Option<(Range<u64>, Option<u64>)> {
    let header = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size.parse().ok()))
}

/// Writes a file as it comes. If the connection breaks, it goes on where it was. Returns the SHA-256.
///
/// # Errors
/// If the file has another size, or cannot be had or written.
pub(crate) fn save(
    get: impl Fn(Option<Range<u64>>) -> Result<Body>,
    wrong: impl Fn(RemoteErrorKind) -> StoreError,
    size: u64,
    path: &Path,
    retries: usize,
) -> Result<String> {
    let writing = || StoreError::io("write", path);
    let mut file = File::create(path).map_err(writing())?;
    let (mut hasher, mut received, mut tries, mut tag) = (Sha256::new(), 0_u64, 0, None);
    loop {
        let resumed = (received > 0).then_some(received..size);
        let is_resumed = resumed.is_some();
        let body = match get(resumed) {
            Err(StoreError::Remote(error)) if *error.kind() == RemoteErrorKind::IgnoresRanges && is_resumed => None,
            // It is another file by now.
            Ok(body) if is_resumed && Some(&body.tag) != tag.as_ref() => None,
            body => Some(body?),
        };
        let Some(body) = body else {
            file.set_len(0).and_then(|()| file.rewind()).map_err(writing())?;
            (hasher, received) = (Sha256::new(), 0);
            continue;
        };
        if body.size != size {
            return Err(wrong(RemoteErrorKind::WrongSize { expected: size, found: body.size }));
        }
        tag = Some(body.tag);
        let mut failed = None;
        for chunk in body.chunks {
            match chunk {
                Ok(chunk) => {
                    received += chunk.len() as u64;
                    if received > size {
                        return Err(wrong(RemoteErrorKind::WrongSize { expected: size, found: received }));
                    }
                    hasher.update(&chunk);
                    file.write_all(&chunk).map_err(writing())?;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if received == size {
            file.sync_all().map_err(writing())?;
            return Ok(hex(&hasher.finalize()));
        }
        tries += 1;
        if tries > retries {
            let short = RemoteErrorKind::WrongSize { expected: size, found: received };
            return Err(failed.unwrap_or_else(|| wrong(short)));
        }
        thread::sleep(pause(tries, None));
    }
}
