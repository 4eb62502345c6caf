//! Returns memory to the operating system.

/// Returns freed memory that the C library keeps for later to the operating system.
///
/// TensorFlow allocates in many threads, each of which has its own arena in glibc. The memory of a dropped model stays
/// in these arenas until it is allocated again, which may be never. This takes milliseconds; without glibc it does
/// nothing.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc has this function with this signature (`malloc.h`); it may be called from any thread at any
        // time, takes the locks it needs itself, and touches only memory that nobody has allocated.
        unsafe { malloc_trim(0) };
    }
}

/// Returns the pages of libtensorflow's files that this process has read to the operating system, if they are more than
/// 32 MiB. Pages that are used again come back from the file cache, one fault for several of them.
///
/// Opening libtensorflow and loading a model read 270 MB of its files, of which runs need a few. This takes
/// milliseconds; elsewhere than on Linux, and before libtensorflow is open, it does nothing.
pub fn release_library_pages() {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};

        const FEW: usize = 32 << 20;
        if pages::resident_files().is_none_or(|bytes| bytes <= FEW) {
            return;
        }
        for (start, length) in pages::of_library() {
            let start = std::ptr::with_exposed_provenance_mut(*start);
            // SAFETY: the range is a private mapping of a file of libtensorflow, which is never unmapped. It cannot be
            // written, and had no page that was when the dynamic linker was done with it. So whoever reads or runs it
            // gets the same bytes from the file again.
            // Pages that are locked in memory stay.
            let _ = unsafe { madvise(start, *length, Advice::LinuxDontNeed) };
        }
    }
}

/// Finds the pages that [`release_library_pages`] may return. The library must be open by now.
pub(super) fn find_library_pages(core: &std::path::Path) {
    #[cfg(target_os = "linux")]
    pages::find(core);
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// What Linux says of the memory of this process.
#[cfg(target_os = "linux")]
mod pages {
    use std::fs;
    use std::path::Path;
    use std::sync::OnceLock;

    /// Start and length of a mapping.
    type Range = (usize, usize);

    /// The mappings of libtensorflow's files that cannot be written, and were not.
    ///
    /// They are found once. Later, another library may be about to be mapped, and have pages that will be written where
    /// its file still says otherwise.
    static OF_LIBRARY: OnceLock<Vec<Range>> = OnceLock::new();

    pub(super) fn of_library() -> &'static [Range] {
        OF_LIBRARY.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn find(core: &Path) {
        let Ok(core) = core.canonicalize() else { return };
        let found = fs::read_to_string("/proc/self/smaps").map(|smaps| unwritten(&smaps, &core));
        OF_LIBRARY.get_or_init(|| found.unwrap_or_default());
    }

    /// The bytes of files in memory.
    pub(super) fn resident_files() -> Option<usize> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let pages: usize = statm.split(' ').nth(2)?.parse().ok()?;
        Some(pages * rustix::param::page_size())
    }

    /// The mappings of `core`, and of the framework that it needs beside it, in a `/proc/self/smaps`.
    fn unwritten(smaps: &str, core: &Path) -> Vec<Range> {
        let (mut found, mut mapping) = (Vec::new(), None);
        for line in smaps.lines() {
            match line.split_once(':') {
                Some(("Anonymous", size)) => {
                    let mapping = mapping.take();
                    found.extend(mapping.filter(|_| size.trim() == "0 kB"));
                }
                _ => mapping = library_mapping(line, core).or(mapping),
            }
        }
        found
    }

    /// The mapping in a line like `7f00-7f10 r-xp 00000000 fe:00 12     /lib/libtensorflow.so.2`.
    fn library_mapping(line: &str, core: &Path) -> Option<Range> {
        let (range, rest) = line.split_once(' ')?;
        let is_private = matches!(rest.split(' ').next()?, "r--p" | "r-xp");
        let file = Path::new(&rest[rest.find('/')?..]);
        let is_framework = || {
            let name = file.file_name().and_then(|name| name.to_str());
            file.parent() == core.parent() && name.is_some_and(|name| name.starts_with("libtensorflow_framework.so"))
        };
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).ok());
        let length = end?.checked_sub(start?)?;
        (is_private && (file == core || is_framework())).then_some((start?, length))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_pages_of_the_library_that_are_as_in_its_file_are_found() {
            let mapping = |line: &str, anonymous: usize| {
                format!("{line}\nSize:  8 kB\nRss:   8 kB\nAnonymous:  {anonymous} kB\nVmFlags: rd mr\n")
            };
            let smaps = [
                mapping("1000-3000 r--p 00000000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 0),
                mapping("3000-4000 r-xp 00002000 fe:00 12          /opt/a b/libtensorflow_framework.so.2", 0),
                // Relocated, and to be written.
                mapping("4000-5000 r--p 00003000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 4),
                mapping("5000-6000 rw-p 00004000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 0),
                mapping("6000-7000 rw-p 00000000 00:00 0 ", 0),
                // Others.
                mapping("7000-8000 r-xp 00000000 fe:00 13          /opt/a b/libtensorflow_io.so", 0),
                mapping("8000-9000 r-xp 00000000 fe:00 14          /opt/libtensorflow_framework.so.2", 0),
                mapping("9000-a000 r--s 00000000 fe:00 12          /opt/a b/libtensorflow_cc.so.2", 0),
                mapping("a000-b000 r-xp 00000000 00:00 0           [vdso]", 0),
            ];
            let core = Path::new("/opt/a b/libtensorflow_cc.so.2");
            assert_eq!(unwritten(&smaps.concat(), core), [(0x1000, 0x2000), (0x3000, 0x1000)]);
            assert_eq!(unwritten("nonsense: 1\nAnonymous: 0 kB\n7f-", core), []);
        }
    }
}
