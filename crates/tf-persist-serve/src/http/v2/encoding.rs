//! Compression of requests (`Content-Encoding`) and of answers (`Accept-Encoding`).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::super::body::{BodyError, MAX_INFLATED};
use super::super::handlers::RequestError;
use crate::security::Limits;
use crate::status::Status;

/// Shorter answers are not worth a compression.
const MIN_COMPRESSED: usize = 1024;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// The format of zlib, as RFC 9110 has it.
    Deflate,
}

impl Encoding {
    /// Its name in headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The compression of a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not known.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(None) };
        let value = String::from_utf8_lossy(value.as_bytes());
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => {
                let reason = format!("the Content-Encoding `{other}` is not supported, but gzip and deflate are");
                Err(Status::invalid_argument(reason))
            }
        }
    }

    /// The compression that a client accepts for an answer, the first one that it names.
    pub(super) fn of_answer(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).find_map(|offer| {
            let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
            let is_refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
            match name.trim() {
                _ if is_refused => None,
                name if name.eq_ignore_ascii_case("gzip") => Some(Self::Gzip),
                name if name.eq_ignore_ascii_case("deflate") => Some(Self::Deflate),
                _ => None,
            }
        })
    }

    /// Inflates a body.
    ///
    /// # Errors
    /// If it is damaged, or inflates to more than the limit.
    pub(super) fn inflate(self, body: &[u8], limits: &Limits) -> Result<Bytes, RequestError> {
        let limit = limits.body_bytes.min(MAX_INFLATED);
        let mut whole = Vec::new();
        // One byte beyond the limit, to notice a longer body.
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut whole),
            Self::Deflate => ZlibDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut whole),
        };
        match read {
            Ok(_) if whole.len() > limit => Err(RequestError::Body(BodyError::TooLong(limit))),
            Ok(_) => Ok(whole.into()),
            Err(error) => {
                let reason = format!("the {} body cannot be inflated: {error}", self.name());
                Err(Status::invalid_argument(reason).into())
            }
        }
    }

    /// Compresses an answer; `None` if it is too short for that.
    pub(super) fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() < MIN_COMPRESSED {
            return None;
        }
        let out = Vec::with_capacity(body.len() / 2);
        // Writing to memory cannot fail.
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
        }
    }
}

/// A body as it was before its compression.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Bytes, RequestError> {
    match Encoding::of_request(headers)? {
        Some(encoding) => encoding.inflate(&body, limits),
        None => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn bodies_survive_compression_within_limits() {
        let body = b"0123456789".repeat(200);
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let compressed = encoding.compress(&body).unwrap();
            assert!(compressed.len() < body.len());
            let limits = |body_bytes| Limits { body_bytes, ..Limits::default() };
            assert_eq!(encoding.inflate(&compressed, &limits(2000)).ok().unwrap(), body);
            let long = encoding.inflate(&compressed, &limits(1999));
            assert!(matches!(long, Err(RequestError::Body(BodyError::TooLong(1999)))));
            for damaged in [&compressed[..compressed.len() - 5], b"no stream", b""] {
                assert!(matches!(encoding.inflate(damaged, &limits(2000)), Err(RequestError::Status(_))));
            }
            assert!(encoding.compress(b"short").is_none());
        }
    }

    #[test]
    fn compression_is_that_of_the_headers() {
        let request = |value| Encoding::of_request(&headers(CONTENT_ENCODING, value));
        assert_eq!(request("GZIP").unwrap(), Some(Encoding::Gzip));
        assert_eq!(request("deflate").unwrap(), Some(Encoding::Deflate));
        assert_eq!(request("identity").unwrap(), None);
        assert!(request("br").is_err() && request("gzip, gzip").is_err());
        let answer = |value| Encoding::of_answer(&headers(ACCEPT_ENCODING, value));
        assert_eq!(answer("gzip, deflate, br"), Some(Encoding::Gzip));
        assert_eq!(answer("br, deflate;q=0.5, gzip"), Some(Encoding::Deflate));
        assert_eq!(answer("gzip;q=0, deflate"), Some(Encoding::Deflate));
        assert_eq!(answer("br, *"), None);
        assert_eq!(Encoding::of_answer(&HeaderMap::new()), None);
    }
}
