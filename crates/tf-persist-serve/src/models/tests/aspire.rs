use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::models::State::{self, Available, End, Loading, Start, Unloading};
use crate::models::config::{Policy, Wanted};
use crate::models::folder::Stamp;
use crate::models::model::{Action, Job, MAX_ENDED, Model, Outcome, Refusal, Retries};
use crate::status::Status;

const RETRIES: Retries = Retries { most: 2, interval: Duration::from_secs(60) };

/// A model whose loads are done by hand.
struct Bench {
    model: Model<i64>,
    ids: u64,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut model = Model::new("m");
        let (base_path, policy) = (PathBuf::from("/m"), Policy::Latest(1));
        model.want(Some(Wanted { base_path, policy, labels: BTreeMap::new() }));
        Self { model, ids: 0, now: Instant::now() }
    }

    fn aspire(&mut self, versions: &[i64]) -> bool {
        self.aspire_at("/m", versions)
    }

    fn aspire_at(&mut self, base: &str, versions: &[i64]) -> bool {
        let chosen = versions.iter().map(|version| (*version, PathBuf::from(format!("{base}/{version}")))).collect();
        self.model.aspire(&chosen, &mut self.ids)
    }

    /// The versions that are to be loaded now, and those to be unloaded.
    fn decide(&mut self) -> (Vec<Job>, Vec<(u64, i64)>) {
        let (mut loads, mut unloads) = (Vec::new(), Vec::new());
        for action in self.model.decide() {
            match action {
                Action::Load(job) => loads.push(job),
                Action::Unload { id, servable } => unloads.push((id, *servable)),
            }
        }
        (loads, unloads)
    }

    /// The one version to be loaded now.
    fn load(&mut self) -> Job {
        let (mut loads, unloads) = self.decide();
        assert!(unloads.is_empty() && loads.len() == 1, "{loads:?} {unloads:?}");
        let job = loads.remove(0);
        self.model.started(job.id);
        job
    }

    /// The one version to be unloaded now.
    fn unload(&mut self) -> (u64, i64) {
        let (loads, unloads) = self.decide();
        assert!(loads.is_empty() && unloads.len() == 1, "{loads:?} {unloads:?}");
        unloads[0]
    }

    fn succeed(&mut self, job: &Job) -> Option<i64> {
        self.model.finished(job.id, Outcome::Loaded(job.version), RETRIES, self.now)
    }

    fn fail(&mut self, job: &Job, is_final: bool, stamp: u64) {
        let refusal = Refusal::new(Status::not_found("no"), is_final);
        self.model.finished(job.id, Outcome::Refused(refusal, Stamp(stamp)), RETRIES, self.now);
    }

    fn states(&self) -> Vec<(i64, State)> {
        self.model.statuses().into_iter().map(|status| (status.version, status.state)).collect()
    }

    fn nothing(&mut self) {
        let (loads, unloads) = self.decide();
        assert!(loads.is_empty() && unloads.is_empty(), "{loads:?} {unloads:?}");
    }

    /// A model with one version that answers.
    fn with(version: i64) -> Self {
        let mut bench = Self::new();
        bench.aspire(&[version]);
        let job = bench.load();
        bench.succeed(&job);
        bench
    }
}

#[test]
fn the_new_one_is_loaded_before_the_old_one_goes() {
    let mut bench = Bench::new();
    assert!(bench.aspire(&[1]));
    assert!(!bench.aspire(&[1]), "nothing new");
    assert_eq!(bench.states(), [(1, Start)]);
    let one = bench.load();
    assert_eq!((one.model.as_str(), one.version, one.path.as_path()), ("m", 1, Path::new("/m/1")));
    assert_eq!(bench.states(), [(1, Loading)]);
    assert_eq!(bench.succeed(&one), None);
    assert_eq!(bench.states(), [(1, Available)]);
    bench.nothing();

    bench.aspire(&[2]);
    let two = bench.load();
    assert_eq!(bench.states(), [(2, Loading), (1, Available)]);
    bench.succeed(&two);
    let (id, servable) = bench.unload();
    assert_eq!((id, servable), (one.id, 1));
    assert_eq!(bench.states(), [(2, Available), (1, Unloading)]);
    bench.model.unloaded(id);
    assert_eq!(bench.states(), [(2, Available), (1, End)]);
    bench.nothing();
}

