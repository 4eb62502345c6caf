//! Bodies of requests: read whole, inflated, and never longer than is allowed.

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

/// The longest body that a gzip-encoded one may become, in bytes, whatever longer ones are allowed as they are: TensorFlow Serving's own
/// limit (`util/net_http/compression/gzip_zlib.h`). A few kilobytes become gigabytes else.
const MAX_INFLATED: usize = 100 << 20;
/// What is reserved at once for a body, in bytes, whatever length its head says. It is not resident before something came.
const MAX_RESERVED: usize = 2 << 20;
/// How much of the body of a request that is refused is read, in bytes, so that the client reads the reply.
const MAX_DRAINED: usize = 1 << 20;
/// How long that is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Why there is no body.
#[derive(Debug)]
pub(super) enum BodyError {
    /// It is longer than so many bytes.
    TooLong(usize),
    /// Nothing more of it came.
    TooSlow,
    /// The connection broke, or what came is no HTTP.
    Broken,
}

/// Reads a body whole. One that comes in one piece is not copied.
pub(super) async fn read(mut body: Incoming, limits: &Limits) -> Result<Bytes, BodyError> {
    let limit = limits.body_bytes;
    let claimed = body.size_hint().lower();
    if claimed > limit as u64 {
        return Err(too_long(body, limit).await);
    }
    let Some(first) = next_chunk(&mut body, limits).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return if first.len() > limit { Err(BodyError::TooLong(limit)) } else { Ok(first) };
    }
    let mut whole = Vec::with_capacity((claimed as usize).clamp(first.len(), MAX_RESERVED.max(first.len())));
    whole.extend_from_slice(&first);
    while let Some(chunk) = next_chunk(&mut body, limits).await? {
        if chunk.len() > limit.saturating_sub(whole.len()) {
            return Err(too_long(body, limit).await);
        }
        if whole.capacity() - whole.len() < chunk.len() {
            // Twice as much, but no more than is to come, where the head says that.
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
            // Trailers are passed over.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads a little of a body that nobody wants: a connection that is closed with bytes unread takes its reply with it.
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

/// Inflates a body. One that is broken is empty, as for TensorFlow Serving, and is refused as such.
///
/// # Errors
/// If it becomes longer than is allowed.
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
        for broken in [&b"this is no gzip stream at all"[..], &whole[..whole.len() - 5], &whole[..3], b""] {
            assert!(inflate(broken, &Limits::default()).unwrap().is_empty());
        }
    }

    #[test]
    fn gzip_is_known_by_its_name() {
        let headers = |value| HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(value))]);
        assert!(is_gzip(&headers("gzip")) && is_gzip(&headers("x-gzip")));
        assert!(!is_gzip(&headers("identity")) && !is_gzip(&HeaderMap::new()));
    }
}
