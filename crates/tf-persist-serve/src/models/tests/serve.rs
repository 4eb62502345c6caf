//! The threads together, over real folders; what is "loaded" is the text of the file `saved_model.pb` of a version.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::runtime::Runtime;

use crate::models::State::{self, Available, End, Loading};
use crate::models::handle::Handle;
use crate::models::load::Loader;
use crate::models::model::Refusal;
use crate::models::view::Readiness;
use crate::models::{ModelSource, Settings, Version};
use crate::status::Status;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What was loaded, and says in which thread it is dropped.
struct Text {
    text: String,
    dropped_in: Arc<Mutex<Vec<String>>>,
}

impl Drop for Text {
    fn drop(&mut self) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.dropped_in.lock().unwrap().push(name);
    }
}

#[derive(Clone, Default)]
struct Texts {
    dropped_in: Arc<Mutex<Vec<String>>>,
    loads: Arc<Mutex<HashMap<PathBuf, u32>>>,
    is_busy: Arc<AtomicBool>,
}

impl Loader for Texts {
    type Loaded = Text;

    fn load(&self, _model: &str, _version: i64, path: &Path) -> Result<Text, Refusal> {
        *self.loads.lock().unwrap().entry(path.to_path_buf()).or_default() += 1;
        let refuse = |is_final| Refusal { status: Status::new(Code::DataLoss, "it is broken"), is_final };
        let text = fs::read_to_string(path.join("saved_model.pb")).map_err(|_| refuse(false))?;
        match text.as_str() {
            "broken" => return Err(refuse(false)),
            "forbidden" => return Err(refuse(true)),
            "panics" => panic!("what a model"),
            "slow" => {
                while !path.join("go").exists() {
                    if !path.exists() {
                        return Err(refuse(false));
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
            _ => {}
        }
        Ok(Text { text, dropped_in: self.dropped_in.clone() })
    }

    fn is_busy(&self, _loaded: &Text) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }
}

struct Bench {
    folder: TempDir,
    texts: Texts,
    runtime: Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), texts: Texts::default(), runtime }
    }

    fn base(&self, model: &str) -> PathBuf {
        self.folder.path().join(model)
    }

    /// Puts a version there, whole or not at all.
    fn put(&self, model: &str, version: i64, text: &str) -> PathBuf {
        let base = self.base(model);
        let hidden = base.join(format!(".{version}"));
        fs::create_dir_all(&hidden).unwrap();
        fs::write(hidden.join("saved_model.pb"), text).unwrap();
        let path = base.join(version.to_string());
        fs::rename(hidden, &path).unwrap();
        path
    }

    fn remove(&self, model: &str, version: i64) {
        let gone = self.base(model).join(format!(".gone{version}"));
        fs::rename(self.base(model).join(version.to_string()), &gone).unwrap();
        fs::remove_dir_all(gone).unwrap();
    }

    fn settings(&self, source: ModelSource) -> Settings {
        let mut settings =
            Settings { source: Some(source), poll: Some(Duration::from_millis(10)), ..Settings::default() };
        settings.load.retries = 0;
        settings.load.retry_interval = Duration::from_millis(20);
        settings
    }

    /// Settings that serve one model, `m`.
    fn one(&self) -> Settings {
        self.settings(ModelSource::BasePath { name: "m".into(), path: self.base("m") })
    }

    /// Settings that serve what a file says, which is written here.
    fn several(&self, models: &[(&str, &str)]) -> Settings {
        let path = self.folder.path().join("models.config");
        fs::write(&path, self.text(models)).unwrap();
        self.settings(ModelSource::ConfigFile { path, poll: Some(Duration::from_millis(10)) })
    }

    fn text(&self, models: &[(&str, &str)]) -> String {
        let model = |(name, more): &(&str, &str)| {
            let base = self.base(name);
            format!("config {{ name: '{name}' base_path: '{}' model_platform: 'tensorflow' {more} }}", base.display())
        };
        format!("model_config_list {{ {} }}", models.iter().map(model).collect::<String>())
    }

    fn config(&self, models: &[(&str, &str)]) -> ModelServerConfig {
        tf_persist_core::text_format::parse(self.text(models)).unwrap()
    }

    fn start(&self, settings: Settings) -> Handle<Text> {
        Handle::start(settings, self.texts.clone()).unwrap()
    }

    /// Starts and waits until it is ready.
    fn serve(&self, settings: Settings) -> Handle<Text> {
        let models = self.start(settings);
        self.ready(&models).unwrap();
        models
    }

    fn ready(&self, models: &Handle<Text>) -> Result<(), Status> {
        let ready = async { tokio::time::timeout(LIMIT, models.ready()).await };
        self.runtime.block_on(ready).expect("it is never ready")
    }

    fn reload(&self, models: &Handle<Text>, config: ModelServerConfig) -> Result<(), Status> {
        let reload = async { tokio::time::timeout(LIMIT, models.reload(config)).await };
        self.runtime.block_on(reload).expect("it never answers")
    }

    fn loads(&self, path: &Path) -> u32 {
        self.texts.loads.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

fn answer(models: &Handle<Text>, name: &str, version: &Version) -> Result<String, Status> {
    models.view().find(name, version).map(|found| found.text.clone())
}

fn latest(models: &Handle<Text>, name: &str) -> Option<String> {
    answer(models, name, &Version::Latest).ok()
}

fn states(models: &Handle<Text>, name: &str) -> Vec<(i64, State)> {
    let statuses = models.view().status(name, None).unwrap_or_default();
    statuses.into_iter().map(|status| (status.version, status.state)).collect()
}

fn error(models: &Handle<Text>, name: &str, version: i64) -> Status {
    models.view().status(name, Some(version)).unwrap()[0].error.clone().unwrap()
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn wait_states(models: &Handle<Text>, name: &str, wanted: &[(i64, State)]) {
    wait(&format!("{wanted:?}"), || states(models, name) == wanted);
}

/// Long enough for several looks.
fn let_it_look() {
    thread::sleep(Duration::from_millis(80));
}

#[test]
fn versions_come_and_go() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    bench.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(latest(&models, "m").unwrap(), "two");
    let said = answer(&models, "m", &Version::Number(1)).unwrap_err();
    assert_eq!(said, Status::not_found("Servable not found for request: Specific(m, 1)"));
    // Back.
    bench.remove("m", 2);
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    // Without its base path it stays.
    fs::rename(bench.base("m"), bench.base("gone")).unwrap();
    let_it_look();
    assert_eq!(states(&models, "m"), [(2, End), (1, Available)]);
    fs::rename(bench.base("gone"), bench.base("m")).unwrap();
    // An older one is nothing new.
    bench.put("m", 0, "zero");
    let_it_look();
    assert_eq!(latest(&models, "m").unwrap(), "one");
    // All of them.
    bench.remove("m", 1);
    wait_states(&models, "m", &[(2, End), (1, End), (0, Available)]);
    bench.remove("m", 0);
    wait_states(&models, "m", &[(2, End), (1, End), (0, End)]);
    let said = answer(&models, "m", &Version::Latest).unwrap_err();
    assert_eq!(said, Status::not_found("Servable not found for request: Latest(m)"));
    // And anew.
    bench.put("m", 1, "one again");
    wait("one again", || latest(&models, "m").as_deref() == Some("one again"));
    assert_eq!(models.view().status("x", None).unwrap_err().message, "Could not find any versions of model x");
    assert_eq!(models.view().status("m", Some(99)).unwrap_err().message, "Could not find version 99 of model m");
    models.stop();
    assert_eq!(latest(&models, "m"), None);
    assert!(bench.texts.dropped_in.lock().unwrap().iter().all(|name| name == "unload"));
}

#[test]
fn requests_keep_what_they_have() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    let held = models.view().find("m", &Version::Latest).unwrap().clone();
    bench.put("m", 2, "two");
    wait_states(&models, "m", &[(2, Available), (1, State::Unloading)]);
    assert_eq!(held.text, "one");
    let_it_look();
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    // The thread of a request is not the one that unloads, nor that of a run which goes on after the request was given up.
    bench.texts.is_busy.store(true, Ordering::Relaxed);
    drop(held);
    let_it_look();
    assert_eq!(states(&models, "m")[1], (1, State::Unloading));
    assert!(bench.texts.dropped_in.lock().unwrap().is_empty());
    bench.texts.is_busy.store(false, Ordering::Relaxed);
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    assert_eq!(*bench.texts.dropped_in.lock().unwrap(), ["unload"]);
}

