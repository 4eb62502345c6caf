use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::models::folder::{FileStamp, list_versions};

fn make(folder: &Path, names: &[&str]) {
    for name in names {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
}

/// Versions and the names of their folders.
fn found(folder: &Path) -> Vec<(i64, String)> {
    let found = list_versions(folder).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    found.versions.iter().map(|(version, path)| (*version, name(path))).collect()
}

#[test]
fn versions_are_int64_numbers() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    make(base, &["7", "00000123", "-1", "+5", " 6", "1763812345678901234", "9223372036854775807"]);
    make(
        base,
        &[
            "tmp",
            "v8",
            "8.5",
            "9_new",
            "temp-10",
            "1e3",
            "0x10",
            "9223372036854775808",
            "",
            ".tmp_3",
            "٣",
            "1,000",
            "+-1",
            "-",
        ],
    );
    // A name that is not UTF-8 is ignored.
    fs::create_dir(base.join(OsStr::from_bytes(b"12\xff"))).unwrap();
    let versions: Vec<i64> = list_versions(base).unwrap().versions.into_keys().collect();
    assert_eq!(versions, [-1, 5, 6, 7, 123, 1763812345678901234, i64::MAX]);
}

#[test]
fn last_of_two_names_counts() {
    let base = tempfile::tempdir().unwrap();
    make(base.path(), &["1", "001", "01"]);
    assert_eq!(found(base.path()), [(1, "1".into())]);
    assert!(list_versions(base.path()).unwrap().warning.unwrap().contains("is loaded from `1`"));
}

#[test]
fn packs_and_links_are_versions() {
    let base = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::write(base.path().join("3.tfpack"), "").unwrap();
    fs::write(base.path().join("x.tfpack"), "").unwrap();
    // A folder with the extension of a pack and other files are ignored.
    make(base.path(), &["4.tfpack"]);
    fs::write(base.path().join("5.txt"), "").unwrap();
    symlink(other.path(), base.path().join("1")).unwrap();
    assert_eq!(found(base.path()), [(1, "1".into()), (3, "3.tfpack".into())]);
}

#[test]
fn missing_versions_are_explained() {
    let base = tempfile::tempdir().unwrap();
    let shown = base.path().display();
    assert!(list_versions(base.path()).unwrap().warning.unwrap().contains("no versions under the base path"));
    fs::write(base.path().join("saved_model.pb"), "").unwrap();
    let warning = list_versions(base.path()).unwrap().warning.unwrap();
    assert!(
        warning.contains("is a SavedModel itself") && warning.contains(&format!("`{shown}/1/saved_model.pb`")),
        "{warning}"
    );
    make(base.path(), &["1"]);
    assert_eq!(list_versions(base.path()).unwrap().warning, None);
    // A missing folder differs from an empty one.
    assert!(list_versions(&base.path().join("gone")).unwrap_err().contains("there is no base path"));
    assert!(list_versions(&base.path().join("saved_model.pb")).unwrap_err().contains("is not a folder"));
}

#[test]
fn stamps_change_with_the_files() {
    let base = tempfile::tempdir().unwrap();
    let version = base.path().join("1");
    let mut before = FileStamp::read([version.as_path()]);
    let mut changed = |what: &str| {
        let now = FileStamp::read([version.as_path()]);
        assert_ne!(std::mem::replace(&mut before, now), now, "{what}");
        assert_eq!(FileStamp::read([version.as_path()]), now);
    };
    make(&version, &["variables"]);
    changed("appeared");
    fs::write(version.join("saved_model.pb"), "graph").unwrap();
    changed("a file");
    fs::write(version.join("saved_model.pb"), "graph 2").unwrap();
    changed("longer");
    fs::write(version.join("variables/a"), "a").unwrap();
    changed("a file below");
    // The same length and modification time.
    let time = fs::metadata(version.join("variables/a")).unwrap().modified().unwrap();
    fs::write(version.join("new"), "b").unwrap();
    fs::File::open(version.join("new")).unwrap().set_modified(time).unwrap();
    fs::rename(version.join("new"), version.join("variables/a")).unwrap();
    changed("replaced");
    // A circular link ends.
    symlink(&version, version.join("circle")).unwrap();
    changed("a circle");
    fs::rename(&version, base.path().join("2")).unwrap();
    changed("gone");
}
