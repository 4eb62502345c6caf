//! Files that were not really fetched: pointers of Git LFS and web pages.

use std::io::Read;
use std::path::Path;

use crate::error::Error;

/// The number of bytes that are enough to recognize one.
pub(crate) const BEGINNING: usize = 64;

/// A file in place of the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandIn {
    /// The pointer that Git stores for a file in Git LFS (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
    LfsPointer,
    /// A web page that a server sent instead of the file.
    WebPage,
}

impl StandIn {
    /// Recognizes a file by its beginning.
    pub(crate) fn recognize(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(b"version https://git-lfs.github.com/") {
            return Some(Self::LfsPointer);
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start().to_ascii_lowercase();
        let is_page = [&b"<!doctype"[..], b"<html", b"<head", b"<?xml"].iter().any(|tag| text.starts_with(tag));
        is_page.then_some(Self::WebPage)
    }

    /// The error for the file at a path.
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

/// Checks that a file is not such a file.
///
/// # Errors
/// If it is a pointer or a web page.
pub fn check(path: &Path, beginning: &[u8]) -> Result<(), Error> {
    StandIn::recognize(beginning).map_or(Ok(()), |it| Err(it.error(path)))
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
        assert_eq!(
            StandIn::recognize(b"version https://git-lfs.github.com/spec/v1\noid sha256:"),
            Some(StandIn::LfsPointer)
        );
        for page in [
            "<!DOCTYPE html>\n<html>",
            "\n  <html lang=\"en\">",
            "\u{feff}<!doctype HTML>",
            "<?xml version=\"1.0\"?><Error>",
        ] {
            assert_eq!(StandIn::recognize(page.as_bytes()), Some(StandIn::WebPage), "{page}");
        }
        for other in [&b""[..], b"\x08\x01\x12", b"meta_graphs {", b"<", b"version 2"] {
            assert_eq!(StandIn::recognize(other), None, "{other:?}");
        }
    }
}
