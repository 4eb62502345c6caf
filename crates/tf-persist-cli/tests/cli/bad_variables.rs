//! Models whose variables are missing or damaged. TensorFlow itself loads some of them, and fails at every run.

use std::fs;
use std::path::Path;

use crate::command::All;
use crate::support::Dir;

const INDEX: &str = "variables/variables.index";
const SHARD: &str = "variables/variables.data-00000-of-00001";

/// `inspect`, which prints what can be told and then fails; `run` and `export`, which do neither. Nothing is left
/// behind.
#[track_caller]
fn refused(dir: &Dir, model: &str) -> All {
    let before = dir.listing();
    let inspect = dir.cmd(&format!("inspect {model}")).without_tensorflow().run().fails().says(model);
    let inspect = inspect.prints("signature serving_default");
    let run = dir.cmd(&format!("run {model} --input x=[1]")).run().fails().says(model).prints_only("");
    let export = dir.cmd(&format!("export {model} out")).run().fails().says(model).prints_only("");
    let all = [inspect, run, export];
    for ran in &all {
        ran.check(dir.listing() == before, "something was left behind, or changed");
        ran.check(!ran.err().contains("TensorFlow says"), "TensorFlow was asked although the damage was there to see");
    }
    All(all.into())
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn missing_parts_are_named() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "no-folder");
    fs::remove_dir_all(model.join("variables")).unwrap();
    refused(&dir, "no-folder").say("`variables/variables.index` is missing");
    let model = dir.copy_model("half_plus_two", "no-index");
    fs::remove_file(model.join(INDEX)).unwrap();
    refused(&dir, "no-index").say("`variables/variables.index` is missing");
    let model = dir.copy_model("half_plus_two", "no-shard");
    fs::remove_file(model.join(SHARD)).unwrap();
    refused(&dir, "no-shard").say(SHARD);
    let model = dir.copy_model("tf1_graph", "one-of-two");
    fs::remove_file(model.join("variables/variables.data-00001-of-00002")).unwrap();
    refused(&dir, "one-of-two").say("variables.data-00001-of-00002");
}

#[test]
fn short_and_empty_parts_are_named() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "short-shard");
    change(&model.join(SHARD), |bytes| bytes.truncate(bytes.len() - 1));
    refused(&dir, "short-shard").say(SHARD);
    let model = dir.copy_model("half_plus_two", "empty-shard");
    change(&model.join(SHARD), Vec::clear);
    refused(&dir, "empty-shard").say(SHARD);
    let model = dir.copy_model("half_plus_two", "empty-index");
    change(&model.join(INDEX), Vec::clear);
    refused(&dir, "empty-index").say(INDEX);
    // The index of a larger model: its offsets lie outside of this shard.
    let model = dir.copy_model("half_plus_two", "other-index");
    fs::copy(dir.path("models/two_in_two_out/model").join(INDEX), model.join(INDEX)).unwrap();
    refused(&dir, "other-index").say(SHARD);
    let model = dir.copy_model("half_plus_two", "folder-index");
    fs::remove_file(model.join(INDEX)).unwrap();
    fs::create_dir(model.join(INDEX)).unwrap();
    refused(&dir, "folder-index").say(INDEX);
}

/// What a clone without Git LFS, or a download without a login, leaves in place of a file.
#[test]
fn pointers_and_web_pages_in_place_of_variables_are_named() {
    let dir = Dir::new();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 7516192\n", "4d".repeat(32));
    let page = "<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n";
    for (name, file) in [("index", INDEX), ("shard", SHARD)] {
        fs::write(dir.copy_model("half_plus_two", format!("lfs-{name}")).join(file), &pointer).unwrap();
        refused(&dir, &format!("lfs-{name}")).say(file).say("a pointer of Git LFS").hint("git lfs pull");
        fs::write(dir.copy_model("half_plus_two", format!("page-{name}")).join(file), page).unwrap();
        refused(&dir, &format!("page-{name}")).say(file).say("a web page").hint("download it again");
    }
    // Longer than the file that it replaces.
    let long = format!("{page}{}", " ".repeat(100_000));
    fs::write(dir.copy_model("half_plus_two", "long").join(SHARD), long).unwrap();
    refused(&dir, "long").say(SHARD).say("a web page");
}

#[test]
fn a_damaged_index_is_always_refused() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "model");
    let whole = fs::read(model.join(INDEX)).unwrap();
    let report = dir.cmd("inspect model").without_tensorflow().run().ok();
    let mut unnoticed = Vec::new();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x41;
        fs::write(model.join(INDEX), &bytes).unwrap();
        let ran = dir.cmd("inspect model").without_tensorflow().run();
        if ran.out().lines().filter(|line| !line.starts_with("fingerprint")).eq(unprinted(report.out())) {
            unnoticed.push(place);
            ran.ok();
        } else {
            ran.fails().says(INDEX).says("damaged");
        }
    }
    // Unused bytes follow the entries: an empty block of 13 bytes, its handle, and padding.
    assert!(unnoticed.len() <= 50 && unnoticed.iter().all(|place| *place >= 153), "{unnoticed:?}");
    for length in (1..whole.len()).step_by(7) {
        fs::write(model.join(INDEX), &whole[..length]).unwrap();
        dir.cmd("inspect model").without_tensorflow().run().fails().says(INDEX);
    }
    fs::write(model.join(INDEX), &whole[..whole.len() / 2]).unwrap();
    refused(&dir, "model").say(INDEX);
    change(&model.join(INDEX), |bytes| {
        *bytes = whole.clone();
        bytes[8] ^= 0x40;
    });
    refused(&dir, "model").say(INDEX);
}

/// A report without its fingerprint, which is of the index.
fn unprinted(report: &str) -> impl Iterator<Item = &str> {
    report.lines().filter(|line| !line.starts_with("fingerprint"))
}

#[test]
fn flipped_bytes_of_a_variable_are_found_when_it_is_read() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "model");
    change(&model.join(SHARD), |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
    let before = dir.listing();
    for line in ["run model --input x=[1]", "export model out"] {
        let ran = dir.cmd(line).run().fails().says("model").prints_only("");
        ran.check(dir.listing() == before, "something was left behind");
    }
}

#[test]
fn the_json_report_of_a_damaged_model_is_valid() {
    let dir = Dir::new();
    let model = dir.copy_model("half_plus_two", "model");
    fs::remove_file(model.join(SHARD)).unwrap();
    let json = dir.cmd("inspect model --format json").without_tensorflow().run().fails().json();
    assert!(json["variables"]["error"].as_str().unwrap().contains(SHARD), "{json}");
    assert!(json["meta_graphs"][0]["signatures"]["serving_default"].is_object(), "{json}");
    assert!(json["meta_graphs"][0]["missing"][0].as_str().unwrap().contains(SHARD), "{json}");
}
