//! `run --batch-size`: the rows of files in batches, and runs that are interrupted.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tf_persist_core::tensor::json::read_examples;
use tf_persist_core::warmup::tfrecord::write_record;
use tf_persist_savedmodel::Tensor;
use tf_persist_savedmodel::tensor::{Comparison, Tolerance, npy as npy_files, npz as npz_files};

use crate::command::Ran;
use crate::disk::full_disk;
use crate::support::{Dir, floats, npy, npz};

const HALF: &str = "run models/half_plus_two/model";

/// Arrays of a file by name.
fn arrays(dir: &Dir, name: &str) -> Vec<(String, Tensor)> {
    npz_files::read_file(dir.path(name)).unwrap()
}

fn array(dir: &Dir, name: &str) -> Tensor {
    npy_files::read_file(dir.path(name)).unwrap()
}

/// `count` numbers that have no pattern.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919) % 10_007) as f32 / 3.0).collect()
}

/// An archive of numpy's with compressed members.
fn compressed(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), deflated).unwrap();
        archive.write_all(array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The digits that the model was not trained on, `times` times one after the other.
fn digits(dir: &Dir, name: &str, times: usize) {
    let held_out = arrays(dir, "models/digits/held_out.npz");
    let (_, images) = held_out.into_iter().find(|(name, _)| name == "image").unwrap();
    let all = Tensor::concatenate(&vec![&images; times]).unwrap();
    let file = fs::File::create(dir.path(name)).unwrap();
    npz_files::write(name, file, [("image", &all)]).unwrap();
}

#[test]
fn rows_in_batches_are_those_of_one_run() {
    let dir = Dir::new();
    digits(&dir, "in.npz", 1);
    dir.cmd("run models/digits/model --inputs in.npz --output whole.npz").run().ok();
    let whole = arrays(&dir, "whole.npz");
    for size in [1000, 450, 64, 1] {
        let line = format!("run models/digits/model --inputs in.npz --batch-size {size} --output parts.npz");
        dir.cmd(&line).run().ok().prints_only("");
        let parts = arrays(&dir, "parts.npz");
        assert_eq!((parts.len(), &parts[0].0), (1, &whole[0].0));
        let compared = Comparison::compare(&parts[0].1, &whole[0].1, Tolerance::Within(1e-5)).unwrap();
        assert!(compared.as_ref().is_some_and(Comparison::is_within), "{size}: {compared:?}");
        if size >= 450 {
            assert_eq!(whole, parts);
        }
    }
    assert_eq!(dir.names(""), ["in.npz", "models", "parts.npz", "whole.npz"], "nothing is left beside it");
}

#[test]
fn each_format_has_the_same_rows() {
    let dir = Dir::new();
    let x = numbers(1000);
    let y: Vec<f32> = x.iter().map(|x| x.mul_add(0.5, 2.0)).collect();
    let bytes = npy("<f4", "(1000,)", &floats(&x));
    dir.write("x.npy", &bytes);
    dir.write("x.npz", npz(&[("x", bytes.clone())]));
    dir.write("deflated.npz", compressed(&[("x", bytes)]));
    let expected = Tensor::from_slice(&[1000], &y).unwrap();
    for inputs in ["--inputs x.npz", "--inputs deflated.npz", "--input x=@x.npy"] {
        dir.cmd(&format!("{HALF} {inputs} --batch-size 64 --output y.npy")).run().ok();
        assert_eq!(array(&dir, "y.npy"), expected, "{inputs}");
    }
    dir.cmd(&format!("{HALF} --inputs x.npz --batch-size 64 --output y.npz")).run().ok();
    assert_eq!(arrays(&dir, "y.npz"), [("y".to_owned(), expected)]);
    for lines in [
        format!("{HALF} --inputs x.npz --batch-size 64 --output y.jsonl"),
        format!("{HALF} --inputs x.npz --output y.jsonl"),
    ] {
        dir.cmd(&lines).run().ok();
        let text = fs::read_to_string(dir.path("y.jsonl")).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 1000);
        assert!(rows.iter().zip(&y).all(|(row, y)| row["y"].as_f64().unwrap() as f32 == *y));
    }
    // A file that numpy would write of the same numbers.
    assert_eq!(fs::read(dir.path("y.npy")).unwrap().len(), 128 + 4000);
}

