//! HTTP responses.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tf_persist_core::Code;

use super::body::BodyError;
use super::handlers::RequestError;
use super::json;
use crate::status::Status;

/// A response with a complete body, which is sent in one write with its length.
pub(super) type Reply = Response<Full<Bytes>>;

/// The version that answered, where traffic is split between versions.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-tf-persist-version");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// The HTTP status code of an error (`model_servers/http_server.cc`).
pub(super) fn http_code(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // "Client closed request", a code that is not in the standard.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) fn json(code: StatusCode, body: Vec<u8>) -> Reply {
    reply_with(code, JSON, body.into())
}

pub(super) fn text(code: StatusCode, body: String) -> Reply {
    reply_with(code, TEXT, body.into())
}

/// An error response.
pub(super) fn error(status: &Status) -> Reply {
    let mut reply = error_with_code(http_code(status.code), &status.message);
    if status.code == Code::Unauthenticated {
        // Required with 401 (RFC 9110, section 11.6.1).
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

/// The code of a failed request, and the response to it.
pub(super) fn request_error(error: RequestError) -> (Code, Reply) {
    let refuse = |code, http_code, message: &str| (code, closing(error_with_code(http_code, message)));
    match error {
        RequestError::Status(status) => (status.code, self::error(&status)),
        RequestError::Body(BodyError::TooLong(limit)) => {
            let message = format!("The request body is longer than {limit} bytes");
            refuse(Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE, &message)
        }
        RequestError::Body(BodyError::TooSlow) => {
            let message = "The request body was not received in time";
            refuse(Code::DeadlineExceeded, StatusCode::REQUEST_TIMEOUT, message)
        }
        RequestError::Body(BodyError::Broken) => {
            refuse(Code::InvalidArgument, StatusCode::BAD_REQUEST, "The request body could not be read")
        }
    }
}

/// An error response with an HTTP status code that no `Status` maps to.
pub(super) fn error_with_code(code: StatusCode, message: &str) -> Reply {
    json(code, json::error_body(message))
}

/// The error page of libevent, TensorFlow Serving's HTTP server.
pub(super) fn html_page(code: StatusCode) -> Reply {
    let reason = code.canonical_reason().unwrap_or_default();
    let code_number = code.as_u16();
    let body = format!(
        "<HTML><HEAD>\n<TITLE>{code_number} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    );
    reply_with(code, HTML, body.into())
}

/// Marks a response as the last of its connection.
pub(super) fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// Names the version that answered, where it is known.
pub(super) fn name_version(reply: &mut Reply, version: Option<i64>) {
    if let Some(version) = version {
        reply.headers_mut().insert(VERSION_HEADER, HeaderValue::from(version));
    }
}

/// Lets pages of any origin read a response (`rest_api_enable_cors_support`). On the routes of the Open Inference
/// Protocol that includes the header that says where binary data begins, both ways; those of TensorFlow Serving stay as
/// they are there.
pub(super) fn allow_origins(reply: &mut Reply, is_v2: bool) {
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    if is_v2 {
        let allowed = HeaderValue::from_static("Content-Type, Inference-Header-Content-Length");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        let exposed = HeaderValue::from_static("Inference-Header-Content-Length");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn reply_with(code: StatusCode, kind: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = code;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_key_gets_a_challenge() {
        let challenge = |code| error(&Status::new(code, "")).headers().get(WWW_AUTHENTICATE).cloned();
        assert_eq!(challenge(Code::Unauthenticated).unwrap(), "Bearer");
        assert_eq!(challenge(Code::PermissionDenied), None);
    }

    #[test]
    fn every_code_has_tensorflow_servings_http_status() {
        for (code, number) in [
            (Code::Cancelled, 499),
            (Code::Unknown, 500),
            (Code::InvalidArgument, 400),
            (Code::DeadlineExceeded, 504),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::PermissionDenied, 403),
            (Code::ResourceExhausted, 429),
            (Code::FailedPrecondition, 400),
            (Code::Aborted, 409),
            (Code::OutOfRange, 400),
            (Code::Unimplemented, 501),
            (Code::Internal, 500),
            (Code::Unavailable, 503),
            (Code::DataLoss, 500),
            (Code::Unauthenticated, 401),
        ] {
            assert_eq!(http_code(code).as_u16(), number, "{code}");
        }
    }
}
