//! Settings of how traffic is split.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::rules::TrafficRules;
use crate::setters::setters;

/// Where the rules of the traffic are, which may change at any time.
pub trait TrafficSource: fmt::Debug + Send + Sync {
    /// Its name for the log, such as "the traffic file `traffic.toml`".
    fn name(&self) -> String;

    /// The rules as they are now; `None` if they have not changed since the last call. The call may take long.
    ///
    /// # Errors
    /// Why the rules are not known now. At the start, the server ends; later, the rules stay as they were.
    fn look(&self) -> Result<Option<TrafficRules>, String>;
}

/// How requests that name no version are split between versions, and which versions are asked as well.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrafficSettings {
    /// Where the rules are; `None` for no rules: the newest version answers.
    pub source: Option<Arc<dyn TrafficSource>>,
    /// How often they are looked at, at most once a second; `None` for only at the start and on a
    /// [reload](crate::ServerState::reload).
    pub poll: Option<Duration>,
    /// How many requests may wait for shadows. Further ones are not asked of them, and counted.
    pub shadow_queue: usize,
}

impl Default for TrafficSettings {
    fn default() -> Self {
        Self { source: None, poll: Some(Duration::from_secs(1)), shadow_queue: 1024 }
    }
}

impl TrafficSettings {
    setters! {
        source: impl Into<Option<Arc<dyn TrafficSource>>>,
        poll: impl Into<Option<Duration>>,
        shadow_queue: usize,
    }
}
