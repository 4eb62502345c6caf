//! What a program or a shared library needs, read from its file (ELF).

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};

/// A program or a shared library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binary {
    /// The machine that it is for, as ELF numbers them.
    pub(super) machine: u16,
    /// The dynamic linker of a program.
    pub(super) interpreter: Option<PathBuf>,
    /// The name under which others need a library.
    pub(super) name: Option<String>,
    /// The names of the libraries that it needs.
    pub(super) needed: Vec<String>,
    /// The folders where it wants them to be found first.
    pub(super) run_path: Vec<PathBuf>,
}

impl Binary {
    /// Reads a file, without reading it whole.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is not a 64-bit ELF file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("cannot read `{}`", path.display());
        let file = File::open(path).with_context(reading)?;
        if !file.metadata().with_context(reading)?.is_file() {
            bail!("`{}` is not a file", path.display());
        }
        let cache = ReadCache::new(file);
        Self::parse(&cache, path).map_err(|error| anyhow!("`{}` is not a library of Linux: {error}", path.display()))
    }

    fn parse(data: &ReadCache<File>, path: &Path) -> Result<Self, Box<dyn Error>> {
        let header = FileHeader64::<Endianness>::parse(data)?;
        let endian = header.endian()?;
        let mut binary = Self {
            machine: header.e_machine(endian).0,
            interpreter: None,
            name: None,
            needed: Vec::new(),
            run_path: Vec::new(),
        };
        let mut is_dynamic = false;
        for segment in header.program_headers(endian, data)? {
            is_dynamic |= segment.dynamic(endian, data)?.is_some();
            if let Some(interpreter) = segment.interpreter(endian, data)? {
                binary.interpreter = Some(PathBuf::from(text(interpreter)));
            }
        }
        let dynamic = header.sections(endian, data)?.dynamic_table(endian, data)?;
        if is_dynamic && dynamic.is_empty() {
            return Err("it has no section headers".into());
        }
        let origin = path.parent().unwrap_or(Path::new("/"));
        for entry in &dynamic {
            match entry.tag {
                elf::DT_NEEDED => binary.needed.push(text(dynamic.string(entry)?)),
                elf::DT_SONAME => binary.name = Some(text(dynamic.string(entry)?)),
                elf::DT_RUNPATH | elf::DT_RPATH => {
                    let folders = text(dynamic.string(entry)?);
                    binary.run_path.extend(folders.split(':').filter_map(|folder| expanded(folder, origin)));
                }
                _ => {}
            }
        }
        Ok(binary)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder of a run path; `None` if it depends on the current folder or on the processor.
fn expanded(folder: &str, origin: &Path) -> Option<PathBuf> {
    let folder = folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &origin.to_string_lossy());
    (folder.starts_with('/') && !folder.contains('$')).then(|| PathBuf::from(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program() {
        let binary = Binary::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(binary.needed.iter().any(|name| name.starts_with("libc.so")), "{binary:?}");
        assert!(binary.interpreter.unwrap().is_absolute());
    }

    #[test]
    fn files_that_are_no_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let head = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for bytes in [&b""[..], b"#!/bin/sh\n", &head[..64], &head[..4096]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(Binary::read(&path).is_err());
        }
        assert!(Binary::read(folder.path()).is_err() && Binary::read(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn run_paths() {
        let origin = Path::new("/a/b");
        assert_eq!(expanded("$ORIGIN/../c", origin), Some(PathBuf::from("/a/b/../c")));
        assert_eq!(expanded("${ORIGIN}", origin), Some(PathBuf::from("/a/b")));
        assert_eq!(expanded("lib", origin), None);
        assert_eq!(expanded("/$LIB/x", origin), None);
    }
}