#[test]
fn readers_always_find_something() {
    let bench = Bench::new();
    bench.put("m", 1, "1");
    let models = bench.serve(bench.one());
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0_u64;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(latest(&models, "m").is_some());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for version in 2..12 {
            bench.put("m", version, &version.to_string());
            wait("the next version", || latest(&models, "m") == Some(version.to_string()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 10));
    });
}

#[test]
fn a_broken_version_is_named_and_tried_when_it_changes() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let models = bench.serve(bench.one());
    let two = bench.put("m", 2, "broken");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert_eq!(error(&models, "m", 2), Status::new(Code::DataLoss, "it is broken"));
    let_it_look();
    assert_eq!(bench.loads(&two), 1, "nothing has changed");
    fs::write(two.join("saved_model.pb"), "two").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
    // A panic is a failure like others, and the thread goes on.
    let three = bench.put("m", 3, "panics");
    wait_states(&models, "m", &[(3, End), (2, Available), (1, End)]);
    assert!(error(&models, "m", 3).message.contains("panicked: what a model"));
    fs::write(three.join("saved_model.pb"), "three").unwrap();
    wait("three", || latest(&models, "m").as_deref() == Some("three"));
    // A folder that fills slowly.
    let four = bench.base("m").join("4");
    fs::create_dir(&four).unwrap();
    wait("four is seen", || states(&models, "m")[0] == (4, End));
    for part in 0..5 {
        fs::write(four.join(format!("part{part}")), "x").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    fs::write(four.join("saved_model.pb"), "four").unwrap();
    wait("four", || latest(&models, "m").as_deref() == Some("four"));
}

