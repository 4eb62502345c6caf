//! The libraries that programs and libraries need, where the dynamic linker finds them on this machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};

use super::binary::Binary;
use crate::common_args::env_var;

/// Where the dynamic linker's search path is configured.
const LINKER_CONFIG: &str = "/etc/ld.so.conf";

/// Files that include each other deeper than this do so in a circle.
const MAX_INCLUDES: usize = 8;

/// Folders in which every dynamic linker searches. Those of Debian have the name of the platform.
const DEFAULT_FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Libraries that the C library opens by itself, to look names of hosts up; those of glibc before 2.34.
const OPENED: [&str; 3] = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];

/// What a set of binaries needs beside each other, by the names under which it is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// The dynamic linker, where the programs expect it.
    pub(super) interpreter: Option<PathBuf>,
    /// Libraries of the system.
    pub(super) system: BTreeMap<String, PathBuf>,
    /// Libraries that come with another one, in folders of its run path.
    pub(super) private: BTreeMap<String, PathBuf>,
}

/// Finds what these files need, directly and through what they need. What one of them provides is not listed.
///
/// # Errors
/// If a file is not a library of Linux, or needs a library that is not there.
pub(super) fn needed(files: &[PathBuf]) -> anyhow::Result<Needed> {
    Search::of_this_machine().needed(files)
}

/// Where libraries are searched for.
struct Search {
    folders: Vec<PathBuf>,
    opened: &'static [&'static str],
}

impl Search {
    fn of_this_machine() -> Self {
        let listed = env_var("LD_LIBRARY_PATH");
        let mut folders: Vec<PathBuf> =
            listed.iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute()).collect();
        configured(Path::new(LINKER_CONFIG), &mut folders, 0);
        folders.extend(DEFAULT_FOLDERS.map(PathBuf::from));
        Self { folders, opened: &OPENED }
    }

    fn needed(&self, files: &[PathBuf]) -> anyhow::Result<Needed> {
        let mut found = Needed::default();
        let mut provided: BTreeSet<String> =
            files.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
        let mut open = VecDeque::new();
        for file in files {
            let binary = Binary::read(file)?;
            provided.extend(binary.name.clone());
            found.interpreter = found.interpreter.or_else(|| binary.interpreter.clone());
            open.push_back((file.clone(), binary));
        }
        if let Some(interpreter) = &found.interpreter {
            provided.extend(interpreter.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        let machine = open.front().map(|(_, binary)| binary.machine);
        while let Some((file, binary)) = open.pop_front() {
            for name in &binary.needed {
                if name.contains('/') {
                    bail!("`{}` needs `{name}` by its path, which an image does not have", file.display());
                }
                if !provided.insert(name.clone()) {
                    continue;
                }
                let in_run_path = find(&binary.run_path, name, machine);
                let (is_private, (path, other)) = match in_run_path {
                    Some(it) => (true, it),
                    None => (false, find(&self.folders, name, machine).ok_or_else(|| absent(&file, name))?),
                };
                let libraries = if is_private { &mut found.private } else { &mut found.system };
                libraries.insert(name.clone(), path.clone());
                open.push_back((path, other));
            }
        }
        for name in self.opened {
            if let Some((path, _)) = find(&self.folders, name, machine) {
                found.system.entry((*name).to_owned()).or_insert(path);
            }
        }
        Ok(found)
    }
}

fn absent(file: &Path, name: &str) -> anyhow::Error {
    anyhow!("`{}` needs the library `{name}`, which is not on this machine", file.display())
}

/// The first library of this name that is for this machine: like the dynamic linker, it passes over others.
fn find(folders: &[PathBuf], name: &str, machine: Option<u16>) -> Option<(PathBuf, Binary)> {
    let candidates = folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file());
    let mut readable = candidates.filter_map(|path| Binary::read(&path).ok().map(|binary| (path, binary)));
    readable.find(|(_, binary)| machine.is_none_or(|machine| machine == binary.machine))
}

/// The folders that a configuration of the dynamic linker names. What cannot be read is left out.
fn configured(file: &Path, folders: &mut Vec<PathBuf>, depth: usize) {
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include") {
            Some(pattern) if depth < MAX_INCLUDES => {
                let pattern = Path::new(pattern.trim());
                let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
                matching(&pattern).iter().for_each(|file| configured(file, folders, depth + 1));
            }
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// The files of a pattern whose only star is in the last part, sorted.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Some((begin, end)) = name.split_once('*') else { return vec![pattern.to_path_buf()] };
    let is_match = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_match).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_program_needs() {
        let this = std::env::current_exe().unwrap();
        let needed = needed(std::slice::from_ref(&this)).unwrap();
        assert!(needed.interpreter.unwrap().is_file());
        assert!(needed.system.keys().any(|name| name.starts_with("libc.so")));
        assert!(needed.system.keys().any(|name| name.starts_with("libgcc_s.so")));
        assert!(needed.system.values().all(|path| path.is_file()));
        assert!(needed.private.is_empty());
    }

    #[test]
    fn absent_libraries_are_named() {
        let this = std::env::current_exe().unwrap();
        let search = Search { folders: Vec::new(), opened: &[] };
        let error = search.needed(std::slice::from_ref(&this)).unwrap_err().to_string();
        assert!(error.contains("which is not on this machine") && error.contains(".so"), "{error}");
    }

    #[test]
    fn configurations_of_the_linker() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        fs::write(path("ld.conf"), "# a comment\n/one # first\ninclude conf.d/*.conf\ninclude ld.conf\n").unwrap();
        fs::write(path("conf.d/b.conf"), "/three").unwrap();
        fs::write(path("conf.d/a.conf"), "/two\nhwcap 0 nosegneg\nrelative").unwrap();
        fs::write(path("conf.d/a.other"), "/never").unwrap();
        let mut folders = Vec::new();
        configured(&path("ld.conf"), &mut folders, MAX_INCLUDES - 1);
        assert_eq!(folders, ["/one", "/two", "/three", "/one"].map(PathBuf::from));
    }
}
