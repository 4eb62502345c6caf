//! `tf-persist store`, and `MODEL@REF` as the path of a model.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_savedmodel::{DType, Tensor};

use crate::command::Ran;
use crate::support::Dir;

fn store(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("store {line}")).without_tensorflow().run()
}

/// A folder with an empty store `models.store`.
fn with_store() -> Dir {
    let dir = Dir::new();
    store(&dir, "init").ok().prints_only("`models.store` is a store\n");
    dir
}

fn publish(dir: &Dir, line: &str) -> Ran {
    store(dir, &format!("publish {line}"))
}

#[test]
fn damaged_labels_and_missing_keys_are_explained() {
    let dir = with_store();
    publish(&dir, "models/digits/model digits --label production").ok();
    let labels = dir.write("models.store/digits/.store/labels.json", "{");
    let damaged = store(&dir, "list digits").fails().says("labels.json` is damaged");
    damaged.hints("delete `models.store/digits/.store/labels.json`: the labels come back");
    fs::remove_file(&labels).unwrap();
    store(&dir, "list").ok().prints_only("digits  1 version, latest 1; production 1\n");
    // Without the log they would be lost.
    fs::write(&labels, "{").unwrap();
    fs::remove_file(labels.with_file_name("log.jsonl")).unwrap();
    let lost = store(&dir, "list digits").fails();
    lost.check(!lost.err().contains("hint: "), "nothing can be deleted");

    let missing = "cannot open `nokey.pem`: No such file or directory";
    publish(&dir, "models/digits/model other --sign nokey.pem").fails().says(missing);
    let run = dir.cmd("run models/digits/model --require-signature nokey.pem").without_tensorflow().run();
    run.fails().says(missing);
}

#[test]
fn two_versions_are_published_labelled_and_rolled_back() {
    let dir = with_store();
    dir.write("metrics.json", "{\"accuracy\": 0.97}");
    publish(&dir, "models/digits/model digits --label production,canary --metadata metrics.json")
        .ok()
        .prints_only("digits@1\n");
    dir.copy_model("digits", "changed");
    dir.write("changed/assets.extra/note", "changed");
    publish(&dir, "changed digits --version 5").ok().prints_only("digits@5\n");
    let listed = store(&dir, "list").ok();
    listed.prints_only("digits  2 versions, latest 5; canary 1, production 1\n");

    store(&dir, "promote digits@latest --to production").ok().prints_only("digits@production is 5; it was 1\n");
    store(&dir, "label digits@1 production").ok().prints_only("digits@production is 1; it was 5\n");
    store(&dir, "label digits@production production").ok().prints_only("digits@production is 1, as before\n");
    store(&dir, "promote digits@5 --to production").ok();
    store(&dir, "rollback digits --label production").ok().prints_only("digits@production is 1; it was 5\n");
    store(&dir, "label digits canary --remove").ok().prints_only("digits@canary is gone; it was 1\n");
    store(&dir, "rollback digits --to 5").ok().prints_only("digits@production is 5; it was 1\n");

    let shown = store(&dir, "show digits@1").ok();
    let shown = shown.prints("  accuracy  0.97\n").prints("  serving_default(image: float32[-1, 8, 8, 1]) -> (");
    shown.prints("  source     ").prints("  variables/variables.index\n");
    let report = store(&dir, "show digits@5 --format json").ok().json();
    assert_eq!(report["labels"], json!(["production"]));
    assert_eq!(report["manifest"]["parent"], json!(1));
    let report = store(&dir, "list digits --format json").ok().json();
    assert_eq!(report["versions"][1]["manifest"].as_str().unwrap().len(), 64);
    assert_eq!((&report["labels"], &report["latest"]), (&json!({"production": 5}), &json!(5)));

    let log = store(&dir, "log digits --label production").ok();
    let lines: Vec<String> = log.out().lines().map(|line| line.split("  ").nth(1).unwrap().to_owned()).collect();
    let wanted = [
        "rolled back production: 1 -> 5",
        "rolled back production: 5 -> 1",
        "promoted production: 1 -> 5",
        "labelled production: 5 -> 1",
        "promoted production: 1 -> 5",
        "labelled production: 1",
    ];
    assert_eq!(lines, wanted);
    let events = store(&dir, "log digits --format json").ok().json();
    assert_eq!(events["events"][0]["event"], json!("published"));
}

