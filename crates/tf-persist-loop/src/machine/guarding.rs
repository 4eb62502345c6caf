//! Watches a version that came into production, and brings the one before back. Tidies up after an attempt.

use jiff::Timestamp;
use tf_persist_core::SavedModel;
use tf_persist_store::{Folder as VersionFolder, Why};

use super::{Loop, Numbers, Progress};
use crate::config::Config;
use crate::error::Result;
use crate::serving::write;
use crate::state::{State, Step, elapsed};
use crate::watch::{Seen, look};

impl Loop {
    pub(super) fn guard(&mut self, since: Timestamp) -> Result<Progress> {
        let attempt = self.attempt()?.clone();
        let production = self.production()?;
        if Some(production.number()) != attempt.version {
            let (label, found) = (&self.config.label, production.number());
            let reason = format!("`{label}` was moved to version {found} by somebody else");
            return self.decide("abandon", reason, Numbers::new(), Step::Ending { succeeded: true });
        }
        let now = Timestamp::now();
        if since > now {
            // The clock was set back: requests of now would be hidden.
            return self.go(Step::Guarding { since: now });
        }
        let seen = look(&self.config, &SavedModel::open(production.path())?, production.number(), since)?;
        if let Some(reason) = broken(&self.config, &seen, attempt.metric) {
            return self.decide("roll_back", reason, seen.numbers(), Step::RollingBack);
        }
        let guard = &self.config.guard;
        let is_enough = guard.labelled.is_some_and(|labelled| seen.labelled >= labelled);
        if is_enough || elapsed(since, now) >= guard.time.signed() {
            let reason = format!("{} requests and {} labelled rows were as expected", seen.requests, seen.labelled);
            return self.decide("keep", reason, seen.numbers(), Step::Ending { succeeded: true });
        }
        let time = guard.time;
        if self.is_news("look", "the guard") {
            self.say("look", format!("the new version is watched for {time} at most"), seen.numbers());
        }
        Ok(Progress::Waiting)
    }

    pub(super) fn roll_back(&mut self) -> Result<Progress> {
        let attempt = self.attempt()?.clone();
        let before = self.version(attempt.production)?;
        let label = self.config.label.clone();
        let found = self.store.move_label(&before, &label, attempt.version, Why::Rollback)?;
        if found == attempt.version || found == Some(before.number()) {
            let text = format!("`{label}` is version {} again", before.number());
            self.say("note", text, Numbers::new());
            return self.go(Step::Ending { succeeded: false });
        }
        let reason = format!("`{label}` was moved by somebody else before it could be moved back");
        self.fail("abandon", reason, Numbers::new())
    }

    pub(super) fn end(&mut self, succeeded: bool) -> Result<Progress> {
        self.tidy()?;
        self.folder.clear()?;
        let now = Timestamp::now();
        let state = State {
            step: Step::Watching,
            attempt: None,
            failures: if succeeded { 0 } else { self.state.failures.saturating_add(1) },
            // Requests since the promotion are the first to a version that was kept.
            since: if succeeded { self.state.since } else { now },
            ended: Some(now),
            ..self.state.clone()
        };
        self.commit(state)?;
        Ok(Progress::Moved)
    }

    /// Has the version in production answer all requests, and takes the label of the attempt's version away.
    pub(super) fn tidy(&self) -> Result<()> {
        let Some(promote) = &self.config.promote else { return Ok(()) };
        write(&promote.traffic, self.config.model.as_str(), &self.base_rules())?;
        let overview = self.store.overview(&self.config.model)?;
        let Some((_, number)) = overview.labels.iter().find(|(label, _)| *label == promote.label) else {
            return Ok(());
        };
        if overview.folders.contains(&VersionFolder::Published(*number)) {
            self.store.take_label(&self.version(*number)?, &promote.label)?;
        }
        Ok(())
    }
}

/// What is wrong with a version in production, if anything.
fn broken(config: &Config, seen: &Seen, expected: Option<f64>) -> Option<String> {
    let guard = &config.guard;
    let rate = seen.failures as f64 / seen.requests.max(1) as f64;
    if seen.requests >= guard.least_requests && rate > guard.largest_failures {
        let (failures, requests, largest) = (seen.failures, seen.requests, guard.largest_failures * 100.0);
        return Some(format!("{failures} of {requests} requests failed, and {largest}% may"));
    }
    let quality = seen.quality.filter(|_| seen.labelled >= guard.least_labelled)?;
    let (metric, rows) = (config.gates.metric, seen.labelled);
    let name = metric.name();
    if let Some(worst) = guard.quality.filter(|worst| metric.gain(quality, *worst) < 0.0) {
        return Some(format!("the {name} over {rows} labelled rows is {quality:.4}, and {worst} is the limit"));
    }
    let (fall, expected) = (guard.fall?, expected?);
    (metric.gain(quality, expected) < -fall).then(|| {
        format!(
            "the {name} over {rows} labelled rows is {quality:.4}, {expected:.4} over the held-out rows, and it may fall by \
             {fall}"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(guard: &str) -> Config {
        let text = format!(
            "store = \"s\"\nmodel = \"m\"\n[watch]\nlogs = [\"l\"]\n[train]\ndata = [\"d\"]\nheld_out = 0.5\n\
             [gates]\nmetric = \"accuracy\"\n[guard]\n{guard}"
        );
        Config::parse(&text, Path::new(".")).unwrap()
    }

    #[test]
    fn failures_and_a_fall_of_the_quality_are_noticed() {
        let seen = |requests, failures, labelled, quality| Seen {
            requests,
            failures,
            labelled,
            quality: Some(quality),
            ..Seen::default()
        };
        let fall = config("fall = 0.1");
        assert_eq!(broken(&fall, &seen(100, 5, 100, 0.9), Some(0.95)), None);
        let failed = broken(&fall, &seen(100, 6, 100, 0.9), Some(0.95));
        assert_eq!(failed.unwrap(), "6 of 100 requests failed, and 5% may");
        assert_eq!(broken(&fall, &seen(10, 10, 0, 0.9), Some(0.95)), None, "too few requests");
        let worse = broken(&fall, &seen(100, 0, 50, 0.8), Some(0.95)).unwrap();
        assert!(worse.starts_with("the accuracy over 50 labelled rows is 0.8000, 0.9500 over"), "{worse}");
        assert_eq!(broken(&fall, &seen(100, 0, 49, 0.8), Some(0.95)), None, "too few labels");
        let limit = broken(&config("quality = 0.85"), &seen(100, 0, 50, 0.8), None).unwrap();
        assert!(limit.ends_with("is 0.8000, and 0.85 is the limit"), "{limit}");
    }
}
