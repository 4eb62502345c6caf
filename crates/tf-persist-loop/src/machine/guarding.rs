//! Watches a version that came into production, and brings the one before back. Tidies up after an attempt.

use jiff::Timestamp;
use tf_persist_core::SavedModel;
use tf_persist_store::{Label, Reference, Selector, Version, Why};

use super::promotion::previous;
use super::{Loop, Numbers, Progress};
use crate::config::{Config, Length, Metric};
use crate::error::{LoopError, Result};
use crate::serving::write;
use crate::state::{State, Step, elapsed};
use crate::watch::{Seen, count, look};

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
        // The label has moved, whatever happens to rules and other labels.
        if let Err(error) = self.tidy() {
            self.say_once("error", error.to_string());
        }
        let (number, path) = (production.number(), production.path());
        let looked = SavedModel::open(path).map_err(LoopError::from);
        let looked = looked.and_then(|model| look(&self.config, &model, number, since));
        let (seen, unseen) = match looked {
            Ok(seen) => (seen, None),
            // Without answers and labels, requests and failures are left.
            Err(error) => (count(&self.config, number, since).unwrap_or_default(), Some(error.to_string())),
        };
        if let Some(unseen) = &unseen {
            self.say_once("error", unseen.clone());
        }
        if let Some(reason) = broken(&self.config, &seen, attempt.metric) {
            return self.decide("roll_back", reason, seen.numbers(), Step::RollingBack);
        }
        let guard = &self.config.guard;
        let is_enough = guard.labelled.is_some_and(|labelled| seen.labelled >= labelled);
        if is_enough || elapsed(since, now) >= guard.time.signed() {
            let reason = kept(guard.time, &seen, unseen.as_deref());
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
        let before = match self.usable(attempt.production)? {
            Ok(before) => before,
            Err(reason) => {
                let reason = format!("the version in production before cannot be brought back: {reason}");
                return self.fail("abandon", reason, Numbers::new());
            }
        };
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
        self.release()?;
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
        if let Some(version) = self.with_label(&promote.label)?.filter(|version| self.is_of_attempt(version)) {
            self.store.take_label(&version, &promote.label)?;
        }
        Ok(())
    }

    /// Takes the label away that kept the version in production before.
    fn release(&self) -> Result<()> {
        let Some(attempt) = self.state.attempt.as_ref().filter(|attempt| attempt.is_held) else { return Ok(()) };
        let label = previous();
        if let Some(version) = self.with_label(&label)?.filter(|version| version.number() == attempt.production) {
            self.store.take_label(&version, &label)?;
        }
        Ok(())
    }

    /// The version that a label points to, whatever happened to its files.
    fn with_label(&self, label: &Label) -> Result<Option<Version>> {
        let Some(number) = self.labelled(label)? else { return Ok(None) };
        let selector = Selector::Number(number);
        Ok(Some(self.store.find(&Reference { model: self.config.model.clone(), selector })?))
    }
}

/// What is wrong with a version in production, if anything.
fn broken(config: &Config, seen: &Seen, expected: Option<f64>) -> Option<String> {
    let guard = &config.guard;
    let is_too_many =
        |count: u64, all: u64| all >= guard.least_requests && count as f64 / all.max(1) as f64 > guard.largest_failures;
    let largest = guard.largest_failures * 100.0;
    // A client that makes mistakes makes them with any version.
    let (failures, requests) = (seen.failures, seen.judged());
    if is_too_many(failures, requests) {
        return Some(format!("{failures} of {requests} requests failed, and {largest}% may"));
    }
    let (unusable, answers) = seen.unusable;
    if is_too_many(unusable, answers) {
        return Some(format!("{unusable} of {answers} answers are NaN or of another shape, and {largest}% may be"));
    }
    let all = seen.labelled + seen.unjudged;
    // Labels of one class only have no AUC, which is not the fault of the version.
    let is_unknown = seen.quality.is_none() && (config.gates.metric != Metric::Auc || seen.labelled == 0);
    if (guard.fall.is_some() || guard.quality.is_some())
        && all >= guard.least_labelled.max(1)
        && (is_unknown || seen.unjudged > seen.labelled)
    {
        let name = config.gates.metric.name();
        return Some(format!("only {} of {all} labelled rows can be judged by the {name}", seen.labelled));
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

/// Why a version is kept.
fn kept(time: Length, seen: &Seen, unseen: Option<&str>) -> String {
    let (requests, labelled) = (seen.judged(), seen.labelled);
    let unseen =
        unseen.map_or_else(String::new, |error| format!("; answers and labels could not be looked at: {error}"));
    match requests {
        0 if seen.refused > 0 => {
            format!(
                "it answered nothing: all {} requests to it were refused as mistakes of clients{unseen}",
                seen.refused
            )
        }
        0 => format!("no request to it was seen within {time}, so that nothing speaks against it{unseen}"),
        _ if !unseen.is_empty() => format!("{requests} requests did not fail more often than they may{unseen}"),
        _ => format!("{requests} requests and {labelled} labelled rows were as expected"),
    }
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
        let of_client = Seen { refused: 40, ..seen(100, 3, 0, 0.9) };
        assert_eq!(broken(&fall, &of_client, Some(0.95)), None);
        let failed = broken(&fall, &Seen { refused: 40, ..seen(100, 6, 0, 0.9) }, Some(0.95));
        assert_eq!(failed.unwrap(), "6 of 60 requests failed, and 5% may");
        let limit = broken(&config("quality = 0.85"), &seen(100, 0, 50, 0.8), None).unwrap();
        assert!(limit.ends_with("is 0.8000, and 0.85 is the limit"), "{limit}");
    }

    #[test]
    fn answers_that_cannot_be_judged_are_noticed() {
        let nans = Seen { requests: 100, unusable: (6, 100), ..Seen::default() };
        let found = broken(&config(""), &nans, None).unwrap();
        assert_eq!(found, "6 of 100 answers are NaN or of another shape, and 5% may be");
        let few = Seen { unusable: (5, 100), ..nans };
        assert_eq!(broken(&config(""), &few, None), None);
        let unjudged = Seen { requests: 100, unjudged: 50, ..Seen::default() };
        let found = broken(&config("fall = 0.1"), &unjudged, Some(0.9)).unwrap();
        assert_eq!(found, "only 0 of 50 labelled rows can be judged by the accuracy");
        assert_eq!(broken(&config(""), &unjudged, Some(0.9)), None, "nobody asked for the quality");
        let some = Seen { labelled: 60, quality: Some(0.9), ..unjudged };
        assert_eq!(broken(&config("fall = 0.1"), &some, Some(0.9)), None);
    }
}
