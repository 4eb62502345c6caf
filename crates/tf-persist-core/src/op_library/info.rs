//! Inspects a file that should be an op library, before the dynamic linker runs it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use object::read::{NameOrOrdinal, ReadCache};
use object::{Architecture, Object, ObjectKind, ObjectSection, SectionKind};

use crate::error::OpLibraryProblem;

/// What a shared library needs of TensorFlow, by its dynamic symbols or by names that it looks up itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LibraryInfo {
    /// Device and inode of the file, which are the same under every name.
    pub(super) identity: (u64, u64),
    /// Its length.
    pub(super) bytes: u64,
    /// It registers ops.
    pub(super) registers_ops: bool,
    /// It registers kernels, perhaps of existing ops.
    pub(super) registers_kernels: bool,
    /// It calls functions of Python, which only a Python process has.
    pub(super) needs_python: bool,
}

/// Parts of the names of the functions that register ops: of the macro `REGISTER_OP`, and of the C API.
const OP_FUNCTIONS: [&[u8]; 3] = [b"OpDefBuilderWrapper", b"12OpDefBuilderC", b"TF_RegisterOpDefinition"];
/// Parts of the names of the functions that register kernels.
const KERNEL_FUNCTIONS: [&[u8]; 3] = [b"OpKernelRegistrar", b"16KernelDefBuilder", b"TF_RegisterKernelBuilder"];
/// Functions of the C API that a library may look up itself (`dlsym`) instead of naming them to the linker.
const LOOKED_UP: [&[u8]; 2] = [b"TF_RegisterOpDefinition", b"TF_RegisterKernelBuilder"];
/// Larger sections are not searched for such names.
const MAX_SECTION_BYTES: u64 = 64 << 20;
/// What every extension module of Python calls.
const PYTHON_FUNCTIONS: [&[u8]; 2] = [b"PyModule_Create2", b"PyModuleDef_Init"];

impl LibraryInfo {
    /// Inspects a file, without running any of its code.
    ///
    /// # Errors
    /// If the file does not exist, cannot be read, or is not a shared library for this machine.
    pub(super) fn read(path: &Path) -> Result<Self, OpLibraryProblem> {
        let refused = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => OpLibraryProblem::NotFound,
            ErrorKind::PermissionDenied => OpLibraryProblem::NoPermission,
            _ => OpLibraryProblem::NotALibrary { what: format!("it cannot be read: {error}") },
        };
        // Before opening: opening a pipe would wait for a writer.
        let metadata = fs::metadata(path).map_err(refused)?;
        if metadata.is_dir() {
            return Err(OpLibraryProblem::IsADirectory);
        }
        if !metadata.is_file() {
            return Err(OpLibraryProblem::NotALibrary { what: "it is not a regular file".into() });
        }
        let mut file = File::open(path).map_err(refused)?;
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic).map_err(refused)?;
        if let Some(what) = not_a_binary(&magic) {
            return Err(OpLibraryProblem::NotALibrary { what: what.into() });
        }
        let cut = |error: object::Error| OpLibraryProblem::NotALibrary { what: format!("it is damaged: {error}") };
        let cache = ReadCache::new(file);
        let object = object::File::parse(&cache).map_err(cut)?;
        if object.kind() != ObjectKind::Dynamic {
            return Err(OpLibraryProblem::NotALibrary { what: "it is a binary, but not a shared library".into() });
        }
        if !is_of_this_machine(object.architecture()) {
            let machine = format!("{:?}", object.architecture());
            return Err(OpLibraryProblem::OtherMachine { machine });
        }
        let mut info = Self {
            identity: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            registers_ops: false,
            registers_kernels: false,
            needs_python: false,
        };
        for import in object.imports().map_err(cut)? {
            // Only Windows has ordinals.
            let NameOrOrdinal::Name(name) = import.map_err(cut)?.name() else { continue };
            info.registers_ops |= has_any(name, &OP_FUNCTIONS);
            info.registers_kernels |= has_any(name, &KERNEL_FUNCTIONS);
            info.needs_python |= has_any(name, &PYTHON_FUNCTIONS);
        }
        if !info.registers_ops && !info.registers_kernels && !info.needs_python {
            let [ops, kernels] = LOOKED_UP.map(|name| has_text(&object, name));
            (info.registers_ops, info.registers_kernels) = (ops, kernels);
        }
        Ok(info)
    }

    /// Whether it is an op library, as far as its symbols tell.
    pub(super) fn is_op_library(&self) -> bool {
        (self.registers_ops || self.registers_kernels) && !self.needs_python
    }
}

