use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::models::State::{self, Available, End, Loading, Start, Unloaded, Unloading};
use crate::models::config::{BasePath, ModelConfig, Policy};
use crate::models::folder::FileStamp;
use crate::models::state_machine::{Action, MAX_ENDED, Model};
use crate::models::version_entry::{LoadError, LoadJob, LoadOutcome, RetryPolicy};
use crate::status::Status;

const RETRIES: RetryPolicy = RetryPolicy { max: 2, interval: Duration::from_secs(60) };

/// A model whose loads the test performs.
struct Harness {
    model: Model<i64>,
    ids: u64,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        let mut model = Model::new("m");
        let (base_path, policy) = (BasePath::Folder("/m".into()), Policy::Latest(1));
        model.set_config(Some(ModelConfig { base_path: Some(base_path), policy, labels: BTreeMap::new(), log: None }));
        Self { model, ids: 0, now: Instant::now() }
    }

    fn aspire(&mut self, versions: &[i64]) -> bool {
        self.aspire_at("/m", versions)
    }

    fn aspire_at(&mut self, base: &str, versions: &[i64]) -> bool {
        let chosen = versions.iter().map(|version| (*version, PathBuf::from(format!("{base}/{version}")))).collect();
        self.model.aspire(&chosen, &mut self.ids)
    }

    /// The versions to load now, and those to unload.
    fn decide(&mut self) -> (Vec<LoadJob>, Vec<(u64, i64)>) {
        let (mut loads, mut unloads) = (Vec::new(), Vec::new());
        for action in self.model.decide() {
            match action {
                Action::Load(job) => loads.push(job),
                Action::Unload { id, servable } => unloads.push((id, *servable)),
            }
        }
        (loads, unloads)
    }

    /// The only version to load now.
    fn load(&mut self) -> LoadJob {
        let (mut loads, unloads) = self.decide();
        assert!(unloads.is_empty() && loads.len() == 1, "{loads:?} {unloads:?}");
        let job = loads.remove(0);
        self.model.started(job.id);
        job
    }

    /// The only version to unload now.
    fn unload(&mut self) -> (u64, i64) {
        let (loads, unloads) = self.decide();
        assert!(loads.is_empty() && unloads.len() == 1, "{loads:?} {unloads:?}");
        unloads[0]
    }

    fn succeed(&mut self, job: &LoadJob) -> Option<i64> {
        self.finish(job.id, LoadOutcome::Loaded(job.version))
    }

    /// The version that is to be unloaded then.
    fn finish(&mut self, id: u64, outcome: LoadOutcome<i64>) -> Option<i64> {
        self.model.finished(id, outcome, RETRIES, self.now).map(|unwanted| *unwanted.servable)
    }

    fn fail(&mut self, job: &LoadJob, is_final: bool, stamp: u64) {
        let failure = LoadError::new(Status::not_found("no"), is_final);
        self.model.finished(job.id, LoadOutcome::Failed(failure, FileStamp(stamp)), RETRIES, self.now);
    }

    fn states(&self) -> Vec<(i64, State)> {
        self.model.statuses().into_iter().map(|status| (status.version, status.state)).collect()
    }

    fn nothing(&mut self) {
        let (loads, unloads) = self.decide();
        assert!(loads.is_empty() && unloads.is_empty(), "{loads:?} {unloads:?}");
    }

    /// A model with one available version.
    fn with(version: i64) -> Self {
        let mut harness = Self::new();
        harness.aspire(&[version]);
        let job = harness.load();
        harness.succeed(&job);
        harness
    }
}

