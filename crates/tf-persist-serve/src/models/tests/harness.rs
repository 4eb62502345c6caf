//! All threads of the models over real folders. A loaded version is the text of its file `saved_model.pb`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tf_persist_testing::TIMEOUT;
use tokio::runtime::Runtime;

use crate::models::handle::Handle;
use crate::models::load::Loader;
use crate::models::resident::Reservation;
use crate::models::version_entry::{LoadError, LoadJob};
use crate::models::{ModelSettings, ModelSource, Prepare, Refusal, State, Version};
use crate::status::Status;

/// A loaded version, which records the thread that drops it.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) is_tried: bool,
    _reservation: Option<Reservation>,
    dropped_in: Arc<Mutex<Vec<String>>>,
}

impl Drop for Text {
    fn drop(&mut self) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.dropped_in.lock().unwrap().push(name);
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    pub(super) dropped_in: Arc<Mutex<Vec<String>>>,
    loads: Arc<Mutex<HashMap<PathBuf, u32>>>,
    refusals: Arc<AtomicUsize>,
    made_way: Arc<AtomicUsize>,
    pub(super) is_busy: Arc<AtomicBool>,
}

impl Texts {
    /// How often a version with a file `unreachable` was refused.
    pub(super) fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }

    /// How many loads made way for requests.
    pub(super) fn made_way(&self) -> usize {
        self.made_way.load(Ordering::Relaxed)
    }
}

impl Loader for Texts {
    type Loaded = Text;

    fn make_way(&self) {
        self.made_way.fetch_add(1, Ordering::Relaxed);
    }

    fn prepare(&self) -> Option<&dyn Prepare> {
        Some(self)
    }

    fn load(&self, job: &LoadJob, reservation: Option<Reservation>) -> Result<Text, LoadError> {
        let path = job.path.as_path();
        *self.loads.lock().unwrap().entry(path.to_path_buf()).or_default() += 1;
        let refuse = |is_final| LoadError::new(Status::new(Code::DataLoss, "it is broken"), is_final);
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
        Ok(Text { text, is_tried: job.with_trial, _reservation: reservation, dropped_in: self.dropped_in.clone() })
    }

    fn is_untried(&self, loaded: &Text) -> bool {
        !loaded.is_tried
    }

    fn is_busy(&self, _loaded: &Text) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }
}

/// Refuses a version with a file `unsigned`, and for a moment one with a file `unreachable`.
impl Prepare for Texts {
    fn prepare(&self, model: &str, version: i64, path: &Path) -> Result<(), Refusal> {
        let refusal = || Refusal::new(Code::PermissionDenied, format!("{model}@{version} is not signed"));
        if path.join("unreachable").exists() {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(refusal().retry_after(Duration::from_millis(5)));
        }
        if path.join("unsigned").exists() { Err(refusal()) } else { Ok(()) }
    }
}

pub(super) struct Harness {
    pub(super) folder: TempDir,
    pub(super) texts: Texts,
    pub(super) runtime: Runtime,
}

