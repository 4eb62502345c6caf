//! The pages of libtensorflow's files that are in memory, as Linux and its dynamic linker tell them.

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The parts of libtensorflow and its framework that the dynamic linker mapped not to be written.
///
/// They are found once, when they are open and stay so. A mapping of the same files that is not the linker's may go.
static SEGMENTS: OnceLock<Vec<Range<usize>>> = OnceLock::new();

/// Finds them. `core` is open by now.
pub(super) fn find(core: &Path) {
    let Ok(core) = core.canonicalize() else { return };
    SEGMENTS.get_or_init(|| {
        let mut search = Search { core, segments: Vec::new() };
        // SAFETY: `visit` has the wanted signature, and takes the search, which lives until the call returns.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
        search.segments
    });
}

struct Search {
    core: PathBuf,
    segments: Vec<Range<usize>>,
}

impl Search {
    fn is_of_library(&self, file: &Path) -> bool {
        let is_framework = || {
            let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with("libtensorflow_framework.") && file.parent() == self.core.parent()
        };
        file.canonicalize().is_ok_and(|file| file == self.core) || is_framework()
    }
}

/// Looks at one library. Always returns 0: go on.
///
/// # Safety
/// `info` is as `dl_iterate_phdr` gives it, and `search` points to a [`Search`].
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
    // SAFETY: see above; nobody else uses it during the call.
    let info = unsafe { &*info };
    // SAFETY: as before.
    let search = unsafe { &mut *search.cast::<Search>() };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the name ends with NUL, and lives as long as the library is loaded.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) };
    if !search.is_of_library(Path::new(OsStr::from_bytes(name.to_bytes()))) {
        return 0;
    }
    // SAFETY: the linker has this many headers there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let is_unwritten = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    // The linker maps whole pages.
    let page = rustix::param::page_size();
    search.segments.extend(headers.iter().filter(is_unwritten).map(|header| {
        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
        let end = start + header.p_memsz as usize;
        start / page * page..end.next_multiple_of(page)
    }));
    0
}

/// The bytes of files in memory.
pub(super) fn resident_files() -> Option<usize> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(2)?.parse().ok()?;
    Some(pages * rustix::param::page_size())
}

/// Where they are as in their files: no page was written, such as by a debugger, or by relocations of the text.
pub(super) fn unwritten() -> Vec<Range<usize>> {
    let segments = SEGMENTS.get().map_or(&[][..], Vec::as_slice);
    if segments.is_empty() {
        return Vec::new();
    }
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let is_in = |mapping: &Range<usize>, segment: &Range<usize>| {
        segment.start <= mapping.start && mapping.end <= segment.end && !mapping.is_empty()
    };
    let is_in_one = |mapping: &Range<usize>| segments.iter().any(|segment| is_in(mapping, segment));
    as_in_file(&smaps).into_iter().filter(is_in_one).collect()
}

/// The mappings without pages of their own, in memory or swapped out, in a `/proc/self/smaps`.
fn as_in_file(smaps: &str) -> Vec<Range<usize>> {
    let mut mappings: Vec<(Range<usize>, bool)> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), mappings.last_mut()) {
            (Some("Anonymous:" | "Swap:"), Some((_, is_clean))) => *is_clean &= words.next() == Some("0"),
            (Some(range), _) if !range.ends_with(':') => mappings.extend(parse(range).map(|range| (range, true))),
            _ => {}
        }
    }
    mappings.into_iter().filter_map(|(range, is_clean)| is_clean.then_some(range)).collect()
}

/// The addresses of `7f00-7f10`.
fn parse(range: &str) -> Option<Range<usize>> {
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).ok());
    Some(start?..end?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_with_pages_of_their_own_are_left_out() {
        let mapping = |line: &str, anonymous: usize, swapped: usize| {
            format!("{line}\nSize:  8 kB\nAnonymous:  {anonymous} kB\nSwap:  {swapped} kB\nVmFlags: rd mr\n")
        };
        let smaps = [
            mapping("1000-3000 r--p 00000000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 0, 0),
            mapping("3000-4000 r-xp 00002000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 4, 0),
            mapping("4000-5000 r--p 00003000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 0, 4),
            mapping("a000-b000 r-xp 00000000 00:00 0           [vdso]", 0, 0),
        ];
        assert_eq!(as_in_file(&smaps.concat()), [0x1000..0x3000, 0xa000..0xb000]);
        assert_eq!(as_in_file("nonsense: 1\nAnonymous: 0 kB\n7f-"), []);
    }
}
