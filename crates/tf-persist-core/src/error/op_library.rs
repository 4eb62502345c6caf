//! Errors of op libraries.

use std::fmt;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::error::{Hint, names};

/// An op library, or a package of op libraries, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpLibraryError {
    pub(crate) path: PathBuf,
    pub(crate) problem: OpLibraryProblem,
}

/// The problem with an op library.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpLibraryProblem {
    /// The file does not exist, and the name is not that of a package.
    NotFound,
    /// It is a folder.
    IsADirectory,
    /// The process has no permission to read it.
    NoPermission,
    /// It is not a shared library.
    NotALibrary {
        /// A description of the file.
        what: String,
    },
    /// It is a shared library for another processor.
    OtherMachine {
        /// The processor.
        machine: String,
    },
    /// It needs a function that this TensorFlow lacks, so it was built for another one.
    OtherTensorFlow {
        /// The function, demangled where possible.
        symbol: String,
        /// The version of the open TensorFlow.
        version: String,
        /// The package of the file, and the TensorFlow that its metadata requires.
        package: Option<TensorFlowRequirement>,
    },
    /// It needs a function that none of its libraries has.
    MissingSymbol {
        /// The function.
        symbol: String,
    },
    /// It needs another library, which was not found.
    MissingNeighbour {
        /// The file name of the other library.
        name: String,
    },
    /// The dynamic linker failed for another reason.
    NotOpened {
        /// The message of the linker.
        reason: String,
    },
    /// It was loaded, but registered nothing.
    NoOps,
    /// Another file had registered the same. TensorFlow accepts the kernels, and then refuses every run of such an op
    /// because it has two.
    AlreadyRegistered {
        /// The file that registered them first; `None` if it was TensorFlow, or other code of this process.
        by: Option<PathBuf>,
        /// Whether it is loaded by now, so that the ops of both files are unusable in this process.
        loaded: bool,
    },
    /// There is no file and no installed package of this name.
    UnknownPackage {
        /// The folders that were searched for packages.
        looked: Vec<PathBuf>,
        /// The packages there that have op libraries.
        candidates: Vec<String>,
    },
    /// The package is installed, but has no op libraries.
    NotInPackage {
        /// The folder of its installation.
        folder: PathBuf,
        /// The folder of its sources, if only a link to them was installed (`pip install --editable`).
        sources: Option<PathBuf>,
        /// The packages that have op libraries.
        candidates: Vec<String>,
    },
    /// The package or file is TensorFlow itself, whose ops are always available.
    TensorFlowItself,
}

/// The TensorFlow that an installed package requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFlowRequirement {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The required versions of TensorFlow, such as `>=2.21,<2.22`; `None` if there are none in the metadata.
    pub tensorflow: Option<String>,
}

/// Prefixes of functions of TensorFlow, in C and in C++.
const OF_TENSORFLOW: [&str; 6] = ["TF_", "TFE_", "tensorflow::", "tsl::", "absl::", "google::protobuf::"];

impl OpLibraryError {
    /// The file or name that was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The problem.
    #[must_use]
    pub fn problem(&self) -> &OpLibraryProblem {
        &self.problem
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        Some(match &self.problem {
            OpLibraryProblem::OtherTensorFlow { version, package, .. } => {
                let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
                let package = package.as_ref().map_or("the package", |needed| needed.package.as_str());
                format!("install the release of {package} for TensorFlow {minor}, or use the libtensorflow that it requires").into()
            }
            OpLibraryProblem::MissingNeighbour { name } => {
                format!("put `{name}` beside it or into LD_LIBRARY_PATH; `ldd` lists all that it needs").into()
            }
            // The open TensorFlow has the function.
            OpLibraryProblem::MissingSymbol { symbol } if OF_TENSORFLOW.iter().any(|own| symbol.starts_with(own)) => {
                "it was not linked with TensorFlow: add what `tf.sysconfig.get_link_flags()` says when it is built".into()
            }
            OpLibraryProblem::UnknownPackage { .. } => {
                "name a file with its folder, as in ./ops.so, or `pip install` the package into one of these environments"
                    .into()
            }
            OpLibraryProblem::NotInPackage { sources: Some(sources), .. } => {
                format!("it was installed as a link to `{}`: name the `.so` file in there", sources.display()).into()
            }
            OpLibraryProblem::IsADirectory | OpLibraryProblem::TensorFlowItself => {
                "name the `.so` file, or the pip package that has it".into()
            }
            OpLibraryProblem::NoOps => "it may be a library that the op library needs: name that one".into(),
            OpLibraryProblem::AlreadyRegistered { by: Some(_), .. } => "name one of the two files only".into(),
            OpLibraryProblem::AlreadyRegistered { by: None, .. } => "do without it".into(),
            _ => return None,
        })
    }
}

