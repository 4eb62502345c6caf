//! Length-prefixed messages: one byte for compression, four bytes of length, the message.

use std::fmt::Display;
use std::io::Read;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body;
use tf_persist_core::Code;

use crate::offload::offload_if;
use crate::security::Limits;
use crate::status::Status;

/// The length of the prefix of a message.
pub(super) const PREFIX_BYTES: usize = 5;

/// The first allocation for a message that arrives in chunks, in bytes. It grows only as data arrives: five bytes can
/// announce two gigabytes.
const INITIAL_CAPACITY: usize = 64 << 10;

/// Longer compressed messages are inflated in another thread, since they may inflate to a thousand times their size,
/// which takes milliseconds.
const MAX_INLINE_INFLATE: usize = 4 << 10;

/// The largest message that protobuf allows and TensorFlow Serving sends, in bytes.
const MAX_MESSAGE: usize = i32::MAX as usize;

/// Reads the only message of a request, to the end of the request.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` if it has more than `limit` bytes, `DEADLINE_EXCEEDED` if the client takes too long between two
/// chunks, `UNIMPLEMENTED` if the compression is unknown, `INTERNAL` if the message is malformed.
pub(super) async fn read_message<B>(
    mut body: B,
    headers: &HeaderMap,
    limit: usize,
    limits: &Limits,
) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut reader = MessageReader::new(limit.min(limits.body_bytes));
    loop {
        let frame = tokio::time::timeout(limits.body_timeout, body.frame());
        let frame = frame
            .await
            .map_err(|_| Status::new(Code::DeadlineExceeded, "the rest of the request was not received in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Status::new(Code::Cancelled, format!("the request broke off: {error}")))?;
        // Trailers of a request are ignored.
        if let Ok(data) = frame.into_data() {
            reader.push(data)?;
        }
    }
    let limit = reader.limit;
    let (compressed, message) = reader.finish()?;
    if !compressed {
        return Ok(message);
    }
    let encoding = Encoding::from_headers(headers)?;
    offload_if(message.len() > MAX_INLINE_INFLATE, move || encoding.inflate(&message, limit)).await
}

/// A message that is being received.
struct MessageReader {
    limit: usize,
    prefix: [u8; PREFIX_BYTES],
    prefix_read: usize,
    length: usize,
    /// The message, if it arrived in one chunk.
    whole: Option<Bytes>,
    chunks: Vec<u8>,
}

impl MessageReader {
    fn new(limit: usize) -> Self {
        Self { limit, prefix: [0; PREFIX_BYTES], prefix_read: 0, length: 0, whole: None, chunks: Vec::new() }
    }

    fn push(&mut self, mut data: Bytes) -> Result<(), Status> {
        if self.prefix_read < PREFIX_BYTES {
            let count = data.len().min(PREFIX_BYTES - self.prefix_read);
            data.copy_to_slice(&mut self.prefix[self.prefix_read..self.prefix_read + count]);
            self.prefix_read += count;
            if self.prefix_read < PREFIX_BYTES {
                return Ok(());
            }
            let [_, a, b, c, d] = self.prefix;
            self.length = u32::from_be_bytes([a, b, c, d]) as usize;
            if self.length > self.limit {
                return Err(too_large(self.length, self.limit));
            }
            if data.len() == self.length {
                self.whole = Some(data);
                return Ok(());
            }
        }
        if data.is_empty() {
            return Ok(());
        }
        if self.whole.is_some() || self.chunks.len() + data.len() > self.length {
            return Err(internal("the request has more than one message"));
        }
        if self.chunks.capacity() < self.chunks.len() + data.len() {
            // Doubles, up to the announced length.
            let capacity = (2 * (self.chunks.len() + data.len())).max(INITIAL_CAPACITY).min(self.length);
            let more = self.chunks.try_reserve_exact(capacity - self.chunks.len());
            more.map_err(|_| Status::new(Code::ResourceExhausted, "cannot allocate memory for the message"))?;
        }
        self.chunks.extend_from_slice(&data);
        Ok(())
    }

    /// Whether the message is compressed, and the message.
    fn finish(self) -> Result<(bool, Bytes), Status> {
        if self.prefix_read < PREFIX_BYTES {
            return Err(internal("the request ends before its message"));
        }
        let message = self.whole.unwrap_or_else(|| self.chunks.into());
        if message.len() < self.length {
            return Err(internal("the request ends inside its message"));
        }
        match self.prefix[0] {
            0 => Ok((false, message)),
            1 => Ok((true, message)),
            _ => Err(internal("the prefix of the message is invalid")),
        }
    }
}

/// The compression of a message.
#[derive(Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    fn from_headers(headers: &HeaderMap) -> Result<Self, Status> {
        match headers.get("grpc-encoding").map(|value| value.as_bytes()) {
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"deflate") => Ok(Self::Deflate),
            None | Some(b"identity") => Err(internal("the message is compressed, but `grpc-encoding` is missing")),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                Err(Status::new(Code::Unimplemented, format!("compression `{other}` is not supported")))
            }
        }
    }

    fn inflate(self, message: &[u8], limit: usize) -> Result<Bytes, Status> {
        let mut inflated = Vec::new();
        // One byte beyond the limit, to notice a longer message.
        let read_limit = limit as u64 + 1;
        let read = match self {
            Self::Gzip => flate2::read::GzDecoder::new(message).take(read_limit).read_to_end(&mut inflated),
            Self::Deflate => flate2::read::ZlibDecoder::new(message).take(read_limit).read_to_end(&mut inflated),
        };
        read.map_err(|error| internal(format!("the message cannot be inflated: {error}")))?;
        if inflated.len() > limit {
            return Err(too_large(inflated.len(), limit));
        }
        Ok(inflated.into())
    }
}

