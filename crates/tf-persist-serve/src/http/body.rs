//! Request bodies: read whole, decompressed, and limited in length.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::security::Limits;

/// The longest body that a gzip-encoded one may inflate to, in bytes. It is TensorFlow Serving's own limit
/// (`util/net_http/compression/gzip_zlib.h`), and holds even where longer plain bodies are allowed: a few kilobytes can
/// inflate to gigabytes.
pub(super) const MAX_INFLATED: usize = 100 << 20;
/// The most that is reserved for a body before it arrives, in bytes, whatever its `Content-Length`.
const MAX_RESERVED: usize = 2 << 20;
/// How much of the body of a refused request is read, in bytes, so that the client reads the response.
const MAX_DRAINED: usize = 1 << 20;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum BodyError {
    /// It is longer than this limit, in bytes.
    TooLong(usize),
    /// The client sent nothing for too long.
    TooSlow,
    /// The connection broke, or the bytes are not HTTP.
    Broken,
}

/// Reads a whole body. A body that arrives in one chunk is not copied.
pub(super) async fn read(mut body: Incoming, limits: &Limits) -> Result<Bytes, BodyError> {
    let limit = limits.body_bytes;
    let claimed = body.size_hint().lower();
    if claimed > limit as u64 {
        return Err(too_long(body, limit).await);
    }
    let Some(first) = next_chunk(&mut body, limits).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(too_long(body, limit).await);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity((claimed as usize).clamp(first.len(), MAX_RESERVED.max(first.len())));
    whole.extend_from_slice(&first);
    while let Some(chunk) = next_chunk(&mut body, limits).await? {
        if chunk.len() > limit.saturating_sub(whole.len()) {
            return Err(too_long(body, limit).await);
        }
        if whole.capacity() - whole.len() < chunk.len() {
            // Doubles, but reserves no more than the declared length.
            let rest = (claimed as usize).checked_sub(whole.len()).filter(|rest| *rest > 0);
            whole.reserve_exact(rest.unwrap_or(usize::MAX).min(whole.len()).max(chunk.len()));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

async fn too_long(body: Incoming, limit: usize) -> BodyError {
    drain(body).await;
    BodyError::TooLong(limit)
}

async fn next_chunk(body: &mut Incoming, limits: &Limits) -> Result<Option<Bytes>, BodyError> {
    loop {
        match timeout(limits.body_timeout, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            // Trailers are skipped.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads a little of an unwanted body: closing a connection with unread bytes would discard the response.
pub(super) async fn drain(mut body: Incoming) {
    let mut read = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DRAINED {
                break;
            }
        }
    };
    let _ = timeout(DRAIN_TIMEOUT, reading).await;
}

/// Whether a body is gzip-encoded.
pub(super) fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
    encoding.is_some_and(|value| value.windows(4).any(|word| word.eq_ignore_ascii_case(b"gzip")))
}

/// Inflates a body. A damaged one counts as empty, as in TensorFlow Serving, and is refused as such.
///
/// # Errors
/// If it inflates to more than the limit.
pub(super) fn inflate(body: &[u8], limits: &Limits) -> Result<Bytes, BodyError> {
    let limit = limits.body_bytes.min(MAX_INFLATED);
    let mut whole = Vec::new();
    match MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut whole) {
        Ok(_) if whole.len() > limit => Err(BodyError::TooLong(limit)),
        Ok(_) => Ok(whole.into()),
        Err(_) => Ok(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_inflated_up_to_the_limit() {
        let limits = Limits { body_bytes: 1000, ..Limits::default() };
        assert_eq!(inflate(&gzip(b"{}"), &limits).unwrap(), "{}");
        assert_eq!(inflate(&gzip(&[b' '; 1000]), &limits).unwrap().len(), 1000);
        assert!(matches!(inflate(&gzip(&[b' '; 1001]), &limits), Err(BodyError::TooLong(1000))));
        let bomb = gzip(&vec![0; MAX_INFLATED + 1]);
        assert!(bomb.len() < MAX_INFLATED / 100);
        assert!(matches!(inflate(&bomb, &Limits::default()), Err(BodyError::TooLong(MAX_INFLATED))));
    }

    #[test]
    fn broken_gzip_is_an_empty_body() {
        let whole = gzip(b"{\"instances\": [1.0]}");
        for broken in [&b"this is not a gzip stream"[..], &whole[..whole.len() - 5], &whole[..3], b""] {
            assert!(inflate(broken, &Limits::default()).unwrap().is_empty());
        }
    }

    #[test]
    fn gzip_is_recognized_by_content_encoding() {
        let headers = |value| HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(value))]);
        assert!(is_gzip(&headers("gzip")) && is_gzip(&headers("x-gzip")));
        assert!(!is_gzip(&headers("identity")) && !is_gzip(&HeaderMap::new()));
    }
}
