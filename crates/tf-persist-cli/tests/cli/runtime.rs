//! `runtime`: which libtensorflow is used, and the errors if there is none.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_persist_testing::{libtensorflow, skipped};

use crate::command::{All, Ran};
use crate::support::Dir;

/// Where the C library's mathematics may be: a library, but not TensorFlow.
const OTHER_LIBRARIES: [&str; 5] = [
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib/aarch64-linux-gnu/libm.so.6",
    "/lib64/libm.so.6",
    "/usr/lib/libm.so.6",
    "/lib/libm.so.6",
];

/// libtensorflow is installed system-wide, so every search finds it.
fn is_installed() -> bool {
    let folders = ["/usr/local/lib", "/usr/local/lib/libtensorflow", "/opt/libtensorflow", "/usr/lib", "/usr/lib64"];
    let names = ["libtensorflow.so", "libtensorflow.so.2", "libtensorflow_cc.so.2"];
    folders.iter().any(|folder| names.iter().any(|name| Path::new(folder).join(name).exists()))
}

/// The library of the tests, as `runtime` reports it.
fn core(dir: &Dir) -> PathBuf {
    PathBuf::from(dir.cmd("runtime --format json").run().ok().json()["file"].as_str().unwrap())
}

/// `runtime` and `run` with `--libtensorflow`: both say the same, and do not look elsewhere.
#[track_caller]
fn refused(dir: &Dir, folder: &str) -> All {
    let lines = ["runtime", "run models/half_plus_two/model --input x=[1]"];
    let run = |line| dir.cmd(line).arg("--libtensorflow").arg(folder).run().fails().says(folder);
    All(lines.map(|line| run(line).hints("--libtensorflow")).into())
}

#[test]
fn reports_the_library_and_the_search_order() {
    let dir = Dir::new();
    let text = dir.cmd("runtime").run().ok().prints("libtensorflow 2.").prints("searched in this order:\n");
    let text = text.prints(format!("TF_PERSIST_LIBTENSORFLOW  {}: used\n", libtensorflow().display()));
    text.prints("user cache").prints("system");
    let json = dir.cmd("runtime --format json").run().ok().json();
    assert!(json["version"].as_str().unwrap().starts_with("2."), "{json}");
    assert!(Path::new(json["file"].as_str().unwrap()).is_file(), "{json}");
    let places = json["places"].as_array().unwrap();
    assert_eq!((&places[0]["origin"], &places[0]["outcome"]), (&"TF_PERSIST_LIBTENSORFLOW".into(), &"used".into()));
    assert!(places.iter().skip(1).all(|place| place["outcome"] != "used"), "{json}");
    let cache = dir.home().join(".cache/tf-persist/libtensorflow");
    assert!(places.iter().any(|place| place["folder"] == cache.to_str().unwrap()), "{json}");
}

#[test]
fn every_search_location_is_tried() {
    let dir = Dir::new();
    let core = core(&dir);
    let folder = core.parent().unwrap();
    let origin = |json: &Value| {
        let places = json["places"].as_array().unwrap();
        let used = places.iter().find(|place| place["outcome"] == "used").unwrap();
        (used["origin"].as_str().unwrap().to_owned(), json["version"].is_string())
    };
    let unset = |line: &str| dir.cmd(line).env_remove("TF_PERSIST_LIBTENSORFLOW");
    let used = |ran: Ran| origin(&ran.ok().json());
    let expect = |origin: &str| (origin.to_owned(), true);
    // Named by an option, which counts for more than a variable: the folder, or the file itself.
    for named in [folder, &core] {
        let ran = dir.cmd("runtime --format json --libtensorflow").arg(named).without_tensorflow().run();
        assert_eq!(used(ran), expect("--libtensorflow"));
    }
    let ran = unset("runtime --format json").env("TENSORFLOW_DIR", folder).run();
    assert_eq!(used(ran), expect("TENSORFLOW_DIR"));
    // An environment as Python makes it, by its variable or as the `.venv` above.
    let wheel = dir.path("venv/lib/python3.12/site-packages");
    fs::create_dir_all(&wheel).unwrap();
    symlink(folder, wheel.join("tensorflow")).unwrap();
    let ran = unset("runtime --format json").env("VIRTUAL_ENV", dir.path("venv")).run();
    assert_eq!(used(ran), expect("virtual environment"));
    symlink("venv", dir.path(".venv")).unwrap();
    fs::create_dir_all(dir.path("deep/er")).unwrap();
    let ran = unset("runtime --format json").current_dir("deep/er").run();
    assert_eq!(used(ran), expect("virtual environment"));
    // The cache.
    fs::remove_file(dir.path(".venv")).unwrap();
    fs::create_dir_all(dir.path("cache/tf-persist")).unwrap();
    symlink(folder, dir.path("cache/tf-persist/libtensorflow")).unwrap();
    let ran = unset("runtime --format json").env("XDG_CACHE_HOME", dir.path("cache")).run();
    assert_eq!(used(ran), expect("user cache"));
}

