//! `serve-local --store`: labels move without a restart, and only to versions that are what was published and signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tf_persist_core::Tensor;
use tf_persist_core::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_core::tensor::npz;
use tf_persist_testing::{copy_folder, wait_until};

use crate::serve::Running;
use crate::support::Dir;

const SERVED: &str = "--store=models.store --max_num_load_retries=0";

/// A folder with keys and a store, whose model `half` has these versions. Version N answers with 1 + N.
fn with_versions(count: u64, options: &str) -> Dir {
    let dir = Dir::new();
    store(&dir, "init");
    store(&dir, "key new key.pem");
    store(&dir, "key new other.pem");
    (1..=count).for_each(|version| publish(&dir, version, options));
    dir
}

fn store(dir: &Dir, line: &str) {
    dir.cmd(&format!("store {line}")).without_tensorflow().run().ok();
}

/// Publishes a version of `half` that adds its number to half of its input.
fn publish(dir: &Dir, version: u64, options: &str) {
    model(dir, version);
    store(dir, &format!("publish plus_{version} half --version {version} {options}"));
}

/// The model of that version.
fn model(dir: &Dir, version: u64) {
    let to = dir.copy_model("half_plus_two", format!("plus_{version}"));
    fs::remove_dir_all(to.join("variables")).unwrap();
    let original = dir.path("models/half_plus_two/model/variables/variables");
    let original = CheckpointReader::open(original).unwrap();
    let mut changed = CheckpointWriter::create(to.join("variables/variables")).unwrap();
    for entry in &original.index().entries {
        match entry.key.as_str() {
            key @ "b/.ATTRIBUTES/VARIABLE_VALUE" => {
                changed.add(key, &Tensor::from_slice(&[], &[version as f32]).unwrap()).unwrap();
            }
            key => changed.add_from(key, &original, key).unwrap(),
        }
    }
    changed.finish().unwrap();
}

/// Starts a server, and waits until it is ready.
fn serve(dir: &Dir, flags: &str) -> Running {
    let server = Running::start(dir, &format!("{SERVED} {flags}"));
    server.waits_for("ready: every model answers");
    server
}

/// The version of `half` that a path answers with, or the error of the answer.
fn ask(server: &Running, path: &str) -> Result<u64, (u16, String)> {
    let (code, body) = server.ask("POST", &format!("/v1/models/half{path}:predict"), "{\"instances\": [2.0]}");
    if code != 200 {
        return Err((code, body));
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    Ok((body["predictions"][0].as_f64().unwrap() - 1.0) as u64)
}

fn labelled(server: &Running, label: &str) -> Result<u64, (u16, String)> {
    ask(server, &format!("/labels/{label}"))
}

fn wait_for_label(server: &Running, label: &str, version: u64) {
    wait_until(&format!("{label} is {version}"), || labelled(server, label) == Ok(version));
}

/// The page of all models.
fn page(server: &Running) -> Value {
    serde_json::from_str(&server.ask("GET", "/models", "").1).unwrap()
}

/// The state of a version, and the message of its error.
fn state(server: &Running, version: u64) -> (String, String) {
    let (_, body) = server.ask("GET", &format!("/v1/models/half/versions/{version}"), "");
    let body: Value = serde_json::from_str(&body).unwrap();
    let status = &body["model_version_status"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&status["state"]), text(&status["status"]["error_message"]))
}

/// Waits until a version has failed. Returns why.
fn wait_for_failure(server: &Running, version: u64) -> String {
    let mut reason = String::new();
    let failed = || {
        let (state, why) = state(server, version);
        reason = why;
        state == "END" && !reason.is_empty()
    };
    wait_until(&format!("version {version} has failed"), failed);
    reason
}

/// Changes a file of the store, which is read-only.
fn change(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let bytes = change(fs::read(path).unwrap());
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn labels_move_without_a_restart() {
    let dir = with_versions(2, "--sign key.pem");
    store(&dir, "label half@1 production");
    fs::create_dir(dir.path("models.store/half/9")).unwrap();
    let server = serve(&dir, "--require_signature key.pem.pub");
    assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(1), Ok(2)));
    assert_eq!(labelled(&server, "canary").unwrap_err().0, 400);
    store(&dir, "promote half@2 --to production");
    wait_for_label(&server, "production", 2);
    wait_until("version 1 is unloaded", || state(&server, 1) == ("END".into(), String::new()));
    store(&dir, "rollback half");
    wait_for_label(&server, "production", 1);
    // A version that is published while the server runs, and a model.
    publish(&dir, 3, "--sign key.pem --label canary");
    wait_for_label(&server, "canary", 3);
    store(&dir, "publish models/digits/model digits --sign key.pem --label production");
    let digits = || server.ask("GET", "/v1/models/digits/metadata", "").0 == 200;
    wait_until("digits is served", digits);
    // Unsigned, and signed by another key.
    publish(&dir, 4, "");
    store(&dir, "label half@4 canary");
    let why = wait_for_failure(&server, 4);
    assert!(why.contains("models.store/half/4` is not signed"), "{why}");
    let line = server.waits_for("version failed to load");
    assert!(line.contains("half") && line.contains("is not signed"), "{line}");
    store(&dir, "sign half@4 --key other.pem");
    wait_until("the other key is refused", || state(&server, 4).1.contains("is not trusted"));
    assert_eq!((labelled(&server, "canary"), ask(&server, "")), (Ok(3), Ok(3)));
    let half = &page(&server)["models"][1];
    assert_eq!(half["labels"], json!({"canary": "3", "production": "1"}));
    assert_eq!(half["pending_labels"], json!({"canary": "4"}));
    store(&dir, "sign half@4 --key key.pem --replace");
    wait_for_label(&server, "canary", 4);
    // A model that is removed.
    fs::rename(dir.path("models.store/digits"), dir.path("digits")).unwrap();
    wait_until("digits is gone", || !digits());
    assert_eq!(labelled(&server, "production"), Ok(1));
}