#[test]
fn failures_are_retried_and_hold_up_nobody() {
    let bench = Bench::new();
    bench.put("a", 1, "broken");
    bench.put("b", 1, "b");
    let mut settings = bench.several(&[("a", ""), ("b", "")]);
    settings.load.retries = 3;
    settings.load.retry_interval = Duration::from_millis(300);
    settings.poll = None;
    let models = bench.start(settings);
    wait("b is loaded", || latest(&models, "b").is_some());
    assert_eq!(states(&models, "a"), [(1, Loading)]);
    assert!(!matches!(models.view().readiness, Readiness::Ready));
    let said = bench.ready(&models).unwrap_err();
    assert_eq!(said.code, Code::Unknown);
    let text =
        "1 servable(s) did not become available: {{{name: a version: 1} due to error: DATA_LOSS: it is broken}, }";
    assert_eq!(said.message, text);
    assert_eq!(bench.loads(&bench.base("a").join("1")), 4);
    assert_eq!(states(&models, "a"), [(1, End)]);
}

#[test]
fn what_is_refused_for_good_is_not_retried() {
    let bench = Bench::new();
    let path = bench.put("m", 1, "forbidden");
    let mut settings = bench.one();
    settings.load.retries = 100;
    settings.load.retry_interval = LIMIT * 10;
    let models = bench.start(settings);
    bench.ready(&models).unwrap_err();
    assert_eq!(bench.loads(&path), 1);
}

#[test]
fn it_waits_for_the_first_version() {
    let bench = Bench::new();
    bench.put("b", 1, "b");
    fs::create_dir(bench.base("c")).unwrap();
    let models = bench.start(bench.several(&[("a", ""), ("b", ""), ("c", "")]));
    wait("b is loaded", || latest(&models, "b").is_some());
    bench.put("a", 1, "a");
    wait("a is loaded", || latest(&models, "a").is_some());
    assert!(models.view().readiness == Readiness::Waiting);
    bench.put("c", 1, "c");
    bench.ready(&models).unwrap();
    // And so for good.
    bench.remove("c", 1);
    wait_states(&models, "c", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    let list: Vec<String> = models.view().list().into_iter().map(|model| model.name).collect();
    assert_eq!(list, ["a", "b", "c"]);
}

#[test]
fn without_polling_it_looks_when_told() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let mut settings = bench.one();
    settings.poll = None;
    let models = bench.serve(settings);
    let two = bench.put("m", 2, "broken");
    let_it_look();
    assert_eq!(states(&models, "m"), [(1, Available)]);
    models.refresh();
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    fs::write(two.join("saved_model.pb"), "two").unwrap();
    models.refresh();
    wait_states(&models, "m", &[(2, Available), (1, End)]);
}