impl fmt::Display for OpLibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the op library `{}` cannot be used: ", self.path.display())?;
        let list = |candidates: &[String]| match candidates {
            [] => "none of the packages there has any".to_owned(),
            candidates => format!("packages with op libraries: {}", names(candidates)),
        };
        match &self.problem {
            OpLibraryProblem::NotFound => write!(f, "there is no such file"),
            OpLibraryProblem::IsADirectory => write!(f, "it is a folder"),
            OpLibraryProblem::NoPermission => write!(f, "the process has no permission to read it"),
            OpLibraryProblem::NotALibrary { what } => write!(f, "{what}"),
            OpLibraryProblem::OtherMachine { machine } => write!(f, "it was built for another processor, {machine}"),
            OpLibraryProblem::OtherTensorFlow { symbol, version, package } => {
                write!(f, "it was built for another TensorFlow than {version}, which has no `{symbol}`")?;
                match package {
                    Some(TensorFlowRequirement { package, version, tensorflow: Some(wanted) }) => {
                        write!(f, "; `{package}` {version} requires TensorFlow {wanted}")
                    }
                    _ => Ok(()),
                }
            }
            OpLibraryProblem::MissingSymbol { symbol } => {
                write!(f, "it needs `{symbol}`, which is in none of its libraries")
            }
            OpLibraryProblem::MissingNeighbour { name } => {
                write!(f, "it needs the library `{name}`, which was not found")
            }
            OpLibraryProblem::NotOpened { reason } => write!(f, "{reason}"),
            OpLibraryProblem::NoOps => write!(f, "it was loaded, but registers no ops: it is not an op library"),
            OpLibraryProblem::AlreadyRegistered { by, loaded } => {
                let by =
                    by.as_ref().map_or("TensorFlow or this process".to_owned(), |by| format!("`{}`", by.display()));
                let then = if *loaded { "; runs of these ops fail in this process from now on" } else { "" };
                write!(f, "{by} has registered its ops already{then}")
            }
            OpLibraryProblem::UnknownPackage { looked, candidates } => {
                let looked: Vec<String> = looked.iter().map(|folder| folder.display().to_string()).collect();
                let list = list(candidates);
                match looked.as_slice() {
                    [] => write!(f, "there is no such file, and no Python environment to search for a package"),
                    looked => write!(f, "there is no such file, and no such package in {}; {list}", names(looked)),
                }
            }
            OpLibraryProblem::NotInPackage { folder, candidates, .. } => {
                write!(f, "the package in `{}` has no op libraries; {}", folder.display(), list(candidates))
            }
            OpLibraryProblem::TensorFlowItself => write!(f, "it is TensorFlow itself, whose ops are always available"),
        }
    }
}

impl std::error::Error for OpLibraryError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(problem: OpLibraryProblem) -> String {
        OpLibraryError { path: "ops.so".into(), problem }.to_string()
    }

    #[test]
    fn packages_with_libraries_are_listed() {
        let unknown = |looked: &[&str], candidates: &[&str]| {
            let looked = looked.iter().map(PathBuf::from).collect();
            let candidates = candidates.iter().map(|it| (*it).to_owned()).collect();
            said(OpLibraryProblem::UnknownPackage { looked, candidates })
        };
        assert!(unknown(&[], &[]).contains("no Python environment"));
        assert!(unknown(&["/e"], &[]).contains("no such package in `/e`; none of the packages there has any"));
        assert!(unknown(&["/e"], &["ydf-tf"]).ends_with("packages with op libraries: `ydf-tf`"));
    }
}
