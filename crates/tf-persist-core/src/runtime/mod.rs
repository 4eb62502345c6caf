//! libtensorflow: found, and opened once per process.

mod search;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use search::{Search, cache_folder};

pub use crate::error::{Attempt, Origin, Outcome, RuntimeError, SearchLocation};
use crate::error::{Error, Result};
use crate::ffi::{self, OpenError};

/// The proof that libtensorflow is open.
///
/// Opening takes about 0.3 s and 300 MB, once per process, of which 35 MB stay; see [`release_library_pages`].
/// TensorFlow cannot be closed again. From then on the tensorflow crate works as well: both call the same library.
///
/// [`release_library_pages`]: crate::release_library_pages
#[derive(Clone)]
pub struct Runtime(Arc<Opened>);

struct Opened {
    library: ffi::Library,
    location: SearchLocation,
    file: PathBuf,
}

/// The one runtime of the process.
static OPENED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Opens libtensorflow where [`Search::default`] finds it, or returns the open one.
    ///
    /// Call it before starting threads that read the environment from C: it sets `TF_CPP_MIN_LOG_LEVEL`, unless that is
    /// set, and for a moment `TENSORFLOW_DIR`.
    ///
    /// # Errors
    /// [`Error::Runtime`] with every location that was tried, if none has a libtensorflow that can be opened.
    pub fn open() -> Result<Self> {
        Self::open_with(&Search::default())
    }

    /// As [`Runtime::open`], with another search. A libtensorflow that is already open is returned whatever the search
    /// is.
    ///
    /// # Errors
    /// [`Error::Runtime`] with every location that was tried, if none has a libtensorflow that can be opened.
    pub fn open_with(search: &Search) -> Result<Self> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*opened {
            return Ok(runtime.clone());
        }
        let mut tried = Vec::new();
        for location in search.locations() {
            let found = match location.find() {
                Ok(found) => found,
                Err(outcome) => {
                    let explicit = location.origin().is_explicit();
                    tried.push(Attempt { location, outcome });
                    // Falling back from an explicit folder to another TensorFlow would hide a mistake.
                    if explicit {
                        break;
                    }
                    continue;
                }
            };
            match ffi::Library::open(&found.core, found.framework.as_deref()) {
                Ok(library) => {
                    let runtime = Self(Arc::new(Opened { library, location, file: found.core }));
                    *opened = Some(runtime.clone());
                    ffi::release_library_pages();
                    return Ok(runtime);
                }
                Err(error) => tried.push(Attempt { location, outcome: outcome(error, found.core) }),
            }
            // A library called libtensorflow was found, and is at least partly loaded by now.
            break;
        }
        Err(Error::from(RuntimeError { tried }))
    }

    /// Whether libtensorflow is open in this process.
    #[must_use]
    pub fn is_open() -> bool {
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The version of libtensorflow, such as `2.21.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.library.version
    }

    /// The file that was opened.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// The location where the search found it.
    #[must_use]
    pub fn location(&self) -> &SearchLocation {
        &self.0.location
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
