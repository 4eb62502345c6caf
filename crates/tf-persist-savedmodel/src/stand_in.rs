//! What is found in place of a file that was not really fetched: a pointer of Git LFS, or a web page.

use std::io::Read;
use std::path::Path;

use crate::error::Error;

/// So many bytes of a file are enough to tell.
pub(crate) const BEGINNING: usize = 64;

/// What stands in place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandIn {
    /// The text that Git has of a file that Git LFS keeps (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
    LfsPointer,
    /// What a server sends instead of a file that it does not give.
    WebPage,
}

impl StandIn {
    /// What a file is that begins so.
    pub(crate) fn of(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(b"version https://git-lfs.github.com/") {
            return Some(Self::LfsPointer);
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start().to_ascii_lowercase();
        let is_page = [&b"<!doctype"[..], b"<html", b"<head", b"<?xml"].iter().any(|tag| text.starts_with(tag));
        is_page.then_some(Self::WebPage)
    }

    /// What is said of the file at a path.
    pub(crate) fn error(self, path: &Path) -> Error {
        let (reason, hint) = match self {
            Self::LfsPointer => (
                "it is a pointer of Git LFS, and the file itself was not fetched",
                "fetch it where the repository is: `git lfs pull`",
            ),
            Self::WebPage => (
                "it is a web page, such as one to sign in or one that says what went wrong, and not the file",
                "download it again, and look at what came: the page may say what is in the way",
            ),
        };
        Error::Damaged { path: path.to_path_buf(), reason: reason.into(), hint: Some(hint.into()) }
    }
}

/// Whether a file's contents are not its own.
///
/// # Errors
/// If they are those of a pointer or a web page.
pub(crate) fn check(path: &Path, beginning: &[u8]) -> Result<(), Error> {
    StandIn::of(beginning).map_or(Ok(()), |it| Err(it.error(path)))
}

/// The first bytes of a file; none if it cannot be read.
pub(crate) fn beginning(file: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = file.take(BEGINNING as u64).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told() {
        assert_eq!(StandIn::of(b"version https://git-lfs.github.com/spec/v1\noid sha256:"), Some(StandIn::LfsPointer));
        for page in [
            "<!DOCTYPE html>\n<html>",
            "\n  <html lang=\"en\">",
            "\u{feff}<!doctype HTML>",
            "<?xml version=\"1.0\"?><Error>",
        ] {
            assert_eq!(StandIn::of(page.as_bytes()), Some(StandIn::WebPage), "{page}");
        }
        for other in [&b""[..], b"\x08\x01\x12", b"meta_graphs {", b"<", b"version 2"] {
            assert_eq!(StandIn::of(other), None, "{other:?}");
        }
    }
}
