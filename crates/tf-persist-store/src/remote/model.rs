//! A model in a bucket: its labels object, which is the commit of every change, and its log.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::RemoteErrorKind;
use super::objects::{Objects, Tag, Written, read};
use crate::error::{Result, StoreError};
use crate::event::{self, Event, What};
use crate::labels::{self, Labels, RECENT};
use crate::layout::STORE_FILE;
use crate::manifest::{self, Manifest};
use crate::name::{ModelName, Selector};
use crate::store::MAX_STORE_FILE;

/// The most bytes of a log.
const MAX_LOG: u64 = 1 << 30;

/// The most bytes of a manifest that comes from elsewhere: a model of a million files.
const MAX_MANIFEST: u64 = manifest::MAX_FILE;

/// How long a change is tried when others change the labels, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The keys of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteModel<'a> {
    pub(crate) objects: &'a dyn Objects,
    pub(crate) name: &'a ModelName,
}

impl RemoteModel<'_> {
    pub(crate) fn hidden(&self) -> String {
        format!("{}/.store/", self.name)
    }

    pub(crate) fn labels_key(&self) -> String {
        format!("{}/.store/labels.json", self.name)
    }

    pub(crate) fn log_key(&self) -> String {
        format!("{}/.store/log.jsonl", self.name)
    }

    pub(crate) fn manifest_key(&self, number: u64) -> String {
        format!("{}/.store/{number}.json", self.name)
    }

    pub(crate) fn claim_key(&self, number: u64) -> String {
        format!("{}/.store/{number}.claim", self.name)
    }

    pub(crate) fn file_key(&self, number: u64, name: &str) -> String {
        format!("{}/{number}/{name}", self.name)
    }

    /// Where an object is, as the path in an error.
    fn shown(&self, key: &str) -> PathBuf {
        PathBuf::from(self.objects.place(key))
    }

    /// That there is no such model, or no store in which it could be.
    fn unknown(&self) -> StoreError {
        let store = self.shown("");
        if let Ok(None) = read(self.objects, STORE_FILE, MAX_STORE_FILE)
            && let Some(instead) = self.objects.store_nearby()
        {
            return StoreError::NotAStore { path: store, instead: Some(instead.into()) };
        }
        let mut known_models = self.objects.folders().unwrap_or_default();
        known_models.retain(|name| name.parse::<ModelName>().is_ok());
        StoreError::UnknownModel { store, model: self.name.clone(), known_models }
    }

    /// As [`RemoteModel::unknown`], without asking which models there are.
    pub(crate) fn absent(&self) -> StoreError {
        StoreError::UnknownModel { store: self.shown(""), model: self.name.clone(), known_models: Vec::new() }
    }

    /// The labels and their state; `None` if there is no such model.
    pub(crate) fn labels(&self) -> Result<Option<(Labels, Tag)>> {
        let key = self.labels_key();
        let Some((bytes, tag)) = read(self.objects, &key, labels::MAX_FILE)? else { return Ok(None) };
        Ok(Some((Labels::decode(&bytes, &self.shown(&key))?, tag)))
    }

    /// The labels of a model that exists.
    pub(crate) fn known_labels(&self) -> Result<Labels> {
        Ok(self.labels()?.ok_or_else(|| self.unknown())?.0)
    }

    /// The manifest of a version with its bytes; `None` if there is none.
    pub(crate) fn manifest(&self, number: u64) -> Result<Option<(Manifest, String, Vec<u8>)>> {
        let key = self.manifest_key(number);
        let Some((bytes, _)) = read(self.objects, &key, MAX_MANIFEST)? else { return Ok(None) };
        let (manifest, digest) = Manifest::decode(&bytes, &self.shown(&key), self.name, number)?;
        Ok(Some((manifest, digest, bytes)))
    }

    /// The manifest of a version that a reference means, found once.
    pub(crate) fn find(&self, selector: &Selector) -> Result<(Manifest, String, Vec<u8>)> {
        let labels = self.known_labels()?;
        let number = number(self.name, &labels, selector)?;
        self.version(&labels, number)
    }

    pub(crate) fn version(&self, labels: &Labels, number: u64) -> Result<(Manifest, String, Vec<u8>)> {
        let unknown = || StoreError::UnknownVersion {
            model: self.name.clone(),
            version: number,
            known_versions: labels.versions.iter().flatten().copied().collect(),
        };
        if labels.versions.as_ref().is_some_and(|versions| !versions.contains(&number)) {
            return Err(unknown());
        }
        let found = self.manifest(number)?.ok_or_else(unknown)?;
        let noted = labels.recent.iter().rev().find_map(|event| match &event.what {
            What::Published { version, manifest, .. } if *version == number => Some(manifest),
            _ => None,
        });
        if noted.is_some_and(|noted| *noted != found.1) {
            let path = self.shown(&self.manifest_key(number));
            return Err(StoreError::damaged(path, "it is not the one that was published"));
        }
        Ok(found)
    }

    /// All events, the oldest first.
    pub(crate) fn log(&self, labels: &Labels) -> Result<Vec<Event>> {
        let key = self.log_key();
        let path = self.shown(&key);
        let events = match read(self.objects, &key, MAX_LOG)? {
            Some((bytes, _)) => event::decode(bytes.as_slice(), &path)?,
            None => Vec::new(),
        };
        event::complete(events, &labels.recent, &path)
    }

    /// Changes the labels, if nobody else does meanwhile; else once more. `change` may refuse. Whoever only looks
    /// writes nothing.
    pub(crate) fn change<T>(&self, mut change: impl FnMut(&mut Labels) -> Result<T>) -> Result<T> {
        let (key, start) = (self.labels_key(), Instant::now());
        let mut pause = Duration::from_millis(20);
        loop {
            let found = self.labels()?;
            let (before, tag) = found.map_or((Labels::default(), None), |(labels, tag)| (labels, Some(tag)));
            let mut after = before.clone();
            let done = change(&mut after)?;
            if after == before {
                return Ok(done);
            }
            if before.droppable() > 0 {
                // The log has all events of before then; those of this change are in the labels.
                self.complete_log(&before)?;
                after.recent.drain(..before.droppable());
            }
            let bytes = Bytes::from(after.encode(&self.shown(&key))?);
            let written = match &tag {
                Some(tag) => self.objects.replace(&key, bytes, tag)?,
                None => self.objects.create(&key, bytes)?,
            };
            // An answer may have been lost, and the change made by the repeated request.
            if written == Written::Yes || self.labels()?.is_some_and(|(labels, _)| contains(&labels, &after)) {
                return Ok(done);
            }
            if start.elapsed() > PATIENCE {
                return Err(self.objects.refuse(&key, RemoteErrorKind::Contended));
            }
            thread::sleep(pause.mul_f64(0.5 + jitter()));
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Adds the events of the labels to the log, which is an object that only grows.
    fn complete_log(&self, labels: &Labels) -> Result<()> {
        let key = self.log_key();
        let path = self.shown(&key);
        for _ in 0..RECENT {
            let found = read(self.objects, &key, MAX_LOG)?;
            let (mut bytes, tag) = found.map_or((Vec::new(), None), |(bytes, tag)| (bytes, Some(tag)));
            let known = event::decode(bytes.as_slice(), &path)?.last().map_or(0, |event| event.sequence);
            let missing = event::encode(labels.recent.iter().filter(|event| event.sequence > known), &path)?;
            if missing.is_empty() {
                return Ok(());
            }
            bytes.extend(missing);
            let written = match &tag {
                Some(tag) => self.objects.replace(&key, bytes.into(), tag)?,
                None => self.objects.create(&key, bytes.into())?,
            };
            if written == Written::Yes {
                return Ok(());
            }
        }
        Err(self.objects.refuse(&key, RemoteErrorKind::Contended))
    }
}

/// The number of the version that is meant.
pub(crate) fn number(model: &ModelName, labels: &Labels, selector: &Selector) -> Result<u64> {
    match selector {
        Selector::Number(number) => Ok(*number),
        Selector::Label(label) => labels.get(model, label),
        Selector::Latest => {
            let latest = match &labels.versions {
                Some(versions) => versions.last().copied(),
                // A folder that was written before versions were noted: the last one is as likely as can be.
                None => Some(labels.highest).filter(|highest| *highest > 0),
            };
            latest.ok_or_else(|| StoreError::NoVersions { model: model.clone() })
        }
    }
}

/// Whether a change is part of the labels that are there now.
fn contains(now: &Labels, after: &Labels) -> bool {
    let last = after.recent.last();
    last.is_some_and(|last| now.recent.iter().any(|event| event == last))
}

/// A number from 0 to 1 that differs from process to process.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}
