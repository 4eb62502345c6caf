//! The rules of a model's traffic, and their text form.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::models::Version;

/// What the weights of a model add up to.
const WHOLE: u32 = 100;

/// The rules of all models that have some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrafficRules(BTreeMap<String, ModelTraffic>);

/// The rules of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelTraffic {
    weights: Vec<(Target, u32)>,
    shadows: Vec<Target>,
}

/// A version that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the rule names it.
    pub(crate) name: String,
    /// The number or label.
    pub(crate) version: Version,
}

/// A table of the text form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    weights: Option<BTreeMap<String, i64>>,
    #[serde(default)]
    shadows: Vec<String>,
}

impl TrafficRules {
    /// Reads rules in TOML: a table for each model, `[NAME]`, with `weights = { LABEL = 95, "VERSION" = 5 }` and
    /// `shadows = ["LABEL", "VERSION"]`, both optional.
    ///
    /// # Errors
    /// What is wrong with the text, and in which line or table. A text without tables is an error: it may be a file
    /// that is being written.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| {
            let line = line_of(text, error.valid_up_to());
            format!("line {line}: it is not UTF-8")
        })?;
        let tables: BTreeMap<String, Table> = toml::from_str(text).map_err(|error| {
            // The parser's messages may have several lines.
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            match error.span() {
                Some(span) => format!("line {}: {message}", line_of(text.as_bytes(), span.start)),
                None => message,
            }
        })?;
        if tables.is_empty() {
            return Err("it has no table; an empty table `[MODEL]` means no rules for that model".to_owned());
        }
        let mut rules = Self::default();
        for (name, table) in tables {
            let of_model = |error| format!("[{name}]: {error}");
            let traffic = match table.weights {
                Some(weights) => ModelTraffic::default().weights(weights).map_err(of_model)?,
                None => ModelTraffic::default(),
            };
            let traffic = traffic.shadows(table.shadows).map_err(of_model)?;
            rules = rules.model(name, traffic);
        }
        Ok(rules)
    }

    /// Sets the rules of a model.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>, traffic: ModelTraffic) -> Self {
        self.0.insert(name.into(), traffic);
        self
    }

    /// The rules of a model.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ModelTraffic> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ModelTraffic)> {
        self.0.iter().map(|(name, traffic)| (name.as_str(), traffic))
    }
}

impl ModelTraffic {
    /// Splits requests that name no version between labels and versions by these weights, which add up to 100.
    ///
    /// # Errors
    /// If they do not, one of them is not from 0 to 100, or a version is named twice.
    pub fn weights(mut self, weights: impl IntoIterator<Item = (String, i64)>) -> Result<Self, String> {
        let (mut sum, mut found) = (0, Vec::new());
        for (name, weight) in weights {
            let number = u32::try_from(weight).ok().filter(|weight| *weight <= WHOLE);
            let weight = number.ok_or_else(|| format!("the weight of `{name}` is {weight}, and not from 0 to 100"))?;
            sum += weight;
            found.push((Target::parse(name)?, weight));
        }
        check_once("weights", found.iter().map(|(target, _)| target))?;
        if sum != WHOLE {
            return Err(format!("the weights add up to {sum}, and not to 100"));
        }
        self.weights = found;
        Ok(self)
    }

    /// Asks these labels and versions the same requests, and compares their answers.
    ///
    /// # Errors
    /// If a version is named twice.
    pub fn shadows(mut self, shadows: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let found = shadows.into_iter().map(Target::parse).collect::<Result<Vec<_>, _>>()?;
        check_once("shadows", found.iter())?;
        self.shadows = found;
        Ok(self)
    }

    pub(crate) fn weight_list(&self) -> &[(Target, u32)] {
        &self.weights
    }

    pub(crate) fn shadow_list(&self) -> &[Target] {
        &self.shadows
    }

    /// The version that a request goes to which names none, where `point` is a random number from 0 to below 1, and
    /// `served` says which version a target is, if that answers requests. `None` if no version with a weight does.
    pub(crate) fn pick(&self, point: f64, served: impl Fn(&Target) -> Option<i64>) -> Option<i64> {
        // The usual case: the version is there.
        let all = self.weights.iter().map(|(target, weight)| (target, *weight));
        if let Some(version) = at(point, WHOLE, all.clone()).and_then(&served) {
            return Some(version);
        }
        let there: Vec<(i64, u32)> = all.filter_map(|(target, weight)| Some((served(target)?, weight))).collect();
        let total = there.iter().map(|(_, weight)| weight).sum();
        at(point, total, there.into_iter())
    }

    /// The shares of versions in the requests that name none, as [`Self::pick`] draws them; none if no version with a
    /// weight answers.
    pub(crate) fn shares(&self, served: impl Fn(&Target) -> Option<i64>) -> BTreeMap<i64, f64> {
        let mut weights = BTreeMap::<i64, u32>::new();
        for (target, weight) in &self.weights {
            if let Some(version) = served(target) {
                *weights.entry(version).or_default() += weight;
            }
        }
        let total: u32 = weights.values().sum();
        if total == 0 {
            return BTreeMap::new();
        }
        weights.into_iter().map(|(version, weight)| (version, f64::from(weight) / f64::from(total))).collect()
    }

    /// The names of the targets that do not answer requests now.
    pub(crate) fn pending(&self, served: impl Fn(&Target) -> Option<i64>) -> Vec<String> {
        let all = self.weights.iter().map(|(target, _)| target).chain(&self.shadows);
        let names: BTreeSet<&str> =
            all.filter(|target| served(target).is_none()).map(|target| target.name.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

impl Target {
    /// A number, or else a label.
    fn parse(name: String) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a label is empty".to_owned());
        }
        let version = if name.bytes().all(|byte| byte.is_ascii_digit()) {
            Version::Number(name.parse().map_err(|_| format!("the version {name} is too large"))?)
        } else {
            Version::Label(name.clone())
        };
        Ok(Self { name, version })
    }
}

/// The one of several weighted values at a point from 0 to below 1 of their sum.
fn at<T>(point: f64, sum: u32, mut weights: impl Iterator<Item = (T, u32)>) -> Option<T> {
    let mut left = point * f64::from(sum);
    weights.find_map(|(value, weight)| {
        left -= f64::from(weight);
        (left < 0.0).then_some(value)
    })
}

/// Checks that no version is named twice.
fn check_once<'t>(what: &str, targets: impl Iterator<Item = &'t Target>) -> Result<(), String> {
    let mut seen = Vec::new();
    for Target { name, version } in targets {
        if seen.contains(&version) {
            return Err(format!("`{name}` is in `{what}` twice"));
        }
        seen.push(version);
    }
    Ok(())
}

/// The number of the line with this byte.
fn line_of(text: &[u8], offset: usize) -> usize {
    text.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