#[test]
fn the_newest_is_loaded_first() {
    let mut bench = Bench::new();
    bench.aspire(&[1, 3, 2]);
    let (loads, _) = bench.decide();
    assert_eq!(loads.iter().map(|job| job.version).collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn a_broken_version_leaves_the_old_one() {
    let mut bench = Bench::with(1);
    bench.aspire(&[2]);
    let job = bench.load();
    bench.fail(&job, true, 0);
    bench.nothing();
    assert_eq!(bench.states(), [(2, End), (1, Available)]);
    assert_eq!(bench.model.statuses()[0].error, Some(Status::not_found("no")));
    assert_eq!(bench.model.failure(), None, "there is one that answers");
    // One that is better takes the place of both.
    bench.aspire(&[3]);
    let job = bench.load();
    bench.succeed(&job);
    let (id, _) = bench.unload();
    bench.model.unloaded(id);
    assert_eq!(bench.states(), [(3, Available), (2, End), (1, End)]);
}

#[test]
fn rolling_back_loads_the_old_one_first() {
    let mut bench = Bench::with(2);
    bench.aspire(&[1]);
    let job = bench.load();
    assert_eq!(bench.states(), [(2, Available), (1, Loading)]);
    bench.succeed(&job);
    assert_eq!(bench.unload().1, 2);
}

#[test]
fn rolling_back_from_a_broken_version_keeps_the_old_one() {
    let mut bench = Bench::with(1);
    bench.aspire(&[2]);
    let job = bench.load();
    bench.fail(&job, true, 0);
    bench.aspire(&[1]);
    bench.nothing();
    assert_eq!(bench.states(), [(2, End), (1, Available)]);
}

#[test]
fn without_any_version_everything_goes() {
    let mut bench = Bench::with(1);
    bench.aspire(&[]);
    let (id, _) = bench.unload();
    // The same number again is another version.
    bench.aspire(&[1]);
    let job = bench.load();
    assert_ne!(job.id, id);
    bench.model.unloaded(id);
    assert_eq!(bench.states(), [(1, Loading)]);
    bench.succeed(&job);
    assert_eq!(bench.states(), [(1, Available)]);
}

#[test]
fn another_base_path_replaces_the_same_number() {
    let mut bench = Bench::with(1);
    bench.aspire_at("/other", &[1]);
    let job = bench.load();
    assert_eq!(job.path, Path::new("/other/1"));
    assert_eq!(bench.states(), [(1, Available)], "the old one answers meanwhile");
    bench.succeed(&job);
    let (id, _) = bench.unload();
    assert_ne!(id, job.id);
    assert_eq!(bench.states(), [(1, Available)]);
    bench.model.unloaded(id);
    assert_eq!(bench.states(), [(1, Available)]);
}

#[test]
fn what_is_not_wanted_any_more_is_not_served() {
    let mut bench = Bench::with(1);
    bench.aspire(&[2]);
    let two = bench.load();
    bench.aspire(&[1]);
    assert!(two.dropped.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(bench.succeed(&two), Some(2), "it is given back to be unloaded");
    assert_eq!(bench.states(), [(2, Unloading), (1, Available)]);
    bench.nothing();
    bench.model.unloaded(two.id);
    assert_eq!(bench.model.statuses()[0].error.as_ref().unwrap().code, tf_persist_core::Code::Cancelled);
    assert_eq!(bench.states(), [(2, End), (1, Available)]);
    // Wanted again in time, it is.
    bench.aspire(&[3]);
    let three = bench.load();
    bench.aspire(&[1]);
    bench.aspire(&[3]);
    assert_eq!(bench.succeed(&three), None);
    assert_eq!(bench.states()[0], (3, Available));
    // What was not begun is begun.
    bench.aspire(&[4]);
    let unloaded = bench.decide().1;
    bench.model.unloaded(unloaded[0].0);
    let mut bench = Bench::new();
    bench.aspire(&[4]);
    let four = bench.load();
    bench.model.finished(four.id, Outcome::Dropped, RETRIES, bench.now);
    assert_eq!(bench.load().version, 4);
    // A load that nobody knows of any more.
    assert_eq!(bench.model.finished(99, Outcome::Loaded(7), RETRIES, bench.now), Some(7));
}

#[test]
fn failures_are_tried_again_later() {
    let mut bench = Bench::new();
    bench.aspire(&[1]);
    for attempt in 0..3 {
        let job = bench.load();
        bench.fail(&job, false, 5);
        bench.nothing();
        let last = attempt == 2;
        assert_eq!(bench.states(), [(1, if last { End } else { Loading })]);
        assert_eq!(bench.model.failure().is_some(), last);
        assert_eq!(bench.model.next_retry(), (!last).then(|| bench.now + RETRIES.interval));
        assert!(!bench.model.retry(bench.now));
        bench.now += RETRIES.interval;
        assert_eq!(bench.model.retry(bench.now), !last);
    }
    assert_eq!(bench.model.watched().collect::<Vec<_>>(), [Path::new("/m/1")]);
}

#[test]
fn files_that_change_are_tried_again() {
    let mut bench = Bench::new();
    bench.aspire(&[1]);
    let path = Path::new("/m/1");
    let job = bench.load();
    bench.fail(&job, true, 5);
    assert!(!bench.model.stamped(path, Stamp(5), true), "nothing has changed");
    assert!(!bench.model.stamped(path, Stamp(6), true), "it may still be copied");
    assert!(!bench.model.stamped(path, Stamp(7), true), "it is");
    assert!(!bench.model.stamped(Path::new("/m/2"), Stamp(7), true));
    assert!(bench.model.stamped(path, Stamp(7), true));
    let job = bench.load();
    bench.fail(&job, false, 7);
    assert_eq!(bench.states(), [(1, Loading)], "it is tried as often as at first");
    // Who looks only when told cannot wait.
    assert!(bench.model.stamped(path, Stamp(8), false));
    let job = bench.load();
    bench.succeed(&job);
    assert_eq!(bench.model.statuses()[0].error, None);
    assert!(bench.model.watched().next().is_none());
    assert!(!bench.model.stamped(path, Stamp(9), false), "what answers is left alone");
}

#[test]
fn what_failed_is_forgotten_when_it_is_gone() {
    let mut bench = Bench::new();
    bench.aspire(&[1]);
    let job = bench.load();
    bench.fail(&job, true, 5);
    bench.aspire(&[]);
    assert!(bench.model.is_idle());
    assert_eq!(bench.states(), [(1, End)]);
    bench.aspire(&[1]);
    bench.load();
}

#[test]
fn the_history_ends_somewhere() {
    let mut bench = Bench::with(0);
    for version in 1..=MAX_ENDED as i64 + 10 {
        bench.aspire(&[version]);
        let job = bench.load();
        bench.succeed(&job);
        let (id, _) = bench.unload();
        bench.model.unloaded(id);
    }
    let states = bench.states();
    assert_eq!(states.len(), MAX_ENDED + 1);
    assert_eq!((states[0], states[MAX_ENDED]), ((MAX_ENDED as i64 + 10, Available), (10, End)));
}

#[test]
fn several_superfluous_versions_go_down_to_one() {
    let mut bench = Bench::new();
    bench.aspire(&[1, 2, 3]);
    for job in bench.decide().0 {
        bench.succeed(&job);
    }
    bench.aspire(&[4]);
    let (loads, unloads) = bench.decide();
    assert_eq!(unloads.iter().map(|(_, version)| *version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(loads[0].version, 4);
    assert!(bench.model.is_version_available(3));
}

#[test]
fn what_is_left_alone_is_tried_again_after_its_time() {
    let mut bench = Bench::new();
    bench.aspire(&[1]);
    let job = bench.load();
    let pause = Duration::from_secs(60);
    let refusal = Refusal { again: Some(pause), ..Refusal::new(Status::not_found("no"), true) };
    assert!(bench.model.finished(job.id, Outcome::Refused(refusal, Stamp(1)), RETRIES, bench.now).is_none());
    assert_eq!(bench.model.next_retry(), Some(bench.now + pause));
    assert!(bench.model.failure().is_some() && bench.model.is_version_coming(1));
    assert!(!bench.model.retry(bench.now + pause / 2));
    assert!(bench.model.retry(bench.now + pause));
    assert!(bench.model.error(1).is_none());
    let job = bench.load();
    assert!(bench.succeed(&job).is_none());
}
