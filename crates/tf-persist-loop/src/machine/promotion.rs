//! Brings a version into production: in the shadow of the other one, for a share of the requests, then for all.

use jiff::Timestamp;
use serde_json::{Value, json};
use tf_persist_store::Why;

use super::{Loop, Numbers, Progress};
use crate::config::Promote;
use crate::error::{LoopError, Result};
use crate::serving::{Page, Rules, Server, write};
use crate::state::{Counts, State, Step, elapsed};
use crate::train::rounded;

/// How far the share in force may be from the one that was asked for.
const NEAR: f64 = 0.005;

/// Requests that each version must have answered before their times are compared.
const LEAST_TIMED: f64 = 30.0;

impl Loop {
    fn promotion(&self) -> Result<&Promote> {
        let missing =
            || LoopError::Other("the configuration has no `promote`, which the step under way needs".to_owned());
        self.config.promote.as_ref().ok_or_else(missing)
    }

    fn server(&self) -> Result<Server> {
        Server::parse(&self.promotion()?.server).map_err(LoopError::Other)
    }

    fn page(&self) -> Result<Page> {
        let page = self.server()?.metrics(&self.promotion()?.metrics)?;
        match page.counts_versions() {
            true => Ok(page),
            false => Err(LoopError::Other(format!(
                "the server `{}` has no rules for its traffic: start it with --traffic {}",
                self.promotion()?.server,
                self.promotion()?.traffic.display()
            ))),
        }
    }

    /// Writes rules, and waits until the server has them.
    pub(super) fn put_rules(&self, rules: &Rules, in_force: impl Fn(&Page, &str) -> bool) -> Result<()> {
        let promote = self.promotion()?;
        let model = self.config.model.as_str();
        write(&promote.traffic, model, rules)?;
        match self.wait_for(|| Ok(in_force(&self.page()?, model)))? {
            true => Ok(()),
            false => Err(LoopError::Other(format!(
                "the server `{}` has not taken the rules of `{}` within {}",
                promote.server,
                promote.traffic.display(),
                promote.patience
            ))),
        }
    }