#[test]
fn a_label_is_rolled_back_to_its_first_version() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m --label production").ok();
    publish(&dir, "models/half_plus_two/model m --label production").ok();
    store(&dir, "rollback m").ok().prints_only("m@production is 1; it was 2\n");
    // It has pointed to 2, but not before.
    store(&dir, "rollback m")
        .fails()
        .says("before version 1, `production` of `m` pointed to no version that is still there")
        .hints("--to REF");
    store(&dir, "rollback m --to 2").ok().prints_only("m@production is 2; it was 1\n");
}

#[test]
fn what_was_in_production_then() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m --label production").ok();
    publish(&dir, "models/half_plus_two/model m").ok();
    store(&dir, "promote m@2 --to production").ok();
    let events = store(&dir, "log m --label production --format json").ok().json();
    let at = |index: usize| events["events"][index]["at"].as_str().unwrap().to_owned();
    let number = |time: &str| {
        let report = store(&dir, &format!("show m@production --format json --at {time}")).ok().json();
        report["manifest"]["version"].clone()
    };
    assert_eq!((number(&at(0)), number(&at(1)), number("2999-01-01")), (json!(1), json!(2), json!(2)));
    store(&dir, "log m --label nope").fails().says("`m` has no label `nope`; its labels are `production`");
    store(&dir, "show m@nope --at 2999-01-01").fails().says("`m` has no label `nope`");
    store(&dir, "label m production --remove").ok();
    store(&dir, "log m --label production").ok().prints("took the label production from 2");
    store(&dir, "show m@production --at 2020-01-01").fails().says("`production` of `m` pointed to no version at");
    store(&dir, "show m@2 --at 2020-01-01").fails().says("--at is for a label");
    store(&dir, "show m@production --at tuesday").misused();
}

#[test]
fn every_command_takes_a_version() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m --label production").ok();
    let run = |line: &str| dir.cmd(line).run();
    run("run m@production --input x=[1]").ok().prints("[2.5]");
    run("run models.store/m@1 --input x=[1]").ok().prints("[2.5]");
    let elsewhere = dir.cmd("inspect m").env("TF_PERSIST_STORE", dir.path("models.store"));
    elsewhere.run().fails().says("m");
    let named = dir.cmd("inspect m@latest").env("TF_PERSIST_STORE", dir.path("models.store"));
    named.run().ok().prints("signature serving_default");
    run("scan m@1").ok();
    run("diff m@1 models/half_plus_two/model").ok().prints("same: ");
    run("store diff m@1 latest").ok().prints("same: ");
    run("export m@production copy --frozen").ok();
    run("run copy --input x=[1]").ok().prints("[2.5]");
    run("inspect m@staging").fails().says("`m` has no label `staging`; its labels are `production`");
    run("inspect m@7").fails().says("`m` has no version 7; its versions are `1`");
    run("inspect other@1").fails().says("has no model `other`; its models are `m`");
    run("inspect nowhere/m@1").fails().says("`nowhere/m@1` does not exist, and `nowhere` is not a store");
}

#[test]
fn published_versions_stay_as_they_are() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m").ok();
    let before = dir.listing();
    dir.write("x.json", "{\"inputs\": {\"x\": [1]}}");
    for line in [
        "verify m@1 --record x.json",
        "verify models.store/m/1 --record x.json",
        "export models/digits/model models.store/m/1 --overwrite",
    ] {
        dir.cmd(line)
            .run()
            .fails()
            .says("is a published version, which stays as it is")
            .hints("write to a folder outside the store");
    }
    fs::remove_file(dir.path("x.json")).unwrap();
    assert_eq!(dir.listing(), before);
}

#[test]
fn a_changed_version_is_found() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m").ok();
    publish(&dir, "models/digits/model digits").ok();
    store(&dir, "verify").ok().prints("digits@1: as published, ").prints("m@1: as published, ");
    let shard = "models.store/m/1/variables/variables.data-00000-of-00001";
    fs::set_permissions(dir.path(shard), fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(dir.path(shard)).unwrap();
    bytes[0] ^= 1;
    dir.write(shard, bytes);
    let changed = store(&dir, "verify m").exits_with(1);
    changed.prints_only("m@1: not as it should be\n  `variables/variables.data-00000-of-00001` has other contents\n");
    let report = store(&dir, "verify --format json").exits_with(1).json();
    assert_eq!(report["versions"][0]["faults"], json!([]));
    // What was changed is not promoted.
    store(&dir, "promote m@1 --to production")
        .fails()
        .says("version 1 of `m` is not what was published: `variables/variables.data-00000-of-00001` has other");
}

