//! Models are unloaded to make room for others.

use super::Manager;
use crate::models::state_machine::Model;
use crate::models::unload::UnloadJob;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Unloads models that no request uses until a load of `model` has room, those that were not used for the longest
    /// time first, and the model itself last.
    pub(super) fn make_room(&mut self, model: &str, bytes: u64) {
        let Some(room) = &self.room else { return };
        let leaving: u64 = self.models.values().map(Model::leaving_bytes).sum();
        let mut missing = room.missing(bytes).saturating_sub(leaving);
        let mut candidates: Vec<(bool, u64, String)> = (self.models.values())
            .filter(|other| other.evictable_bytes() > 0)
            .map(|other| (other.name == model, other.usage.last_use(), other.name.clone()))
            .collect();
        candidates.sort();
        for (_, _, name) in candidates {
            let Some(other) = self.models.get_mut(&name).filter(|_| missing > 0) else { return };
            if !other.usage.close() {
                continue;
            }
            missing = missing.saturating_sub(other.evictable_bytes());
            self.leaving.push(other.usage.clone());
            tracing::info!(model = %name, needed_for = model, "unloaded to save memory");
            for (id, servable) in other.evict(&mut self.last_id) {
                // The view still holds it until this thread publishes; the unloading thread waits for that.
                let _ = self.unloader.send(UnloadJob { id, model: name.clone(), servable });
            }
        }
    }
}
