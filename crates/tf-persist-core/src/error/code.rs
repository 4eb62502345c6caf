//! TensorFlow's status codes.

use std::fmt;

/// TensorFlow's status codes (`tensorflow/c/tf_status.h`), which are gRPC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are gRPC's")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// The codes by their numbers, which begin at 1; 0 is "no error".
const CODES: [(Code, &str); 16] = [
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// The code of a number; `None` for 0, which is success. Unknown numbers are `Unknown`.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let index = number.checked_sub(1)? as usize;
        Some(CODES.get(index).map_or(Self::Unknown, |(code, _)| *code))
    }

    /// The number, which TensorFlow's codes and gRPC's share.
    #[must_use]
    pub fn number(self) -> u32 {
        CODES.iter().zip(1..).find(|((code, _), _)| *code == self).map_or(2, |(_, number)| number)
    }

    /// The name in gRPC's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self).map_or("UNKNOWN", |(_, name)| name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_numbers() {
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(3), Some(Code::InvalidArgument));
        assert_eq!(Code::from_number(16), Some(Code::Unauthenticated));
        assert_eq!(Code::from_number(77), Some(Code::Unknown));
    }
}
