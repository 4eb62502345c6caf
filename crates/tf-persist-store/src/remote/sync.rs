//! Brings each of two stores what the other has.

use std::collections::{BTreeMap, BTreeSet};

use super::pull::PullOptions;
use super::push::PushOptions;
use super::store::Remote;
use crate::error::{Result, StoreError};
use crate::event::{Event, What, Why};
use crate::name::{Label, ModelName, Reference, Selector};
use crate::store::Store;

/// How stores are made the same.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct SyncOptions {
    dry_run: bool,
}

impl SyncOptions {
    /// Changes nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What was brought, or would be, and what was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The model.
    pub model: ModelName,
    /// Versions that the remote store lacked.
    pub pushed: Vec<u64>,
    /// Versions that the store of this machine lacked.
    pub pulled: Vec<u64>,
    /// Labels that the remote store lacked.
    pub labelled_there: Vec<(Label, u64)>,
    /// Labels that the store of this machine lacked.
    pub labelled_here: Vec<(Label, u64)>,
    /// Labels that point to one version here and to another there, which stay so.
    pub different_labels: Vec<(Label, u64, u64)>,
    /// Numbers of two versions that are not the same, which stay so.
    pub different_versions: Vec<u64>,
}

/// What a store knows of a model.
#[derive(Debug, Default)]
struct Side {
    /// The manifests of versions that are there.
    versions: BTreeMap<u64, String>,
    removed: BTreeSet<u64>,
    labels: BTreeMap<Label, u64>,
    /// Labels that were taken away.
    unlabelled: BTreeSet<Label>,
}

impl Side {
    fn new(events: Vec<Event>) -> Self {
        let mut side = Self::default();
        for event in events {
            match event.what {
                What::Published { version, manifest, .. } => drop(side.versions.insert(version, manifest)),
                What::Removed { version, .. } => {
                    side.versions.remove(&version);
                    side.removed.insert(version);
                }
                What::Labelled { label, to: Some(to), .. } => {
                    side.unlabelled.remove(&label);
                    side.labels.insert(label, to);
                }
                What::Labelled { label, to: None, .. } => {
                    side.labels.remove(&label);
                    side.unlabelled.insert(label);
                }
                _ => {}
            }
        }
        side
    }

    /// The versions of another store that this one lacks and has not removed.
    fn lacks(&self, other: &Self) -> Vec<u64> {
        let is_new = |number: &&u64| !self.versions.contains_key(number) && !self.removed.contains(number);
        other.versions.keys().filter(is_new).copied().collect()
    }

    /// The labels of another store that this one lacks and has not taken away, with versions that both have in the end.
    fn lacks_labels(&self, other: &Self, brought: &[u64]) -> Vec<(Label, u64)> {
        let is_there = |number: &u64| {
            brought.contains(number)
                || self.versions.get(number).is_some_and(|it| other.versions.get(number) == Some(it))
        };
        let is_new = |(label, number): &(&Label, &u64)| {
            !self.labels.contains_key(label) && !self.unlabelled.contains(label) && is_there(number)
        };
        other.labels.iter().filter(is_new).map(|(label, number)| (label.clone(), *number)).collect()
    }
}

/// The events of a model; none if there is no such model.
fn events(log: Result<Vec<Event>>) -> Result<Vec<Event>> {
    match log {
        Err(StoreError::UnknownModel { .. } | StoreError::NotAStore { .. }) => Ok(Vec::new()),
        log => log,
    }
}

impl Remote {
    /// Pushes the versions and labels of a model that the remote store lacks, and pulls those that the store of this
    /// machine lacks. What one of them has removed is not brought back, and what differs stays as it is.
    ///
    /// # Errors
    /// If neither has the model, or something cannot be brought. What was brought until then stays.
    pub fn sync(&self, store: &Store, model: &ModelName, options: &SyncOptions) -> Result<Synced> {
        let (here, there) = (Side::new(events(store.log(model))?), Side::new(events(self.log(model))?));
        if here.versions.is_empty() && there.versions.is_empty() {
            return Err(StoreError::NoVersions { model: model.clone() });
        }
        let (pushed, pulled) = (there.lacks(&here), here.lacks(&there));
        let both = |number: &&u64| there.versions.get(number).is_some_and(|it| here.versions.get(number) != Some(it));
        let synced = Synced {
            model: model.clone(),
            labelled_there: there.lacks_labels(&here, &pushed),
            labelled_here: here.lacks_labels(&there, &pulled),
            different_labels: here
                .labels
                .iter()
                .filter_map(|(label, to)| {
                    there.labels.get(label).filter(|other| *other != to).map(|other| (label.clone(), *to, *other))
                })
                .collect(),
            different_versions: here.versions.keys().filter(both).copied().collect(),
            pushed,
            pulled,
        };
        if !options.dry_run {
            self.carry_out(store, &synced)?;
        }
        Ok(synced)
    }

    fn carry_out(&self, store: &Store, synced: &Synced) -> Result<()> {
        let reference = |number: u64| Reference { model: synced.model.clone(), selector: Selector::Number(number) };
        for number in &synced.pushed {
            let version = store.resolve(&reference(*number))?;
            self.push(store, &version, &PushOptions::default())?;
        }
        for number in &synced.pulled {
            self.pull(&reference(*number), store, &PullOptions::default())?;
        }
        for (label, number) in &synced.labelled_there {
            self.label(&reference(*number), label, Why::Label)?;
        }
        for (label, number) in &synced.labelled_here {
            store.label(&store.resolve(&reference(*number))?, label, Why::Label)?;
        }
        Ok(())
    }

    /// The models of both stores, sorted.
    ///
    /// # Errors
    /// If one of them cannot be listed.
    pub fn models_of_both(&self, store: &Store) -> Result<Vec<ModelName>> {
        let there = match self.models() {
            // It may be made by the first push.
            Err(StoreError::NotAStore { .. }) => Vec::new(),
            there => there?,
        };
        // A folder without labels is not a model, or the first push to it is not done.
        let mut models = Vec::new();
        for name in there {
            if self.folder().is_some() || self.model(&name).labels()?.is_some() {
                models.push(name);
            }
        }
        let both: BTreeSet<ModelName> = store.models()?.into_iter().chain(models).collect();
        Ok(both.into_iter().collect())
    }
}
