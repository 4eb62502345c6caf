//! Why a part of a model cannot be converted.

use std::fmt;

/// One sentence without a place: the caller knows which layer it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason(String);

/// What functions return that work on one layer.
pub(crate) type Result<T, E = Reason> = std::result::Result<T, E>;

impl Reason {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Of an error whose reason is known already.
    pub(crate) fn reported() -> Self {
        Self(String::new())
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Reason {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Reason {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<tf_persist_savedmodel::Error> for Reason {
    fn from(error: tf_persist_savedmodel::Error) -> Self {
        Self(error.to_string())
    }
}

/// Returns an error with a formatted reason.
macro_rules! refuse {
    ($($argument:tt)*) => {
        return Err($crate::reason::Reason::new(format!($($argument)*)))
    };
}
pub(crate) use refuse;
