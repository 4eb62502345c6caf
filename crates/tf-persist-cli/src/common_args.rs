//! Arguments that several commands share.

#[cfg(feature = "runtime")]
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[cfg(feature = "runtime")]
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use tf_persist_savedmodel::Asserts;

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For tools; documented in docs/cli.md.
    Json,
}

/// Where libtensorflow is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LibraryArgs {
    /// The folder of libtensorflow, also TF_PERSIST_LIBTENSORFLOW [default: see `tf-persist runtime`]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) libtensorflow: Option<PathBuf>,
}

/// An environment variable; `None` if it is empty, which clap would take for a value.
#[cfg(feature = "runtime")]
pub(crate) fn env_var(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The largest batch size: more rows than fit in any memory.
#[cfg(feature = "runtime")]
const MAX_BATCH: u64 = 1 << 32;

/// Parses a number of rows of a batch.
#[cfg(feature = "runtime")]
pub(crate) fn batch_size() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<u64>::new().range(1..=MAX_BATCH).map(|rows| rows as usize)
}

/// Whether a path is an address with a scheme, such as `s3://bucket/models`.
pub(crate) fn has_scheme(path: &Path) -> bool {
    let Some((scheme, _)) = path.to_str().and_then(|text| text.split_once("://")) else { return false };
    scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a path names a Keras file to be written.
pub(crate) fn is_keras_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("keras" | "h5" | "hdf5"))
}

/// Parses a tolerance: a finite number of at least 0.
pub(crate) fn tolerance(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("not a number of at least 0"),
    }
}

/// Parses a comma-separated list of tags; the empty string is the empty set.
pub(crate) fn tags(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// What becomes of assertions.
pub(crate) fn asserts(dropped: bool) -> Asserts {
    if dropped { Asserts::Drop } else { Asserts::Keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_comma_list() {
        assert_eq!(tags("serve"), ["serve"]);
        assert_eq!(tags("serve, train"), ["serve", "train"]);
        assert!(tags("").is_empty());
    }
}
