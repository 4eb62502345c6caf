//! libtensorflow: found, opened once a process, and proved by a token.

mod search;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use search::{Search, cache_folder};

pub use crate::error::{Attempt, Origin, Outcome, Place, RuntimeError};
use crate::error::{Error, Result};
use crate::ffi::{self, OpenError};

/// The proof that libtensorflow is open.
///
/// Opening costs about 0.3 s and 300 MB, once a process; TensorFlow cannot be closed again. The tensorflow crate works from
/// then on as well: both call the same library.
#[derive(Clone)]
pub struct Runtime(Arc<Opened>);

struct Opened {
    library: ffi::Library,
    place: Place,
    file: PathBuf,
}

/// The one runtime of the process.
static OPENED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Opens libtensorflow where [`Search::default`] finds it, or gives what is open already.
    ///
    /// To be called before threads are started that read the environment from C: it sets `TF_CPP_MIN_LOG_LEVEL` (unless it is
    /// set) and, for a moment, `TENSORFLOW_DIR`.
    ///
    /// # Errors
    /// [`Error::Runtime`] with every place that was tried, if there is none or it cannot be opened.
    pub fn open() -> Result<Self> {
        Self::open_with(&Search::default())
    }

    /// As [`Runtime::open`], with a search of one's own. What is open already is given whatever the search says.
    ///
    /// # Errors
    /// [`Error::Runtime`] with every place that was tried, if there is none or it cannot be opened.
    pub fn open_with(search: &Search) -> Result<Self> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*opened {
            return Ok(runtime.clone());
        }
        let mut tried = Vec::new();
        for place in search.places() {
            let found = match place.find() {
                Ok(found) => found,
                Err(outcome) => {
                    let explicit = place.origin().is_explicit();
                    tried.push(Attempt { place, outcome });
                    // A folder that was named is meant: falling back to another TensorFlow would hide the mistake.
                    if explicit {
                        break;
                    }
                    continue;
                }
            };
            match ffi::Library::open(&found.core, found.framework.as_deref()) {
                Ok(library) => {
                    let runtime = Self(Arc::new(Opened { library, place, file: found.core }));
                    *opened = Some(runtime.clone());
                    return Ok(runtime);
                }
                Err(error) => tried.push(Attempt { place, outcome: outcome(error, found.core) }),
            }
            // Something that calls itself libtensorflow stood there and is in the process by now, whole or in part.
            break;
        }
        Err(Error::from(RuntimeError { tried }))
    }

    /// Whether libtensorflow is open in this process.
    #[must_use]
    pub fn is_open() -> bool {
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The version libtensorflow gives of itself, such as `2.21.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.library.version
    }

    /// The file that was opened.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Where the search found it, and why it looked there.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    pub(crate) fn library(&self) -> &ffi::Library {
        &self.0.library
    }
}

/// Why a library could not be opened.
fn outcome(error: OpenError, file: PathBuf) -> Outcome {
    match error {
        OpenError::Linker { message } => Outcome::NotOpened { file, reason: message },
        OpenError::NotTensorFlow { missing } => Outcome::NotTensorFlow { file, missing },
        OpenError::TooOld { version } => Outcome::WrongVersion { file, version },
        OpenError::Io(error) => Outcome::NoTemporaryFolder { reason: error.kind().to_string() },
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runtime({} at {})", self.version(), self.file().display())
    }
}