#[test]
fn strings_become_strings() {
    let dir = Dir::new();
    dir.write("text.npz", npz(&[("text", npy("|S11", "(3,)", b"a good film\0a bad one\0good\0\0\0\0\0\0\0"))]));
    let line = "run models/text/model --inputs text.npz --output";
    dir.cmd(&format!("{line} whole.npz")).run().ok();
    for size in [1, 2] {
        dir.cmd(&format!("{line} parts.npz --batch-size {size}")).run().ok();
        let (whole, parts) = (arrays(&dir, "whole.npz"), arrays(&dir, "parts.npz"));
        let label = |arrays: &[(String, Tensor)]| arrays.iter().find(|(name, _)| name == "label").unwrap().1.clone();
        assert_eq!(label(&whole), label(&parts));
    }
    // Rows of other sizes in each batch cannot be one array.
    let ran =
        dir.cmd("run models/text/model --signature tokens --inputs text.npz --batch-size 1 --output t.jsonl").run();
    ran.ok();
}

#[test]
fn values_that_are_the_same_for_every_batch() {
    let dir = Dir::new();
    let x = npy("<f4", "(5, 2)", &floats(&numbers(10)));
    dir.write("x.npz", npz(&[("x", x.clone())]));
    dir.write("both.npz", npz(&[("x", x), ("shift", npy("<f4", "()", &floats(&[2.0])))]));
    let line = "run models/multi/model --signature shifted";
    dir.cmd(&format!("{line} --inputs both.npz --output whole.npz")).run().ok();
    dir.cmd(&format!("{line} --inputs both.npz --batch-size 2 --output a.npz")).run().ok();
    dir.cmd(&format!("{line} --inputs x.npz --input shift=2 --batch-size 2 --output b.npz")).run().ok();
    assert_eq!(arrays(&dir, "a.npz"), arrays(&dir, "whole.npz"));
    assert_eq!(arrays(&dir, "b.npz"), arrays(&dir, "whole.npz"));
    dir.cmd(&format!("{line} --input x=[[1,2]] --input shift=2 --batch-size 2 --output c.npz")).run().misused();
}

#[test]
fn no_rows_are_one_empty_batch() {
    let dir = Dir::new();
    dir.write("x.npz", npz(&[("x", npy("<f4", "(0,)", &[]))]));
    dir.cmd(&format!("{HALF} --inputs x.npz --batch-size 4 --output y.npz")).run().ok();
    assert_eq!(arrays(&dir, "y.npz")[0].1.shape(), [0]);
}

/// `run` with batches of 4, which fails before TensorFlow is opened.
#[track_caller]
fn refused(dir: &Dir, line: &str) -> Ran {
    let ran = dir.cmd(&format!("run models/{line} --batch-size 4 --output out.npz")).without_tensorflow().run();
    ran.check(!dir.path("out.npz").exists(), "there is half an output");
    ran
}

#[test]
fn inputs_without_common_rows_are_refused_by_name() {
    let dir = Dir::new();
    let (body, blood) = (npy("<f4", "(5, 4)", &floats(&numbers(20))), npy("<f4", "(3, 6)", &floats(&numbers(18))));
    dir.write("in.npz", npz(&[("body", body.clone()), ("blood", blood.clone())]));
    let ran = refused(&dir, "two_in_two_out/model --inputs in.npz").fails();
    ran.says("`body` has 5 rows").says("array `blood` has 3 rows");
    dir.write("body.npy", body);
    dir.write("blood.npy", blood);
    let ran = refused(&dir, "two_in_two_out/model --input body=@body.npy --input blood=@blood.npy").fails();
    ran.says("body.npy has 5 rows, and blood.npy has 3 rows");
    refused(&dir, "two_in_two_out/model --input body=@body.npy").fails().says("`blood`");
    refused(&dir, "half_plus_two/model --input x=@body.npy --input z=@blood.npy").fails().says("`z`");
    refused(&dir, "half_plus_two/model --inputs body.npy").misused();
    refused(&dir, "half_plus_two/model --inputs in.json").misused();
    dir.write("wrong.npz", npz(&[("x", npy("<f8", "(1,)", &[0; 8]))]));
    refused(&dir, "half_plus_two/model --inputs wrong.npz").fails().says("float64");
    dir.cmd(&format!("{HALF} --inputs in.npz --batch-size 4")).run().misused();
    dir.cmd(&format!("{HALF} --inputs in.npz --batch-size 0 --output y.npz")).run().misused();
    dir.cmd(&format!("{HALF} --inputs in.npz --batch-size 4 --output y.json")).run().misused();
    let mut fortran = npy("<f4", "(2, 4)", &floats(&numbers(8)));
    let order = fortran.windows(5).position(|window| window == b"False").unwrap();
    fortran[order..order + 5].copy_from_slice(b"True ");
    dir.write("f.npy", fortran);
    dir.write("b.npy", npy("<f4", "(2, 6)", &floats(&numbers(12))));
    let line = "run models/two_in_two_out/model --input body=@f.npy --input blood=@b.npy --output out.npz";
    dir.cmd(line).run().ok();
    let ran = dir.cmd(&format!("{line} --batch-size 4")).run().fails();
    ran.says("Fortran order").hints("ascontiguousarray");
}

