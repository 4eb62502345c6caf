//! Names of models and labels, and references to versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::layout::STORE_FILE;

/// The most bytes of a name.
const MAX_NAME: usize = 128;

/// The name of a model: at most 128 letters, digits, `.`, `_` and `-`, at least one of them a letter, no `.` first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ModelName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > MAX_NAME {
            "it has more than 128 characters"
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            "only letters, digits, `.`, `_` and `-` are allowed"
        } else if name.starts_with('.') {
            "it begins with a dot"
        } else if !name.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            "it has no letter"
        } else if name.eq_ignore_ascii_case(STORE_FILE) {
            "a file of the store has it"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(StoreError::InvalidModelName { name: name.to_owned(), reason })
    }
}

/// A movable name of a version, such as `production`: at most 128 letters, digits, `_` and `-`. It is no number, not
/// `latest`, and not `v` with a number, which mean other things here or in MLflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = StoreError;

    fn from_str(label: &str) -> Result<Self> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let reason = if label.is_empty() {
            "it is empty"
        } else if label.len() > MAX_NAME {
            "it has more than 128 characters"
        } else if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            "only letters, digits, `_` and `-` are allowed"
        } else if label.starts_with('-') {
            "it begins with `-`"
        } else if is_number(label) {
            "a number is a version"
        } else if label.eq_ignore_ascii_case("latest") {
            "`latest` is the newest version"
        } else if label.strip_prefix(['v', 'V']).is_some_and(is_number) {
            "`v` with a number looks like a version"
        } else {
            return Ok(Self(label.to_owned()));
        };
        Err(StoreError::InvalidLabel { label: label.to_owned(), reason })
    }
}

impl TryFrom<String> for Label {
    type Error = StoreError;

    fn try_from(label: String) -> Result<Self> {
        label.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

/// Which version of a model is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The version of this number.
    Number(u64),
    /// The version that a label points to.
    Label(Label),
    /// The published version with the largest number.
    Latest,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Label(label) => label.fmt(f),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl FromStr for Selector {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) || text.is_empty() {
            return text.parse().map(Self::Label);
        }
        match version_number(text) {
            Some(number) => Ok(Self::Number(number)),
            None => Err(StoreError::InvalidVersion { version: text.to_owned() }),
        }
    }
}

/// The number of a version as it is written in a path: positive, without leading zeros, and small enough for TensorFlow
/// Serving.
pub(crate) fn version_number(text: &str) -> Option<u64> {
    let is_plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && is_version(*number))
}

/// Whether TensorFlow Serving can serve a version of this number.
pub(crate) fn is_version(number: u64) -> bool {
    (1..=i64::MAX.unsigned_abs()).contains(&number)
}

/// `MODEL@REF`, or `MODEL` alone for its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The model.
    pub model: ModelName,
    /// Which of its versions.
    pub selector: Selector,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.selector)
    }
}

impl FromStr for Reference {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((model, number)) = text.rsplit_once('/')
            && version_number(number).is_some()
            && model.parse::<ModelName>().is_ok()
        {
            return Err(StoreError::InvalidModelName { name: text.to_owned(), reason: "a version is named MODEL@N" });
        }
        match text.split_once('@') {
            Some((model, selector)) => Ok(Self { model: model.parse()?, selector: selector.parse()? }),
            None => Ok(Self { model: text.parse()?, selector: Selector::Latest }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models() {
        for good in ["digits", "a", "0a", "A.b-c_1", &"x".repeat(128)] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "1", "1.2", "a/b", "a b", "ü", "a@b", &"x".repeat(129), "a\n", "Store.json"] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels() {
        for good in ["production", "A-b_1", "v", "v1a", "lat", "_"] {
            assert_eq!(good.parse::<Label>().unwrap().as_str(), good);
        }
        for bad in ["", "7", "latest", "Latest", "v7", "V07", "a.b", "a/b", "-a", &"x".repeat(129)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references() {
        let selector = |text: &str| text.parse::<Reference>().map(|it| it.selector);
        assert_eq!(selector("digits").unwrap(), Selector::Latest);
        assert_eq!(selector("digits@latest").unwrap(), Selector::Latest);
        assert_eq!(selector("digits@9223372036854775807").unwrap(), Selector::Number(i64::MAX as u64));
        assert_eq!(selector("digits@a").unwrap(), Selector::Label("a".parse().unwrap()));
        for bad in
            ["digits@", "@1", "digits@0", "digits@07", "digits@9223372036854775808", "digits@a@b", "a@v1", "digits/1"]
        {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }
}
