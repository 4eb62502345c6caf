//! Where a model is at an MLflow server.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::error::{Result, StoreError};
use crate::files::is_safe;
use crate::name::Selector;
use crate::remote::api::is_host;
use crate::remote::{RemoteError, RemoteErrorKind, without_secrets};

/// The scheme of an address.
const SCHEME: &str = "mlflow://";

/// The most bytes of a model's name.
const MAX_NAME: usize = 256;

/// What is written as `%` and digits in a name. Other letters than those of ASCII are, too.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?').add(b'@');

/// A model in the registry of an MLflow server: `mlflow://HOST[:PORT]/MODEL`, perhaps with `@` and a number, an alias
/// or `latest`. A path between host and model is that of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlflowAddress {
    host: String,
    /// Empty, or with `/` at the front.
    path: String,
    model: String,
    selector: Option<Selector>,
}

impl MlflowAddress {
    /// Whether a text is an address of this kind.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The server, such as `localhost:5000`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name of the registered model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version, if the address names one.
    #[must_use]
    pub fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// The path of the server, with `/` at both ends.
    pub(super) fn path(&self) -> String {
        format!("{}/", self.path)
    }

    /// A version of the same model.
    #[must_use]
    pub fn at(&self, number: u64) -> Self {
        Self { selector: Some(Selector::Number(number)), ..self.clone() }
    }

    /// The same without a version.
    #[must_use]
    pub fn without_version(&self) -> Self {
        Self { selector: None, ..self.clone() }
    }
}

impl fmt::Display for MlflowAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}/{}", self.host, self.path, utf8_percent_encode(&self.model, ENCODED))?;
        match &self.selector {
            Some(selector) => write!(f, "@{selector}"),
            None => Ok(()),
        }
    }
}

impl FromStr for MlflowAddress {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason: &str| {
            let reason = reason.to_owned();
            StoreError::from(RemoteError::new(without_secrets(text), RemoteErrorKind::InvalidAddress { reason }))
        };
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(invalid("it does not begin with `mlflow://`"));
        };
        if rest.contains(['?', '#']) {
            return Err(invalid("it has a query or a fragment; in a name, write %3F and %23"));
        }
        let rest = rest.trim_end_matches('/');
        let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(invalid("the user and the password come from the environment, not from the address"));
        }
        if !is_host(host) {
            return Err(invalid("its host is not a name or a number, perhaps with a port"));
        }
        let (path, name) = match rest.rsplit_once('/') {
            Some((path, _)) if !is_safe(path) => return Err(invalid("its path has an empty part, `.` or `..`")),
            Some((path, name)) => (format!("/{path}"), name),
            None => (String::new(), rest),
        };
        let (name, selector) = match name.rsplit_once('@') {
            Some((name, selector)) => (name, Some(selector.parse()?)),
            None => (name, None),
        };
        let name = percent_decode_str(name).decode_utf8().map_err(|_| invalid("the name of its model is not UTF-8"))?;
        if name.is_empty() {
            return Err(invalid("it has no model: `mlflow://HOST/MODEL`"));
        }
        // MLflow refuses the first two, and the others have a meaning where it is asked for versions.
        let is_refused = |letter: char| letter.is_control() || "/:'\"`\\".contains(letter);
        if name.len() > MAX_NAME || name.contains(is_refused) || name == "." || name == ".." {
            return Err(invalid("the name of its model has `/`, `:`, a quote, a backslash, or more than 256 bytes"));
        }
        Ok(Self { host: host.to_owned(), path, model: name.into_owned(), selector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<String, String> {
        text.parse::<MlflowAddress>().map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        for text in [
            "mlflow://localhost:5000/digits",
            "mlflow://[::1]:5000/digits@3",
            "mlflow://mlflow.example/team/tracking/digits@production",
            "mlflow://host/a%20name%20with%20%40@latest",
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
        assert_eq!(parsed("mlflow://host/ü x/").as_deref(), Ok("mlflow://host/%C3%BC%20x"));
        let address: MlflowAddress = "mlflow://host/a/b/digits@7".parse().unwrap();
        assert_eq!((address.host(), &*address.path(), address.model()), ("host", "/a/b/", "digits"));
        assert_eq!(address.selector(), Some(&Selector::Number(7)));
        assert_eq!(address.without_version().selector(), None);
        for (text, reason) in [
            ("mlflow://localhost:5000", "it has no model"),
            ("mlflow://localhost:5000/", "it has no model"),
            ("mlflow://localhost:x/digits", "its host"),
            ("mlflow:///digits", "its host"),
            ("mlflow://host/../digits", "its path"),
            ("mlflow://host//digits", "its path"),
            ("mlflow://host/digits@0", "0"),
            ("mlflow://host/digits@v3", "v3"),
            ("mlflow://host/digits?token=secret", "a query"),
            ("mlflow://host/it's", "a quote"),
            ("mlflow://host/a%2Fb", "`/`"),
            ("mlflow://host/%FF", "UTF-8"),
            ("mlflow://ada:secret@host/digits", "come from the environment"),
            ("mlflow://ada:sec/ret@host/digits", "its host"),
            ("s3://a/b", "it does not begin with `mlflow://`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret") && !error.contains("sec/ret"), "{error}");
        }
    }
}
