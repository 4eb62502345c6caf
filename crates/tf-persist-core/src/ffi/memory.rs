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
/// 32 MiB. Pages that are used again come from the file cache, or from the disk if that was needed for something else.
///
/// Opening libtensorflow and loading a model read 270 MB of its files, of which runs need a few. This takes
/// milliseconds; elsewhere than on Linux, and before libtensorflow is open, it does nothing.
pub fn release_library_pages() {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        use rustix::mm::{Advice, madvise};

        use super::library_pages;

        const FEW: usize = 32 << 20;
        if library_pages::resident_files().is_none_or(|bytes| bytes <= FEW) {
            return;
        }
        for mapping in library_pages::unwritten() {
            let start = std::ptr::with_exposed_provenance_mut(mapping.start);
            // SAFETY: the dynamic linker has this range of a file of libtensorflow mapped for as long as the process
            // lives, privately and not to be written, and no page of it was. So whoever reads or runs it gets the same
            // bytes from the file again. Pages that are locked in memory stay.
            let _ = unsafe { madvise(start, mapping.len(), Advice::LinuxDontNeed) };
        }
    }
}
