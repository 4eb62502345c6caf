//! Versions that are unloaded to save memory, and loaded again when a request needs them. They count as available.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::resident::{Absent, Presence};
use super::state_machine::Model;
use super::version_entry::{Phase, VersionEntry};

impl<T> VersionEntry<T> {
    /// Whether requests for it are answered, perhaps after a load.
    pub(super) fn is_servable(&self) -> bool {
        match self.phase {
            Phase::Ready(_) | Phase::Evicted => true,
            Phase::New | Phase::Queued | Phase::Loading => self.is_reload,
            Phase::Waiting { .. } | Phase::Unloading | Phase::Failed { .. } => false,
        }
    }
}

impl<T> Model<T> {
    /// The bytes of its versions that are in memory and may be unloaded to save memory.
    pub(super) fn evictable_bytes(&self) -> u64 {
        self.bytes(|phase| matches!(phase, Phase::Ready(_)))
    }

    /// The bytes of its versions that are being unloaded.
    pub(super) fn leaving_bytes(&self) -> u64 {
        self.bytes(|phase| matches!(phase, Phase::Unloading))
    }

    fn bytes(&self, counts: impl Fn(&Phase<T>) -> bool) -> u64 {
        self.entries.iter().filter(|entry| counts(&entry.phase)).map(|entry| entry.bytes).sum()
    }

    /// Notes how much memory a version takes.
    pub(super) fn note_bytes(&mut self, id: u64, bytes: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.bytes = bytes;
        }
    }

    /// Unloads all versions to save memory. Returns what is to be dropped.
    pub(super) fn evict(&mut self, ids: &mut u64) -> Vec<(u64, Arc<T>)> {
        let mut dropped = Vec::new();
        let mut evicted = Vec::new();
        for entry in &mut self.entries {
            let servable = match std::mem::replace(&mut entry.phase, Phase::Unloading) {
                Phase::Ready(servable) => servable,
                phase => {
                    entry.phase = phase;
                    continue;
                }
            };
            *ids += 1;
            let mut next = VersionEntry::new(*ids, entry.version, entry.path.clone());
            (next.phase, next.is_aspired) = (Phase::Evicted, entry.is_aspired);
            evicted.push(next);
            dropped.push((entry.id, servable));
            entry.is_aspired = false;
        }
        self.entries.extend(evicted);
        dropped
    }

    /// Loads what was unloaded to save memory.
    pub(super) fn wake(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| matches!(entry.phase, Phase::Evicted)) {
            (entry.phase, entry.is_reload) = (Phase::New, true);
            entry.cancelled.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that there is no memory for a version. Returns whether it is left unloaded until a request needs it: that
    /// is so unless it would take the place of another version that answers, or has to wait for one in memory.
    pub(super) fn no_room(&mut self, at: usize) -> bool {
        let is_other = |entry: &VersionEntry<T>| {
            let is_absent = entry.is_reload || matches!(entry.phase, Phase::Evicted);
            entry.is_servable() && !(entry.is_aspired && is_absent)
        };
        let has_other = self.entries.iter().enumerate().any(|(index, entry)| index != at && is_other(entry));
        let Some(entry) = self.entries.get_mut(at) else { return false };
        let is_needed = entry.is_reload || entry.is_aspired && !has_other;
        if !is_needed {
            return false;
        }
        (entry.phase, entry.is_reload) = (Phase::Evicted, false);
        self.was_available = true;
        true
    }

    /// The versions that are not in memory and may be.
    pub(super) fn absent(&self) -> Absent {
        let absent = self.entries.iter().filter_map(|entry| match entry.phase {
            Phase::Evicted => Some((entry.version, Presence::Unloaded)),
            Phase::New | Phase::Queued | Phase::Loading if entry.is_reload => Some((entry.version, Presence::Loading)),
            _ => None,
        });
        absent.collect()
    }
}