#[test]
fn new_version_is_loaded_before_the_old_one_is_unloaded() {
    let mut harness = Harness::new();
    assert!(harness.aspire(&[1]));
    assert!(!harness.aspire(&[1]), "nothing new");
    assert_eq!(harness.states(), [(1, Start)]);
    let one = harness.load();
    assert_eq!((one.model.as_str(), one.version, one.path.as_path()), ("m", 1, Path::new("/m/1")));
    assert_eq!(harness.states(), [(1, Loading)]);
    assert_eq!(harness.succeed(&one), None);
    assert_eq!(harness.states(), [(1, Available)]);
    harness.nothing();

    harness.aspire(&[2]);
    let two = harness.load();
    assert_eq!(harness.states(), [(2, Loading), (1, Available)]);
    harness.succeed(&two);
    let (id, servable) = harness.unload();
    assert_eq!((id, servable), (one.id, 1));
    assert_eq!(harness.states(), [(2, Available), (1, Unloading)]);
    harness.model.unloaded(id);
    assert_eq!(harness.states(), [(2, Available), (1, End)]);
    harness.nothing();
}

#[test]
fn newest_version_is_loaded_first() {
    let mut harness = Harness::new();
    harness.aspire(&[1, 3, 2]);
    let (loads, _) = harness.decide();
    assert_eq!(loads.iter().map(|job| job.version).collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn broken_version_leaves_the_old_one() {
    let mut harness = Harness::with(1);
    harness.aspire(&[2]);
    let job = harness.load();
    harness.fail(&job, true, 0);
    harness.nothing();
    assert_eq!(harness.states(), [(2, End), (1, Available)]);
    assert_eq!(harness.model.statuses()[0].error, Some(Status::not_found("no")));
    assert_eq!(harness.model.failure(), None, "there is one that answers");
    // A working version replaces both.
    harness.aspire(&[3]);
    let job = harness.load();
    harness.succeed(&job);
    let (id, _) = harness.unload();
    harness.model.unloaded(id);
    assert_eq!(harness.states(), [(3, Available), (2, End), (1, End)]);
}

#[test]
fn rolling_back_loads_the_old_one_first() {
    let mut harness = Harness::with(2);
    harness.aspire(&[1]);
    let job = harness.load();
    assert_eq!(harness.states(), [(2, Available), (1, Loading)]);
    harness.succeed(&job);
    assert_eq!(harness.unload().1, 2);
}

#[test]
fn rolling_back_from_a_broken_version_keeps_the_old_one() {
    let mut harness = Harness::with(1);
    harness.aspire(&[2]);
    let job = harness.load();
    harness.fail(&job, true, 0);
    harness.aspire(&[1]);
    harness.nothing();
    assert_eq!(harness.states(), [(2, End), (1, Available)]);
}

#[test]
fn without_aspired_versions_all_are_unloaded() {
    let mut harness = Harness::with(1);
    harness.aspire(&[]);
    let (id, _) = harness.unload();
    // The same number again is a new version.
    harness.aspire(&[1]);
    let job = harness.load();
    assert_ne!(job.id, id);
    harness.model.unloaded(id);
    assert_eq!(harness.states(), [(1, Loading)]);
    harness.succeed(&job);
    assert_eq!(harness.states(), [(1, Available)]);
}

#[test]
fn another_base_path_replaces_the_same_number() {
    let mut harness = Harness::with(1);
    harness.aspire_at("/other", &[1]);
    let job = harness.load();
    assert_eq!(job.path, Path::new("/other/1"));
    assert_eq!(harness.states(), [(1, Available)], "the old one answers meanwhile");
    harness.succeed(&job);
    let (id, _) = harness.unload();
    assert_ne!(id, job.id);
    assert_eq!(harness.states(), [(1, Available)]);
    harness.model.unloaded(id);
    assert_eq!(harness.states(), [(1, Available)]);
}

#[test]
fn version_that_is_no_longer_aspired_is_not_served() {
    let mut harness = Harness::with(1);
    harness.aspire(&[2]);
    let two = harness.load();
    harness.aspire(&[1]);
    assert!(two.cancelled.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(harness.succeed(&two), Some(2), "it is given back to be unloaded");
    assert_eq!(harness.states(), [(2, Unloading), (1, Available)]);
    harness.nothing();
    harness.model.unloaded(two.id);
    assert_eq!(harness.model.statuses()[0].error.as_ref().unwrap().code, tf_persist_core::Code::Cancelled);
    assert_eq!(harness.states(), [(2, End), (1, Available)]);
    // Aspired again in time, it is served.
    harness.aspire(&[3]);
    let three = harness.load();
    harness.aspire(&[1]);
    harness.aspire(&[3]);
    assert_eq!(harness.succeed(&three), None);
    assert_eq!(harness.states()[0], (3, Available));
    // A cancelled load begins again.
    harness.aspire(&[4]);
    let unloaded = harness.decide().1;
    harness.model.unloaded(unloaded[0].0);
    let mut harness = Harness::new();
    harness.aspire(&[4]);
    let four = harness.load();
    harness.finish(four.id, LoadOutcome::Cancelled);
    assert_eq!(harness.load().version, 4);
    // The outcome of a forgotten load.
    assert_eq!(harness.finish(99, LoadOutcome::Loaded(7)), Some(7));
}

#[test]
fn failures_are_retried_later() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    for attempt in 0..3 {
        let job = harness.load();
        harness.fail(&job, false, 5);
        harness.nothing();
        let last = attempt == 2;
        assert_eq!(harness.states(), [(1, if last { End } else { Loading })]);
        assert_eq!(harness.model.failure().is_some(), last);
        assert_eq!(harness.model.next_retry(), (!last).then(|| harness.now + RETRIES.interval));
        assert!(!harness.model.retry(harness.now));
        harness.now += RETRIES.interval;
        assert_eq!(harness.model.retry(harness.now), !last);
    }
    assert_eq!(harness.model.watched().collect::<Vec<_>>(), [Path::new("/m/1")]);
}

#[test]
fn changed_files_are_loaded_again() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    let path = Path::new("/m/1");
    let job = harness.load();
    harness.fail(&job, true, 5);
    assert!(!harness.model.observe_stamp(path, FileStamp(5), true), "nothing has changed");
    assert!(!harness.model.observe_stamp(path, FileStamp(6), true), "it may still be copied");
    assert!(!harness.model.observe_stamp(path, FileStamp(7), true), "it is");
    assert!(!harness.model.observe_stamp(Path::new("/m/2"), FileStamp(7), true));
    assert!(harness.model.observe_stamp(path, FileStamp(7), true));
    let job = harness.load();
    harness.fail(&job, false, 7);
    assert_eq!(harness.states(), [(1, Loading)], "it is tried as often as at first");
    // Without regular polls there is no second poll to wait for.
    assert!(harness.model.observe_stamp(path, FileStamp(8), false));
    let job = harness.load();
    harness.succeed(&job);
    assert_eq!(harness.model.statuses()[0].error, None);
    assert!(harness.model.watched().next().is_none());
    assert!(!harness.model.observe_stamp(path, FileStamp(9), false), "an available version is not loaded again");
}

#[test]
fn failed_version_is_forgotten_when_it_is_gone() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    let job = harness.load();
    harness.fail(&job, true, 5);
    harness.aspire(&[]);
    assert!(harness.model.is_idle());
    assert_eq!(harness.states(), [(1, End)]);
    harness.aspire(&[1]);
    harness.load();
}

