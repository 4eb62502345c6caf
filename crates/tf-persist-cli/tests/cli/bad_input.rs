//! Paths and files that are not models: an error with the path, exit code 1, and nothing left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::command::All;
use crate::support::Dir;

/// No file of a few kilobytes may take more address space than this many KiB to refuse.
const MEMORY: &str = "ulimit -v 1000000; exec \"$@\"";

/// `inspect`, `run` and `export` of a path, without TensorFlow.
#[track_caller]
fn refused(dir: &Dir, path: impl AsRef<OsStr>) -> All {
    let path = path.as_ref();
    let before = dir.listing();
    let lines = [("inspect", None), ("run --input x=[1]", None), ("export", Some("out"))];
    let all = lines.map(|(line, target)| {
        let cmd = dir.bash(MEMORY, line).arg(path).args(target).without_tensorflow();
        let ran = cmd.run().fails().says(path.to_string_lossy()).prints_only("");
        ran.check(dir.listing() == before, "something was left behind, or changed");
        ran
    });
    All(all.into())
}

/// A model of which `saved_model.pb` has this content.
#[track_caller]
fn refused_file(dir: &Dir, name: &str, content: &[u8]) -> All {
    dir.write(format!("{name}/saved_model.pb"), content);
    let refused = refused(dir, name).say(format!("{name}/saved_model.pb` is damaged: "));
    fs::remove_dir_all(dir.path(name)).unwrap();
    refused
}

/// Numbers that are the same in every run of the tests.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A field that holds bytes: tag, length, content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

#[test]
fn a_missing_path() {
    let dir = Dir::new();
    dir.write("file", "");
    for path in ["none", "none/deeper", "/no/such/model", "file/below", "models/none", "päth", "with space"] {
        refused(&dir, path).say("does not exist");
    }
}

#[test]
fn a_path_that_is_not_utf_8() {
    let dir = Dir::new();
    refused(&dir, OsStr::from_bytes(b"none\xff")).say("does not exist");
    // A model there is as good as any other.
    let name = OsString::from(OsStr::from_bytes(b"m\xffdel"));
    dir.copy_model("half_plus_two", &name);
    dir.cmd("inspect").arg(&name).without_tensorflow().run().ok().prints("signature serving_default");
    dir.cmd("inspect --format json").arg(&name).without_tensorflow().run().ok().json();
    dir.cmd("run --input x=[1]").arg(&name).run().ok().prints("[2.5]");
    dir.cmd("export").arg(&name).arg(OsStr::from_bytes(b"\xffout")).run().ok();
    dir.cmd("inspect").arg(OsStr::from_bytes(b"\xffout")).without_tensorflow().run().ok().prints("2 variables");
}

#[test]
fn an_empty_path() {
    let dir = Dir::new();
    for line in ["inspect", "run", "export"] {
        let target = (line == "export").then_some("out");
        dir.cmd(line).arg("").args(target).without_tensorflow().run().misused();
    }
}

#[test]
fn a_file_instead_of_a_folder() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "model");
    refused(&dir, "model/saved_model.pb").say("the file inside a SavedModel").hint("`model`");
    refused(&dir, "model/variables/variables.index").say("checkpoint");
    let file = |name: &str, content: &[u8]| {
        dir.write(name, content);
        refused(&dir, name)
    };
    file("m.keras", b"PK\x03\x04").say("zip archive");
    file("m.h5", b"\x89HDF\r\n\x1a\n").say("HDF5");
    file("weights", b"\x89HDF\r\n\x1a\n").say("Keras file").hint("ends in `.keras` or `.h5`");
    file("m.tflite", b"\x1c\0\0\0TFL3").say("TensorFlow Lite");
    file("frozen.pb", b"").say("frozen graph");
    file("m.tar.gz", b"\x1f\x8b").say("archive").hint("unpack");
    file("notes.txt", b"hello").say("a SavedModel is a folder");
    file("empty", b"");
    refused(&dir, "/dev/null");
    assert!(model.join("saved_model.pb").is_file());
}