#[test]
fn a_folder_without_libtensorflow_is_refused() {
    let dir = Dir::new();
    fs::create_dir(dir.path("empty")).unwrap();
    let report = |folder: &str| refused(&dir, folder).0.remove(0);
    report("empty").prints("--libtensorflow  empty: no libtensorflow in it\n");
    report("missing").prints("--libtensorflow  missing: no such folder\n");
    let json = dir.cmd("runtime --format json --libtensorflow empty").run().fails().json();
    assert!(json["version"].is_null() && json["file"].is_null(), "{json}");
    assert_eq!(json["places"].as_array().unwrap().len(), 1, "{json}");
    let ran =
        dir.cmd("run models/half_plus_two/model --input x=[1]").env("TF_PERSIST_LIBTENSORFLOW", dir.path("empty"));
    ran.run().fails().says("TF_PERSIST_LIBTENSORFLOW").says("empty`");
}

#[test]
fn a_file_that_is_not_a_library_is_refused() {
    let dir = Dir::new();
    dir.write("text/libtensorflow_cc.so.2", "this is no library\n");
    dir.write("text/libtensorflow_framework.so.2", "nor is this\n");
    dir.write("alone/libtensorflow_cc.so.2", "this is no library\n");
    dir.write("plain/libtensorflow.so.2", "this is no library, and asks for no other\n");
    dir.write("empty/libtensorflow.so.2", "");
    for folder in ["text", "plain", "empty"] {
        refused(&dir, folder).say("cannot be opened");
    }
    refused(&dir, "alone");
    fs::create_dir_all(dir.path("folder/libtensorflow_cc.so.2")).unwrap();
    refused(&dir, "folder").say("no libtensorflow in");
}

#[test]
fn a_core_without_its_framework_is_refused() {
    let dir = Dir::new();
    let core = core(&dir);
    if !core.to_str().unwrap().contains("_cc") {
        skipped("a_core_without_its_framework_is_refused", "this libtensorflow is in one piece");
        return;
    }
    let name = core.file_name().unwrap().to_str().unwrap();
    fs::create_dir(dir.path("half")).unwrap();
    symlink(&core, dir.path("half").join(name)).unwrap();
    let both = refused(&dir, "half").say("libtensorflow_framework").say("not beside it");
    both.hint("tf-persist runtime install");
}

#[test]
fn another_library_is_refused() {
    let Some(other) = OTHER_LIBRARIES.iter().find(|path| Path::new(path).is_file()) else {
        skipped("another_library_is_refused", "there is no libm.so.6");
        return;
    };
    let dir = Dir::new();
    dir.write("other/libtensorflow.so.2", fs::read(other).unwrap());
    refused(&dir, "other").say("is not a libtensorflow").say("TF_");
}

#[test]
fn finding_nothing_gives_hints() {
    if is_installed() {
        skipped("finding_nothing_gives_hints", "libtensorflow is installed on this machine");
        return;
    }
    let dir = Dir::new();
    for line in ["runtime", "run models/half_plus_two/model --input x=[1]"] {
        let ran = dir.cmd(line).env_remove("TF_PERSIST_LIBTENSORFLOW").run().fails();
        let ran = ran.says("libtensorflow was not found in any of ");
        ran.hints("`tf-persist runtime install`").hints("--libtensorflow DIR").hints("TF_PERSIST_LIBTENSORFLOW");
    }
    // Without a home folder there is no cache.
    let ran = dir.cmd("runtime").env_remove("TF_PERSIST_LIBTENSORFLOW").env_remove("HOME").run().fails();
    ran.check(!ran.out().contains("user cache"), "there is no cache");
    assert_eq!(dir.names(""), ["models"]);
}

#[test]
fn a_failed_installation_leaves_the_cache_unchanged() {
    let dir = Dir::new();
    let pythons = [
        ("fails", "echo 'ERROR: no network' >&2; echo some report; exit 7"),
        ("does-nothing", "exit 0"),
        ("lies", "while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && d=$2; shift; done; echo x > \"$d/tensorflow.whl\""),
    ];
    for (name, script) in pythons {
        let path = dir.write(format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let install = |python: &str| {
        let cmd = dir.cmd("runtime install --force --python").arg(python).env("XDG_CACHE_HOME", dir.path("cache"));
        cmd.without_tensorflow().run().fails().prints_only("")
    };
    dir.write("cache/tf-persist/libtensorflow/libtensorflow_cc.so.2", "the old one");
    let before = dir.listing();
    let all = || {
        install("/nonexistent").says("cannot run `/nonexistent`").says("--python");
        let failed = install("bin/fails").says("pip could not download");
        failed.check(failed.err().contains("ERROR: no network"), "what pip says is lost");
        failed.check(failed.err().contains("some report"), "what pip reports is lost");
        install("bin/does-nothing").says("there is no wheel");
        install("bin/lies").says("SHA-256").says("nothing was installed");
    };
    all();
    assert_eq!(dir.listing(), before);
    // Nor is anything left where there was no cache.
    fs::remove_dir_all(dir.path("cache")).unwrap();
    all();
    let left: Vec<String> = dir.listing().into_iter().filter(|entry| entry.starts_with("cache")).collect();
    assert!(left.iter().all(|entry| ["cache/", "cache/tf-persist/"].contains(&entry.as_str())), "{left:?}");
}

#[test]
fn an_installed_library_is_not_downloaded_again() {
    let dir = Dir::new();
    for name in ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"] {
        dir.write(format!("cache/tf-persist/libtensorflow/{name}"), "it need not be opened for this");
    }
    let before = dir.listing();
    let cmd = dir.cmd("runtime install --python /nonexistent").env("XDG_CACHE_HOME", dir.path("cache"));
    cmd.without_tensorflow().run().ok().prints("is already in `");
    assert_eq!(dir.listing(), before);
}
