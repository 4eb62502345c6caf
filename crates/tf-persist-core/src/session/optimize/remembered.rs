//! The results of trials, remembered in a folder, so that the next load of the same model takes none.
//!
//! A file has the name of a hash of all that a trial depends on: the model's digest, with the checksum of every
//! variable; the recorded requests; the options; TensorFlow's version and settings; the processor. A file that is
//! missing, damaged or of another version costs a trial.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::available_parallelism;
use std::time::SystemTime;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tf_persist_savedmodel::internals::push_hex;
use tf_persist_savedmodel::scratch::NewFile;
use tf_persist_savedmodel::warmup::FILE;

use super::super::load::Checked;
use super::super::options::LoadOptions;
use super::Optimization;

/// Changes whenever the simplifications or the trial do.
const VERSION: &str = concat!("3 of tf-persist ", env!("CARGO_PKG_VERSION"));

/// The most results that a folder keeps. The oldest goes first.
const MAX_FILES: usize = 256;

/// A result has a few hundred bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Recorded requests up to this size are hashed.
const MAX_REQUESTS: u64 = 256 << 20;

/// The beginnings of environment variables that change how TensorFlow computes.
const SETTINGS: [&str; 5] =
    ["TF_ENABLE_ONEDNN", "TF_NUM_", "TF_OVERRIDE_GLOBAL_THREADPOOL", "ONEDNN_", "OMP_NUM_THREADS"];

/// The place of a model's result.
pub(super) struct Remembered {
    file: PathBuf,
}

impl Remembered {
    /// `None` if results are not remembered, or something that the trial depends on cannot be read.
    pub(super) fn new(checked: &Checked<'_>, options: &LoadOptions) -> Option<Self> {
        let folder = options.optimize_cache.as_deref()?;
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(VERSION.as_bytes());
        add(checked.model.digest(&checked.meta_graph).ok()?.as_bytes());
        let requests = checked.model.files().read(FILE, MAX_REQUESTS, "the limit").ok()?;
        add(requests.as_deref().unwrap_or_default());
        add(format!("{:?}", checked.meta_graph.tags()).as_bytes());
        let asked = (options.optimize_tolerance, options.asserts);
        add(format!("{asked:?} {:?}", options.config().ok()?).as_bytes());
        add(checked.tensorflow_version().as_bytes());
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if SETTINGS.iter().any(|setting| name.starts_with(setting)) {
                add(format!("{name}={}", value.to_string_lossy()).as_bytes());
            }
        }
        add(processor().as_bytes());
        let mut name = String::new();
        push_hex(&mut name, &hash.finalize());
        Some(Self { file: folder.join(name).with_extension("json") })
    }

    /// The result, if there is one.
    pub(super) fn read(&self) -> Option<Optimization> {
        let mut text = String::new();
        File::open(&self.file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let result: Value = serde_json::from_str(&text).ok()?;
        Some(Optimization {
            constants: result.get("constants")?.as_bool()?,
            simplified: result.get("simplified")?.as_bool()?,
            calling_thread: result.get("calling_thread")?.as_bool()?,
            one_thread_an_op: result.get("one_thread_an_op")?.as_bool()?,
            speedup: result.get("speedup")?.as_f64(),
            requests: result.get("requests")?.as_u64()?.try_into().ok()?,
            reason: result.get("reason")?.as_str().map(str::to_owned),
            remembered: true,
            failed: Vec::new(),
            untried: false,
        })
    }

    /// Writes a result. What cannot be written costs the next load a trial.
    pub(super) fn write(&self, done: &Optimization) {
        let text = json!({
            "constants": done.constants,
            "simplified": done.simplified,
            "calling_thread": done.calling_thread,
            "one_thread_an_op": done.one_thread_an_op,
            "speedup": done.speedup,
            "requests": done.requests,
            "reason": done.reason,
        });
        let write = |folder: &Path| -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            // Moved when it is complete: another process may read it.
            let mut file = NewFile::beside(&self.file)?;
            writeln!(file, "{text}")?;
            file.publish(true)?;
            drop_oldest(folder, MAX_FILES)
        };
        let _ = self.file.parent().map(write);
    }
}

/// Deletes the oldest results of a folder that has more than `most`.
fn drop_oldest(folder: &Path, most: usize) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let path = entry.path();
            let is_result = path.extension().is_some_and(|extension| extension == "json");
            is_result.then_some((entry.metadata().ok()?.modified().ok()?, path))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(most);
    files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// The kind of processor, and the number of its cores. It is read once: a machine with many cores has a long list.
fn processor() -> &'static str {
    static PROCESSOR: OnceLock<String> = OnceLock::new();
    PROCESSOR.get_or_init(read_processor)
}

fn read_processor() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let listed = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = listed.lines().filter(|line| line.starts_with("model name") || line.starts_with("flags")).take(2);
    format!("{} {cores} {}", std::env::consts::ARCH, model.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_result_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let remembered = Remembered { file: folder.path().join("new/a.json") };
        assert_eq!(remembered.read(), None);
        let done = Optimization {
            constants: true,
            simplified: false,
            calling_thread: true,
            one_thread_an_op: true,
            speedup: Some(2.5),
            requests: 3,
            reason: Some("why".into()),
            remembered: false,
            failed: Vec::new(),
            untried: false,
        };
        remembered.write(&done);
        assert_eq!(remembered.read(), Some(Optimization { remembered: true, ..done.clone() }));
        let without = Optimization { speedup: None, reason: None, ..done };
        remembered.write(&without);
        assert_eq!(remembered.read(), Some(Optimization { remembered: true, ..without }));
        for text in ["", "{}", "[1", r#"{"constants": 1}"#] {
            fs::write(&remembered.file, text).unwrap();
            assert_eq!(remembered.read(), None, "{text}");
        }
    }

    #[test]
    fn the_oldest_results_go() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["d.json", "b.json", "a.json", "c.json", "other"].iter().enumerate() {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age as u64)).unwrap();
        }
        drop_oldest(folder.path(), 2).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["b.json", "d.json", "other"]);
    }
}
