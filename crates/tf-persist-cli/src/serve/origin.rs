//! The store whose models are served: a folder, or one elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tf_persist_serve::{ModelSource, Prepare, RemotePaths};
#[cfg(feature = "remote")]
use tf_persist_store::remote::{Cache, Remote, RemoteOptions};
use tf_persist_store::signing::Trusted;
use tf_persist_store::{ModelName, Result, Store};

#[cfg(feature = "remote")]
use super::buckets::{Buckets, Fetched};
#[cfg(feature = "remote")]
use super::remote_store::{Fetcher, RemoteCatalog};
#[cfg(feature = "remote")]
use super::storage_uri::StorageUri;
use super::store::{Proof, StoreCatalog};
use crate::common_args::has_scheme;
#[cfg(not(feature = "remote"))]
use crate::version_path::without_remotes;

/// The interval at which labels are looked at here, in seconds.
const HERE: i64 = 1;

/// The same of buckets, where each look is a request that may cost money.
pub(super) const ELSEWHERE: i64 = 10;

/// A store.
pub(super) enum Origin {
    Here(Store),
    #[cfg(feature = "remote")]
    Elsewhere {
        remote: Remote,
        cache: Cache,
    },
}

/// What must be true of a version before it is loaded.
pub(super) struct Demands {
    pub(super) verify: bool,
    pub(super) trusted: Option<Trusted>,
    pub(super) retry_interval: Duration,
}

impl Origin {
    /// Opens the store at a folder or an address.
    pub(super) fn open(place: &Path) -> anyhow::Result<Self> {
        if !has_scheme(place) {
            return Ok(Self::Here(Store::open(std::path::absolute(place).unwrap_or_else(|_| place.to_path_buf()))?));
        }
        #[cfg(feature = "remote")]
        {
            let remote = Remote::open(&place.to_string_lossy().parse()?, RemoteOptions::default())?;
            Ok(Self::Elsewhere { remote, cache: Cache::of_user()? })
        }
        #[cfg(not(feature = "remote"))]
        Err(without_remotes(place))
    }

    pub(super) fn models(&self) -> Result<Vec<ModelName>> {
        match self {
            Self::Here(store) => store.models(),
            #[cfg(feature = "remote")]
            Self::Elsewhere { remote, .. } => remote.models(),
        }
    }

    /// The default of --file_system_poll_wait_seconds.
    pub(super) fn poll_interval(origin: Option<&Self>) -> i64 {
        match origin {
            None | Some(Self::Here(_)) => HERE,
            #[cfg(feature = "remote")]
            Some(Self::Elsewhere { .. }) => ELSEWHERE,
        }
    }

    /// All models, or one of them, which must be there.
    pub(super) fn catalog(&self, only: Option<ModelName>) -> anyhow::Result<ModelSource> {
        Ok(ModelSource::Catalog(match self {
            Self::Here(store) => {
                only.as_ref().map(|name| store.overview(name)).transpose()?;
                Arc::new(StoreCatalog::new(store.clone(), only))
            }
            #[cfg(feature = "remote")]
            Self::Elsewhere { remote, cache } => {
                remote.check()?;
                only.as_ref().map(|name| remote.overview(name)).transpose()?;
                Arc::new(RemoteCatalog::new(remote.clone(), cache.clone(), only))
            }
        }))
    }

    /// What is done before a version is loaded, if anything is.
    pub(super) fn prepare(origin: Option<Self>, demands: Demands) -> Option<Arc<dyn Prepare>> {
        let Demands { verify, trusted, retry_interval } = demands;
        let store = match origin {
            #[cfg(feature = "remote")]
            Some(Self::Elsewhere { remote, cache }) => {
                return Some(Arc::new(Fetcher::new(remote, cache, verify, trusted, retry_interval)));
            }
            Some(Self::Here(store)) => Some(store),
            None if trusted.is_none() => return None,
            None => None,
        };
        Some(Arc::new(Proof { store, verify, trusted, retry_interval }))
    }
}

/// Where base paths with a scheme are looked up.
#[derive(Debug, Default)]
pub(super) struct RemotePlaces {
    #[cfg(feature = "remote")]
    buckets: Arc<Buckets>,
    #[cfg(feature = "remote")]
    may_be_models: bool,
}

#[cfg(feature = "remote")]
impl RemotePlaces {
    /// Whether a base path may be a model itself, and not a folder of versions.
    pub(super) fn may_be_models(self, may_be_models: bool) -> Self {
        Self { may_be_models, ..self }
    }

    pub(super) fn paths(&self) -> Option<Arc<dyn RemotePaths>> {
        let buckets = Arc::clone(&self.buckets);
        Some(if self.may_be_models { Arc::new(StorageUri::new(buckets)) } else { buckets })
    }

    /// Fetches versions before they are prepared.
    pub(super) fn prepare(&self, then: Option<Arc<dyn Prepare>>, retry_interval: Duration) -> Option<Arc<dyn Prepare>> {
        Some(Arc::new(Fetched { buckets: Arc::clone(&self.buckets), then, retry_interval }))
    }
}

#[cfg(not(feature = "remote"))]
impl RemotePlaces {
    pub(super) fn may_be_models(self, _: bool) -> Self {
        self
    }

    pub(super) fn paths(&self) -> Option<Arc<dyn RemotePaths>> {
        None
    }

    pub(super) fn prepare(&self, then: Option<Arc<dyn Prepare>>, _pause: Duration) -> Option<Arc<dyn Prepare>> {
        then
    }
}

/// Refuses a base path with a scheme under which no versions can be found.
pub(super) fn check_remote(path: &Path) -> anyhow::Result<()> {
    let text = path.to_string_lossy();
    // The server takes it for a folder.
    if text.to_ascii_lowercase().starts_with("file://") {
        return Ok(());
    }
    #[cfg(feature = "remote")]
    return Buckets::default().check(&text).map_err(anyhow::Error::msg);
    #[cfg(not(feature = "remote"))]
    Err(without_remotes(path))
}
