//! Looks at the first exchanges of a log: which models and signatures it has, and which tensors.

use std::collections::BTreeMap;

use tf_persist_savedmodel::printable;

use super::Settings;
use super::worker::Wanted;
use crate::error::{MonitorError, Result};
use crate::log::{DAMAGED, Exchange, LogFile, Reading, UNWATCHED, for_each_piece};
use crate::plan::{Inference, Plan};
use crate::reference::Reference;

/// The answered exchanges that are looked at.
const LOOKED_AT: usize = 2000;

/// The pairs of models and signatures that are looked at.
const MAX_PAIRS: usize = 50;

/// The signature of a request that names none.
pub(super) const DEFAULT_SIGNATURE: &str = "serving_default";

/// What the first exchanges are.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By model and signature.
    pairs: BTreeMap<(String, String), Pair>,
    looked_at: usize,
    /// Why the first record cannot be read that cannot.
    flaw: Option<String>,
}

#[derive(Debug)]
struct Pair {
    count: usize,
    /// With and without an answer for what a signature says of rows.
    inference: Option<Inference>,
}

/// Looks at the beginning of the files in turn.
pub(super) fn look(files: &[LogFile], settings: &Settings) -> Result<Seen> {
    let worker = (Seen::default(), Exchange::default());
    let (workers, notes) = for_each_piece(files, vec![worker], |(seen, exchange), piece| {
        piece.for_each(exchange, |reading| match reading {
            Reading::Exchange(exchange) => seen.see(exchange, settings),
            Reading::Flawed(reason) if seen.flaw.is_none() && !reason.starts_with(UNWATCHED) => {
                seen.flaw = Some(reason);
            }
            Reading::Flawed(_) => {}
        });
        seen.looked_at < LOOKED_AT
    })?;
    let mut seen = workers.into_iter().next().map(|(seen, _)| seen).unwrap_or_default();
    seen.flaw = seen.flaw.or_else(|| notes.into_iter().find(|note| note.ends_with(DAMAGED)));
    Ok(seen)
}

impl Seen {
    fn see(&mut self, exchange: &Exchange, settings: &Settings) {
        let signature = if exchange.signature.is_empty() { DEFAULT_SIGNATURE } else { &exchange.signature };
        let key = (exchange.model.clone(), signature.to_owned());
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            return;
        }
        let pair = self.pairs.entry(key).or_insert_with(|| Pair { count: 0, inference: None });
        pair.count += 1;
        // A failed request has no outputs, and maybe inputs that the model refuses.
        if exchange.failure.is_empty() && self.looked_at < LOOKED_AT {
            self.looked_at += 1;
            pair.inference.get_or_insert_with(|| Inference::new(settings.is_batched)).see(exchange);
        }
    }

    /// The model and the signature that are watched.
    pub(super) fn choose(&self, settings: &Settings, reference: Option<&Reference>) -> Result<Wanted> {
        let of_reference = |text: fn(&Reference) -> &String| reference.map(text).filter(|text| !text.is_empty());
        let model = settings.model_name.as_ref().or_else(|| of_reference(|reference| &reference.model));
        let signature = settings.signature.as_ref().or_else(|| of_reference(|reference| &reference.signature));
        let fits = |(pair, _): &(&(String, String), &Pair)| {
            model.is_none_or(|model| pair.0.is_empty() || *model == pair.0)
                && signature.is_none_or(|signature| *signature == pair.1)
        };
        let best = self.pairs.iter().filter(fits).max_by_key(|(_, pair)| (pair.inference.is_some(), pair.count));
        match (best, model, signature) {
            (Some(((found, of_pair), _)), model, _) => {
                Ok(Wanted { model: model.unwrap_or(found).clone(), signature: of_pair.clone() })
            }
            (None, model, signature) if !self.pairs.is_empty() && settings.model_name.is_none() => {
                let found: Vec<String> = self
                    .pairs
                    .keys()
                    .take(5)
                    .map(|(model, signature)| format!("`{}` with `{}`", model.escape_debug(), signature.escape_debug()))
                    .collect();
                let wanted = [model, signature].into_iter().flatten().map(|name| format!("`{}`", name.escape_debug()));
                Err(MonitorError::Settings(format!(
                    "the log has no requests to {}; it has {}",
                    wanted.collect::<Vec<_>>().join(" with "),
                    found.join(", ")
                )))
            }
            (None, model, signature) => Ok(Wanted {
                model: model.cloned().unwrap_or_default(),
                signature: signature.cloned().unwrap_or_else(|| DEFAULT_SIGNATURE.to_owned()),
            }),
        }
    }

    /// The features of the requests to a model and a signature, with notes.
    pub(super) fn plan(&self, wanted: &Wanted) -> std::result::Result<(Plan, Vec<String>), String> {
        let unanswered = || match &self.flaw {
            Some(flaw) => format!("the log has no answered request to watch: {}", printable(flaw)),
            None => "the log has no answered request to watch".to_owned(),
        };
        self.inference(wanted).ok_or_else(unanswered)?.plan()
    }

    /// Whether the log has no answered request to a model and a signature, which leaves failed ones to count, or none.
    /// What has no record that can be read, but others, is not a log.
    pub(super) fn is_unanswered(&self, wanted: &Wanted) -> bool {
        self.inference(wanted).is_none() && (self.flaw.is_none() || !self.pairs.is_empty())
    }

    /// What was seen of the answered requests to a model and a signature.
    fn inference(&self, wanted: &Wanted) -> Option<&Inference> {
        let find = |model: &str| self.pairs.get(&(model.to_owned(), wanted.signature.clone()));
        find(&wanted.model).or_else(|| find(""))?.inference.as_ref()
    }
}
