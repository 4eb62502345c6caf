//! Why a library of ops cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::error::{Hint, names};

/// A library of ops, or a package of such, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpLibraryError {
    pub(crate) path: PathBuf,
    pub(crate) problem: OpLibraryProblem,
}

/// What is wrong with a library of ops.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpLibraryProblem {
    /// There is no such file, and no package of that name was asked for.
    NotFound,
    /// It is a folder.
    IsADirectory,
    /// The operating system does not let it be read.
    NoPermission,
    /// It is no shared library.
    NotALibrary {
        /// What it is instead, in a sentence.
        what: String,
    },
    /// It is a shared library for another kind of processor.
    OtherMachine {
        /// That processor.
        machine: String,
    },
    /// It asks for a function that this TensorFlow does not have: it was built for another.
    OtherTensorFlow {
        /// The function, as far as its name can be read.
        symbol: String,
        /// The TensorFlow that is open.
        version: String,
        /// The package that the file came in, and what its metadata wants of TensorFlow.
        package: Option<Wants>,
    },
    /// It asks for a function that no library has that it names.
    MissingSymbol {
        /// The function.
        symbol: String,
    },
    /// It needs another library, which is not there.
    MissingNeighbour {
        /// The other library's file name.
        name: String,
    },
    /// The dynamic linker refused it for another reason.
    NotOpened {
        /// What it said.
        reason: String,
    },
    /// It was loaded, and registered nothing.
    NoOps,
    /// What it registers was there already from another file. TensorFlow takes the kernels all the same, and then
    /// refuses every run of such an op, because it finds two.
    AlreadyRegistered {
        /// The file that had registered them; `None` if it was TensorFlow itself, or somebody else in this process.
        by: Option<PathBuf>,
        /// Whether it was loaded before this was seen, so that the ops of both files are lost to this process.
        loaded: bool,
    },
    /// There is neither such a file nor an installed package of that name.
    UnknownPackage {
        /// The folders of packages that were looked through.
        looked: Vec<PathBuf>,
        /// The packages in them that have op libraries.
        holders: Vec<String>,
    },
    /// The package is installed, and has no op libraries.
    NotInPackage {
        /// Where it is installed.
        folder: PathBuf,
        /// The folder of its sources, if only a link to them was installed (`pip install --editable`).
        sources: Option<PathBuf>,
        /// The packages that have op libraries.
        holders: Vec<String>,
    },
    /// The package, or the file, is TensorFlow itself, whose ops are there anyway.
    TensorFlowItself,
}

/// What an installed package says of the TensorFlow that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The versions of TensorFlow that it works with, as in `>=2.21,<2.22`; `None` if it does not say.
    pub tensorflow: Option<String>,
}

/// How functions of TensorFlow's begin, in C and in C++.
const OF_TENSORFLOW: [&str; 6] = ["TF_", "TFE_", "tensorflow::", "tsl::", "absl::", "google::protobuf::"];

impl OpLibraryError {
    /// The file or the name that was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
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
                let package = package.as_ref().map_or("the package", |wants| wants.package.as_str());
                format!("install the release of {package} for TensorFlow {minor}, or use the libtensorflow that it wants").into()
            }
            OpLibraryProblem::MissingNeighbour { name } => {
                format!("put `{name}` beside it or into LD_LIBRARY_PATH; `ldd` lists all that it needs").into()
            }
            // What is missing is there, or the TensorFlow that it was built for would be at fault.
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
        let list = |holders: &[String]| match holders {
            [] => "none of the packages there has any".to_owned(),
            holders => format!("packages with op libraries: {}", names(holders)),
        };
        match &self.problem {
            OpLibraryProblem::NotFound => write!(f, "there is no such file"),
            OpLibraryProblem::IsADirectory => write!(f, "it is a folder"),
            OpLibraryProblem::NoPermission => write!(f, "there is no permission to read it"),
            OpLibraryProblem::NotALibrary { what } => write!(f, "{what}"),
            OpLibraryProblem::OtherMachine { machine } => write!(f, "it was built for another processor, {machine}"),
            OpLibraryProblem::OtherTensorFlow { symbol, version, package } => {
                write!(f, "it was built for another TensorFlow than {version}, which has no `{symbol}`")?;
                match package {
                    Some(Wants { package, version, tensorflow: Some(wanted) }) => {
                        write!(f, "; `{package}` {version} wants TensorFlow {wanted}")
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
            OpLibraryProblem::NoOps => write!(f, "it was loaded, but registers no ops: it is no op library"),
            OpLibraryProblem::AlreadyRegistered { by, loaded } => {
                let by =
                    by.as_ref().map_or("TensorFlow or this process".to_owned(), |by| format!("`{}`", by.display()));
                let then = if *loaded { "; every run of them would fail now, in this process" } else { "" };
                write!(f, "its ops are there already from {by}{then}")
            }
            OpLibraryProblem::UnknownPackage { looked, holders } => {
                let looked: Vec<String> = looked.iter().map(|folder| folder.display().to_string()).collect();
                let list = list(holders);
                match looked.as_slice() {
                    [] => write!(f, "there is no such file, and no Python environment to look for a package in"),
                    looked => write!(f, "there is no such file, and no such package in {}; {list}", names(looked)),
                }
            }
            OpLibraryProblem::NotInPackage { folder, holders, .. } => {
                write!(f, "the package in `{}` has no op libraries; {}", folder.display(), list(holders))
            }
            OpLibraryProblem::TensorFlowItself => write!(f, "it is TensorFlow itself, whose ops are there without it"),
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
    fn packages_that_have_libraries_are_listed() {
        let unknown = |looked: &[&str], holders: &[&str]| {
            let looked = looked.iter().map(PathBuf::from).collect();
            let holders = holders.iter().map(|it| (*it).to_owned()).collect();
            said(OpLibraryProblem::UnknownPackage { looked, holders })
        };
        assert!(unknown(&[], &[]).contains("no Python environment"));
        assert!(unknown(&["/e"], &[]).contains("no such package in `/e`; none of the packages there has any"));
        assert!(unknown(&["/e"], &["ydf-tf"]).ends_with("packages with op libraries: `ydf-tf`"));
    }
}