#[test]
fn what_is_damaged_is_not_served() {
    let dir = with_versions(5, "");
    store(&dir, "label half@1 production");
    let folder = dir.path("models.store/half");
    let server = serve(&dir, "");
    let label = |version: u64| store(&dir, &format!("label half@{version} production"));
    let shard = |version: u64| folder.join(format!("{version}/variables/variables.data-00000-of-00001"));
    // A missing file. `label` would refuse it.
    label(2);
    wait_for_label(&server, "production", 2);
    label(1);
    wait_for_label(&server, "production", 1);
    wait_until("version 2 is unloaded", || state(&server, 2).0 == "END");
    let labels = folder.join(".store/labels.json");
    let text = fs::read_to_string(&labels).unwrap();
    let point = |version: u64| {
        let text = text.replace("\"production\": 1", &format!("\"production\": {version}"));
        fs::write(&labels, text).unwrap();
    };
    fs::rename(shard(2), dir.path("shard")).unwrap();
    point(2);
    assert!(wait_for_failure(&server, 2).contains("`variables/variables.data-00000-of-00001` is missing"));
    assert_eq!(labelled(&server, "production"), Ok(1));
    // It is served once it is whole again.
    fs::rename(dir.path("shard"), shard(2)).unwrap();
    wait_for_label(&server, "production", 2);
    // A flipped byte, and an edited manifest.
    change(&folder.join("3/saved_model.pb"), |mut bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    });
    point(3);
    assert!(wait_for_failure(&server, 3).contains("`saved_model.pb` has other contents"));
    // Names and sizes are the same.
    let careless = Running::start(&dir, &format!("{SERVED} --verify=false"));
    careless.waits_for("version=3");
    let manifest = folder.join(".store/4.json");
    let original = fs::read(&manifest).unwrap();
    fs::write(&manifest, [&original[..], b"\n"].concat()).unwrap();
    point(4);
    assert!(wait_for_failure(&server, 4).contains("the manifest was edited"));
    assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(2), Ok(5)));
    fs::write(&manifest, original).unwrap();
    wait_for_label(&server, "production", 4);
    // A labels file that cannot be read, and a store that is gone: everything stays.
    for damage in ["", "{\"format\": 1, \"labels\": {\"production\"", "[]"] {
        fs::write(&labels, damage).unwrap();
        let problem = || page(&server)["models"][0]["problem"].as_str().unwrap_or_default().to_owned();
        wait_until("the damage is reported", || problem().contains("labels.json` is damaged"));
        assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(4), Ok(5)));
    }
    fs::remove_file(&labels).unwrap();
    server.waits_for("it is missing");
    fs::rename(dir.path("models.store"), dir.path("elsewhere")).unwrap();
    server.waits_for("what is served stays");
    // The log tells it a moment before.
    let is_told = || page(&server)["problem"].as_str().is_some_and(|problem| problem.contains("is not a store"));
    wait_until("the page tells it", is_told);
    assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(4), Ok(5)));
    fs::rename(dir.path("elsewhere"), dir.path("models.store")).unwrap();
    server.waits_for("can be listed again");
    fs::write(&labels, &text).unwrap();
    wait_for_label(&server, "production", 1);
}

/// Version 2 has the recorded answers of version 1.
#[test]
fn versions_must_give_their_recorded_answers() {
    let dir = with_versions(0, "");
    let x = Tensor::from_slice(&[3], &[1.0_f32, 2.0, 5.0]).unwrap();
    npz::write("x.npz", fs::File::create(dir.path("x.npz")).unwrap(), [("x", &x)]).unwrap();
    model(&dir, 1);
    dir.cmd("verify plus_1 --record x.npz").run().ok();
    store(&dir, "publish plus_1 half --label production");
    model(&dir, 2);
    copy_folder(&dir.path("plus_1/assets.extra"), &dir.path("plus_2/assets.extra"));
    store(&dir, "publish plus_2 half");
    let server = Running::start(&dir, &format!("{SERVED} --check"));
    let why = wait_for_failure(&server, 2);
    assert_eq!(why, "its answer to recorded request 1 differs from the recorded one");
    server.waits_for("ready: every model answers");
    assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(1), Ok(1)));
    let server = serve(&dir, "");
    assert_eq!((labelled(&server, "production"), ask(&server, "")), (Ok(1), Ok(2)));
}

