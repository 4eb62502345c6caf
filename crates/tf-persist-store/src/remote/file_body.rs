//! A file as the body of a request.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use tokio::task::spawn_blocking;

use super::client::count_sent;
use super::progress::Progress;
use crate::error::{Result, StoreError};

/// The bytes that are read at a time.
const CHUNK: u64 = 256 << 10;

/// A file whose bytes are read while they are sent, from the beginning whenever the request is repeated.
#[derive(Debug, Clone)]
pub(crate) struct FileBody {
    path: PathBuf,
    size: u64,
    progress: Arc<dyn Progress>,
    /// How far any of the requests was, since what is sent twice counts once.
    furthest: Arc<AtomicU64>,
}

impl FileBody {
    /// A file of this size. Other bytes than these are not sent.
    pub(crate) fn new(path: &Path, size: u64, progress: Arc<dyn Progress>) -> Self {
        Self { path: path.to_path_buf(), size, progress, furthest: Arc::default() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The body of one request.
    pub(crate) fn open(&self) -> Result<Body> {
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let chunks = stream::try_unfold((file, 0, self.clone()), |(file, sent, this)| async move {
            let read = spawn_blocking(move || read_chunk(file, CHUNK.min(this.size - sent)).map(|it| (it, this)));
            let ((file, chunk), this) = read.await.map_err(io::Error::other)??;
            if chunk.is_empty() {
                return Ok::<_, io::Error>(None);
            }
            let sent = sent + chunk.len() as u64;
            this.advance(sent);
            count_sent(chunk.len());
            Ok(Some((chunk, (file, sent, this))))
        });
        Ok(Body::wrap_stream(chunks))
    }

    fn advance(&self, sent: u64) {
        let before = self.furthest.fetch_max(sent, Ordering::Relaxed);
        if sent > before {
            self.progress.advance(sent - before);
        }
    }
}

fn read_chunk(mut file: File, most: u64) -> io::Result<(File, Bytes)> {
    let mut bytes = Vec::new();
    file.by_ref().take(most).read_to_end(&mut bytes)?;
    Ok((file, bytes.into()))
}