#[test]
fn policies_and_labels_are_changed_by_reloads() {
    let bench = Bench::new();
    for version in 1..=3 {
        bench.put("m", version, &version.to_string());
    }
    let models = bench.serve(bench.several(&[("m", "")]));
    let all = "model_version_policy { all {} }";
    bench.reload(&models, bench.config(&[("m", all)])).unwrap();
    wait_states(&models, "m", &[(3, Available), (2, Available), (1, Available)]);
    let label = |label: &str| answer(&models, "m", &Version::Label(label.into()));
    let labelled = |version: i64| format!("{all} version_labels {{ key: 'stable' value: {version} }}");
    for version in [1, 3, 2] {
        bench.reload(&models, bench.config(&[("m", &labelled(version))])).unwrap();
        wait("the label", || label("stable") == Ok(version.to_string()));
    }
    assert_eq!(models.view().list()[0].labels, [("stable".to_owned(), 2)]);
    // Onto nothing: all stays as it was.
    let said = bench.reload(&models, bench.config(&[("m", &labelled(777))])).unwrap_err();
    assert_eq!(said.code, Code::FailedPrecondition);
    let text = "Request to assign label to version 777 of model m, which is not currently available for inference";
    assert_eq!(said.message, text);
    assert_eq!(label("stable"), Ok("2".into()));
    for (name, label) in [("m", "canary"), ("nothing", "stable")] {
        let said = answer(&models, name, &Version::Label(label.into())).unwrap_err();
        assert_eq!(said, Status::invalid_argument(format!("Unrecognized servable version label: {label}")));
    }
    // The version goes, the label does not.
    bench.reload(&models, bench.config(&[("m", &labelled(2).replace("all {}", "specific { versions: 1 }"))])).unwrap();
    wait_states(&models, "m", &[(3, End), (2, End), (1, Available)]);
    assert_eq!(label("stable").unwrap_err().message, "Servable not found for request: Specific(m, 2)");
}

#[test]
fn labels_may_wait_if_that_is_allowed() {
    let bench = Bench::new();
    bench.put("m", 1, "1");
    let labels = |text: &str| format!("version_labels {{ {text} }}");
    let started = labels("key: 'a' value: 1");
    let refused = Handle::start(bench.several(&[("m", &started)]), bench.texts.clone()).err().unwrap();
    assert_eq!(refused.code, Code::FailedPrecondition);
    let settings = Settings { allow_labels_for_unavailable: true, ..bench.several(&[("m", &started)]) };
    let models = bench.serve(settings);
    assert_eq!(answer(&models, "m", &Version::Label("a".into())), Ok("1".into()));
    let both = format!("{started} {}", labels("key: 'new' value: 777"));
    bench.reload(&models, bench.config(&[("m", &both)])).unwrap();
    let said = answer(&models, "m", &Version::Label("new".into())).unwrap_err();
    assert_eq!(said.message, "Servable not found for request: Specific(m, 777)");
    let moved = labels("key: 'a' value: 777");
    let said = bench.reload(&models, bench.config(&[("m", &moved)])).unwrap_err();
    assert_eq!(said.code, Code::FailedPrecondition);
}

