//! What is written for MLflow, and what servers answer that are wrong or hostile; `python/checks/check_mlflow.py` has a
//! real server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tf_persist_savedmodel::SavedModel;

use super::address::MlflowAddress;
use super::ml_model::{self, Written};
use super::push::SIGNATURE_KEY;
use super::{MlflowOptions, resolve};
use crate::remote::{PullOptions, RemoteErrorKind, RemoteOptions, Transferred};
use crate::signing::SIGNATURE_FILE;
use crate::{ModelName, PublishOptions, Result, Store, StoreError, Version};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");

fn published(model: &str) -> (tempfile::TempDir, Store, Version) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(folder.path().join("store")).unwrap();
    let name: ModelName = model.parse().unwrap();
    let version = store.publish(&name, format!("{MODELS}/{model}/model"), PublishOptions::default()).unwrap();
    (folder, store, version)
}

fn written(model: &str) -> String {
    let (_folder, _store, version) = published(model);
    let opened = SavedModel::open(version.path()).unwrap();
    let (manifest, digest) = (version.manifest(), version.digest());
    Written { model: &opened, manifest, digest, id: "m-1", artifact_uri: "mlflow-artifacts:/1/m-1" }.text()
}

fn parsed(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let text = written("digits");
    assert_eq!(ml_model::read(text.as_bytes()).unwrap().folder, ml_model::MODEL_FOLDER);
    let model = parsed(&text);
    assert_eq!(
        model["flavors"]["tensorflow"],
        json!({
            "model_type": "tf1-estimator", "saved_model_dir": "model", "meta_graph_tags": ["serve"],
            "signature_def_key": "serving_default",
        })
    );
    let inputs: Value = serde_json::from_str(model["signature"]["inputs"].as_str().unwrap()).unwrap();
    let spec = json!({"dtype": "float32", "shape": [-1, 8, 8, 1]});
    assert_eq!(inputs, json!([{"name": "image", "type": "tensor", "tensor-spec": spec}]));
    assert!(text.contains(r#"  inputs: '[{"name":"image","#), "{text}");
    assert_eq!(model["metadata"]["tf_persist"]["version"], 1);
}

#[test]
fn signatures_lie_in_the_folder_of_the_model() {
    assert_eq!(SIGNATURE_KEY, format!("{}{SIGNATURE_FILE}", ml_model::MODEL_FOLDER));
}

#[test]
fn strings_have_the_dtype_of_mlflow() {
    assert!(written("text").contains(r#"{"dtype":"str","shape":[-1]}"#));
}

#[test]
fn files_of_mlflow_are_read() {
    let folder = |text: &str| ml_model::read(text.as_bytes()).map(|it| it.folder);
    let logged = "artifact_path: x\nflavors:\n  python_function:\n    env:\n      conda: conda.yaml\n    loader_module: \
                  mlflow.tensorflow\n  tensorflow:\n    code: null\n    model_type: tf2-module\n    saved_model_dir: \
                  tf2model\nmodel_size_bytes: 8622\nsignature:\n  inputs: '[{\"a\": 1}]'\n  outputs: null\n";
    assert_eq!(folder(logged).as_deref(), Ok("tf2model/"));
    assert_eq!(folder("flavors:\n  tensorflow: {data: data, model_type: keras}\n").as_deref(), Ok("data/"));
    assert_eq!(folder("flavors:\n  keras: {data: data, save_format: h5}\n").as_deref(), Ok("data/"));
    assert_eq!(folder("flavors:\n  tensorflow: {}\n").as_deref(), Ok("data/"));
    for (text, reason) in [
        ("flavors:\n  sklearn: {}\n  python_function: {}\n", "it is a model of sklearn"),
        ("flavors: {}\n", "it is not a model of TensorFlow"),
        ("{}", "it is not a model of TensorFlow"),
        ("flavors: [1", "cannot be read"),
        ("flavors: 7", "cannot be read"),
        ("\u{0}", "cannot be read"),
        ("flavors:\n  tensorflow: {saved_model_dir: ../../etc}\n", "leads elsewhere"),
        ("flavors:\n  tensorflow: {saved_model_dir: /etc}\n", "leads elsewhere"),
        ("flavors:\n  tensorflow: {data: 'a\\..\\b'}\n", "leads elsewhere"),
    ] {
        let error = folder(text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn yaml_that_grows_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    for text in [format!("flavors:\n  tensorflow: {{}}\n{bomb}"), "[".repeat(100_000), "- ".repeat(100_000)] {
        assert!(ml_model::read(text.as_bytes()).unwrap_err().contains("cannot be read"));
    }
}

#[test]
fn requirements_name_versions_that_can_be_had() {
    let manifest = |version: &str| {
        let (_folder, _store, published) = published("digits");
        let mut manifest = published.manifest().clone();
        version.clone_into(&mut manifest.tensorflow_version);
        ml_model::requirements(&manifest)
    };
    assert_eq!(manifest("2.21.0"), "mlflow>=3\ntensorflow==2.21.0\n");
    assert_eq!(manifest("1.15.0"), "mlflow>=3\ntensorflow\n");
    assert_eq!(manifest("2.1 --index-url x"), "mlflow>=3\ntensorflow\n");
    assert_eq!(manifest(""), "mlflow>=3\ntensorflow\n");
}

/// What a server answers: a status, headers and a body.
type Said = (u16, &'static str, Vec<u8>);

fn json_body(value: &Value) -> Said {
    (200, "", value.to_string().into_bytes())
}

/// A server that answers as a function of method and path with query says.
fn serve(answer: impl Fn(&str, &str) -> Said + Send + 'static) -> MlflowAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("mlflow://{}/digits", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = respond(stream, &answer);
        }
    });
    address.parse().unwrap()
}

fn respond(mut stream: TcpStream, answer: &impl Fn(&str, &str) -> Said) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let mut words = first.split(' ');
    let (status, headers, body) = answer(words.next().unwrap_or_default(), words.next().unwrap_or_default());
    write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len())?;
    stream.write_all(&body)
}

/// A server with one version that MLflow logged, whose files are in the folder `data`.
fn logged(
    list: impl Fn(&str) -> Value + Send + 'static,
    file: impl Fn(&str) -> Said + Send + 'static,
) -> MlflowAddress {
    serve(move |_, path| {
        if path.contains("model-versions/search") || path.contains("model-versions/get?") {
            let version = json!({"version": "3"});
            return match path.contains("search") {
                true => json_body(&json!({"model_versions": [version]})),
                false => json_body(&json!({"model_version": version})),
            };
        }
        if path.contains("get-download-uri") {
            return json_body(&json!({"artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts"}));
        }
        match path.split_once("artifacts?path=") {
            Some((_, folder)) => json_body(&json!({"files": list(folder)})),
            None => file(path.rsplit("/artifacts/").next().unwrap_or_default()),
        }
    })
}

fn ml_model_or(name: &str, other: impl Fn(&str) -> Said) -> Said {
    match name {
        "MLmodel" => (200, "", b"flavors: {tensorflow: {data: data}}".to_vec()),
        "tf-persist.json" => (404, "", Vec::new()),
        name => other(name),
    }
}

fn pull(from: &MlflowAddress) -> Result<Transferred> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(folder.path().join("store")).unwrap();
    let remote = RemoteOptions::default().retries(1);
    let pulled = store.pull_mlflow(from, None, &PullOptions::default(), &remote, |_, _| Err("a Keras file".into()));
    let written: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|it| it.file_name()).collect();
    assert_eq!(written, ["store"], "nothing is written elsewhere");
    pulled
}

