//! Models in one file: written, read wherever a PATH is taken, and refused where they are not whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::command::{All, Ran};
use crate::disk::full_disk;
use crate::export::inspected;
use crate::recorded::Recorded;
use crate::support::Dir;

#[track_caller]
fn without_tensorflow(dir: &Dir, line: &str) -> Ran {
    dir.cmd(line).without_tensorflow().run()
}

#[test]
fn every_model_is_packed_and_unpacked_without_tensorflow() {
    let dir = Dir::new();
    for model in Recorded::all() {
        let name = &model.name;
        let ran = without_tensorflow(&dir, &format!("export models/{name}/model {name}.tfpack")).ok();
        ran.prints(format!("`{name}.tfpack`: "));
        without_tensorflow(&dir, &format!("export {name}.tfpack out/{name}")).ok();
        without_tensorflow(&dir, &format!("export out/{name} again.tfpack --overwrite")).ok();
        without_tensorflow(&dir, &format!("export {name}.tfpack copy.tfpack --overwrite")).ok();
        let read = |path: &str| fs::read(dir.path(path)).unwrap();
        let pack = read(&format!("{name}.tfpack"));
        assert!(pack == read("again.tfpack") && pack == read("copy.tfpack"), "{name}: not the same each time");
        let mut reports = [format!("models/{name}/model"), format!("{name}.tfpack"), format!("out/{name}")]
            .map(|path| inspected(&dir, &path));
        reports.iter_mut().for_each(|report| report["path"] = "".into());
        assert!(reports[0] == reports[1] && reports[0] == reports[2], "{name}: {reports:#?}");
        let stats = |path: &str| without_tensorflow(&dir, &format!("inspect {path} --stats")).ok().out().to_owned();
        assert_eq!(stats(&format!("models/{name}/model")), stats(&format!("{name}.tfpack")), "{name}");
    }
    let text = |path: &str| without_tensorflow(&dir, &format!("inspect {path}")).ok().out().replacen(path, "", 1);
    assert_eq!(text("models/text_format/model"), text("text_format.tfpack"));
}

#[test]
fn a_pack_answers_as_its_folder() {
    let dir = Dir::new();
    for name in ["text", "text_format", "tf1_graph"] {
        let model = Recorded::read(name);
        without_tensorflow(&dir, &format!("export models/{name}/model {name}.tfpack")).ok();
        let cases: Vec<_> = model.cases().into_iter().filter(|case| case.fits_json()).collect();
        let requests: Vec<String> = cases.iter().map(|case| case.request()).collect();
        let ran = dir.cmd(&format!("run {name}.tfpack --requests -")).stdin(requests.join("\n")).run().ok();
        for (case, answer) in cases.iter().zip(ran.out().lines()) {
            model.compare(&format!("{name}, `{}`", case.signature), &case.answer(answer), &case.outputs);
        }
    }
    // A pack is recognised by its content, under any name.
    fs::rename(dir.path("text_format.tfpack"), dir.path("model.zip")).unwrap();
    inspected(&dir, "model.zip");
}

