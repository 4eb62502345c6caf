//! Problems behind messages of the dynamic linker.

use std::path::Path;

use crate::error::{OpLibraryProblem, TensorFlowRequirement};

/// The problem behind a message of the dynamic linker. `has` tells whether the open TensorFlow has a function. The
/// messages are those of glibc (`elf/dl-lookup.c`, `elf/dl-load.c`), and those of musl and macOS where they are
/// similar.
pub(super) fn of_linker(
    message: &str,
    path: &Path,
    version: &str,
    has: impl Fn(&str) -> bool,
    requirement: impl FnOnce() -> Option<TensorFlowRequirement>,
) -> OpLibraryProblem {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest.trim());
    if let Some(symbol) = after("undefined symbol: ").or_else(|| after("symbol not found: ")) {
        let symbol = symbol.split([',', ' ', '\n']).next().unwrap_or_default();
        return if symbol.starts_with("Py") || symbol.starts_with("_Py") {
            let reason = format!("it is a module for Python: it needs `{symbol}`, which only Python has");
            OpLibraryProblem::NotOpened { reason }
        } else if is_of_tensorflow(symbol) && !has(symbol) {
            OpLibraryProblem::OtherTensorFlow {
                symbol: demangled(symbol),
                version: version.into(),
                package: requirement(),
            }
        } else {
            OpLibraryProblem::MissingSymbol { symbol: demangled(symbol) }
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

/// Whether a function belongs to TensorFlow or the libraries in it.
fn is_of_tensorflow(symbol: &str) -> bool {
    let spaces =
        ["10tensorflow", "4absl", "3tsl", "3xla", "6google8protobuf", "5Eigen", "3re2", "4mlir", "15stream_executor"];
    symbol.starts_with("TF_")
        || symbol.starts_with("TFE_")
        || (symbol.starts_with("_Z") && spaces.iter().any(|space| symbol.contains(space)))
}

/// Demangles the nested name of a C++ function, without arguments: `_ZN1a1bE…` is `a::b`. Source: the Itanium C++ ABI,
/// `nested-name`.
fn demangled(symbol: &str) -> String {
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
    use crate::error::OpLibraryError;

    fn diagnose(message: &str) -> OpLibraryProblem {
        let requirement = || {
            let tensorflow = Some(">=2.15,<2.16".into());
            Some(TensorFlowRequirement { package: "tensorflow-text".into(), version: "2.15.0".into(), tensorflow })
        };
        of_linker(message, Path::new("/x/ops.so"), "2.21.0", |name| name == "TF_NewStatus", requirement)
    }

    fn said(problem: OpLibraryProblem) -> String {
        OpLibraryError { path: "ops.so".into(), problem }.to_string()
    }

    #[test]
    fn messages_of_the_linker_become_problems() {
        let other =
            diagnose("/x/ops.so: undefined symbol: _ZN10tensorflow8OpKernel11TraceStringERKNS_15OpKernelContextEb");
        let text = said(other.clone());
        assert!(text.contains("than 2.21.0, which has no `tensorflow::OpKernel::TraceString`"), "{text}");
        assert!(text.contains("`tensorflow-text` 2.15.0 requires TensorFlow >=2.15,<2.16"), "{text}");
        let hint = OpLibraryError { path: "ops.so".into(), problem: other }.hint().unwrap().to_string();
        assert!(hint.contains("release of tensorflow-text for TensorFlow 2.21,"), "{hint}");
        assert_eq!(
            diagnose("/x/ops.so: undefined symbol: own"),
            OpLibraryProblem::MissingSymbol { symbol: "own".into() }
        );
        let problem = diagnose("/x/ops.so: undefined symbol: TF_NewStatus");
        assert_eq!(problem, OpLibraryProblem::MissingSymbol { symbol: "TF_NewStatus".into() });
        let hint = OpLibraryError { path: "ops.so".into(), problem }.hint().unwrap().to_string();
        assert!(hint.contains("not linked with TensorFlow"), "{hint}");
        let module = said(diagnose("/x/ops.so: undefined symbol: PyExc_ValueError"));
        assert!(module.ends_with("it is a module for Python: it needs `PyExc_ValueError`, which only Python has"));
        let neighbour = OpLibraryProblem::MissingNeighbour { name: "libown.so.1".into() };
        assert_eq!(diagnose("libown.so.1: cannot open shared object file: No such file or directory"), neighbour);
        let reason = "version `GLIBC_2.99' not found (required by /x/ops.so)".to_owned();
        assert_eq!(diagnose(&format!("/x/ops.so: {reason}")), OpLibraryProblem::NotOpened { reason });
        assert_eq!(demangled("_ZNK3tsl1x"), "tsl::x");
        assert_eq!(demangled("_ZN99999999999999999999a"), "_ZN99999999999999999999a");
        assert_eq!(demangled("TF_None"), "TF_None");
    }
}