    /// Whether the server has the new version; an error of the attempt if it cannot load it.
    fn is_loaded(&self, version: u64) -> Result<Result<bool, String>> {
        let model = self.server()?.model(self.config.model.as_str())?;
        let number = version.to_string();
        let versions = model.get("versions").and_then(Value::as_array).into_iter().flatten();
        let mut its = versions.into_iter().filter(|it| it.get("version").and_then(Value::as_str) == Some(&number));
        let Some(found) = its.next() else { return Ok(Ok(false)) };
        if let Some(error) = found.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("no reason");
            return Ok(Err(format!("the server cannot load version {version}: {message}")));
        }
        let label = model.get("labels").and_then(|labels| labels.get(self.promotion().ok()?.label.as_str()));
        Ok(Ok(label.and_then(Value::as_str) == Some(&number)))
    }

    /// Waits until the server has the new version. The reason, if it cannot load it.
    fn load(&self, version: u64) -> Result<Option<String>> {
        let failed = std::cell::RefCell::new(None);
        let is_there = self.wait_for(|| match self.is_loaded(version)? {
            Ok(loaded) => Ok(loaded),
            Err(reason) => {
                *failed.borrow_mut() = Some(reason);
                Ok(true)
            }
        })?;
        let patience = self.promotion()?.patience;
        let late = || format!("the server has not loaded version {version} within {patience}");
        Ok(failed.into_inner().or_else(|| (!is_there).then(late)))
    }

    fn candidate(&self) -> Result<(u64, u64)> {
        let attempt = self.attempt()?;
        let lost = || LoopError::Other("the state of the loop has no version, although one was published".to_owned());
        Ok((attempt.version.ok_or_else(lost)?, attempt.production))
    }

    /// Tries again after an error of the server, until the time of the step is over.
    fn or_fail_late(&mut self, error: LoopError, since: Timestamp, within: crate::config::Length) -> Result<Progress> {
        if matches!(error, LoopError::Stopped) || elapsed(since, Timestamp::now()) < within.signed() {
            return Err(error);
        }
        self.fail("refuse", format!("the step took longer than {within}: {error}"), Numbers::new())
    }

    pub(super) fn shadow(&mut self, since: Timestamp, counted: Option<Counts>) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        let promote = self.promotion()?.clone();
        let Some(shadow) = promote.shadow.clone() else { return self.after_shadow(Numbers::new()) };
        let (version, production) = self.candidate()?;
        let Some(counted) = counted else {
            let rules = Rules { shadows: vec![promote.label.to_string()], ..self.base_rules() };
            let begun = self.load(version).and_then(|failed| match failed {
                Some(failed) => Ok(Err(failed)),
                None => {
                    self.put_rules(&rules, |page, model| page.share(model, production) == Some(1.0))?;
                    Ok(Ok(self.page()?.counts(self.config.model.as_str(), version, production)))
                }
            });
            return match begun {
                Ok(Ok(counts)) => self.go(Step::Shadow { since, counted: Some(counts) }),
                Ok(Err(failed)) => self.fail("refuse", failed, Numbers::new()),
                Err(error) => self.or_fail_late(error, since, shadow.within),
            };
        };
        let page = match self.page() {
            Ok(page) => page,
            Err(error) => return self.or_fail_late(error, since, shadow.within),
        };
        let counts = page.counts(self.config.model.as_str(), version, production).since(&counted).shadow;
        let (all, wanted) = (counts.same + counts.differs + counts.failed, shadow.requests as f64);
        let mut numbers = Numbers::new();
        let figures = [
            ("same", counts.same),
            ("differs", counts.differs),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
        ];
        numbers.extend(figures.map(|(name, count)| (name.to_owned(), json!(count as u64))));
        numbers.insert("largest_difference".into(), rounded(counts.largest_difference));
        if counts.failed > promote.largest_failures * wanted.max(all) {
            let reason = format!("{} of {all} requests failed in the shadow", counts.failed);
            return self.fail("refuse", reason, numbers);
        }
        if let Some(largest) = shadow.largest_difference.filter(|largest| counts.largest_difference > *largest) {
            let found = counts.largest_difference;
            let reason = format!("an answer in the shadow differs by {found}, and at most {largest} is allowed");
            return self.fail("refuse", reason, numbers);
        }
        if all >= wanted {
            return self.after_shadow(numbers);
        }
        if elapsed(since, Timestamp::now()) >= shadow.within.signed() {
            let reason =
                format!("only {all} of {wanted} requests were answered in the shadow within {}", shadow.within);
            return self.fail("refuse", reason, numbers);
        }
        Ok(Progress::Waiting)
    }

    fn after_shadow(&mut self, numbers: Numbers) -> Result<Progress> {
        if self.promotion()?.canary.is_empty() {
            return self.decide("promote", "the requests in the shadow were answered", numbers, Step::Promoting);
        }
        let step = Step::Canary { index: 0, since: Timestamp::now(), counted: None };
        let reason = self.canary_reason(0);
        self.decide("canary", reason, numbers, step)
    }

    /// The sentence for a step of the canary.
    pub(super) fn canary_reason(&self, index: usize) -> String {
        let steps = self.config.promote.iter().flat_map(|promote| &promote.canary);
        let share = steps.into_iter().nth(index).map_or(0, |step| step.share);
        format!("the new version answers {share}% of the requests")
    }

    pub(super) fn canary(&mut self, index: usize, since: Timestamp, counted: Option<Counts>) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        let promote = self.promotion()?.clone();
        let Some(step) = promote.canary.get(index).cloned() else {
            return self.decide("promote", "there are no more steps", Numbers::new(), Step::Promoting);
        };
        let (version, production) = self.candidate()?;
        let Some(counted) = counted else {
            let weights =
                vec![(self.config.label.to_string(), 100 - step.share), (promote.label.to_string(), step.share)];
            let (rules, share) = (Rules { weights, shadows: Vec::new() }, f64::from(step.share) / 100.0);
            let is_near = |found: f64| (found - share).abs() < NEAR;
            let begun = self.load(version).and_then(|failed| match failed {
                Some(failed) => Ok(Err(failed)),
                None => {
                    self.put_rules(&rules, |page, model| page.share(model, version).is_some_and(is_near))?;
                    Ok(Ok(self.page()?.counts(self.config.model.as_str(), version, production)))
                }
            });
            return match begun {
                Ok(Ok(counts)) => self.go(Step::Canary { index, since, counted: Some(counts) }),
                Ok(Err(failed)) => self.fail("refuse", failed, Numbers::new()),
                Err(error) => self.or_fail_late(error, since, step.within),
            };
        };
        let page = match self.page() {
            Ok(page) => page,
            Err(error) => return self.or_fail_late(error, since, step.within),
        };
        let counts = page.counts(self.config.model.as_str(), version, production).since(&counted);
        let numbers = numbers_of(step.share, &counts);
        if let Some(reason) = refused(&promote, step.requests, &counts) {
            return self.fail("refuse", reason, numbers);
        }
        let answered = counts.candidate.requests;
        if answered >= step.requests as f64 {
            if index + 1 < promote.canary.len() {
                let next = Step::Canary { index: index + 1, since: Timestamp::now(), counted: None };
                let reason = self.canary_reason(index + 1);
                return self.decide("canary", reason, numbers, next);
            }
            let reason = format!("the new version answered {answered} requests of the last step");
            return self.decide("promote", reason, numbers, Step::Promoting);
        }
        if elapsed(since, Timestamp::now()) >= step.within.signed() {
            let (wanted, within) = (step.requests, step.within);
            let reason = format!("the new version answered only {answered} of {wanted} requests within {within}");
            return self.fail("refuse", reason, numbers);
        }
        Ok(Progress::Waiting)
    }

    pub(super) fn promote(&mut self) -> Result<Progress> {
        let (version, production) = self.candidate()?;
        let candidate = self.version(version)?;
        let faults = self.store.verify(&candidate)?;
        if let Some(fault) = faults.first() {
            let reason = format!("version {version} is not as it was published: {fault}");
            return self.fail("refuse", reason, Numbers::new());
        }
        let label = self.config.label.clone();
        let found = self.store.move_label(&candidate, &label, Some(production), Why::Promote)?;
        if found != Some(production) && found != Some(version) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("version {found}"));
            let reason = format!("`{label}` was moved from version {production} to {found} by somebody else");
            return self.fail("abandon", reason, Numbers::new());
        }
        self.tidy()?;
        let now = Timestamp::now();
        self.commit(State { step: Step::Guarding { since: now }, since: now, ..self.state.clone() })?;
        self.say("note", format!("`{label}` is version {version}; it was {production}"), Numbers::new());
        Ok(Progress::Moved)
    }
}