#[test]
fn outputs_without_a_row_for_each_input_are_refused_by_name() {
    let dir = Dir::new();
    let (x, target) = (npy("<f4", "(5, 2)", &floats(&numbers(10))), npy("<f4", "(5, 1)", &floats(&numbers(5))));
    dir.write("in.npz", npz(&[("x", x), ("target", target)]));
    let line = "run models/multi/model --tags serve,train --signature gradients --inputs in.npz --batch-size 2 --output out.npz";
    let ran = dir.cmd(line).run().fails();
    ran.says("output `").says("and not a row for each").hints("--outputs");
    assert!(!dir.path("out.npz").exists());
    let line = "run models/sparse/model --input features.indices=@i.npy --batch-size 2 --output out.npz";
    dir.write("i.npy", npy("<i8", "(1, 2)", &[0; 16]));
    dir.cmd(line).run().fails().says("`features`");
}

#[test]
fn damaged_archives_are_errors() {
    let dir = Dir::new();
    let good = npy("<f4", "(1000,)", &floats(&numbers(1000)));
    let whole = npz(&[("x", good.clone())]);
    let mut flipped = whole.clone();
    flipped[3000] ^= 1;
    let mut longer = whole.clone();
    // The length in the local and in the central header.
    for header in [b"PK\x03\x04".as_slice(), b"PK\x01\x02"] {
        let at = whole.windows(4).position(|window| window == header).unwrap();
        let at = if header[2] == 3 { at + 22 } else { at + 24 };
        longer[at..at + 4].copy_from_slice(&0x7000_0000_u32.to_le_bytes());
    }
    // Four gigabytes that are not there.
    let bomb = compressed(&[("x", npy("<f4", "(1000000000,)", &[0; 100_000]))]);
    let cases = [
        ("flipped", flipped, "checksum"),
        ("cut", whole[..2000].to_vec(), "npz"),
        ("longer", longer, "`x`"),
        ("bomb", bomb, "it is cut short"),
        ("garbage", b"PK\x03\x04 and so on".to_vec(), "npz"),
    ];
    for (name, bytes, reason) in cases {
        dir.write("x.npz", bytes);
        let ran = dir.cmd(&format!("{HALF} --inputs x.npz --batch-size 100 --output y.npz")).run().fails();
        ran.says(reason).says("x.npz");
        assert!(!dir.path("y.npz").exists(), "{name}");
        let _ = fs::remove_dir_all(dir.path("y.npz.partial"));
    }
}

/// The rows that a started run has done, as its state says.
fn done(folder: &Path) -> u64 {
    let state = fs::read(folder.join("state.json")).unwrap_or_default();
    serde_json::from_slice(&state).map_or(0, |state: Value| state["rows"].as_u64().unwrap_or(0))
}

/// Starts a run, and sends it a signal once it has done more rows than `after`; returns its exit code.
fn interrupted(dir: &Dir, line: &str, signal: &str, after: u64) -> Option<i32> {
    let mut child = dir.cmd(line).start();
    let (started, folder) = (Instant::now(), dir.path("out.npz.partial"));
    while done(&folder) <= after && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(50), "nothing is done");
        thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(killed.success(), "the run is over already");
    child.wait().unwrap().code()
}

#[test]
fn killed_run_continues_to_the_same_bytes() {
    let dir = Dir::new();
    digits(&dir, "in.npz", 120);
    let line = "run models/digits/model --inputs in.npz --batch-size 7 --output";
    dir.cmd(&format!("{line} whole.npz")).run().ok();
    let line = &format!("{line} out.npz");
    let mut before = 0;
    for _ in 0..2 {
        assert_eq!(interrupted(&dir, line, "KILL", before), None);
        assert!(!dir.path("out.npz").exists());
        let rows = done(&dir.path("out.npz.partial"));
        assert!(rows > before);
        before = rows;
    }
    assert_eq!(interrupted(&dir, line, "INT", before), Some(130));
    let rows = done(&dir.path("out.npz.partial"));
    assert!(rows >= before);
    let ran = dir.cmd(line).run().ok();
    ran.check(ran.err().contains("note: continuing after"), "it should continue");
    assert_eq!(fs::read(dir.path("out.npz")).unwrap(), fs::read(dir.path("whole.npz")).unwrap());
    assert_eq!(dir.names(""), ["in.npz", "models", "out.npz", "whole.npz"]);
}

