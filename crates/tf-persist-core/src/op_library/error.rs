//! Why a library of ops cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::names;

/// A library of ops, or a package of such, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpLibraryError {
    pub(super) path: PathBuf,
    pub(super) problem: OpLibraryProblem,
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
    /// What it registers was there already from another file. TensorFlow takes the kernels all the same, and then refuses every
    /// run of such an op, because it finds two.
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

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.problem {
            OpLibraryProblem::OtherTensorFlow { version, package, .. } => {
                let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
                let package = package.as_ref().map_or("the package", |wants| wants.package.as_str());
                format!("install the release of {package} for TensorFlow {minor}, or use the libtensorflow that it wants")
            }
            OpLibraryProblem::MissingNeighbour { name } => {
                format!("put `{name}` beside it or into LD_LIBRARY_PATH; `ldd` lists all that it needs")
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
                format!("it was installed as a link to `{}`: name the `.so` file in there", sources.display())
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

/// What the dynamic linker's refusal means; `has` says whether the TensorFlow that is open has a function. Its messages are those of glibc (`elf/dl-lookup.c`, `elf/dl-load.c`) and of musl and
/// macOS where they are alike.
pub(super) fn of_linker(
    message: &str,
    path: &Path,
    version: &str,
    has: impl Fn(&str) -> bool,
    wants: impl FnOnce() -> Option<Wants>,
) -> OpLibraryProblem {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest.trim());
    if let Some(symbol) = after("undefined symbol: ").or_else(|| after("symbol not found: ")) {
        let symbol = symbol.split([',', ' ', '\n']).next().unwrap_or_default();
        return if symbol.starts_with("Py") || symbol.starts_with("_Py") {
            let reason = format!("it is a module for Python: it asks for `{symbol}`, which no other process has");
            OpLibraryProblem::NotOpened { reason }
        } else if is_of_tensorflow(symbol) && !has(symbol) {
            OpLibraryProblem::OtherTensorFlow { symbol: readable(symbol), version: version.into(), package: wants() }
        } else {
            OpLibraryProblem::MissingSymbol { symbol: readable(symbol) }
        };
    }
    if let Some((before, _)) = message.split_once(": cannot open shared object file") {
        let name = before.rsplit(": ").next().unwrap_or(before).trim();
        if Path::new(name) != path {
            return OpLibraryProblem::MissingNeighbour { name: name.into() };
        }
    }
    let first = message.trim().lines().next().unwrap_or("it cannot be opened");
    let reason = first.strip_prefix(&format!("{}: ", path.display())).unwrap_or(first);
    OpLibraryProblem::NotOpened { reason: reason.into() }
}

/// Whether a function is TensorFlow's, or of the libraries that are built into it.
fn is_of_tensorflow(symbol: &str) -> bool {
    let spaces =
        ["10tensorflow", "4absl", "3tsl", "3xla", "6google8protobuf", "5Eigen", "3re2", "4mlir", "15stream_executor"];
    symbol.starts_with("TF_")
        || symbol.starts_with("TFE_")
        || (symbol.starts_with("_Z") && spaces.iter().any(|space| symbol.contains(space)))
}

/// The name of a C++ function without its arguments, as far as it is nested names: `_ZN1a1bE…` is `a::b`. Source: the Itanium
/// C++ ABI, <nested-name>.
fn readable(symbol: &str) -> String {
    let nested = ["_ZNK", "_ZN", "_ZTVN", "_ZTIN", "_ZTSN"].iter().find_map(|prefix| symbol.strip_prefix(prefix));
    let Some(mut rest) = nested else { return symbol.to_owned() };
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|it: char| !it.is_ascii_digit()).filter(|digits| *digits > 0) {
        let (length, after) = rest.split_at(digits);
        let Some(part) = length.parse::<usize>().ok().and_then(|length| after.get(..length)) else { break };
        parts.push(part);
        rest = &after[part.len()..];
    }
    if parts.is_empty() { symbol.to_owned() } else { parts.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> OpLibraryProblem {
        let wants = || {
            let tensorflow = Some(">=2.15,<2.16".into());
            Some(Wants { package: "tensorflow-text".into(), version: "2.15.0".into(), tensorflow })
        };
        of_linker(message, Path::new("/x/ops.so"), "2.21.0", |name| name == "TF_NewStatus", wants)
    }

    fn said(problem: OpLibraryProblem) -> String {
        OpLibraryError { path: "ops.so".into(), problem }.to_string()
    }

    #[test]
    fn the_linkers_messages_become_reasons() {
        let other = of("/x/ops.so: undefined symbol: _ZN10tensorflow8OpKernel11TraceStringERKNS_15OpKernelContextEb");
        let text = said(other.clone());
        assert!(text.contains("than 2.21.0, which has no `tensorflow::OpKernel::TraceString`"), "{text}");
        assert!(text.contains("`tensorflow-text` 2.15.0 wants TensorFlow >=2.15,<2.16"), "{text}");
        let hint = OpLibraryError { path: "ops.so".into(), problem: other }.hint().unwrap();
        assert!(hint.contains("release of tensorflow-text for TensorFlow 2.21,"), "{hint}");
        assert_eq!(of("/x/ops.so: undefined symbol: own"), OpLibraryProblem::MissingSymbol { symbol: "own".into() });
        let problem = of("/x/ops.so: undefined symbol: TF_NewStatus");
        assert_eq!(problem, OpLibraryProblem::MissingSymbol { symbol: "TF_NewStatus".into() });
        let hint = OpLibraryError { path: "ops.so".into(), problem }.hint().unwrap();
        assert!(hint.contains("not linked with TensorFlow"), "{hint}");
        let module = said(of("/x/ops.so: undefined symbol: PyExc_ValueError"));
        assert!(
            module.ends_with("it is a module for Python: it asks for `PyExc_ValueError`, which no other process has")
        );
        let neighbour = OpLibraryProblem::MissingNeighbour { name: "libown.so.1".into() };
        assert_eq!(of("libown.so.1: cannot open shared object file: No such file or directory"), neighbour);
        let reason = "version `GLIBC_2.99' not found (required by /x/ops.so)".to_owned();
        assert_eq!(of(&format!("/x/ops.so: {reason}")), OpLibraryProblem::NotOpened { reason });
        assert_eq!(readable("_ZNK3tsl1x"), "tsl::x");
        assert_eq!(readable("_ZN99999999999999999999a"), "_ZN99999999999999999999a");
        assert_eq!(readable("TF_None"), "TF_None");
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