/// Why a step of the canary is refused, if so.
fn refused(promote: &Promote, wanted: u64, counts: &Counts) -> Option<String> {
    let (new, old) = (&counts.candidate, &counts.production);
    let allowed = old.failure_rate() + promote.largest_failures;
    // As soon as it cannot hold at the end of the step.
    if new.failures > allowed * new.requests.max(wanted as f64) {
        let (failures, requests, old) = (new.failures, new.requests, old.failure_rate() * 100.0);
        return Some(format!(
            "{failures} of {requests} requests to the new version failed, and {old:.2}% of those to the other"
        ));
    }
    if new.timed < LEAST_TIMED || old.timed < LEAST_TIMED || new.requests < wanted as f64 {
        return None;
    }
    let (new, old) = (new.mean_seconds()?, old.mean_seconds()?);
    let (ratio, largest) = (new / old, promote.largest_latency_ratio);
    (ratio > largest).then(|| {
        let (new, old) = (new * 1e3, old * 1e3);
        format!("a request to the new version takes {new:.3} ms, {ratio:.2} times the {old:.3} ms of the other, and at most {largest} times is allowed")
    })
}

fn numbers_of(share: u8, counts: &Counts) -> Numbers {
    let mut numbers = Numbers::new();
    numbers.insert("share".into(), share.into());
    for (name, traffic) in [("new", &counts.candidate), ("production", &counts.production)] {
        let mut of_version = Numbers::new();
        of_version.insert("requests".into(), json!(traffic.requests as u64));
        of_version.insert("failed".into(), json!(traffic.failures as u64));
        if let Some(mean) = traffic.mean_seconds() {
            of_version.insert("mean_ms".into(), rounded(mean * 1e3));
        }
        numbers.insert(name.into(), of_version.into());
    }
    numbers
}