fn refused(from: &MlflowAddress) -> String {
    pull(from).unwrap_err().to_string()
}

#[test]
fn names_of_files_that_lead_elsewhere_are_refused() {
    for name in ["../../evil.keras", "/etc/evil.keras", "a/../evil.keras", "..", "", "a\\b.keras"] {
        let from = logged(
            move |_| json!([{"path": name, "is_dir": false, "file_size": 4}]),
            |name| ml_model_or(name, |_| (200, "", b"evil".to_vec())),
        );
        let error = refused(&from);
        assert!(error.contains("leads elsewhere"), "{name}: {error}");
    }
}

#[test]
fn lists_without_an_end_are_refused() {
    let from = logged(|_| json!([{"path": "d", "is_dir": true}]), |name| ml_model_or(name, |_| (404, "", Vec::new())));
    assert!(refused(&from).contains("folders deep"));
    let many = || (0..2000).map(|index| json!({"path": format!("d{index}"), "is_dir": true})).collect::<Vec<_>>();
    let from = logged(move |_| json!(many()), |name| ml_model_or(name, |_| (404, "", Vec::new())));
    let error = refused(&from);
    assert!(error.contains("lists more than") || error.contains("folders deep"), "{error}");
    let from = logged(|_| json!({"no": "list"}), |name| ml_model_or(name, |_| (404, "", Vec::new())));
    assert!(refused(&from).contains("not one of MLflow"));
}

#[test]
fn sizes_that_are_wrong_are_refused() {
    for said in [0, 3, 5, u64::MAX] {
        let from = logged(
            move |_| json!([{"path": "m.keras", "file_size": said}]),
            |name| ml_model_or(name, |_| (200, "", b"four".to_vec())),
        );
        let error = refused(&from);
        assert!(error.contains(&format!("4 bytes instead of {said}")), "{error}");
    }
    let from = logged(
        |_| json!([{"path": "m.keras", "file_size": 4}]),
        |name| ml_model_or(name, |_| (200, "", b"four".to_vec())),
    );
    assert_eq!(refused(&from), StoreError::Check("a Keras file".into()).to_string());
}

#[test]
fn large_answers_are_refused() {
    let from = serve(|_, _| (200, "", vec![b' '; 17 << 20]));
    assert!(refused(&from).contains("more than"));
    let from = logged(
        |_| json!([]),
        |name| match name {
            "MLmodel" => (200, "", vec![b'#'; 5 << 20]),
            _ => (404, "", Vec::new()),
        },
    );
    assert!(refused(&from).contains("more than"));
}