impl Harness {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), texts: Texts::default(), runtime }
    }

    pub(super) fn base(&self, model: &str) -> PathBuf {
        self.folder.path().join(model)
    }

    /// Adds a version atomically.
    pub(super) fn put(&self, model: &str, version: i64, text: &str) -> PathBuf {
        let base = self.base(model);
        let hidden = base.join(format!(".{version}"));
        fs::create_dir_all(&hidden).unwrap();
        fs::write(hidden.join("saved_model.pb"), text).unwrap();
        let path = base.join(version.to_string());
        fs::rename(hidden, &path).unwrap();
        path
    }

    /// Changes a version atomically: a poll would take a file that stays empty for a moment for the whole.
    pub(super) fn change(&self, version: &Path, text: &str) {
        fs::write(version.join("new"), text).unwrap();
        fs::rename(version.join("new"), version.join("saved_model.pb")).unwrap();
    }

    pub(super) fn remove(&self, model: &str, version: i64) {
        let gone = self.base(model).join(format!(".gone{version}"));
        fs::rename(self.base(model).join(version.to_string()), &gone).unwrap();
        fs::remove_dir_all(gone).unwrap();
    }

    pub(super) fn settings(&self, source: ModelSource) -> ModelSettings {
        let mut settings =
            ModelSettings { source: Some(source), poll: Some(Duration::from_millis(10)), ..ModelSettings::default() };
        settings.load.retries = 0;
        settings.load.retry_interval = Duration::from_millis(20);
        settings
    }

    /// Settings for one model, `m`.
    pub(super) fn one(&self) -> ModelSettings {
        self.settings(ModelSource::BasePath { name: "m".into(), path: self.base("m") })
    }

    /// Settings with a configuration file of these models, which is written here.
    pub(super) fn several(&self, models: &[(&str, &str)]) -> ModelSettings {
        let path = self.folder.path().join("models.config");
        fs::write(&path, self.text(models)).unwrap();
        self.settings(ModelSource::ConfigFile { path, poll: Some(Duration::from_millis(10)) })
    }

    /// The path of the crash journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Settings with the configuration file of [`Self::several`] and a crash journal.
    pub(super) fn with_journal(&self) -> ModelSettings {
        let path = self.folder.path().join("models.config");
        let mut settings = self.settings(ModelSource::ConfigFile { path, poll: None });
        settings.load.journal = Some(self.journal());
        settings
    }

    /// The journal that two processes leave which crash one after the other while loading a version. The version must
    /// be a slow one.
    pub(super) fn journal_of_a_crashed_load(&self, path: &Path) -> String {
        let models = self.start(self.with_journal());
        wait("it is being loaded", || self.loads(path) == 1);
        let left = fs::read_to_string(self.journal()).unwrap();
        fs::write(path.join("go"), "").unwrap();
        models.stop();
        assert!(!self.journal().exists(), "an ordinary shutdown leaves no journal");
        fs::remove_file(path.join("go")).unwrap();
        assert!(left.contains("\"ends\":0"), "{left}");
        left.replace("\"ends\":0", "\"ends\":1")
    }

    pub(super) fn text(&self, models: &[(&str, &str)]) -> String {
        let model = |(name, more): &(&str, &str)| {
            let base = self.base(name);
            format!("config {{ name: '{name}' base_path: '{}' model_platform: 'tensorflow' {more} }}", base.display())
        };
        format!("model_config_list {{ {} }}", models.iter().map(model).collect::<String>())
    }

    pub(super) fn config(&self, models: &[(&str, &str)]) -> ModelServerConfig {
        tf_persist_proto::text_format::parse(self.text(models)).unwrap()
    }

    pub(super) fn start(&self, settings: ModelSettings) -> Handle<Text> {
        Handle::start(settings, self.texts.clone()).unwrap()
    }

    /// Starts the models, and waits until they are ready.
    pub(super) fn serve(&self, settings: ModelSettings) -> Handle<Text> {
        let models = self.start(settings);
        self.ready(&models).unwrap();
        models
    }

    pub(super) fn ready(&self, models: &Handle<Text>) -> Result<(), Status> {
        let ready = async { tokio::time::timeout(TIMEOUT, models.ready()).await };
        self.runtime.block_on(ready).expect("gave up waiting until it is ready")
    }

    pub(super) fn reload(&self, models: &Handle<Text>, config: ModelServerConfig) -> Result<(), Status> {
        let reload = async { tokio::time::timeout(TIMEOUT, models.reload(config, "a test")).await };
        self.runtime.block_on(reload).expect("gave up waiting for the reload")
    }

    pub(super) fn loads(&self, path: &Path) -> u32 {
        self.texts.loads.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

pub(super) fn answer(models: &Handle<Text>, name: &str, version: &Version) -> Result<String, Status> {
    models.view().find(name, version).map(|found| found.text.clone())
}

pub(super) fn latest(models: &Handle<Text>, name: &str) -> Option<String> {
    answer(models, name, &Version::Latest).ok()
}

pub(super) fn states(models: &Handle<Text>, name: &str) -> Vec<(i64, State)> {
    let statuses = models.view().status(name, None).unwrap_or_default();
    statuses.into_iter().map(|status| (status.version, status.state)).collect()
}

pub(super) fn error(models: &Handle<Text>, name: &str, version: i64) -> Status {
    models.view().status(name, Some(version)).unwrap()[0].error.clone().unwrap()
}

#[track_caller]
pub(super) fn wait(what: &str, holds: impl FnMut() -> bool) {
    tf_persist_testing::wait_until(what, holds);
}

#[track_caller]
pub(super) fn wait_states(models: &Handle<Text>, name: &str, wanted: &[(i64, State)]) {
    wait(&format!("{wanted:?}"), || states(models, name) == wanted);
}

/// Waits for two more polls of the base paths: the first may have begun before the last change of the files.
pub(super) fn wait_for_polls(models: &Handle<Text>) {
    wait_for_two_more(&models.polls().versions);
}

/// The same for the configuration file.
pub(super) fn wait_for_config_polls(models: &Handle<Text>) {
    wait_for_two_more(&models.polls().config);
}

fn wait_for_two_more(polls: &AtomicUsize) {
    let before = polls.load(Ordering::SeqCst);
    wait("two polls", || polls.load(Ordering::SeqCst) >= before + 2);
}
