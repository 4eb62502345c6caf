//! Op libraries: libraries with ops that libtensorflow lacks, named by file or by pip package, inspected before they
//! run, and loaded once per process.

mod info;
mod linker;
mod package;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tf_persist_proto::tensorflow::OpList;

use crate::error::{Code, Error, OpLibraryError, OpLibraryProblem, Result};
use crate::ffi;
use crate::runtime::Runtime;
use info::LibraryInfo;
use package::Package;

/// An op library that is loaded into the process, for the rest of its life.
///
/// Loading runs the initialisers of the library. If they end the process (`abort`, `exit`), nothing can catch that.
#[derive(Debug, Clone)]
pub struct OpLibrary {
    path: PathBuf,
    ops: Vec<String>,
}

/// A loaded library and its file.
struct Loaded {
    library: OpLibrary,
    info: LibraryInfo,
    /// Whether another file has registered its kernels again.
    duplicated: bool,
}

/// The op libraries of this process.
struct Registry {
    loaded: Vec<Loaded>,
    /// Files that were loaded and then refused. TensorFlow would not report the problem a second time.
    refused: Vec<((u64, u64), OpLibraryProblem)>,
}

/// Locked while a library is loaded, so that registrations can be told apart.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { loaded: Vec::new(), refused: Vec::new() });