#[test]
fn reloads_wait_for_new_models() {
    let bench = Bench::new();
    bench.put("a", 1, "a");
    let models = bench.serve(bench.several(&[("a", "")]));
    let slow = bench.put("b", 1, "slow");
    bench.runtime.block_on(async {
        let reload = models.reload(bench.config(&[("b", "")]));
        tokio::pin!(reload);
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut reload).await.is_err(), "it must wait");
        // Neither others nor requests wait for it.
        assert_eq!(answer(&models, "b", &Version::Latest).unwrap_err().code, Code::NotFound);
        models.reload(bench.config(&[("b", "")])).await.unwrap();
        fs::write(slow.join("go"), "").unwrap();
        tokio::time::timeout(LIMIT, reload).await.unwrap().unwrap();
    });
    assert_eq!(latest(&models, "b").unwrap(), "slow");
    wait_states(&models, "a", &[(1, End)]);
    assert_eq!(
        answer(&models, "a", &Version::Latest).unwrap_err().message,
        "Servable not found for request: Latest(a)"
    );
    // To nothing, and back.
    bench.reload(&models, bench.config(&[])).unwrap();
    wait_states(&models, "b", &[(1, End)]);
    bench.reload(&models, bench.config(&[("a", ""), ("b", "")])).unwrap();
    assert!(latest(&models, "a").is_some() && latest(&models, "b").is_some());
}

#[test]
fn reloads_name_what_does_not_come() {
    let bench = Bench::new();
    bench.put("a", 1, "a");
    bench.put("bad", 1, "broken");
    let models = bench.serve(bench.several(&[("a", "")]));
    let said = bench.reload(&models, bench.config(&[("a", ""), ("bad", "")])).unwrap_err();
    assert_eq!(said.code, Code::Unknown);
    let text =
        "1 model(s) did not become available: {{{name: bad version: 1} due to error: DATA_LOSS: it is broken}, }";
    assert_eq!(said.message, text);
    assert_eq!((states(&models, "a"), states(&models, "bad")), (vec![(1, Available)], vec![(1, End)]));
    // A folder that is not there is waited for some seconds, and comes later all the same.
    let said = bench.reload(&models, bench.config(&[("a", ""), ("later", "")])).unwrap_err();
    assert!(said.message.contains("{{name: later} due to error: NOT_FOUND: there is no base path"), "{said}");
    bench.put("later", 1, "late");
    wait("it comes", || latest(&models, "later").as_deref() == Some("late"));
    // What cannot be changes nothing.
    let said = bench.reload(&models, bench.config(&[("a", ""), ("a", "")])).unwrap_err();
    assert_eq!(said.message, "Illegal to list model a multiple times in config list");
    let said = bench.reload(&models, ModelServerConfig::new()).unwrap_err();
    assert!(said.message.contains("Only ModelConfigList is currently supported"));
    assert!(latest(&models, "a").is_some() && latest(&models, "later").is_some());
}

#[test]
fn another_base_path_is_taken() {
    let bench = Bench::new();
    bench.put("m", 1, "old");
    bench.put("other", 1, "new");
    let models = bench.serve(bench.several(&[("m", "")]));
    let text =
        bench.text(&[("m", "")]).replace(bench.base("m").to_str().unwrap(), bench.base("other").to_str().unwrap());
    bench.reload(&models, tf_persist_core::text_format::parse(text).unwrap()).unwrap();
    wait("the new one", || latest(&models, "m").as_deref() == Some("new"));
    wait_states(&models, "m", &[(1, Available)]);
}

#[test]
fn the_file_is_read_again() {
    let bench = Bench::new();
    bench.put("a", 1, "a");
    bench.put("b", 1, "b");
    let models = bench.serve(bench.several(&[("a", "")]));
    let file = bench.folder.path().join("models.config");
    let write = |text: &str| {
        fs::write(bench.folder.path().join("new"), text).unwrap();
        fs::rename(bench.folder.path().join("new"), &file).unwrap();
    };
    for bad in ["this is no config {", "", &bench.text(&[("a", ""), ("a", "")])] {
        write(bad);
        let_it_look();
        assert_eq!(latest(&models, "a").unwrap(), "a");
    }
    fs::remove_file(&file).unwrap();
    let_it_look();
    assert_eq!(latest(&models, "a").unwrap(), "a");
    write(&bench.text(&[("b", "")]));
    wait("b instead of a", || latest(&models, "b").is_some() && latest(&models, "a").is_none());
    // A request stands until the file says something new.
    bench.reload(&models, bench.config(&[("a", "")])).unwrap();
    wait("a instead of b", || latest(&models, "a").is_some() && latest(&models, "b").is_none());
    let_it_look();
    assert!(latest(&models, "a").is_some() && latest(&models, "b").is_none());
    // Or until somebody asks for it.
    models.refresh();
    wait("b again", || latest(&models, "b").is_some() && latest(&models, "a").is_none());
}

