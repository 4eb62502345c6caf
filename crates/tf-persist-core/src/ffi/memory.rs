//! Returns freed memory to the operating system.

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
