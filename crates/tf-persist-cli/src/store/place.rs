//! The store that a command is about: a folder, or one elsewhere.

use std::path::PathBuf;

use jiff::Timestamp;
#[cfg(feature = "remote")]
use tf_persist_store::remote::{Remote, RemoteAddress, RemoteOptions};
use tf_persist_store::{
    Collected, Decision, Event, Fault, GcOptions, Label, ModelName, ModelOverview, Reference, Result, Selector, Store,
    Version, Why,
};

use super::args::StoreArgs;
use crate::common_args::has_scheme;
#[cfg(feature = "remote")]
use crate::error::Hinted;

/// A store.
pub(super) enum Place {
    Here(Store),
    #[cfg(feature = "remote")]
    Elsewhere(Remote),
}

/// Does the same to a store of either kind.
macro_rules! of_either {
    ($place:expr, $store:ident => $what:expr) => {
        match $place {
            Place::Here($store) => $what,
            #[cfg(feature = "remote")]
            Place::Elsewhere($store) => $what,
        }
    };
}

impl Place {
    /// Opens the store at a folder or an address.
    pub(super) fn open(place: PathBuf, args: &StoreArgs) -> anyhow::Result<Self> {
        if !has_scheme(&place) {
            return Ok(Self::Here(Store::open(place)?));
        }
        #[cfg(feature = "remote")]
        {
            let address: RemoteAddress = place.to_string_lossy().parse()?;
            Ok(Self::Elsewhere(Remote::open(&address, RemoteOptions::default().unguarded(args.unguarded))?))
        }
        #[cfg(not(feature = "remote"))]
        {
            let _ = args;
            Err(crate::version_path::without_remotes(&place))
        }
    }

    /// The store of this machine, for commands that need its files.
    pub(super) fn here(self) -> anyhow::Result<Store> {
        match self {
            Self::Here(store) => Ok(store),
            #[cfg(feature = "remote")]
            Self::Elsewhere(remote) => {
                let error = anyhow::anyhow!("`{}` is not a store of this machine, which this needs", remote.address());
                let hint = "pull the version first, with `tf-persist store pull REMOTE/MODEL@REF --store DIR`; push it \
                            afterwards";
                Err(Hinted { error, hint: hint.to_owned() }.into())
            }
        }
    }

    /// Refuses a store that can only be read.
    pub(super) fn check_not_read_only(&self) -> Result<()> {
        match self {
            Self::Here(_) => Ok(()),
            #[cfg(feature = "remote")]
            Self::Elsewhere(remote) => remote.check_not_read_only(),
        }
    }

    pub(super) fn models(&self) -> Result<Vec<ModelName>> {
        of_either!(self, store => store.models())
    }

    pub(super) fn overview(&self, model: &ModelName) -> Result<ModelOverview> {
        of_either!(self, store => store.overview(model))
    }

    pub(super) fn find(&self, reference: &Reference) -> Result<Version> {
        of_either!(self, store => store.find(reference))
    }

    pub(super) fn log(&self, model: &ModelName) -> Result<Vec<Event>> {
        of_either!(self, store => store.log(model))
    }

    /// The decisions of a loop, which has a store of this machine.
    pub(super) fn decisions(&self, model: &ModelName) -> Result<Vec<Decision>> {
        match self {
            Self::Here(store) => store.decisions(model),
            #[cfg(feature = "remote")]
            Self::Elsewhere(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn label_log(&self, model: &ModelName, label: &Label) -> Result<Vec<Event>> {
        of_either!(self, store => store.label_log(model, label))
    }

    pub(super) fn label_at(&self, model: &ModelName, label: &Label, time: Timestamp) -> Result<Option<u64>> {
        of_either!(self, store => store.label_at(model, label, time))
    }

    /// Points a label to a version. Returns its number, and where the label pointed.
    pub(super) fn label(&self, reference: &Reference, label: &Label, why: Why) -> Result<(u64, Option<u64>)> {
        match self {
            Self::Here(store) => {
                let version = store.resolve(reference)?;
                Ok((version.number(), store.label(&version, label, why)?))
            }
            #[cfg(feature = "remote")]
            Self::Elsewhere(remote) => remote.label(reference, label, why),
        }
    }

    pub(super) fn unlabel(&self, model: &ModelName, label: &Label) -> Result<u64> {
        of_either!(self, store => store.unlabel(model, label))
    }

    pub(super) fn rollback(
        &self,
        model: &ModelName,
        label: Option<&Label>,
        to: Option<&Selector>,
    ) -> Result<(Label, u64, u64)> {
        of_either!(self, store => store.rollback(model, label, to))
    }

    /// What is wrong with a version: elsewhere, by the names and sizes of its files.
    pub(super) fn faults(&self, version: &Version) -> Result<Vec<Fault>> {
        match self {
            Self::Here(store) => store.verify(version),
            #[cfg(feature = "remote")]
            Self::Elsewhere(remote) => remote.verify_names(version),
        }
    }

    pub(super) fn remove(&self, reference: &Reference) -> Result<Version> {
        match self {
            Self::Here(store) => {
                // Also one whose files were changed.
                let version = store.find(reference)?;
                store.remove(&version)?;
                Ok(version)
            }
            #[cfg(feature = "remote")]
            Self::Elsewhere(remote) => remote.remove(reference),
        }
    }

    pub(super) fn gc(&self, model: &ModelName, options: &GcOptions) -> Result<Collected> {
        of_either!(self, store => store.gc(model, options))
    }
}