#[test]
fn with_tags_one_meta_graph_is_packed() {
    let dir = Dir::new();
    without_tensorflow(&dir, "export models/multi/model both.tfpack").ok().prints("2 meta graphs");
    dir.cmd("export models/multi/model one.tfpack --tags serve,train").run().ok().prints("1 meta graph");
    dir.cmd("export both.tfpack two.tfpack --tags serve").run().ok().prints("1 meta graph");
    dir.cmd("export both.tfpack three --tags serve").run().ok().prints("1 meta graph");
    for (path, tags) in
        [("one.tfpack", json!(["serve", "train"])), ("two.tfpack", json!(["serve"])), ("three", json!(["serve"]))]
    {
        let report = inspected(&dir, path);
        assert_eq!(report["meta_graphs"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(report["meta_graphs"][0]["tags"], tags, "{path}");
        assert_eq!(report["variables"]["count"], 2, "{path}");
    }
    assert_eq!(dir.names(""), ["both.tfpack", "models", "one.tfpack", "three", "two.tfpack"]);
}

#[test]
fn damaged_packs_are_refused() {
    let dir = Dir::new();
    without_tensorflow(&dir, "export models/text/model m.tfpack").ok();
    let whole = fs::read(dir.path("m.tfpack")).unwrap();
    let refused = |bytes: &[u8]| {
        dir.write("bad.tfpack", bytes);
        let commands =
            ["inspect bad.tfpack", "run bad.tfpack", "export bad.tfpack out", "export bad.tfpack out.tfpack"];
        All(commands.map(|line| without_tensorflow(&dir, line).fails().says("bad.tfpack")).into())
    };
    for length in [0, 1, 22, 102, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length]).say("cut short").hint("copy the model again");
    }
    let changed = |text: &[u8], with: &[u8]| {
        let at = whole.windows(text.len()).rposition(|window| window == text).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    refused(&changed(b"assets/vocabulary.txt", b"../../")).say("checksum of its table is wrong");
    refused(&changed(b"tfpack 1 ", b"tfpack 2 ")).say("version `2`").hint("later tf-persist");
    refused(b"PK\x03\x04 an archive of something else");
    // What only shows when the contents are read: nothing is written then.
    dir.write("bad.tfpack", changed(&fs::read(dir.path("models/text/model/assets/vocabulary.txt")).unwrap(), b"\0"));
    for line in ["export bad.tfpack out", "export bad.tfpack out.tfpack"] {
        without_tensorflow(&dir, line).fails().says("bad.tfpack/assets/vocabulary.txt").says("checksum is wrong");
    }
    dir.cmd("run bad.tfpack --input text=[\"a\"]").run().fails().says("checksum is wrong");
    assert_eq!(dir.names(""), ["bad.tfpack", "m.tfpack", "models"]);
}

#[test]
fn other_files_are_not_overwritten() {
    let dir = Dir::new();
    dir.write("notes.tfpack", "mine");
    dir.write("folder.tfpack/notes", "mine");
    without_tensorflow(&dir, "export models/digits/model m.tfpack").ok();
    let before = dir.listing();
    let export = |line: &str| without_tensorflow(&dir, &format!("export models/text/model {line}")).fails();
    export("m.tfpack").says("`m.tfpack` exists already").hints("--overwrite");
    export("notes.tfpack").says("exists already");
    export("notes.tfpack --overwrite").says("is not overwritten");
    export("folder.tfpack --overwrite").says("folder.tfpack").says("s a directory");
    export("m.tfpack/in/it --overwrite").says("m.tfpack");
    // A folder does not take the place of a pack, nor a pack that of a folder.
    without_tensorflow(&dir, "export m.tfpack notes.tfpack/x").fails();
    assert_eq!(dir.listing(), before);
    without_tensorflow(&dir, "export models/text/model m.tfpack --overwrite").ok();
    assert_eq!(inspected(&dir, "m.tfpack")["variables"], inspected(&dir, "models/text/model")["variables"]);
    // As readable as any other new file.
    let mode = |name: &str| fs::metadata(dir.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("m.tfpack"), mode("notes.tfpack"));
}

#[test]
fn links_out_of_the_model_are_not_packed() {
    let dir = Dir::new();
    let model = dir.copy_model("text", "model");
    dir.write("secret", "secret");
    symlink("../../secret", model.join("assets/link.txt")).unwrap();
    without_tensorflow(&dir, "export model out.tfpack").fails().says("assets/link.txt").says("outside the model");
    assert_eq!(dir.names(""), ["model", "models", "secret"]);
}

#[test]
fn a_full_disk_leaves_the_old_pack_and_nothing_else() {
    let dir = Dir::new();
    without_tensorflow(&dir, "export models/half_plus_two/model out.tfpack").ok();
    without_tensorflow(&dir, "export models/digits/model digits.tfpack").ok();
    let before = dir.listing();
    let old = fs::read(dir.path("out.tfpack")).unwrap();
    for kib in [1, 8, 40, 80] {
        for line in [
            "export models/digits/model out.tfpack --overwrite",
            "export models/digits/model some/where/new.tfpack",
            "export digits.tfpack new",
            "export models/digits/model out.tfpack --overwrite --tags serve",
        ] {
            dir.bash(&full_disk(kib), line).run().fails().says("File too large");
            assert_eq!(dir.listing(), before, "{line}");
        }
    }
    assert_eq!(fs::read(dir.path("out.tfpack")).unwrap(), old);
    dir.cmd("export models/half_plus_two/model /sys/out.tfpack").run().fails().says("/sys");
}

#[test]
fn a_killed_process_leaves_the_old_or_the_new_pack() {
    let dir = Dir::new();
    for name in ["old", "new"] {
        // Large enough that writing takes a while.
        let model = dir.copy_model("digits", name);
        fs::create_dir_all(model.join("assets.extra")).unwrap();
        fs::write(model.join("assets.extra/large"), name.repeat(2 << 20)).unwrap();
        without_tensorflow(&dir, &format!("export {name} whole-{name}.tfpack")).ok();
    }
    let read = |name: &str| fs::read(dir.path(name)).unwrap();
    let (old, new) = (read("whole-old.tfpack"), read("whole-new.tfpack"));
    fs::write(dir.path("out.tfpack"), &old).unwrap();
    let (mut killed, mut written) = (0, 0);
    for moment in [0, 1, 3, 7, 15, 30, 60, 120, 250, 500, 1000, 2000, 4000, 8000] {
        let hidden = || dir.names("").into_iter().filter(|name| name.starts_with('.')).collect::<Vec<_>>();
        let before = hidden();
        let mut child = dir.cmd("export new out.tfpack --overwrite").without_tensorflow().start();
        let begun = || hidden() != before;
        while !begun() && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let found = read("out.tfpack");
        assert!(found == old || found == new, "neither the old pack nor the new, after {moment} ms");
        if found == new {
            written += 1;
            fs::write(dir.path("out.tfpack"), &old).unwrap();
        }
        // The unfinished file has a hidden name, until the next write there deletes it.
        let left = hidden();
        assert!(left.len() <= 1 && left.iter().all(|name| name.starts_with(".out.tfpack.tmp-")), "{left:?}");
        if written > 1 {
            break;
        }
    }
    assert!(killed > 0 && written > 0, "{killed} killed, {written} written");
}