#[test]
fn versions_are_removed_while_they_are_served() {
    let dir = with_versions(3, "");
    store(&dir, "label half@1 production");
    let server = serve(&dir, "");
    assert_eq!(ask(&server, ""), Ok(3));
    // The newest version goes; the one before answers in its place, without a gap.
    store(&dir, "remove half@3");
    wait_until("version 2 answers", || ask(&server, "").unwrap() == 2);
    dir.cmd("store remove half@production").run().fails().says("labelled `production`");
    store(&dir, "gc half --keep 0 --keep-labelled");
    wait_until("version 1 answers", || ask(&server, "").unwrap() == 1);
    store(&dir, "label half production --remove");
    wait_until("the label is gone", || labelled(&server, "production").is_err_and(|(code, _)| code == 400));
    store(&dir, "remove half@1");
    wait_until("the model is gone", || ask(&server, "").is_err_and(|(code, _)| code == 404));
    assert_eq!(server.ask("GET", "/healthz", "").0, 200);
    publish(&dir, 7, "--label production");
    wait_for_label(&server, "production", 7);
}

#[test]
fn sixteen_clients_see_no_error_while_labels_move() {
    let dir = with_versions(2, "--sign key.pem");
    store(&dir, "label half@1 production");
    publish(&dir, 3, "--sign key.pem --label next");
    let server = serve(&dir, "--require-signature key.pem.pub");
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let client = || {
            let mut seen = [0_usize; 3];
            while !done.load(Ordering::Relaxed) {
                seen[usize::try_from(labelled(&server, "production").unwrap()).unwrap()] += 1;
            }
            seen
        };
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(client)).collect();
        for _ in 0..2 {
            store(&dir, "promote half@2 --to production");
            wait_for_label(&server, "production", 2);
            store(&dir, "rollback half --label production");
            wait_for_label(&server, "production", 1);
        }
        // Faster than the server looks.
        for step in 0..100 {
            store(&dir, &format!("label half@{} production", 1 + step % 2));
        }
        wait_for_label(&server, "production", 2);
        std::thread::sleep(Duration::from_millis(50));
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).fold([0; 3], |a, b| [0, a[1] + b[1], a[2] + b[2]])
    });
    assert!(seen[1] > 16 && seen[2] > 16, "{seen:?}");
}

#[test]
fn a_store_that_cannot_be_served_is_refused() {
    let dir = with_versions(1, "");
    let fails = |line: &str, words: &str| {
        let line = format!("serve-local --port=0 --rest_api_port=any --max_num_load_retries=0 {line}");
        dir.cmd(&line).run().fails().says(words);
    };
    fails("--store nowhere", "nowhere` is not a store of models");
    fails("--store models.store --model_name other", "has no model `other`");
    fails("--store models.store --require_signature models.store/store.json", "cannot be used as a key");
    // No version at all can be served.
    fails("--store models.store --require_signature key.pem.pub", "half/1` is not signed");
    let misused = |line: &str, words: &str| {
        dir.cmd(&format!("serve-local {line}")).without_tensorflow().run().misused().says(words);
    };
    misused("--store=models.store --model_base_path=models.store/half", "--store and --model_base_path both name");
    misused("--store=models.store --model_config_file=file", "--store and --model_config_file both name");
    misused("--model_base_path=models.store/half@1", "serve the store with --store");
    misused("--model_base_path=models.store", "serve the store with --store");
}

/// For all commands, the variable names the store; here only if nothing else names models.
#[test]
fn the_variable_names_the_store() {
    let dir = Dir::new();
    let serve = |flags: &str| dir.cmd(&format!("serve-local {flags}")).env("TF_PERSIST_STORE", "nowhere").run();
    serve("").fails().says("nowhere` is not a store of models");
    // The next error is found.
    serve("--model_base_path=base --batching_parameters_file=b").misused().says("without --enable_batching");
    serve("--model_config_file=file --batching_parameters_file=b").misused().says("without --enable_batching");
}

/// Folders of versions, in a store and outside of one.
#[test]
fn folders_of_versions_may_have_to_be_signed_too() {
    let dir = with_versions(1, "--sign key.pem");
    let answers = |base_path: &str| {
        let flags = format!("--model_base_path={base_path} --model_name=half --require_signature=key.pem.pub");
        let server = Running::start(&dir, &flags);
        server.waits_for("ready: every model answers");
        assert_eq!(ask(&server, ""), Ok(1));
    };
    answers("models.store/half");
    fs::create_dir(dir.path("base")).unwrap();
    fs::rename(dir.path("models.store/half/1"), dir.path("base/1")).unwrap();
    answers("base");
}