#[test]
fn a_folder_without_a_model() {
    let dir = Dir::new();
    let folder = |name: &str, files: &[&str]| {
        fs::create_dir(dir.path(name)).unwrap();
        files.iter().for_each(|file| drop(dir.write(format!("{name}/{file}"), "x")));
        refused(&dir, name)
    };
    folder("empty", &[]).say("empty folder");
    folder("bundle", &["export.meta", "export-00000-of-00001", "checkpoint"]).say("SessionBundle");
    folder("versions", &["1/saved_model.pb", "12/saved_model.pb"]).say("folder of versions").hint("versions/12");
    folder("above", &["model/saved_model.pb"]).say("no `saved_model.pb`").hint("above/model");
    folder("keras", &["m.keras"]).say("neither a zip archive (`.keras`) nor an HDF5 file (`.h5`)");
    folder("two", &["a.keras", "b.h5"]).say("Keras file");
    folder("checkpoint", &["checkpoint", "m.index", "m.data-00000-of-00001"]).say("checkpoint");
    folder("other", &["notes.txt"]).say("no `saved_model.pb`");
    folder("chunks", &["saved_model.cpb"]).say("neither writes nor reads");
    fs::create_dir_all(dir.path("odd/saved_model.pb")).unwrap();
    refused(&dir, "odd").say("regular file");
    fs::create_dir(dir.path("dangling")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path("dangling/saved_model.pb")).unwrap();
    refused(&dir, "dangling");
    std::os::unix::fs::symlink("itself", dir.path("itself")).unwrap();
    refused(&dir, "itself");
}

#[test]
fn a_file_that_is_empty_or_cut_off() {
    let dir = Dir::new();
    refused_file(&dir, "empty", b"").say("it is empty");
    let whole = fs::read(dir.path("models/half_plus_two/model/saved_model.pb")).unwrap();
    // All lengths at the beginning, then a sample, and those just before the end.
    let lengths = (1..24).chain((24..whole.len()).step_by(397)).chain(whole.len() - 4..whole.len());
    for length in lengths {
        refused_file(&dir, "cut", &whole[..length]);
    }
    let text = fs::read(dir.path("models/text_format/model/saved_model.pbtxt")).unwrap();
    for length in (1..text.len() - 2).step_by(2_003) {
        dir.write("cut/saved_model.pbtxt", &text[..length]);
        refused(&dir, "cut").say("saved_model.pbtxt` is damaged");
    }
}

#[test]
fn a_file_of_anything_else() {
    let dir = Dir::new();
    for (seed, len) in [(1, 1), (2, 16), (3, 1000), (4, 10_000), (5, 100_000), (6, 100_000), (7, 1_000_000)] {
        refused_file(&dir, "random", &random(seed, len));
    }
    for content in [&b"hello"[..], &[0; 1000], &[0xff; 1000], b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"{\"a\": 1}"] {
        refused_file(&dir, "other", content);
    }
    refused_file(&dir, "lfs", b"version https://git-lfs.github.com/spec/v1\n")
        .say("a pointer of Git LFS")
        .hint("git lfs pull");
    dir.write("random/saved_model.pbtxt", random(8, 10_000));
    refused(&dir, "random").say("saved_model.pbtxt` is damaged");
}

#[test]
fn a_file_that_is_nested_without_end() {
    let dir = Dir::new();
    // An attribute's value that holds a function with an attribute whose value …, in a node of a graph of a meta graph.
    let mut value = Vec::new();
    for _ in 0..10_000 {
        value = field(10, &field(2, &field(2, &value)));
    }
    let attribute = field(5, &field(2, &value));
    refused_file(&dir, "attributes", &field(2, &field(2, &field(1, &attribute)))).say("nested");
    // Groups, a deprecated protobuf encoding, in an unknown field.
    refused_file(&dir, "groups", &[0x7b; 10_000]);
    let mut known = Vec::new();
    for _ in 0..10_000 {
        known = field(2, &known);
    }
    dir.write("known/saved_model.pb", &known);
    refused(&dir, "known");
    let text = format!(
        "meta_graphs {{ graph_def {{ node {{ attr {{ value {} {} }} }} }} }}",
        "{ func { attr { value ".repeat(10_000),
        "} } }".repeat(10_000)
    );
    dir.write("text/saved_model.pbtxt", text);
    refused(&dir, "text").say("saved_model.pbtxt` is damaged").say("nested");
}

#[test]
fn a_file_that_claims_to_be_huge() {
    let dir = Dir::new();
    // 2^60 as a length, of a known field, of an unknown one, and within others.
    let length = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    for tag in [0x0a, 0x12, 0x7a] {
        let claim = [&[tag][..], &length, &[0; 100]].concat();
        refused_file(&dir, "huge", &claim);
        refused_file(&dir, "huge", &field(2, &claim));
        refused_file(&dir, "huge", &field(2, &field(2, &field(1, &claim))));
    }
    // A length that is longer than any number, and many empty messages.
    refused_file(&dir, "varint", &[&[0x12][..], &[0xff; 11]].concat());
    refused_file(&dir, "messages", &field(2, &field(2, &[0x0a, 0x00].repeat(2_000_000)))).say("memory");
}
