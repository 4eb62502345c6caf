//! How much memory loaded versions may take together (`max_resident_bytes`), and which models are in use.
//!
//! A load reserves memory before it begins, and the version gives it back when it is dropped. If too little is left,
//! the manager unloads the models that were not asked for the longest time. A request that finds its model unloaded
//! waits until it is loaded again. A model that a request uses, or waits for, is not unloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a load waits for other models to be unloaded.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The pause between two attempts: a model may have become free that was in use.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What a version takes beside its files: TensorFlow's session and the graph.
const OVERHEAD: u64 = 1 << 20;

/// How many levels of folders of a version are measured.
const MAX_DEPTH: usize = 16;

/// The number of users of a model that is being unloaded.
const LEAVING: usize = usize::MAX;

/// The memory that loaded versions may take together.
#[derive(Debug)]
pub(super) struct Room {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// Memory that is reserved for a version, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Arc<Room>,
    pub(super) bytes: u64,
}

/// Why no memory is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The version takes more than all versions may.
    TooLarge,
    /// Others take it.
    Full,
}

impl Room {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::new(0), freed: Condvar::new() })
    }

    fn used(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes are missing for a version of this size.
    pub(super) fn missing(&self, bytes: u64) -> u64 {
        self.used().saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Reserves memory. If others have it, `make_room` is asked to unload some, again and again, and this waits, unless
    /// it returns that nobody needs the memory any more.
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        make_room: Option<&dyn Fn(u64) -> bool>,
    ) -> Result<Reservation, NoRoom> {
        if bytes > self.limit {
            return Err(NoRoom::TooLarge);
        }
        let end = Instant::now() + MAX_WAIT;
        let mut used = self.used();
        while used.saturating_add(bytes) > self.limit {
            let Some(make_room) = make_room.filter(|_| Instant::now() < end) else { return Err(NoRoom::Full) };
            drop(used);
            if !make_room(bytes) {
                return Err(NoRoom::Full);
            }
            let waited = self.freed.wait_timeout(self.used(), RETRY_PAUSE);
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Ok(Reservation { room: Arc::clone(self), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.room.used();
        *used = used.saturating_sub(self.bytes);
        self.room.freed.notify_all();
    }
}

/// About how much memory the version at a path takes, by the sizes of its files, as TensorFlow Serving estimates it
/// (`bundle_factory_util.cc`: a fifth more than the files).
pub(super) fn estimate(path: &Path) -> u64 {
    let bytes = files_size(path, 0);
    bytes.saturating_add(bytes / 5).saturating_add(OVERHEAD)
}

fn files_size(path: &Path, depth: usize) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().filter(|_| depth < MAX_DEPTH);
    entries.fold(0, |sum, entry| sum.saturating_add(files_size(&entry.path(), depth + 1)))
}

/// Who uses a model, and when it was used last.
#[derive(Debug, Default)]
pub(super) struct Usage {
    users: AtomicUsize,
    /// A number that grows with each use of any model.
    last: AtomicU64,
}

/// Keeps a model loaded while it is held.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Usage>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Usage {
    /// Notes a use; `None` while the model is being unloaded. What is loaded then stays so. It must be looked up after
    /// this.
    pub(super) fn enter(self: &Arc<Self>) -> Option<InUse> {
        static USES: AtomicU64 = AtomicU64::new(1);
        let more = |users: usize| (users != LEAVING).then(|| users + 1);
        self.users.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        self.last.store(USES.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(InUse(Arc::clone(self)))
    }

    /// Keeps requests out, if there are none, until [`Self::reopen`].
    pub(super) fn close(&self) -> bool {
        self.users.compare_exchange(0, LEAVING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Lets requests in. To be called once they see that the model is unloaded.
    pub(super) fn reopen(&self) {
        let _ = self.users.compare_exchange(LEAVING, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// The version that a request means, as far as memory is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is available, or unknown.
    Settled,
    /// It is unloaded to save memory.
    Unloaded,
    /// It is being loaded again.
    Loading,
}

/// The versions of a model that are not in memory, and whether each is being loaded again.
pub(super) type Absent = BTreeMap<i64, Presence>;
