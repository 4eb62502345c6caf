//! Memory that is given back to the operating system.

/// Gives memory that was freed back to the operating system, as far as the C library keeps it for later.
///
/// TensorFlow allocates in many threads, each of which has an arena of its own in glibc. What a model took that was dropped stays
/// in them until somebody asks for it, which may be never. This takes milliseconds; elsewhere than with glibc it does nothing.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc has this function with this signature (`malloc.h`); it may be called from any thread at any time, takes
        // the locks it needs itself, and touches only memory that nobody has allocated.
        unsafe { malloc_trim(0) };
    }
}
