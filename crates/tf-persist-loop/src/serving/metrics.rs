//! The text format of Prometheus.

use crate::state::{Counts, Shadowed, Traffic};

/// A difference that no finite number tells, such as that of a NaN or of a shape.
pub(crate) const INFINITE: f64 = f64::MAX;

/// Of all samples, only this one may be infinite.
const LARGEST_DIFFERENCE: &str = "tf_persist_shadow_largest_difference";

/// Codes that the client is to blame for, whichever version answers.
const OF_CLIENT: [&str; 4] = ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "CANCELLED"];

/// Whether a client is to blame for a code of a failure.
pub(crate) fn is_of_client(code: &str) -> bool {
    OF_CLIENT.contains(&code)
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Page {
    samples: Vec<Sample>,
}

/// A number with its name and labels.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    /// A line of a page; `None` for a comment, and for what is none.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (name, mut rest) = match line.find('{') {
            Some(brace) => (line.get(..brace)?, line.get(brace + 1..)?),
            None => {
                let (name, value) = line.split_once(' ')?;
                return Some(Self { name: name.to_owned(), labels: Vec::new(), value: number(value)? });
            }
        };
        let mut labels = Vec::new();
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(value) = rest.strip_prefix('}') {
                return Some(Self { name: name.to_owned(), labels, value: number(value)? });
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after;
        }
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// A value, before the time that may follow.
fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok().filter(|value: &f64| *value >= 0.0)
}

/// The text before a quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(index + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let is_number = |sample: &Sample| sample.value.is_finite() || sample.name == LARGEST_DIFFERENCE;
        Self { samples: text.lines().filter_map(Sample::parse).filter(is_number).collect() }
    }

    /// Whether the server counts by version, as it does with rules for its traffic.
    pub(crate) fn counts_versions(&self) -> bool {
        self.samples.iter().any(|sample| sample.name == "tf_persist_traffic_share")
    }

    fn of<'p>(&'p self, name: &'p str, model: &'p str, version: u64) -> impl Iterator<Item = &'p Sample> {
        let version = version.to_string();
        self.samples.iter().filter(move |sample| {
            let found = sample.label("model");
            sample.name == name && found == Some(model) && sample.label("version") == Some(version.as_str())
        })
    }

    /// The share of the requests without a version that a version answers now.
    pub(crate) fn share(&self, model: &str, version: u64) -> Option<f64> {
        self.of("tf_persist_traffic_share", model, version).next().map(|sample| sample.value)
    }

    fn traffic(&self, model: &str, version: u64) -> Traffic {
        let sum = |name: &str| self.of(name, model, version).map(|sample| sample.value).sum::<f64>();
        let mut traffic = Traffic {
            seconds: sum("tf_persist_version_latency_seconds_sum"),
            timed: sum("tf_persist_version_latency_seconds_count"),
            ..Traffic::default()
        };
        for sample in self.of("tf_persist_version_requests_total", model, version) {
            match sample.label("status") {
                Some(status) if is_of_client(status) => traffic.refused += sample.value,
                Some("OK") => traffic.requests += sample.value,
                _ => {
                    traffic.requests += sample.value;
                    traffic.failures += sample.value;
                }
            }
        }
        traffic
    }

    /// The counts of a new version and of the one in production.
    pub(crate) fn counts(&self, model: &str, candidate: u64, production: u64) -> Counts {
        let shadow_of = |sample: &&Sample| {
            let number = candidate.to_string();
            sample.label("shadow") == Some(number.as_str())
        };
        let shadowed = |outcome: &str| {
            let all = self.of("tf_persist_shadow_requests_total", model, production).filter(shadow_of);
            all.filter(|sample| sample.label("outcome") == Some(outcome)).map(|sample| sample.value).sum::<f64>()
        };
        let difference = self.of(LARGEST_DIFFERENCE, model, production).filter(shadow_of);
        Counts {
            candidate: self.traffic(model, candidate),
            production: self.traffic(model, production),
            shadow: Shadowed {
                same: shadowed("same"),
                differs: shadowed("differs"),
                failed: shadowed("failed"),
                dropped: shadowed("dropped"),
                // JSON, as the state is written, has no infinity.
                largest_difference: difference.map(|sample| sample.value.min(INFINITE)).fold(0.0, f64::max),
            },
        }
    }
}

impl Counts {
    /// Whether the server was started anew since, and counts from 0. Times are sums in any order, so they do not tell.
    pub(crate) fn is_anew(&self, before: &Self) -> bool {
        let traffic = |now: &Traffic, before: &Traffic| {
            now.requests < before.requests
                || now.failures < before.failures
                || now.refused < before.refused
                || now.timed < before.timed
        };
        let (now, past) = (&self.shadow, &before.shadow);
        traffic(&self.candidate, &before.candidate)
            || traffic(&self.production, &before.production)
            || now.same < past.same
            || now.differs < past.differs
            || now.failed < past.failed
            || now.dropped < past.dropped
    }

    /// What was counted since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |now: f64, before: f64| (now - before).max(0.0);
        let traffic = |now: &Traffic, before: &Traffic| Traffic {
            requests: less(now.requests, before.requests),
            failures: less(now.failures, before.failures),
            refused: less(now.refused, before.refused),
            seconds: less(now.seconds, before.seconds),
            timed: less(now.timed, before.timed),
        };
        let (now, past) = (&self.shadow, &before.shadow);
        Self {
            candidate: traffic(&self.candidate, &before.candidate),
            production: traffic(&self.production, &before.production),
            shadow: Shadowed {
                same: less(now.same, past.same),
                differs: less(now.differs, past.differs),
                failed: less(now.failed, past.failed),
                dropped: less(now.dropped, past.dropped),
                largest_difference: now.largest_difference,
            },
        }
    }
}

impl Traffic {
    /// The share of failed requests.
    pub(crate) fn failure_rate(&self) -> f64 {
        if self.requests > 0.0 { self.failures / self.requests } else { 0.0 }
    }

    /// The share of requests that were refused by a mistake of the client.
    pub(crate) fn refusal_rate(&self) -> f64 {
        let all = self.requests + self.refused;
        if all > 0.0 { self.refused / all } else { 0.0 }
    }

    /// The mean time of a request in seconds.
    pub(crate) fn mean_seconds(&self) -> Option<f64> {
        (self.timed > 0.0).then(|| self.seconds / self.timed)
    }
}
