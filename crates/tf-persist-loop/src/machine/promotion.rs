//! Brings a version into production: in the shadow of the other one, for a share of the requests, then for all.

use jiff::Timestamp;
use serde_json::{Value, json};
use tf_persist_store::{Label, Why};

use super::{Loop, Numbers, Progress};
use crate::config::{Length, Promote};
use crate::error::{LoopError, Result};
use crate::serving::{INFINITE, Page, Rules, Server, write};
use crate::state::{Attempt, Counts, State, Step, elapsed};
use crate::train::rounded;

/// How far the share in force may be from the one that was asked for.
const NEAR: f64 = 0.005;

/// The name of the label that holds the version in production before.
const PREVIOUS: &str = "previous";

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
    pub(super) fn or_fail_late(&mut self, error: LoopError, since: Timestamp, within: Length) -> Result<Progress> {
        if matches!(error, LoopError::Stopped) || elapsed(since, Timestamp::now()) < within.signed() {
            return Err(error);
        }
        self.fail("refuse", format!("the step took longer than {within}: {error}"), Numbers::new())
    }

    /// The time of the first step before promotion.
    pub(super) fn first_within(&self) -> Length {
        self.within(|promote| {
            promote.shadow.as_ref().map(|it| it.within).or(promote.canary.first().map(|it| it.within))
        })
    }

    /// The time of the last one.
    fn last_within(&self) -> Length {
        self.within(|promote| promote.canary.last().map(|it| it.within).or(promote.shadow.as_ref().map(|it| it.within)))
    }

    fn within(&self, of: impl Fn(&Promote) -> Option<Length>) -> Length {
        let promote = self.config.promote.as_ref();
        promote.map_or(Length::from_secs(0), |promote| of(promote).unwrap_or(promote.patience))
    }

    /// Has the server load the new version and take rules. The counts from then on, or why it cannot load it.
    fn begin(
        &self,
        version: u64,
        production: u64,
        rules: &Rules,
        in_force: impl Fn(&Page, &str) -> bool,
    ) -> Result<Result<Counts, String>> {
        if let Some(failed) = self.load(version)? {
            return Ok(Err(failed));
        }
        self.put_rules(rules, in_force)?;
        Ok(Ok(self.page()?.counts(self.config.model.as_str(), version, production)))
    }

    pub(super) fn shadow(&mut self, since: Timestamp, counted: Option<Counts>) -> Result<Progress> {
        if let Some(progress) = self.abandoned()? {
            return Ok(progress);
        }
        let promote = self.promotion()?.clone();
        let Some(shadow) = promote.shadow.clone() else {
            return self.fail("refuse", "the configuration has no shadow any more", Numbers::new());
        };
        let (version, production) = self.candidate()?;
        let Some(counted) = counted else {
            let rules = Rules { shadows: vec![promote.label.to_string()], ..self.base_rules() };
            let begun =
                self.begin(version, production, &rules, |page, model| page.share(model, production) == Some(1.0));
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
        let counts = page.counts(self.config.model.as_str(), version, production);
        if counts.is_anew(&counted) {
            return self.go(Step::Shadow { since, counted: Some(Counts::default()) });
        }
        let counts = counts.since(&counted).shadow;
        let (all, wanted) = (counts.same + counts.differs + counts.failed, shadow.requests as f64);
        let mut numbers = Numbers::new();
        let figures = [
            ("same", counts.same),
            ("differs", counts.differs),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
        ];
        numbers.extend(figures.map(|(name, count)| (name.to_owned(), json!(count as u64))));
        let largest = match counts.largest_difference >= INFINITE {
            true => json!("infinite"),
            false => rounded(counts.largest_difference),
        };
        numbers.insert("largest_difference".into(), largest);
        if counts.failed > promote.largest_failures * wanted.max(all) {
            let reason = format!("{} of {all} requests failed in the shadow", counts.failed);
            return self.fail("refuse", reason, numbers);
        }
        if let Some(reason) = differs(shadow.largest_difference, counts.largest_difference) {
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
            let step = Step::Promoting { since: None };
            return self.decide("promote", "the requests in the shadow were answered", numbers, step);
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
            let reason = format!("the configuration has no step {} of the canary any more", index.saturating_add(1));
            return self.fail("refuse", reason, Numbers::new());
        };
        let (version, production) = self.candidate()?;
        let Some(counted) = counted else {
            let weights =
                vec![(self.config.label.to_string(), 100 - step.share), (promote.label.to_string(), step.share)];
            let (rules, share) = (Rules { weights, shadows: Vec::new() }, f64::from(step.share) / 100.0);
            let is_near = |found: f64| (found - share).abs() < NEAR;
            let begun =
                self.begin(version, production, &rules, |page, model| page.share(model, version).is_some_and(is_near));
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
        let counts = page.counts(self.config.model.as_str(), version, production);
        if counts.is_anew(&counted) {
            return self.go(Step::Canary { index, since, counted: Some(Counts::default()) });
        }
        let counts = counts.since(&counted);
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
            return self.decide("promote", reason, numbers, Step::Promoting { since: None });
        }
        if elapsed(since, Timestamp::now()) >= step.within.signed() {
            let (wanted, within) = (step.requests, step.within);
            let reason = format!("the new version answered only {answered} of {wanted} requests within {within}");
            return self.fail("refuse", reason, numbers);
        }
        Ok(Progress::Waiting)
    }

    pub(super) fn promote(&mut self, since: Option<Timestamp>) -> Result<Progress> {
        let (version, production) = self.candidate()?;
        let label = self.config.label.clone();
        // It may have died when the label had moved: whatever is wrong since then is for the guard.
        let mut found = self.labelled(&label)?;
        if found == Some(production) {
            let candidate = match self.usable(version)? {
                Ok(candidate) => candidate,
                Err(reason) => return self.fail("refuse", reason, Numbers::new()),
            };
            if let Some(fault) = self.store.verify(&candidate)?.first() {
                let reason = format!("version {version} is not as it was published: {fault}");
                return self.fail("refuse", reason, Numbers::new());
            }
            if self.config.promote.is_some() {
                let Some(since) = since else { return self.go(Step::Promoting { since: Some(Timestamp::now()) }) };
                match self.load(version) {
                    Ok(None) => {}
                    Ok(Some(failed)) => return self.fail("refuse", failed, Numbers::new()),
                    Err(error) => {
                        let within = self.last_within();
                        return self.or_fail_late(error, since, within);
                    }
                }
            }
            self.hold(production)?;
            found = self.store.move_label(&candidate, &label, Some(production), Why::Promote)?;
            if found == Some(production) {
                found = Some(version);
            }
        }
        if found != Some(version) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("version {found}"));
            let reason = format!("`{label}` was moved from version {production} to {found} by somebody else");
            return self.fail("abandon", reason, Numbers::new());
        }
        let now = Timestamp::now();
        self.commit(State { step: Step::Guarding { since: now }, since: now, ..self.state.clone() })?;
        self.say("note", format!("`{label}` is version {version}; it was {production}"), Numbers::new());
        Ok(Progress::Moved)
    }

    /// Gives the version in production before a label, so that nobody deletes it until the guard ends.
    fn hold(&mut self, production: u64) -> Result<()> {
        let label = previous();
        if self.labelled(&label)?.is_some() {
            // The label of a person, or that of this attempt.
            return Ok(());
        }
        let attempt = Attempt { is_held: true, ..self.attempt()?.clone() };
        self.commit(State { attempt: Some(attempt), ..self.state.clone() })?;
        if let Ok(before) = self.usable(production)? {
            self.store.move_label(&before, &label, None, Why::Label)?;
        }
        Ok(())
    }
}

