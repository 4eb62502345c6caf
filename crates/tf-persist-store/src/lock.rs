//! One change to a model at a time.

use std::fs::{File, OpenOptions};

use rustix::fs::{FlockOperation, flock};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::event;
use crate::intent::{Intent, empty_trash};
use crate::labels::Labels;
use crate::layout::Layout;
use crate::store::manifests;

/// The lock of a model. The kernel releases it when the process ends, in whatever way.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    pub(crate) layout: &'a Layout,
    /// The labels file as it is under the lock.
    pub(crate) labels: Labels,
    _file: File,
}

impl<'a> Locked<'a> {
    /// Waits for the lock, and finishes what a killed process left.
    pub(crate) fn take(layout: &'a Layout) -> Result<Self> {
        durable::create_folder(&layout.hidden())?;
        let path = layout.lock();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                locked => break locked.map_err(|error| StoreError::io("lock", &path)(error.into()))?,
            }
        }
        Intent::recover(layout)?;
        empty_trash(layout);
        let mut labels = Labels::read(layout)?;
        let versions = manifests(layout)?;
        if labels.counter == 0 && !versions.is_empty() {
            // Nothing may be removed that somebody may have pointed a label to.
            return Err(StoreError::damaged(
                layout.labels(),
                "it is missing, and so is the log, although there are versions",
            ));
        }
        // What is written here is for readers that cannot list the folder.
        labels.versions = Some(versions.into_iter().collect());
        event::append_missing(layout, &labels.recent)?;
        labels.recent.drain(..labels.droppable());
        Ok(Self { layout, labels, _file: file })
    }
}