#[test]
fn packs_and_keras_files_are_published_as_models() {
    let dir = with_store();
    dir.cmd("export models/half_plus_two/model m.tfpack").run().ok();
    publish(&dir, "m.tfpack m").ok().prints_only("m@1\n");
    publish(&dir, "models/digits_keras/digits.keras digits --check").fails().says("it has no recorded answers");
    publish(&dir, "models/digits_keras/digits.keras digits").ok().prints_only("digits@1\n");
    let ran = dir.cmd("run digits@1 --inputs models/digits_trainable/examples.npz").run();
    ran.ok().prints("output_0  float32 [16, 10]");
    publish(&dir, "m.tfpack m --link").fails().says("only the files of a folder can be linked");
}

#[test]
fn recorded_answers_are_replayed_before_a_version_is_published() {
    let dir = with_store();
    dir.copy_model("half_plus_two", "model");
    dir.write("x.json", "{\"inputs\": {\"x\": [1]}}");
    dir.cmd("verify model --record x.json").run().ok();
    let publish = |line: &str| dir.cmd(&format!("store publish {line}")).run();
    publish("model m --check").ok().prints_only("m@1\n");
    dir.cmd("export model other").run().ok();
    // The same model with other variables.
    let reader = CheckpointReader::open(dir.path("other/variables/variables")).unwrap();
    let mut writer = CheckpointWriter::create(dir.path("new/variables")).unwrap();
    for entry in &reader.index().entries {
        match entry.dtype {
            DType::Float32 => writer.add(&entry.key, &Tensor::from_slice(&[], &[7.0_f32]).unwrap()).unwrap(),
            _ => writer.add_from(&entry.key, &reader, &entry.key).unwrap(),
        }
    }
    writer.finish().unwrap();
    fs::remove_dir_all(dir.path("other/variables")).unwrap();
    fs::rename(dir.path("new"), dir.path("other/variables")).unwrap();
    fs::remove_file(dir.path("other/fingerprint.pb")).unwrap();
    publish("other m --check").exits_with(1);
    store(&dir, "list").ok().prints_only("m  1 version, latest 1\n");
}

#[test]
fn old_versions_are_removed() {
    let dir = with_store();
    for _ in 0..4 {
        publish(&dir, "models/half_plus_two/model m").ok();
    }
    store(&dir, "label m@1 production").ok();
    store(&dir, "gc --keep 1").fails().says("version 1 of `m` is labelled `production`").hints("--keep-labelled");
    let dry = store(&dir, "gc m --keep 1 --keep-labelled --dry-run").ok();
    dry.prints_only("m: would remove 2 versions (2, 3), 0 B\n");
    store(&dir, "gc --keep 1 --keep-labelled").ok().prints_only("m: removed 2 versions (2, 3), 0 B\n");
    store(&dir, "remove m@1").fails().says("version 1 of `m` is labelled `production`");
    store(&dir, "remove m@4").ok().prints_only("m@4 is removed\n");
    publish(&dir, "models/half_plus_two/model m --version 4").fails().says("numbers are not used again");
    store(&dir, "list").ok().prints_only("m  1 version, latest 1; production 1\n");
}

#[test]
fn bad_names_and_folders_are_refused() {
    let dir = Dir::new();
    store(&dir, "list")
        .fails()
        .says("`models.store` is not a store of models")
        .hints("make one with `tf-persist store init");
    store(&dir, "init --store a").ok();
    dir.write("full/file", "");
    store(&dir, "init --store full").fails().says("`full` is not a store, and has `file`");
    publish(&dir, "models/half_plus_two/model store.json --store a").misused().says("a file of the store has it");
    publish(&dir, "a/store.json m --store a").fails().says("a/store.json");
    for (line, reason) in [
        ("publish models/half_plus_two/model ../m --store a", "only letters, digits"),
        ("publish models/half_plus_two/model m --label latest --store a", "`latest` is the newest version"),
        ("label m@0 x --store a", "cannot be the number of a version"),
    ] {
        store(&dir, line).misused().says(reason);
    }
    store(&dir, "publish absent m --store a").fails().says("absent");
    publish(&dir, "models/half_plus_two/model m --store a").ok();
    dir.copy_model("half_plus_two", "a/m/3");
    store(&dir, "show m@3 --store a")
        .fails()
        .says("was not published: the store has no manifest of it")
        .hints("store publish a/m/3 m`");
    store(&dir, "list --store a").ok().prints_only("m  1 version, latest 1; 1 folder not published\n");
    publish(&dir, "a/m/3 m --store a").ok().prints_only("m@3\n");
    store(&dir, "list --store a/m").fails().says("`a/m` is not a store of models, and `a` is one").hints("--store a");
    store(&dir, "show m/3 --store a").misused().says("a version is named MODEL@N");
    dir.copy_model("half_plus_two", "a/m/0009");
    let listed = store(&dir, "list m --store a").ok();
    listed.prints("0009  not published, and 9 for TensorFlow Serving: a version is named without zeros");
    publish(&dir, "a/m/0009 m --store a").fails().says("was not published").hints("rename it to `a/m/9`");
}

