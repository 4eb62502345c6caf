//! Opens libtensorflow, once per process.

use std::env;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use tensorflow_sys_runtime as tf;

use super::float_mode::keeping_mode;

/// The file name that tensorflow-sys-runtime searches for.
const FINDER_NAME: &str = if cfg!(target_os = "macos") { "libtensorflow.dylib" } else { "libtensorflow.so" };
/// The variable with the folder that it searches first.
const FINDER_VARIABLE: &str = "TENSORFLOW_DIR";
/// The log level of TensorFlow: 2 hides information and warnings on stderr, except two lines about oneDNN that come
/// before the level is read.
const LOG_VARIABLE: &str = "TF_CPP_MIN_LOG_LEVEL";

/// Functions of libtensorflow that are resolved here, once, with our own types:
///
/// - functions with dtypes, because of the enum (see the module);
/// - functions of strings, because tensorflow-sys takes a lock per call, and a tensor may hold a million strings;
/// - functions of a run, because small graphs run in microseconds;
/// - functions that tensorflow-sys does not bind.
pub(super) struct Symbols {
    pub(super) tensor_type: unsafe extern "C" fn(*const tf::TF_Tensor) -> c_int,
    pub(super) new_tensor: NewTensor,
    pub(super) delete_tensor: unsafe extern "C" fn(*mut tf::TF_Tensor),
    pub(super) tensor_rank: unsafe extern "C" fn(*const tf::TF_Tensor) -> c_int,
    pub(super) tensor_dim: unsafe extern "C" fn(*const tf::TF_Tensor, c_int) -> i64,
    pub(super) tensor_data: unsafe extern "C" fn(*const tf::TF_Tensor) -> *mut std::ffi::c_void,
    pub(super) tensor_bytes: unsafe extern "C" fn(*const tf::TF_Tensor) -> usize,
    pub(super) session_run: SessionRun,
    pub(super) output_type: unsafe extern "C" fn(tf::TF_Output) -> c_int,
    pub(super) new_status: unsafe extern "C" fn() -> *mut tf::TF_Status,
    pub(super) delete_status: unsafe extern "C" fn(*mut tf::TF_Status),
    pub(super) status_code: unsafe extern "C" fn(*const tf::TF_Status) -> c_int,
    pub(super) string_copy: unsafe extern "C" fn(*mut tf::TF_TString, *const c_char, usize),
    pub(super) string_data: unsafe extern "C" fn(*const tf::TF_TString) -> *const c_char,
    pub(super) string_size: unsafe extern "C" fn(*const tf::TF_TString) -> usize,
    pub(super) string_dealloc: unsafe extern "C" fn(*mut tf::TF_TString),
    /// `TF_SetRequireShapeInferenceFns`, if it exists.
    pub(super) require_shape_functions: Option<unsafe extern "C" fn(*mut tf::TF_Graph, bool)>,
    /// The functions of `tensorflow/c/env.h`, if all exist.
    pub(super) files: Option<FileSymbols>,
}

/// `TF_WritableFileHandle`, an opaque type.
#[repr(C)]
pub(super) struct WritableFile {
    _opaque: [u8; 0],
}

/// Functions that write files to the file systems of TensorFlow.
pub(super) struct FileSymbols {
    pub(super) create_folder: unsafe extern "C" fn(*const c_char, *mut tf::TF_Status),
    pub(super) create_file: unsafe extern "C" fn(*const c_char, *mut *mut WritableFile, *mut tf::TF_Status),
    pub(super) append: unsafe extern "C" fn(*mut WritableFile, *const c_char, usize, *mut tf::TF_Status),
    pub(super) close: unsafe extern "C" fn(*mut WritableFile, *mut tf::TF_Status),
    pub(super) delete_file: unsafe extern "C" fn(*const c_char, *mut tf::TF_Status),
    pub(super) delete_all: unsafe extern "C" fn(*const c_char, *mut i64, *mut i64, *mut tf::TF_Status),
}

impl FileSymbols {
    fn from_library(library: &libloading::Library) -> Result<Self, OpenError> {
        Ok(Self {
            create_folder: symbol(library, "TF_CreateDir")?,
            create_file: symbol(library, "TF_NewWritableFile")?,
            append: symbol(library, "TF_AppendWritableFile")?,
            close: symbol(library, "TF_CloseWritableFile")?,
            delete_file: symbol(library, "TF_DeleteFile")?,
            delete_all: symbol(library, "TF_DeleteRecursively")?,
        })
    }
}

/// Frees the memory of a tensor: data, length, argument.
pub(super) type Deallocator = unsafe extern "C" fn(*mut std::ffi::c_void, usize, *mut std::ffi::c_void);

/// `TF_NewTensor`: dtype, dimensions, their number, data, bytes, deallocator and its argument.
type NewTensor = unsafe extern "C" fn(
    c_int,
    *const i64,
    c_int,
    *mut std::ffi::c_void,
    usize,
    Deallocator,
    *mut std::ffi::c_void,
) -> *mut tf::TF_Tensor;

/// `TF_SessionRun`: session, run options, inputs, their values and number, outputs, their values and number, targets
/// and their number, run metadata, status.
type SessionRun = unsafe extern "C" fn(
    *mut tf::TF_Session,
    *const tf::TF_Buffer,
    *const tf::TF_Output,
    *const *mut tf::TF_Tensor,
    c_int,
    *const tf::TF_Output,
    *mut *mut tf::TF_Tensor,
    c_int,
    *const *const tf::TF_Operation,
    c_int,
    *mut tf::TF_Buffer,
    *mut tf::TF_Status,
);

static SYMBOLS: OnceLock<Symbols> = OnceLock::new();

/// The resolved functions. Only called by types that exist after [`Library::open`].
pub(super) fn symbols() -> &'static Symbols {
    SYMBOLS.get().expect("libtensorflow is open wherever one of its objects is")
}

