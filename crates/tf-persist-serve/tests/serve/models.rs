//! Real models in TensorFlow: swapped, rolled back, broken, copied slowly, and their memory released.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tf_persist_core::{Code, SaveOptions, SavedModel, Tensor};
use tf_persist_serve::internals::State::{Available, End};
use tf_persist_serve::internals::{self, Metrics, Models, State, Version};
use tf_persist_serve::{ModelSettings, ModelSource, RunSettings, Status};
use tf_persist_testing::{TIMEOUT, copy_folder, in_own_process, model};

use crate::common::models::{has_tensorflow, load_options};

/// A folder of versions of `models/half_plus_two`.
pub(crate) struct Base(TempDir);

impl Base {
    pub(crate) fn new() -> Self {
        let base = Self(tempfile::tempdir().unwrap());
        fs::create_dir(base.path()).unwrap();
        base
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("base")
    }

    /// Adds a version atomically. `edit` may change its files before.
    pub(crate) fn put(&self, version: i64, edit: impl FnOnce(&Path)) -> PathBuf {
        let hidden = self.path().join(format!(".{version}"));
        copy_folder(&model("half_plus_two"), &hidden);
        edit(&hidden);
        let path = self.path().join(version.to_string());
        fs::rename(hidden, &path).unwrap();
        path
    }
}

pub(crate) fn start(base: &Base) -> Models {
    let source = ModelSource::BasePath { name: "m".into(), path: base.path() };
    let mut settings = ModelSettings::default().source(source).poll(Duration::from_millis(50));
    settings.load.retries = 0;
    settings.load.options = load_options();
    Models::start(settings, RunSettings::default(), Metrics::new(), internals::warm_up).unwrap()
}