#[test]
fn versions_are_signed_and_signatures_are_required() {
    let dir = with_store();
    store(&dir, "key new key.pem").ok().prints_only("`key.pem` signs, `key.pem.pub` verifies\n");
    store(&dir, "key new other.pem").ok();
    store(&dir, "key new key.pem").fails().says("key.pem");
    let mode = fs::metadata(dir.path("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read the private key");
    publish(&dir, "models/half_plus_two/model m --sign key.pem").ok().prints_only("m@1\n");
    publish(&dir, "models/half_plus_two/model m").ok();
    store(&dir, "verify m@1 --public-key key.pem.pub").ok().prints("m@1: as published, signed, ");
    let wrong = store(&dir, "verify m@1 --public-key other.pem.pub").exits_with(1);
    wrong.prints("is not trusted: it was made by another key");
    store(&dir, "verify m --public-key key.pem.pub").exits_with(1).prints("models.store/m/2` is not signed");

    let run = |line: &str| dir.cmd(&format!("run {line} --input x=[1]")).run();
    run("m@1 --require-signature key.pem.pub").ok().prints("[2.5]");
    run("m@2 --require-signature key.pem.pub").fails().says("is not signed").hints("store sign");
    run("m@1 --require-signature other.pem.pub").fails().says("made by another key");
    store(&dir, "sign m@2 --key key.pem").ok().prints_only("m@2 is signed\n");
    run("m@latest --require-signature key.pem.pub").ok();
    store(&dir, "log m").ok().prints("signed version 2 (key ");
    // Nothing of it is in the manifest.
    store(&dir, "verify m@2").ok().prints("m@2: as published, signed by key ").prints(" (not checked), ");
    let report = store(&dir, "verify m@2 --format json").ok().json();
    assert!(report["versions"][0]["signed"].is_null() && report["versions"][0]["signed_by"].is_string(), "{report}");
    store(&dir, "sign m@2 --key other.pem")
        .fails()
        .says("version 2 of `m` is signed already, by key ")
        .hints("--replace");
    run("m@2 --require-signature key.pem.pub").ok();
    store(&dir, "sign m@2 --key other.pem --replace").ok().prints("m@2 is signed; it was signed by key ");
    run("m@2 --require-signature other.pem.pub").ok();

    // The signature of one version is not that of another, though their files are the same.
    fs::copy(dir.path("models.store/m/1/model.sig"), dir.path("models.store/m/2/model.sig")).unwrap();
    run("m@2 --require-signature key.pem.pub")
        .fails()
        .says("the signature of version 2 of `m` is that of version 1 of `m`");
    // As a folder of its own, it is what was signed.
    dir.copy_model("half_plus_two", "copy");
    fs::copy(dir.path("models.store/m/1/model.sig"), dir.path("copy/model.sig")).unwrap();
    run("copy --require-signature key.pem.pub").ok();
    dir.write("copy/extra", "");
    run("copy --require-signature key.pem.pub").fails().says("`copy` is not what was signed: `extra` was added");
}

#[test]
fn a_publication_that_fails_leaves_nothing() {
    let dir = with_store();
    publish(&dir, "models/digits_keras/digits.keras Digits --check").fails().says("it has no recorded answers");
    assert_eq!(dir.names("models.store"), ["store.json"]);
    publish(&dir, "models/digits/model digits").ok();
    store(&dir, "list").ok().prints_only("digits  1 version, latest 1\n");
}

#[test]
fn a_command_that_waits_says_for_what() {
    let dir = with_store();
    publish(&dir, "models/half_plus_two/model m").ok();
    let lock = fs::File::open(dir.path("models.store/m/.store/lock")).unwrap();
    lock.lock().unwrap();
    let mut child = dir.cmd("store label m@1 a").without_tensorflow().spawn_with_stderr();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let holder = std::process::id();
    assert_eq!(
        said,
        format!("note: waiting for the lock `models.store/m/.store/lock`, which process {holder} holds\n")
    );
    lock.unlock().unwrap();
    assert!(child.wait().unwrap().success());
    store(&dir, "list").ok().prints_only("m  1 version, latest 1; a 1\n");
}