#[test]
fn servers_of_other_kinds_are_named() {
    for (said, reason) in [
        ((200, "", b"<html>".to_vec()), "not JSON"),
        ((404, "", b"<html>".to_vec()), "not an MLflow server"),
        ((200, "", b"{\"model_versions\": 7}".to_vec()), "not one of MLflow"),
        ((401, "", b"<html>".to_vec()), "refuses access"),
        ((403, "", b"Invalid Host header - possible".to_vec()), "takes no requests for the host name `127.0.0.1:"),
        ((200, "", b"{\"model_versions\": [{\"version\": \"-1\"}]}".to_vec()), "has the number `-1`"),
        ((200, "", b"{\"model_versions\": []}".to_vec()), "does not exist"),
        ((200, "", b"{}".to_vec()), "does not exist"),
    ] {
        let from = serve(move |_, _| said.clone());
        let error = refused(&from);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(resolve(&from, &RemoteOptions::default().retries(0)).is_err());
    }
}

#[test]
fn files_elsewhere_are_refused_by_name() {
    for (uri, reason) in [
        ("file:///srv/mlruns/1", "in a folder of the server's machine"),
        ("/srv/mlruns/1", "in a folder of the server's machine"),
        ("wasbs://c@a.blob.core.windows.net/1", "buckets of Azure"),
        ("dbfs:/x", "only MLflow"),
        ("mlflow-artifacts://elsewhere.example/1", "would get the credentials"),
        ("mlflow-artifacts:/1/../../x", "which is not a path"),
        ("mlflow-artifacts:", "which is not a path"),
    ] {
        let from = serve(move |_, path| match path.contains("get-download-uri") {
            true => json_body(&json!({"artifact_uri": uri})),
            false => json_body(&json!({"model_versions": [{"version": "3"}]})),
        });
        let error = refused(&from);
        assert!(error.contains(reason), "{uri}: {error}");
    }
}

#[test]
fn requests_that_change_something_are_not_sent_elsewhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("Location: http://{}/x\r\n", elsewhere.local_addr().unwrap());
    let to: &'static str = Box::leak(to.into_boxed_str());
    let from = serve(move |method, path| match (method, path) {
        ("GET", path) if path.contains("get-by-name") => {
            json_body(&json!({"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}))
        }
        ("GET", _) => json_body(&json!({})),
        _ => (307, to, Vec::new()),
    });
    let (_folder, store, version) = published("digits");
    let error = store.push_mlflow(&version, &from, &MlflowOptions::default(), &RemoteOptions::default()).unwrap_err();
    let StoreError::Remote(error) = error else { panic!("{error}") };
    assert_eq!(*error.kind(), RemoteErrorKind::Redirected { host: "http://127.0.0.1".to_owned() });
    assert!(elsewhere.accept().is_err(), "nothing goes there");
}

#[test]
fn a_version_whose_answer_was_lost_is_not_made_twice() {
    let created = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&created);
    let to = serve(move |method, path| match (method, path) {
        ("GET", path) if path.contains("model-versions/search") => match seen.load(Ordering::Relaxed) {
            0 => json_body(&json!({})),
            _ => json_body(&json!({"model_versions": [{"version": "5"}]})),
        },
        ("GET", path) if path.contains("get-by-name") => json_body(&json!({"experiment": {"experiment_id": "1"}})),
        ("POST", path) if path.ends_with("/logged-models") => {
            let info = json!({"model_id": "m-1", "artifact_uri": "mlflow-artifacts:/1/m-1", "status": "PENDING"});
            json_body(&json!({"model": {"info": info}}))
        }
        ("POST", path) if path.ends_with("model-versions/create") => {
            seen.fetch_add(1, Ordering::Relaxed);
            (503, "", Vec::new())
        }
        ("GET", path) if path.contains("/mlflow-artifacts/") => (404, "", Vec::new()),
        _ => json_body(&json!({})),
    });
    let (_folder, store, version) = published("digits");
    let pushed = store.push_mlflow(&version, &to, &MlflowOptions::default(), &RemoteOptions::default()).unwrap();
    assert_eq!((pushed.number, pushed.was_there), (5, false));
    assert_eq!(created.load(Ordering::Relaxed), 1);
}

#[test]
fn changed_versions_are_not_pushed() {
    let (_folder, store, version) = published("digits");
    let file = version.path().join("variables/variables.index");
    let mut bytes = fs::read(&file).unwrap();
    bytes[10] ^= 1;
    make_writable(&file);
    fs::write(&file, bytes).unwrap();
    let to = serve(|_, _| json_body(&json!({})));
    let pushed = store.push_mlflow(&version, &to, &MlflowOptions::default(), &RemoteOptions::default());
    assert!(matches!(pushed, Err(StoreError::Changed { .. })), "{pushed:?}");
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