#[test]
fn a_folder_that_vanishes_is_named() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    for (version, poll) in [(2, None), (3, Some(Duration::from_millis(10)))] {
        let models = bench.serve(Settings { poll, ..bench.one() });
        let path = bench.put("m", version, "slow");
        models.refresh();
        wait("it is being loaded", || bench.loads(&path) == 1);
        bench.remove("m", version);
        wait_states(&models, "m", &[(version, End), (1, Available)]);
        assert!(error(&models, "m", version).message.contains("vanished while it was being loaded"));
    }
}

#[test]
fn what_took_the_process_down_is_left_alone() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let path = bench.put("m", 2, "slow");
    let journal = bench.folder.path().join("journal");
    let settings = || {
        let mut settings =
            bench.settings(ModelSource::ConfigFile { path: bench.folder.path().join("models.config"), poll: None });
        settings.load.journal = Some(journal.clone());
        settings
    };
    bench.several(&[("m", "model_version_policy { all {} }")]);
    let models = bench.start(settings());
    wait("it is being loaded", || bench.loads(&path) == 1);
    // As if the process had died here.
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(path.join("go"), "").unwrap();
    models.stop();
    assert!(!journal.exists(), "who stops in order blames nobody");
    fs::remove_file(path.join("go")).unwrap();
    fs::write(&journal, text).unwrap();

    let models = bench.serve(settings());
    assert_eq!(latest(&models, "m").unwrap(), "one");
    wait_states(&models, "m", &[(2, End), (1, Available)]);
    assert!(error(&models, "m", 2).message.contains("version 2 of model m took the process down"));
    assert_eq!(bench.loads(&path), 1);
    fs::write(path.join("go"), "").unwrap();
    wait_states(&models, "m", &[(2, Available), (1, Available)]);
    assert!(!journal.exists());
}

#[test]
fn what_is_left_alone_keeps_no_other_from_being_served() {
    let bench = Bench::new();
    bench.put("good", 1, "one");
    let path = bench.put("bad", 1, "slow");
    let journal = bench.folder.path().join("journal");
    let settings = || {
        let mut settings =
            bench.settings(ModelSource::ConfigFile { path: bench.folder.path().join("models.config"), poll: None });
        settings.load.journal = Some(journal.clone());
        settings
    };
    bench.several(&[("bad", "")]);
    let models = bench.start(settings());
    wait("it is being loaded", || bench.loads(&path) == 1);
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(path.join("go"), "").unwrap();
    models.stop();
    fs::remove_file(path.join("go")).unwrap();

    fs::write(&journal, &text).unwrap();
    let models = bench.start(settings());
    let refused = bench.runtime.block_on(models.ready()).unwrap_err();
    assert!(refused.message.contains("took the process down"), "there is nothing else to serve: {refused}");
    models.stop();

    fs::write(&journal, &text).unwrap();
    bench.several(&[("bad", ""), ("good", "")]);
    let models = bench.serve(settings());
    assert_eq!(latest(&models, "good").unwrap(), "one");
    wait_states(&models, "bad", &[(1, End)]);
    assert!(models.view().readiness == Readiness::Ready);
    models.stop();
}

#[test]
fn stopping_unloads_everything() {
    let bench = Bench::new();
    bench.put("m", 1, "one");
    let slow = bench.put("n", 1, "slow");
    let models = bench.start(bench.several(&[("m", ""), ("n", "")]));
    wait("m", || latest(&models, "m").is_some());
    wait("it is being loaded", || bench.loads(&slow) == 1);
    thread::scope(|scope| {
        scope.spawn(|| models.stop());
        wait("m is unloaded", || latest(&models, "m").is_none());
        // What is being loaded is waited for.
        fs::write(slow.join("go"), "").unwrap();
    });
    assert_eq!(bench.texts.dropped_in.lock().unwrap().len(), 2);
    assert_eq!(bench.reload(&models, bench.config(&[("m", "")])).unwrap_err().code, Code::Unavailable);
    bench.ready(&models).unwrap_err();
    models.stop();
}