/// The label of the version that was in production before, while the new one is guarded.
pub(super) fn previous() -> Label {
    PREVIOUS.parse().unwrap_or_else(|_| unreachable!("`{PREVIOUS}` is a label"))
}

/// Why an answer in the shadow differs by too much, if so.
fn differs(largest: Option<f64>, found: f64) -> Option<String> {
    let largest = largest.filter(|largest| found > *largest)?;
    let found = match found >= INFINITE {
        true => "more than a finite number tells, such as by a NaN or a shape".to_owned(),
        false => found.to_string(),
    };
    Some(format!("an answer in the shadow differs by {found}, and at most {largest} is allowed"))
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
    // Where nothing else answers, nobody knows what it would have refused.
    let allowed = old.refusal_rate() + promote.largest_failures;
    let all = new.requests + new.refused;
    if old.requests + old.refused > 0.0 && new.refused > allowed * all.max(wanted as f64) {
        let (refused, old) = (new.refused, old.refusal_rate() * 100.0);
        return Some(format!("the new version refused {refused} of {all} requests, and the other {old:.2}% of its"));
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
        if traffic.refused > 0.0 {
            of_version.insert("refused".into(), json!(traffic.refused as u64));
        }
        if let Some(mean) = traffic.mean_seconds() {
            of_version.insert("mean_ms".into(), rounded(mean * 1e3));
        }
        numbers.insert(name.into(), of_version.into());
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Traffic;

    #[test]
    fn a_difference_in_the_shadow_may_be_infinite() {
        assert_eq!(differs(None, INFINITE), None);
        assert_eq!(differs(Some(0.5), 0.5), None);
        assert_eq!(
            differs(Some(0.5), 0.75).unwrap(),
            "an answer in the shadow differs by 0.75, and at most 0.5 is allowed"
        );
        assert!(differs(Some(1e300), INFINITE).unwrap().contains("such as by a NaN or a shape"));
    }

    #[test]
    fn a_version_that_refuses_what_the_other_answers_is_refused() {
        let text = "traffic = \"t\"\nserver = \"http://h:1\"";
        let promote: Promote = toml::from_str(text).unwrap();
        let counts = |new: (f64, f64), old: (f64, f64)| {
            let of = |(requests, refused)| Traffic { requests, refused, ..Traffic::default() };
            Counts { candidate: of(new), production: of(old), ..Counts::default() }
        };
        let found = refused(&promote, 100, &counts((50.0, 50.0), (900.0, 9.0))).unwrap();
        assert_eq!(found, "the new version refused 50 of 100 requests, and the other 0.99% of its");
        assert_eq!(refused(&promote, 100, &counts((50.0, 50.0), (500.0, 500.0))), None);
        assert_eq!(refused(&promote, 100, &counts((50.0, 50.0), (0.0, 0.0))), None, "nothing to compare with");
        let mut failing = counts((100.0, 0.0), (900.0, 9.0));
        failing.candidate.failures = 2.0;
        assert!(refused(&promote, 100, &failing).unwrap().starts_with("2 of 100 requests to the new version failed"));
    }
}
