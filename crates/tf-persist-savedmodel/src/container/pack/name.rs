//! The names that files may have in a pack.

use std::path::Path;

/// The longest name, including its folders.
const MAX_NAME_BYTES: usize = 1024;

/// The longest name of one file or folder, as in most file systems.
const MAX_PART_BYTES: usize = 255;

/// The deepest nesting of folders.
const MAX_DEPTH: usize = 32;

/// The file with the checksums, the last one.
pub(super) const SUMS: &str = "SHA256SUMS";

/// The extension of packs.
pub(super) const EXTENSION: &str = "tfpack";

/// Whether a path names a pack: it ends in `.tfpack`, in upper or lower case.
#[must_use]
pub fn is_pack_path(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION))
}

/// Checks a name: it must not leave the folder that it is joined to, and must be the same name everywhere.
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("it is too long");
    }
    if name.starts_with('/') {
        return Err("it begins at the root");
    }
    if name.contains('\\') {
        return Err("it has a backslash, which parts folders elsewhere");
    }
    if name.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    if name == SUMS {
        return Err("this is the file of checksums");
    }
    if name.split('/').count() > MAX_DEPTH {
        return Err("its folders stand too deep in each other");
    }
    for part in name.split('/') {
        match part {
            "" => return Err("one of its parts is empty"),
            "." | ".." => return Err("it has a part that is no name but a way"),
            _ if part.len() > MAX_PART_BYTES => return Err("one of its parts is too long"),
            _ => {}
        }
    }
    Ok(())
}

/// Checks sorted names together: there are no duplicates, and no file is also a folder.
pub(super) fn check_all<'a>(names: &[&'a str]) -> Result<(), (&'a str, &'static str)> {
    for name in names {
        check(name).map_err(|reason| (*name, reason))?;
    }
    for pair in names.windows(2) {
        if pair[0] == pair[1] {
            return Err((pair[1], "it comes twice"));
        }
        if pair[0] > pair[1] {
            return Err((pair[1], "it is not in its place: names are sorted"));
        }
    }
    for name in names {
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        for folder in folders {
            if names.binary_search(&folder).is_ok() {
                return Err((name, "its folder is a file"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_and_plain() {
        for name in ["saved_model.pb", "assets/a b/ü.txt", "..a/b..", "a.b", "variables/variables.data-00000-of-00001"]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let long = "a".repeat(256);
        let deep = "a/".repeat(40) + "a";
        let longer = vec!["a".repeat(250); 5].join("/");
        let refused = [
            "",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "a\0b",
            "a\nb",
            "SHA256SUMS",
            &long,
            &deep,
            &longer,
        ];
        for name in refused {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_are_sorted_and_each_comes_once() {
        assert_eq!(check_all(&["a", "a-b", "a.b/c", "b/c", "b/d"]), Ok(()));
        assert_eq!(check_all(&["b", "a"]), Err(("a", "it is not in its place: names are sorted")));
        assert_eq!(check_all(&["a", "a"]), Err(("a", "it comes twice")));
        // Another name sorts between the file and a file inside it.
        assert_eq!(check_all(&["a", "a-b", "a/c"]), Err(("a/c", "its folder is a file")));
    }

    #[test]
    fn packs_are_told_by_their_ending() {
        assert!(is_pack_path("m.tfpack") && is_pack_path("a/b.TFPACK"));
        assert!(!is_pack_path("tfpack") && !is_pack_path("m.tfpack.d") && !is_pack_path(".tfpack"));
    }
}
