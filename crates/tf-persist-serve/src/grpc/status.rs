//! Status codes and messages of errors, as gRPC puts them into headers.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::body::ResponseBody;
use crate::status::Status;

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Longer messages are cut, as TensorFlow Serving does (`model_servers/grpc_status_util.cc`): clients refuse long
/// headers.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A response without a message: an error.
pub(super) fn error_response(status: &Status) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,deflate,gzip"));
    insert(status, headers);
    response
}

/// The number of the status of a response; 0 for one whose status follows its message.
pub(super) fn number<B>(response: &Response<B>) -> u16 {
    let status = response.headers().get(GRPC_STATUS).and_then(|status| status.to_str().ok()?.parse().ok());
    status.unwrap_or(0)
}

fn insert(status: &Status, headers: &mut HeaderMap) {
    headers.insert(GRPC_STATUS, HeaderValue::from(status.code.number()));
    let message = percent_encoded(&truncate(&status.message));
    // Percent-encoded text is printable ASCII, so always a valid header.
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

fn truncate(message: &str) -> Cow<'_, str> {
    if message.len() <= MAX_MESSAGE_BYTES {
        return Cow::Borrowed(message);
    }
    Cow::Owned(format!("{}...TRUNCATED", &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]))
}

/// Percent-encodes everything except printable ASCII, and the percent sign itself.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_truncated_between_characters() {
        assert_eq!(truncate(&"a".repeat(1024)), "a".repeat(1024));
        assert_eq!(truncate(&"a".repeat(1025)), format!("{}...TRUNCATED", "a".repeat(1024)));
        assert_eq!(truncate(&"€".repeat(400)), format!("{}...TRUNCATED", "€".repeat(341)));
    }

    #[test]
    fn any_message_becomes_a_header() {
        assert_eq!(percent_encoded("100% \"x\"\n€"), "100%25 \"x\"%0A%E2%82%AC");
        let response = error_response(&Status::not_found("\0\u{7f}\n"));
        assert_eq!(response.headers()["grpc-status"], "5");
        assert_eq!(response.headers()["grpc-message"], "%00%7F%0A");
    }
}
