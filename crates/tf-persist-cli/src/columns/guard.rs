//! Decoders that may panic on damaged files.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::anyhow;

use crate::error::expecting_panics;

/// Calls a decoder of the crates parquet and arrow, some of which panic where a file contradicts itself. Such a panic
/// is an error about the file, and nothing is printed.
pub(super) fn guarded<T, E: Display>(source: &str, decode: impl FnOnce() -> Result<T, E>) -> anyhow::Result<T> {
    // A decoder that failed is not used again, so nobody sees what it left half done.
    match expecting_panics(|| catch_unwind(AssertUnwindSafe(decode))) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_end_matches('.');
            Err(anyhow!("cannot read `{source}`: {line}"))
        }
        Err(_) => Err(anyhow!("cannot read `{source}`: it is damaged, and contradicts itself")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_error() {
        let decode = || -> Result<(), String> { panic!("index out of bounds") };
        let error = guarded("x.parquet", decode).unwrap_err().to_string();
        assert_eq!(error, "cannot read `x.parquet`: it is damaged, and contradicts itself");
        let error = guarded("x.parquet", || Err::<(), _>("EOF: no\nfooter")).unwrap_err().to_string();
        assert_eq!(error, "cannot read `x.parquet`: EOF: no");
        assert_eq!(guarded("x.parquet", || Ok::<_, String>(1)).unwrap(), 1);
    }
}