#[track_caller]
pub(crate) fn wait_for(models: &Models, wanted: &[(i64, State)]) {
    let started = Instant::now();
    loop {
        let statuses = models.status("m", None).unwrap_or_default();
        let states: Vec<_> = statuses.iter().map(|status| (status.version, status.state)).take(wanted.len()).collect();
        if states == wanted {
            return;
        }
        assert!(started.elapsed() < TIMEOUT, "wanted {wanted:?}, found {statuses:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn error(models: &Models, version: i64) -> Status {
    models.status("m", Some(version)).unwrap()[0].error.clone().unwrap()
}

/// Half of 2 plus two, computed by the latest version.
fn ask(models: &Models) -> f32 {
    let servable = models.find("m", &Version::Latest).unwrap();
    let signature = servable.model().default_signature().unwrap();
    let (input, _) = signature.inputs().next().unwrap();
    let answer = signature.run([(input, Tensor::from_slice(&[1], &[2.0_f32]).unwrap())]).unwrap();
    answer.iter().next().unwrap().1.view::<f32>().unwrap()[0]
}

#[test]
fn versions_are_swapped_rolled_back_and_repaired() {
    if !has_tensorflow("versions_are_swapped_rolled_back_and_repaired") {
        return;
    }
    let base = Base::new();
    base.put(1, |_| {});
    let models = start(&base);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(models.ready()).unwrap();
    assert_eq!(ask(&models), 3.0);

    // Swapped and rolled back.
    base.put(2, |_| {});
    wait_for(&models, &[(2, Available), (1, End)]);
    assert_eq!(models.find("m", &Version::Latest).unwrap().version(), 2);
    fs::rename(base.path().join("2"), base.path().join(".gone")).unwrap();
    wait_for(&models, &[(2, End), (1, Available)]);

    // Broken in three ways, each with its own error; the old version stays available.
    base.put(3, |path| fs::write(path.join("saved_model.pb"), b"\xff\xff this is no model").unwrap());
    wait_for(&models, &[(3, End), (2, End), (1, Available)]);
    assert!(error(&models, 3).message.contains("saved_model.pb"), "{}", error(&models, 3));
    base.put(4, |path| {
        let data = path.join("variables/variables.data-00000-of-00001");
        let length = fs::metadata(&data).unwrap().len();
        fs::File::options().write(true).open(data).unwrap().set_len(length / 2).unwrap();
    });
    wait_for(&models, &[(4, End), (3, End), (2, End), (1, Available)]);
    assert!(!error(&models, 4).message.is_empty());
    let five = base.put(5, |path| fs::remove_file(path.join("saved_model.pb")).unwrap());
    wait_for(&models, &[(5, End)]);
    assert_eq!(error(&models, 5).code, Code::NotFound);
    assert_eq!(ask(&models), 3.0);

    // Repaired.
    fs::copy(model("half_plus_two").join("saved_model.pb"), five.join("saved_model.pb")).unwrap();
    wait_for(&models, &[(5, Available), (4, End), (3, End), (2, End), (1, End)]);

    // A pack.
    let pack = base.path().join("6.tfpack");
    let saved_model = SavedModel::open(base.path().join("1")).unwrap();
    saved_model.save(&pack, SaveOptions::default()).unwrap();
    wait_for(&models, &[(6, Available), (5, End)]);
    assert_eq!(ask(&models), 3.0);
    models.stop();
    assert_eq!(models.find("m", &Version::Latest).err().unwrap().code, Code::NotFound);
}

/// TensorFlow's threads keep the priority of the threads that answer requests, though loading threads start them.
#[test]
#[cfg(target_os = "linux")]
fn only_loading_threads_have_a_lower_priority() {
    in_own_process("models::only_loading_threads_have_a_lower_priority", || {
        if !has_tensorflow("only_loading_threads_have_a_lower_priority") {
            return;
        }
        let base = Base::new();
        base.put(1, |_| {});
        let models = start(&base);
        wait_for(&models, &[(1, Available)]);
        base.put(2, |_| {});
        wait_for(&models, &[(2, Available), (1, End)]);
        ask(&models);
        check_priorities();
        models.stop();
    });
}

#[cfg(target_os = "linux")]
fn check_priorities() {
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        let niceness: i32 = rest.split_whitespace().nth(16)?.parse().ok()?;
        Some((name.split_once('(')?.1.to_owned(), niceness))
    });
    let threads: Vec<(String, i32)> = threads.collect();
    let own = threads.iter().find(|(name, _)| name == "models").unwrap().1;
    let lower: Vec<_> = threads.iter().filter(|(_, niceness)| *niceness > own).collect();
    // TensorFlow's threads have the name of the thread that started them.
    assert!(lower.len() <= 1 && lower.iter().all(|(name, _)| name == "load-1"), "{threads:?}");
}

/// Resident memory of the process, in kB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Swaps a model `TF_PERSIST_SWAPS` times.
#[test]
#[cfg(target_os = "linux")]
fn memory_of_old_versions_is_released() {
    in_own_process("models::memory_of_old_versions_is_released", || {
        if has_tensorflow("memory_of_old_versions_is_released") {
            swap_and_measure();
        }
    });
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "it measures")]
fn swap_and_measure() {
    let swaps: i64 = env::var("TF_PERSIST_SWAPS").map_or(25, |swaps| swaps.parse().unwrap());
    let source = env::var_os("TF_PERSIST_SWAP_MODEL").map_or_else(|| model("half_plus_two"), PathBuf::from);
    let base = Base::new();
    let models = start(&base);
    let mut after_five = 0;
    for version in 1..=swaps {
        let hidden = base.path().join(".new");
        copy_folder(&source, &hidden);
        fs::rename(hidden, base.path().join(version.to_string())).unwrap();
        if version == 1 {
            wait_for(&models, &[(1, Available)]);
        } else {
            wait_for(&models, &[(version, Available), (version - 1, End)]);
            fs::remove_dir_all(base.path().join((version - 1).to_string())).unwrap();
        }
        if env::var_os("TF_PERSIST_SWAP_MODEL").is_none() {
            assert_eq!(ask(&models), 3.0);
        }
        if version == 5 {
            after_five = resident();
        }
        if version % 5 == 0 {
            println!("after {version} versions: {} kB", resident());
        }
    }
    let (before, after) = (after_five, resident());
    assert!(after <= before + before / 10, "after 5 versions {before} kB, after {swaps} {after} kB");
}