#[test]
fn history_is_limited() {
    let mut harness = Harness::with(0);
    for version in 1..=MAX_ENDED as i64 + 10 {
        harness.aspire(&[version]);
        let job = harness.load();
        harness.succeed(&job);
        let (id, _) = harness.unload();
        harness.model.unloaded(id);
    }
    let states = harness.states();
    assert_eq!(states.len(), MAX_ENDED + 1);
    assert_eq!((states[0], states[MAX_ENDED]), ((MAX_ENDED as i64 + 10, Available), (10, End)));
}

#[test]
fn all_but_one_superfluous_version_are_unloaded() {
    let mut harness = Harness::new();
    harness.aspire(&[1, 2, 3]);
    for job in harness.decide().0 {
        harness.succeed(&job);
    }
    harness.aspire(&[4]);
    let (loads, unloads) = harness.decide();
    assert_eq!(unloads.iter().map(|(_, version)| *version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(loads[0].version, 4);
    assert!(harness.model.is_version_available(3));
}

#[test]
fn quarantined_version_is_retried_after_its_time() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    let job = harness.load();
    let pause = Duration::from_secs(60);
    let failure = LoadError { retry_after: Some(pause), ..LoadError::new(Status::not_found("no"), true) };
    assert!(harness.model.finished(job.id, LoadOutcome::Failed(failure, FileStamp(1)), RETRIES, harness.now).is_none());
    assert_eq!(harness.model.next_retry(), Some(harness.now + pause));
    assert!(harness.model.failure().is_some() && harness.model.is_version_pending(1));
    assert!(!harness.model.retry(harness.now + pause / 2));
    assert!(harness.model.retry(harness.now + pause));
    assert!(harness.model.error(1).is_none());
    let job = harness.load();
    assert!(harness.succeed(&job).is_none());
}

#[test]
fn a_trial_replaces_a_version_that_is_still_wanted() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    let job = harness.load();
    assert!(harness.model.is_loading() && harness.model.begin_trial().is_none());
    assert_eq!(harness.finish(job.id, LoadOutcome::Untried(10)), None);
    let trial = harness.model.begin_trial().unwrap();
    assert!(harness.model.is_loading() && harness.model.begin_trial().is_none());
    harness.model.started(trial.id);
    assert_eq!(harness.states(), [(1, Available)]);
    let unwanted = harness.model.finished(trial.id, LoadOutcome::Loaded(11), RETRIES, harness.now).unwrap();
    assert_eq!(*unwanted.servable, 10);
    // Its end is not that of the version.
    harness.model.unloaded(unwanted.id);
    assert_eq!(harness.states(), [(1, Available)]);
    assert!(harness.model.begin_trial().is_none());
    assert_eq!(*harness.model.table().available[0].1, 11);

    harness.aspire(&[2]);
    let two = harness.load();
    harness.finish(two.id, LoadOutcome::Untried(20));
    let trial = harness.model.begin_trial().unwrap();
    assert_eq!(harness.unload(), (1, 11));
    // A trial that fails changes nothing.
    harness.fail(&trial, true, 1);
    assert_eq!((harness.states()[0], *harness.model.table().available[0].1), ((2, Available), 20));
    assert!(harness.model.error(2).is_none() && harness.model.begin_trial().is_none());
}

