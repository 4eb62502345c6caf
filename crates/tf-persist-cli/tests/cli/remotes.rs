//! Remote stores as a user meets them: a folder, and addresses without a server. `python/checks/check_remotes.py` has
//! servers.

use serde_json::json;

use crate::command::Ran;
use crate::support::Dir;

fn store(dir: &Dir, line: &str) -> Ran {
    let cache = dir.path("cache").display().to_string();
    let command = dir.cmd(&format!("store {line}")).without_tensorflow().env("TF_PERSIST_CACHE", &cache);
    command.env("AWS_ACCESS_KEY_ID", "public").env("AWS_SECRET_ACCESS_KEY", "topsecret").run()
}

/// A folder with a store that has two versions.
fn with_versions() -> Dir {
    let dir = Dir::new();
    store(&dir, "init").ok();
    store(&dir, "publish models/digits/model digits --label production").ok();
    store(&dir, "publish models/half_plus_two/model digits").ok();
    dir
}

#[test]
fn versions_are_pushed_pulled_and_synchronized() {
    let dir = with_versions();
    let pushed = store(&dir, "push digits@production there --label a,b").ok();
    pushed.prints_only("digits@1 is at `there` now: 4 files, 132.4 kB\n");
    store(&dir, "push digits@1 there").ok().prints_only("digits@1 is at `there` already\n");
    store(&dir, "list --store there").ok().prints_only("digits  1 version, latest 1; a 1, b 1\n");
    store(&dir, "pull there/digits --store other --label c").ok().prints("digits@1 is in `other` now: ");
    let would = store(&dir, "sync there --dry-run").ok();
    would.prints("digits@2: would be pushed\n").prints("digits@production: would be 1 at `there`, as here\n");
    store(&dir, "sync there digits").ok().prints("digits@2: pushed\n").prints("digits@a: 1 here, as at `there`\n");
    store(&dir, "sync there").ok().prints_only("digits: the same here and at `there`\n");
    let log = store(&dir, "log digits --store other --format json").ok().json();
    assert_eq!(log["events"][0]["from"], json!("there"));
    store(&dir, "log digits --store other").ok().prints(" from there  by ");
}

#[test]
fn two_versions_of_one_number_stay_as_they_are() {
    let dir = with_versions();
    store(&dir, "init --store there").ok();
    store(&dir, "publish models/half_plus_two/model digits --store there").ok();
    let refused = store(&dir, "push digits@1 there").exits_with(1);
    refused
        .says("is another version of the same number: manifest ")
        .hints("numbers are kept on the way: publish the model under another number, or use another store");
    store(&dir, "sync there").exits_with(1).prints("digits@1: another version here than at `there`; it stays so\n");
}

#[test]
fn addresses_that_cannot_be_used() {
    let dir = with_versions();
    store(&dir, "push digits@1 ftp://host/x").misused().says("the schemes are s3, gs, az, http and https");
    for command in ["push digits@1", "sync"] {
        let refused = store(&dir, &format!("{command} s3://key:secret@bucket")).misused();
        assert!(!refused.err().contains("secret"), "{}", refused.err());
        refused.says("credentials come from the environment");
    }
    store(&dir, "push digits@1 https://127.0.0.1:1/x").fails().says("`https://127.0.0.1:1/x` can only be read");
    for line in ["promote digits@1 --to a", "label digits@1 a", "rollback digits", "remove digits@1", "gc --keep 1"] {
        let refused = store(&dir, &format!("{line} --store http://127.0.0.1:1/x")).fails();
        refused.says("`http://127.0.0.1:1/x` can only be read").hints("write to it by another address");
    }
    let folder = dir.cmd("inspect s3://b/p/digits/1").without_tensorflow().run().fails();
    folder.says("`s3://b/p/digits/1` is not the address of a store: the version is `s3://b/p/digits@1`");
    store(&dir, "publish models/digits/model m --store s3://b/p").fails().says("is not a store of this machine");
    store(&dir, "init --store s3://b/p").fails().says("`s3://b/p` is not a folder");
    store(&dir, "pull s3://b --store other").fails().says("it has no MODEL@REF");
    store(&dir, "pull absent/m --store other").fails().says("`absent` is not a store of models");
    assert!(!dir.path("other").exists());
    let unreachable = store(&dir, "pull http://127.0.0.1:1/m@1 --store other").exits_with(1);
    unreachable.says("cannot reach `http://127.0.0.1:1/m/.store/labels.json`: ");
    let inspected = dir.cmd("inspect http://127.0.0.1:1/m@1").without_tensorflow().run().exits_with(1);
    inspected.says("cannot reach `http://127.0.0.1:1/m/.store/labels.json`: ");
}

#[test]
fn a_pull_that_is_refused_leaves_no_model() {
    let dir = with_versions();
    store(&dir, "key new key.pem").ok();
    store(&dir, "init --store other").ok();
    let pull = "pull models.store/digits@1 --store other --require-signature key.pem.pub";
    store(&dir, pull).fails().says("`models.store/digits/1` is not signed");
    assert_eq!(dir.names("other"), ["store.json"]);
    store(&dir, "publish models/digits/model Digits --store other").ok();
}

#[test]
fn another_signature_is_pushed_on_request() {
    let dir = with_versions();
    store(&dir, "key new a.pem").ok();
    store(&dir, "key new b.pem").ok();
    store(&dir, "push digits@1 there").ok();
    store(&dir, "sign digits@1 --key a.pem").ok();
    store(&dir, "push digits@1 there").ok();
    store(&dir, "verify --store there --public-key a.pem.pub").ok();
    store(&dir, "sign digits@1 --key b.pem --replace").ok();
    let refused = store(&dir, "push digits@1 there --label x").fails();
    refused.says("`there/digits/1/model.sig` is a signature by key ").hints("--replace-signature");
    store(&dir, "list --store there").ok().prints_only("digits  1 version, latest 1\n");
    store(&dir, "push digits@1 there --replace-signature").ok();
    store(&dir, "verify --store there --public-key b.pem.pub").ok();
}

#[test]
fn addresses_of_mlflow() {
    let dir = with_versions();
    store(&dir, "push digits@1 mlflow://127.0.0.1:1").misused().says("it has no model");
    let refused = store(&dir, "push digits@1 mlflow://ada:secret@host/m").misused();
    assert!(!refused.err().contains("secret"), "{}", refused.err());
    refused.says("come from the environment");
    store(&dir, "push digits@1 mlflow://127.0.0.1:1/m --modelcar").misused().says("--modelcar is for registries");
    store(&dir, "push digits@1 oci://127.0.0.1:1/m --experiment x").misused().says("--experiment is for MLflow");
    store(&dir, "push digits@1 there --experiment x").misused().says("--experiment for mlflow://HOST/MODEL");
    let numbered = store(&dir, "push digits@1 mlflow://127.0.0.1:1/m@3").exits_with(1);
    numbered.says("MLflow gives the number").hints("addresses are mlflow://HOST:PORT/MODEL and ");
    let unreachable = store(&dir, "push digits@1 mlflow://127.0.0.1:1/m").exits_with(1);
    unreachable.says("cannot reach `mlflow://127.0.0.1:1/m`: ").hints("check the host and the port");
    store(&dir, "pull mlflow://127.0.0.1:1/m --store other")
        .exits_with(1)
        .says("cannot reach `mlflow://127.0.0.1:1/m`");
    assert!(!dir.path("other").exists());
}