fn lock() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpLibrary {
    /// Loads a library, or returns it if the file is already loaded under any name.
    ///
    /// # Errors
    /// [`Error::OpLibrary`] with an [`OpLibraryProblem`]: the file is not a library, was built for another TensorFlow,
    /// needs a missing library, registers nothing, or registers what another file did.
    pub fn load(runtime: &Runtime, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |problem| refusal(path, problem);
        let info = LibraryInfo::read(path).map_err(refuse)?;
        // Absolute, so that the dynamic linker does not search for a bare name elsewhere.
        let file = path.canonicalize().map_err(Error::io("open the op library", path))?;
        if is_part_of(runtime, &file) {
            return Err(refuse(OpLibraryProblem::TensorFlowItself));
        }
        let mut registry = lock();
        let Registry { loaded, refused } = &mut *registry;
        if let Some((_, problem)) = refused.iter().find(|(identity, _)| *identity == info.identity) {
            return Err(refuse(problem.clone()));
        }
        if let Some(before) = loaded.iter().find(|before| before.info.identity == info.identity) {
            return Ok(before.library.clone());
        }
        // A copy of a loaded file would register everything again, which only shows after loading.
        let copied = loaded.iter().find(|before| is_copy(before, &file, &info));
        if let Some(by) = copied.map(|before| before.library.path.clone()) {
            return Err(refuse(OpLibraryProblem::AlreadyRegistered { by: Some(by), loaded: false }));
        }
        let list = ffi::load_op_library(runtime.library(), &file).map_err(|error| match error {
            // TensorFlow refuses another op of an existing name.
            Error::TensorFlow { code: Code::AlreadyExists, message, .. } => {
                let is_its = |op: &String| message.trim_end().ends_with(&format!(" {op}"));
                let by = loaded.iter().find(|before| before.library.ops.iter().any(is_its));
                let by = by.map(|before| before.library.path.clone());
                refuse(OpLibraryProblem::AlreadyRegistered { by, loaded: true })
            }
            Error::TensorFlow { message, .. } => {
                let has = |name: &str| ffi::has_function(runtime.library(), runtime.file(), name);
                refuse(linker::of_linker(&message, &file, runtime.version(), has, || package::requirement_of(&file)))
            }
            other => other,
        })?;
        let list =
            tf_persist_proto::parse::<OpList>(&list.into()).map_err(|error| Error::flawed(&file, error.to_string()))?;
        let ops: Vec<String> = list.op.into_iter().map(|op| op.name).collect();
        let doubled = loaded.iter_mut().find(|before| !before.duplicated && has_doubled_kernels(runtime, before));
        let by = doubled.map(|before| {
            before.duplicated = true;
            before.library.path.clone()
        });
        let problem = if by.is_some() || (ops.is_empty() && info.registers_ops) {
            Some(OpLibraryProblem::AlreadyRegistered { by, loaded: true })
        } else {
            (ops.is_empty() && !info.registers_kernels).then_some(OpLibraryProblem::NoOps)
        };
        if let Some(problem) = problem {
            refused.push((info.identity, problem.clone()));
            return Err(refuse(problem));
        }
        let library = Self { path: file, ops };
        loaded.push(Loaded { library: library.clone(), info, duplicated: false });
        Ok(library)
    }

    /// Loads every op library of an installed pip package, such as `tensorflow-text` or `ydf-tf`. It searches the
    /// environment of the libtensorflow in use, the active virtual environment, and the `.venv` of the current folder
    /// or one above it. No Python runs.
    ///
    /// # Errors
    /// [`Error::OpLibrary`] with the packages that have op libraries, if there is no such package or it has none; and
    /// as [`OpLibrary::load`].
    pub fn load_package(runtime: &Runtime, name: &str) -> Result<Vec<Self>> {
        let refuse = |problem| refusal(Path::new(name), problem);
        let wanted = package::normalised(name);
        if package::is_tensorflow(&wanted) {
            return Err(refuse(OpLibraryProblem::TensorFlowItself));
        }
        let looked = package::site_packages(runtime);
        let found = package::named(&looked, &wanted);
        let Some(first) = found.first() else {
            let candidates = package::candidates(&looked);
            return Err(refuse(OpLibraryProblem::UnknownPackage { looked, candidates }));
        };
        // Several environments may have the package, or one may have remains of another version.
        let Some(files) = found.iter().map(Package::op_libraries).find(|files| !files.is_empty()) else {
            let (folder, sources, candidates) = (first.info.clone(), first.sources(), package::candidates(&looked));
            return Err(refuse(OpLibraryProblem::NotInPackage { folder, sources, candidates }));
        };
        files.iter().map(|file| Self::load(runtime, file)).collect()
    }

    /// Loads a file or the op libraries of a package. The name is a file if it has a path separator, ends as a library
    /// does, or is an existing file.
    ///
    /// # Errors
    /// As [`OpLibrary::load`] and [`OpLibrary::load_package`].
    pub fn load_named(runtime: &Runtime, name: impl AsRef<Path>) -> Result<Vec<Self>> {
        let name = name.as_ref();
        let Some(package) = name.to_str().filter(|text| is_package_name(text) && !name.is_file()) else {
            return Ok(vec![Self::load(runtime, name)?]);
        };
        match Self::load_package(runtime, package) {
            // A folder may have the name of a package; without such a package, report the folder.
            Err(Error::OpLibrary(error))
                if name.is_dir() && matches!(error.problem, OpLibraryProblem::UnknownPackage { .. }) =>
            {
                Err(refusal(name, OpLibraryProblem::IsADirectory))
            }
            other => other,
        }
    }

    /// All libraries that are loaded into this process.
    #[must_use]
    pub fn loaded() -> Vec<Self> {
        lock().loaded.iter().map(|loaded| loaded.library.clone()).collect()
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ops that it registered. Empty if it only has kernels for existing ops.
    #[must_use]
    pub fn ops(&self) -> &[String] {
        &self.ops
    }
}

fn refusal(path: &Path, problem: OpLibraryProblem) -> Error {
    Error::from(Box::new(OpLibraryError { path: path.to_path_buf(), problem }))
}

/// Whether a file is libtensorflow, or another part of it.
fn is_part_of(runtime: &Runtime, file: &Path) -> bool {
    let parts = ["libtensorflow.", "libtensorflow_cc.", "libtensorflow_framework."];
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_beside = |own: PathBuf| own.parent() == file.parent();
    parts.iter().any(|part| name.starts_with(part)) && runtime.file().canonicalize().is_ok_and(is_beside)
}

/// Whether a text names a package, not a file.
fn is_package_name(text: &str) -> bool {
    let ends = [".so", ".dylib", ".dll"];
    !text.is_empty() && !text.contains(MAIN_SEPARATOR) && !ends.iter().any(|end| text.ends_with(end))
}

/// Whether a file has the content of a loaded one.
fn is_copy(before: &Loaded, file: &Path, info: &LibraryInfo) -> bool {
    before.info.bytes == info.bytes && have_same_content(&before.library.path, file).unwrap_or(false)
}

fn have_same_content(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let (mut of_one, mut of_other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut of_one)?;
        if read == 0 {
            return Ok(other.read(&mut of_other[..1])? == 0);
        }
        // Fails if the other one is shorter, which is a difference as well.
        other.read_exact(&mut of_other[..read])?;
        if of_one[..read] != of_other[..read] {
            return Ok(false);
        }
    }
}

/// Whether the kernels of a library's ops are registered twice. Only its first op is checked: TensorFlow takes 0.2 ms
/// to look one up, and packages have dozens of libraries.
fn has_doubled_kernels(runtime: &Runtime, loaded: &Loaded) -> bool {
    loaded.library.ops.first().is_some_and(|op| ffi::has_doubled_kernels(runtime.library(), op))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_packages_are_distinguished() {
        assert!(is_package_name("tensorflow-text") && is_package_name("ydf_tf"));
        assert!(!is_package_name("./tensorflow-text") && !is_package_name("ops.so") && !is_package_name(""));
    }

    #[test]
    fn copies_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let long = vec![7; 200_000];
        let one = file("one", &long);
        assert!(have_same_content(&one, &file("two", &long)).unwrap());
        assert!(!have_same_content(&one, &file("three", &[&long[..199_999], b"x"].concat())).unwrap());
        assert!(!have_same_content(&one, &file("four", &[&long[..], b"x"].concat())).unwrap());
        assert!(have_same_content(&one, &file("five", b"")).is_err());
    }
}