#[test]
fn a_trial_that_nobody_waits_for_is_unloaded() {
    let mut harness = Harness::new();
    harness.aspire(&[1]);
    let job = harness.load();
    harness.finish(job.id, LoadOutcome::Untried(10));
    let trial = harness.model.begin_trial().unwrap();
    harness.aspire(&[]);
    assert!(trial.cancelled.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(harness.unload(), (trial.id, 10));
    assert_eq!(harness.finish(trial.id, LoadOutcome::Loaded(11)), Some(11));
    harness.model.unloaded(trial.id);
    assert_eq!(harness.states(), [(1, End)]);
}

#[test]
fn a_version_without_room_beside_one_that_is_loaded_again_is_left_unloaded() {
    let no_room = || LoadOutcome::NoRoom(LoadError::new(Status::not_found("no room"), false), FileStamp(1));
    let mut harness = Harness::new();
    harness.aspire(&[1, 2]);
    let (first, _) = harness.decide();
    assert_eq!(first.iter().map(|job| job.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(harness.finish(first[0].id, no_room()), None);
    // A request wants the newest before the other was tried.
    harness.model.wake();
    let again = harness.load();
    assert!(again.evicts && again.version == 2, "{again:?}");
    assert_eq!(harness.finish(first[1].id, no_room()), None);
    assert_eq!(harness.states(), [(2, Unloaded), (1, Unloaded)]);
    harness.succeed(&again);
    harness.model.wake();
    let one = harness.load();
    harness.succeed(&one);
    assert_eq!(harness.states(), [(2, Available), (1, Available)]);
}
