//! The thread that looks at files, which may take as long as it likes: folders may be far away.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};

use tf_persist_proto::serving::ModelServerConfig;

use super::folder::{self, Found, Stamp};
use super::load::spawn;
use super::manager::Event;
use super::{ModelSource, config};
use crate::status::Status;

/// What is to be looked at.
#[derive(Default)]
pub(super) struct Order {
    /// Folders of versions.
    pub(super) base_paths: BTreeSet<PathBuf>,
    /// Versions that failed.
    pub(super) failed: BTreeSet<PathBuf>,
    /// The configuration file.
    pub(super) config: Option<ModelSource>,
}

/// What was seen.
pub(super) struct Sight {
    pub(super) found: HashMap<PathBuf, Result<Found, String>>,
    pub(super) stamps: HashMap<PathBuf, Stamp>,
    pub(super) config: Option<Result<ModelServerConfig, Status>>,
}

/// Starts the thread. It ends when nobody can send to it any more.
pub(super) fn start<T: Send + Sync + 'static>(orders: Receiver<Order>, events: Sender<Event<T>>) -> Result<(), Status> {
    spawn("look", move || {
        for order in orders {
            let _ = events.send(Event::Seen(look(order)));
        }
    })
}

fn look(order: Order) -> Sight {
    let config = order.config.map(|source| config::read(Some(&source)));
    let found = order.base_paths.into_iter().map(|path| (path.clone(), folder::look(&path))).collect();
    let stamps = order.failed.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect();
    Sight { found, stamps, config }
}