#[test]
fn started_run_of_something_else_is_not_continued() {
    let dir = Dir::new();
    digits(&dir, "in.npz", 120);
    let line = "run models/digits/model --inputs in.npz --batch-size 7 --output out.npz";
    interrupted(&dir, line, "TERM", 0);
    let other_size = line.replace("-size 7", "-size 8");
    dir.cmd(&other_size).run().fails().says("--batch-size was `7`, and is `8`").hints("delete `out.npz.partial`");
    dir.cmd(&format!("{line} --optimize on")).run().fails().says("--optimize was `off`, and is `on`");
    dir.copy_model("digits", "other");
    fs::write(dir.path("other/assets.txt"), "").unwrap();
    let pb = fs::read(dir.path("other/saved_model.pb")).unwrap();
    // A field that readers ignore, with another value.
    fs::write(dir.path("other/saved_model.pb"), [&pb[..], b"\xf8\x07\x01"].concat()).unwrap();
    let other_model = line.replace("models/digits/model", "other");
    dir.cmd(&other_model).run().fails().says("the model's digest was");
    // A row that was read is another one.
    let whole = fs::read(dir.path("in.npz")).unwrap();
    let mut all = arrays(&dir, "in.npz");
    all[0].1.view_mut::<f32>().unwrap()[5] += 1.0;
    let file = fs::File::create(dir.path("in.npz")).unwrap();
    npz_files::write("in.npz", file, all.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    dir.cmd(line).run().fails().says("input `image` has other rows");
    fs::write(dir.path("in.npz"), whole).unwrap();
    dir.cmd(line).run().ok();
    // A folder of something else is left alone.
    dir.write("out.npz.partial/mine.txt", "x");
    dir.cmd(line).run().fails().says("`out.npz.partial` is not a started run: it has the file `mine.txt`");
}

#[test]
fn full_disk_is_an_error_after_which_the_run_continues() {
    let dir = Dir::new();
    dir.write("x.npy", npy("<f4", "(20480,)", &floats(&numbers(20_480))));
    let line = format!("{HALF} --input x=@x.npy --batch-size 100 --output y.npy");
    for kib in [8, 80] {
        let ran = dir.bash(&full_disk(kib), &line).run().fails();
        ran.says("File too large").says("y.npy");
        assert!(!dir.path("y.npy").exists());
    }
    dir.cmd(&line).run().ok();
    assert_eq!(array(&dir, "y.npy").shape(), [20_480]);
    assert_eq!(dir.names(""), ["models", "x.npy", "y.npy"]);
}

/// Examples for the signatures of `tf1_graph`, serialized.
fn examples(count: usize) -> Vec<Vec<u8>> {
    let rows: Vec<_> = (0..count).map(|row| format!("{{\"x\": [5.1, 3.5, {}.4, 0.2]}}", row % 7)).collect();
    let json = format!("[{}]", rows.join(", "));
    let read = read_examples("json", json.as_bytes(), |_| None).unwrap();
    read.examples.iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn records_of_examples_are_rows() {
    let dir = Dir::new();
    let examples = examples(100);
    let mut records = Vec::new();
    examples.iter().for_each(|example| write_record(&mut records, example).unwrap());
    dir.write("in.tfrecord", &records);
    let strings = Tensor::from_strings(&[100], &examples).unwrap();
    let file = fs::File::create(dir.path("in.npz")).unwrap();
    npz_files::write("in.npz", file, [("inputs", &strings)]).unwrap();
    let line = "run models/tf1_graph/model --signature classify";
    dir.cmd(&format!("{line} --examples in.tfrecord --output whole.npz")).run().ok();
    let whole = arrays(&dir, "whole.npz");
    assert_eq!(whole.iter().find(|(name, _)| name == "scores").unwrap().1.shape(), [100, 3]);
    dir.cmd(&format!("{line} --inputs in.npz --batch-size 16 --output arrays.npz")).run().ok();
    dir.cmd(&format!("{line} --examples in.tfrecord --batch-size 16 --output records.npz")).run().ok();
    assert_eq!(arrays(&dir, "records.npz"), whole);
    assert_eq!(arrays(&dir, "arrays.npz"), whole);
    // A changed byte.
    let at = records.len() / 2;
    records[at] ^= 1;
    dir.write("in.tfrecord", &records);
    for batches in ["", "--batch-size 16"] {
        let ran = dir.cmd(&format!("{line} --examples in.tfrecord {batches} --output bad.npz")).run().fails();
        ran.says("`in.tfrecord` is damaged: record 5").says("checksum");
        assert!(!dir.path("bad.npz").exists());
    }
    dir.cmd("run models/text/model --examples in.tfrecord --batch-size 16 --output t.npz").run().fails();
    dir.cmd(&format!("{line} --examples in.json --batch-size 16 --output t.npz")).run().misused();
}
