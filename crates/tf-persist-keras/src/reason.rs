//! Why a part of a model cannot be converted.

use std::fmt;

/// One sentence without a place: the caller knows which layer it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason(String);

/// What functions return that work on one layer.
pub(crate) type Result<T, E = Reason> = std::result::Result<T, E>;

impl Reason {
    /// A reason with names and values of a file, which may be long or have control characters.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        const MOST: usize = 4000;
        let mut reason = reason.into();
        if let Some((end, _)) = reason.char_indices().nth(MOST) {
            reason.truncate(end);
            reason.push('…');
        }
        if reason.contains(char::is_control) {
            reason = tf_persist_savedmodel::printable(&reason);
        }
        Self(reason)
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
        Self::new(reason)
    }
}

impl From<&str> for Reason {
    fn from(reason: &str) -> Self {
        Self::new(reason)
    }
}

impl From<tf_persist_savedmodel::Error> for Reason {
    fn from(error: tf_persist_savedmodel::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// A name of a file for a message: without control characters, and cut to a readable length.
pub(crate) fn shown_name(name: &str) -> String {
    const MOST: usize = 100;
    let cut = match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    tf_persist_savedmodel::printable(&cut)
}

/// Returns an error with a formatted reason.
macro_rules! refuse {
    ($($argument:tt)*) => {
        return Err($crate::reason::Reason::new(format!($($argument)*)))
    };
}
pub(crate) use refuse;
