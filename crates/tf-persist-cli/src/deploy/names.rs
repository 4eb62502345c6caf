//! What Kubernetes takes as names and quantities, so that it does not refuse what is printed.

use std::fmt;
use std::str::FromStr;

/// The most bytes of a name. KServe adds `-predictor-default` to it, and labels have 63.
const MAX_NAME: usize = 40;

/// The most bytes of the name of a namespace, and of other objects.
const MAX_LABEL: usize = 63;

/// A name of an object: lower case letters, digits and dashes, a letter first (RFC 1035, as KServe wants it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// The name of a model as one of an object, if that is possible.
    pub(super) fn of_model(model: &str) -> Option<Self> {
        model.to_lowercase().replace(['_', '.'], "-").parse().ok()
    }

    /// The same with an ending, which is shortened if it has to be.
    pub(super) fn with(&self, ending: &str) -> String {
        format!("{self}-{ending}")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match is_label(text, MAX_NAME) && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
            true => Ok(Self(text.to_owned())),
            false => Err("Kubernetes wants at most 40 lower case letters, digits and `-`, a letter first"),
        }
    }
}

fn is_label(text: &str, most: usize) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=most).contains(&text.len()) && text.bytes().all(is_part) && !text.starts_with('-') && !text.ends_with('-')
}

/// Parses the name of a namespace, a service account, a secret or a claim.
pub(super) fn label(text: &str) -> Result<String, &'static str> {
    match is_label(text, MAX_LABEL) {
        true => Ok(text.to_owned()),
        false => Err("Kubernetes wants at most 63 lower case letters, digits and `-`"),
    }
}

/// A quantity of processors in thousandths, such as `500m` or `2`.
pub(super) fn cpu(text: &str) -> Result<String, &'static str> {
    let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number > 0) && !text.starts_with('+');
    let is_decimal = text.split_once('.').is_some_and(|(whole, part)| {
        whole.parse::<u32>().is_ok() && (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    });
    match is_number(text.strip_suffix('m').unwrap_or(text)) || (is_decimal && text.bytes().any(|it| it > b'0')) {
        true => Ok(text.to_owned()),
        false => Err("not a number of processors, such as `2` or `500m`"),
    }
}

/// A quantity of memory, such as `2Gi` or `512Mi`.
pub(super) fn memory(text: &str) -> Result<String, &'static str> {
    let units = ["Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T"];
    let number = units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    match number.parse::<u64>().is_ok_and(|number| number > 0) && !number.starts_with('+') {
        true => Ok(text.to_owned()),
        false => Err("not a size of memory, such as `2Gi` or `512Mi`"),
    }
}

/// An environment variable of a container.
pub(super) fn variable(text: &str) -> Result<(String, String), &'static str> {
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(is_part) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    match text.split_once('=') {
        // KServe refuses a service that sets it.
        Some(("PYTHONPATH", _)) => Err("KServe does not allow PYTHONPATH"),
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not an environment variable as NAME=VALUE"),
    }
}

/// A path in a volume, without its beginning.
pub(super) fn path_in_volume(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim_matches('/');
    match trimmed.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0')) {
        true => Ok(trimmed.to_owned()),
        false => Err("not the path of a folder within the volume, such as `scores/in`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        for good in ["a", "digits", "a-1", &"a".repeat(40)] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        for bad in ["", "1a", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(41)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert_eq!(Name::of_model("Half_plus.two").unwrap().to_string(), "half-plus-two");
        assert_eq!(Name::of_model("2_digits"), None);
        assert!(label("1a").is_ok() && label("kube-system").is_ok() && label("A").is_err() && label("").is_err());
    }

    #[test]
    fn quantities() {
        for good in ["1", "16", "500m", "0.5", "1.25"] {
            assert!(cpu(good).is_ok(), "{good}");
        }
        for bad in ["", "0", "0m", "0.0", "-1", "+1", "1.", "1.2345", "m", "1k", "1 "] {
            assert!(cpu(bad).is_err(), "{bad}");
        }
        for good in ["1", "2Gi", "512Mi", "100M"] {
            assert!(memory(good).is_ok(), "{good}");
        }
        for bad in ["", "0Gi", "1.5Gi", "Gi", "2GB", "-1Mi", "2gi"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_and_variables() {
        assert_eq!(path_in_volume("/scores/in/").as_deref(), Ok("scores/in"));
        assert!(path_in_volume("../a").is_err() && path_in_volume("a//b").is_err() && path_in_volume("/").is_err());
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("=x").is_err() && variable("1A=x").is_err() && variable("A").is_err());
        assert!(variable("PYTHONPATH=/x").is_err());
    }
}