/// A message with its prefix. `write` appends the message.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` if it is larger than gRPC clients accept.
pub(super) fn frame_message(length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<Bytes, Status> {
    if length > MAX_MESSAGE {
        let reason = format!("the response has {length} bytes; the limit is {MAX_MESSAGE}");
        return Err(Status::new(Code::ResourceExhausted, reason));
    }
    let mut out = Vec::with_capacity(PREFIX_BYTES + length);
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    write(&mut out);
    // The length fits 31 bits.
    let length = (out.len() - PREFIX_BYTES) as u32;
    out[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(out.into())
}

fn too_large(length: usize, limit: usize) -> Status {
    Status::new(Code::ResourceExhausted, format!("Received message larger than max ({length} vs. {limit})"))
}

fn internal(reason: impl Into<String>) -> Status {
    Status::new(Code::Internal, reason)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::io::Write;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::HeaderValue;
    use hyper::body::Frame;

    use super::*;

    fn read(chunks: &[&[u8]], encoding: Option<&'static str>, limit: usize) -> Result<Bytes, Status> {
        let body = Chunks(chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect());
        let mut headers = HeaderMap::new();
        encoding.map(|encoding| headers.insert("grpc-encoding", HeaderValue::from_static(encoding)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(read_message(body, &headers, limit, &Limits::default()))
    }

    /// A body of these chunks.
    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    #[test]
    fn message_may_arrive_in_any_chunks() {
        let whole = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for cut in 0..whole.len() {
            assert_eq!(read(&[&whole[..cut], &whole[cut..]], None, 100).unwrap(), "abc");
            assert_eq!(read(&[&whole[..cut], &[], &whole[cut..], &[]], None, 100).unwrap(), "abc");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes, None, 100).unwrap(), "abc");
        assert_eq!(read(&[&[0; 5]], None, 100).unwrap(), "");
        let long = vec![7; 1 << 20];
        let framed = frame_message(long.len(), |out| out.extend_from_slice(&long)).unwrap();
        assert_eq!(read(&framed.chunks(10_000).collect::<Vec<_>>(), None, 2 << 20).unwrap(), long);
    }

    #[test]
    fn malformed_messages_are_refused() {
        let code = |chunks: &[&[u8]]| read(chunks, None, 100).unwrap_err().code;
        assert_eq!(code(&[]), Code::Internal);
        assert_eq!(code(&[&[0, 0, 0]]), Code::Internal);
        assert_eq!(code(&[&[0, 0, 0, 0, 3, b'a']]), Code::Internal);
        assert_eq!(code(&[&[0, 0, 0, 0, 1, b'a', b'b']]), Code::Internal);
        assert_eq!(code(&[&[0, 0, 0, 0, 1], b"a", &[0]]), Code::Internal);
        assert_eq!(code(&[&[2, 0, 0, 0, 1, b'a']]), Code::Internal);
        assert_eq!(code(&[&[1, 0, 0, 0, 1, b'a']]), Code::Internal);
        assert_eq!(code(&[&[0, 0xff, 0xff, 0xff, 0xff]]), Code::ResourceExhausted);
        assert_eq!(code(&[&[0, 0, 0, 0, 101]]), Code::ResourceExhausted);
    }

    #[test]
    fn compressed_messages_are_inflated_within_limits() {
        let text = vec![b'a'; 50_000];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut message = frame_message(0, |out| out.extend_from_slice(&gzip.finish().unwrap())).unwrap().to_vec();
        message[0] = 1;
        assert_eq!(read(&[&message], Some("gzip"), 50_000).unwrap(), text);
        assert_eq!(read(&[&message], Some("gzip"), 49_999).unwrap_err().code, Code::ResourceExhausted);
        assert_eq!(read(&[&message], Some("deflate"), 50_000).unwrap_err().code, Code::Internal);
        assert_eq!(read(&[&message], Some("snappy"), 50_000).unwrap_err().code, Code::Unimplemented);
        assert_eq!(read(&[&message], None, 50_000).unwrap_err().code, Code::Internal);
    }
}