/// `TF_Version`.
type Version = unsafe extern "C" fn() -> *const c_char;

/// The oldest supported TensorFlow: `TF_TString` came with 2.4.
const MINIMUM: (u32, u32) = (2, 4);

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < MINIMUM
}

/// Why a file could not be opened as libtensorflow.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The dynamic linker failed.
    Linker { message: String },
    /// It is another library: this function is missing.
    NotTensorFlow { missing: &'static str },
    /// It is older than TensorFlow 2.4.
    TooOld { version: String },
    /// The private folder for tensorflow-sys could not be created.
    Io(io::Error),
}

/// An open libtensorflow. It stays open until the process ends: TensorFlow cannot be unloaded.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    pub(crate) version: String,
}

impl Library {
    /// Opens `core`, after the `framework` that it needs. Called once per process, under a lock of the caller.
    ///
    /// Sets `TF_CPP_MIN_LOG_LEVEL`, unless it is set, and for a moment `TENSORFLOW_DIR`.
    pub(crate) fn open(core: &Path, framework: Option<&Path>) -> Result<Self, OpenError> {
        if env::var_os(LOG_VARIABLE).is_none() {
            set_variable(LOG_VARIABLE, Some(OsStr::new("2")));
        }
        if let Some(framework) = framework {
            // Never closed: `core` finds it by name, wherever the link to `core` is.
            std::mem::forget(link(framework)?);
        }
        let library = link(core)?;
        let version = symbol::<Version>(&library, "TF_Version")?;
        // SAFETY: takes nothing.
        let version = unsafe { version() };
        // SAFETY: TF_Version returns a NUL-terminated string with static lifetime.
        let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
        if is_too_old(&version) {
            return Err(OpenError::TooOld { version });
        }
        let symbols = Symbols {
            tensor_type: symbol(&library, "TF_TensorType")?,
            new_tensor: symbol(&library, "TF_NewTensor")?,
            delete_tensor: symbol(&library, "TF_DeleteTensor")?,
            tensor_rank: symbol(&library, "TF_NumDims")?,
            tensor_dim: symbol(&library, "TF_Dim")?,
            tensor_data: symbol(&library, "TF_TensorData")?,
            tensor_bytes: symbol(&library, "TF_TensorByteSize")?,
            session_run: symbol(&library, "TF_SessionRun")?,
            output_type: symbol(&library, "TF_OperationOutputType")?,
            new_status: symbol(&library, "TF_NewStatus")?,
            delete_status: symbol(&library, "TF_DeleteStatus")?,
            status_code: symbol(&library, "TF_GetCode")?,
            string_copy: symbol(&library, "TF_StringCopy")?,
            string_data: symbol(&library, "TF_StringGetDataPointer")?,
            string_size: symbol(&library, "TF_StringGetSize")?,
            string_dealloc: symbol(&library, "TF_StringDealloc")?,
            require_shape_functions: symbol(&library, "TF_SetRequireShapeInferenceFns").ok(),
            files: FileSymbols::from_library(&library).ok(),
        };
        std::mem::forget(library);
        open_for_tensorflow_sys(core)?;
        SYMBOLS.get_or_init(|| symbols);
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        super::library_pages::find(core);
        Ok(Self { version })
    }
}

fn link(path: &Path) -> Result<libloading::Library, OpenError> {
    // SAFETY: runs the library's initialisers, which is what opening TensorFlow means; the user chose the file.
    let library = keeping_mode(|| unsafe { libloading::Library::new(path) });
    library.map_err(|error| OpenError::Linker { message: error.to_string() })
}

fn symbol<T: Copy>(library: &libloading::Library, name: &'static str) -> Result<T, OpenError> {
    // SAFETY: every `T` above is the function's type in `tensorflow/c/*.h`, with enums as the integers they are in C.
    unsafe { library.get::<T>(name) }.map(|symbol| *symbol).map_err(|_| OpenError::NotTensorFlow { missing: name })
}

/// Makes tensorflow-sys-runtime use the open library. It searches for one file name, so it gets a private folder with a
/// link of that name. The dynamic linker recognises the file, and does not load it again.
fn open_for_tensorflow_sys(core: &Path) -> Result<(), OpenError> {
    let folder = private_folder().map_err(OpenError::Io)?;
    let core = core.canonicalize().map_err(OpenError::Io)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(core, folder.path().join(FINDER_NAME)).map_err(OpenError::Io)?;
    let before = env::var_os(FINDER_VARIABLE);
    set_variable(FINDER_VARIABLE, Some(folder.path().as_os_str()));
    let opened = tf::library::load();
    set_variable(FINDER_VARIABLE, before.as_deref());
    opened.map_err(|message| OpenError::Linker { message })
}

/// Creates a temporary folder, in the usual location or another writable one.
fn private_folder() -> io::Result<tempfile::TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("tf-persist-");
    let others = ["/dev/shm", "/tmp", "/var/tmp"];
    folder.tempdir().or_else(|error| others.iter().find_map(|place| folder.tempdir_in(place).ok()).ok_or(error))
}

fn set_variable(name: &str, value: Option<&OsStr>) {
    match value {
        // SAFETY: Rust's own readers of the environment take a lock. C code that reads it in another thread at this
        // moment would race, which is why opening happens once, and `Runtime::open` asks to be called before threads
        // are started.
        Some(value) => unsafe { env::set_var(name, value) },
        // SAFETY: as above.
        None => unsafe { env::remove_var(name) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_too_old("1.15.5") && is_too_old("2.3.4") && is_too_old(""));
        assert!(!is_too_old("2.4.0") && !is_too_old("2.21.0-rc1") && !is_too_old("3.0"));
    }
}