/// Whether the constants of a library contain a text.
fn has_text<'d>(object: &impl Object<'d>, text: &[u8]) -> bool {
    let constants = [SectionKind::ReadOnlyData, SectionKind::ReadOnlyDataWithRel, SectionKind::ReadOnlyString];
    let sections = object.sections().filter(|section| constants.contains(&section.kind()));
    let mut sections = sections.filter(|section| section.size() <= MAX_SECTION_BYTES);
    sections.any(|section| section.data().is_ok_and(|data| data.windows(text.len()).any(|window| window == text)))
}

fn has_any(name: &[u8], parts: &[&[u8]]) -> bool {
    parts.iter().any(|part| name.windows(part.len()).any(|window| window == *part))
}

/// Describes a file by its first bytes, if it is not a binary for this operating system.
fn not_a_binary(magic: &[u8]) -> Option<&'static str> {
    let mach_o = [[0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
    match magic {
        [] => Some("it is empty"),
        b"\x7fELF" if cfg!(target_os = "macos") => Some("it is a library for Linux"),
        b"\x7fELF" => None,
        magic if mach_o.iter().any(|known| magic == known) => {
            if cfg!(target_os = "macos") {
                None
            } else {
                Some("it is a library for macOS")
            }
        }
        [b'M', b'Z', ..] => Some("it is a library for Windows"),
        [b'P', b'K', ..] => Some("it is an archive, perhaps a wheel: install it, and name the package"),
        _ => Some("it is not a shared library"),
    }
}

fn is_of_this_machine(architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 => cfg!(target_arch = "aarch64"),
        _ => !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library.so");
        fs::write(&path, content).unwrap();
        format!("{:?}", LibraryInfo::read(&path).unwrap_err())
    }

    #[test]
    fn other_files_are_refused_by_kind() {
        assert!(refusal(b"").contains("it is empty"));
        assert!(refusal(b"#!/bin/sh\n").contains("not a shared library"));
        assert!(refusal(b"PK\x03\x04").contains("perhaps a wheel"));
        assert!(refusal(b"MZ\x90\0").contains("Windows"));
        assert!(refusal(b"\x7fELF").contains("damaged"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(LibraryInfo::read(folder.path()).unwrap_err(), OpLibraryProblem::IsADirectory);
        assert_eq!(LibraryInfo::read(&folder.path().join("none.so")).unwrap_err(), OpLibraryProblem::NotFound);
        let socket = folder.path().join("socket.so");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(format!("{:?}", LibraryInfo::read(&socket).unwrap_err()).contains("not a regular file"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn program_is_not_an_op_library() {
        // The C library of this process; the test binary itself contains the names.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let library =
            maps.lines().filter_map(|line| Some(line[line.find('/')?..].to_owned())).find(|it| it.contains("/libc"));
        assert!(!LibraryInfo::read(Path::new(&library.unwrap())).unwrap().is_op_library());
        let own = std::env::current_exe().unwrap();
        let info = LibraryInfo::read(&own).unwrap();
        assert!(info.registers_ops && info.registers_kernels && !info.needs_python);
        // The same file cut short, and with another machine in its header (`e_machine`, at byte 18).
        let bytes = fs::read(&own).unwrap();
        assert!(refusal(&bytes[..200]).contains("damaged"));
        let mut other = bytes[..64.min(bytes.len())].to_vec();
        other[18..20].copy_from_slice(&243_u16.to_le_bytes());
        // No section or program headers: the machine is all that is left to look at.
        other[32..48].fill(0);
        other[54..64].fill(0);
        assert!(refusal(&other).contains("Riscv64"));
    }
}
