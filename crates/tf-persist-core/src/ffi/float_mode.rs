//! The floating-point mode of TensorFlow's threads: denormals are zero, and results are rounded to nearest.
//!
//! TensorFlow sets it in the threads of its pools and where it folds constants, but not in calling threads. Without it,
//! a session that runs its graph in the calling thread would give denormals where one with threads gives zeros.

/// Runs `call` in the mode of TensorFlow's threads, and restores the mode of the calling thread.
///
/// `call` may only call TensorFlow: the compiler assumes that floating-point operations of Rust run in the default
/// mode. This function is never inlined, so that operations of callers cannot be moved into it.
#[inline(never)]
pub(super) fn in_mode_of_tensorflow<R>(call: impl FnOnce() -> R) -> R {
    let kept = Kept::here();
    control::write((kept.0 | control::FLUSH) & !control::ROUNDING);
    call()
}

/// Runs `call`, and restores the mode of the calling thread: initialisers of a shared library that was linked with
/// `-ffast-math` change it.
#[inline(never)]
pub(super) fn keeping_mode<R>(call: impl FnOnce() -> R) -> R {
    let _kept = Kept::here();
    call()
}

/// The mode of this thread, restored on drop.
struct Kept(control::Register);

impl Kept {
    fn here() -> Self {
        Self(control::read())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        control::write(self.0);
    }
}

/// MXCSR.
#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u32;
    /// Denormal results are flushed to zero (bit 15), and denormal operands are zero (bit 6).
    pub(super) const FLUSH: Register = 1 << 15 | 1 << 6;
    /// The rounding mode; 0 is to nearest.
    pub(super) const ROUNDING: Register = 3 << 13;

    pub(super) fn read() -> Register {
        let mut value: Register = 0;
        // SAFETY: writes the register to the four bytes that are given.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
        value
    }

    pub(super) fn write(value: Register) {
        // SAFETY: `value` is what was read, but for bits that every x86-64 processor knows; see
        // `in_mode_of_tensorflow`.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
    }
}

/// FPCR.
#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u64;
    /// Denormal results and operands are zero, except those of half precision, as in TensorFlow.
    pub(super) const FLUSH: Register = 1 << 24;
    /// The rounding mode; 0 is to nearest.
    pub(super) const ROUNDING: Register = 3 << 22;

    pub(super) fn read() -> Register {
        let value: Register;
        // SAFETY: reads a register that every program may read.
        unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }

    pub(super) fn write(value: Register) {
        // SAFETY: `value` is what was read, but for bits that every processor knows; see `in_mode_of_tensorflow`.
        unsafe { asm!("msr fpcr, {}", in(reg) value, options(nostack, preserves_flags)) };
    }
}

/// Other processors keep their mode.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) type Register = u32;
    pub(super) const FLUSH: Register = 0;
    pub(super) const ROUNDING: Register = 0;

    pub(super) fn read() -> Register {
        0
    }

    pub(super) fn write(_: Register) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::arch::asm;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// 1e-20 × 1e-20, computed at run time.
    fn tiny_product() -> f32 {
        let (mut product, factor) = (1e-20_f32, 1e-20_f32);
        // SAFETY: multiplies two registers.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("mulss {}, {}", inout(xmm_reg) product, in(xmm_reg) factor, options(nomem, nostack));
        }
        // SAFETY: multiplies two registers.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!("fmul {0:s}, {0:s}, {1:s}", inout(vreg) product, in(vreg) factor, options(nomem, nostack));
        }
        product
    }

    #[test]
    fn denormals_are_flushed_only_inside() {
        assert!(tiny_product().to_bits() != 0);
        assert_eq!(in_mode_of_tensorflow(tiny_product).to_bits(), 0);
        assert!(tiny_product().to_bits() != 0);
        let nested = in_mode_of_tensorflow(|| (in_mode_of_tensorflow(tiny_product), tiny_product()));
        assert_eq!((nested.0.to_bits(), nested.1.to_bits()), (0, 0));
        assert!(tiny_product().to_bits() != 0);
    }

    #[test]
    fn mode_is_restored_after_changes_and_panics() {
        let before = control::read();
        let panicked = catch_unwind(AssertUnwindSafe(|| in_mode_of_tensorflow(|| panic!("inside"))));
        assert!(panicked.is_err() && control::read() == before);
        // As an initialiser of a library may do.
        keeping_mode(|| control::write(control::read() | control::FLUSH | control::ROUNDING));
        assert_eq!(control::read(), before);
        assert!(tiny_product().to_bits() != 0);
    }

    #[test]
    fn rounding_of_the_caller_is_restored() {
        let before = control::read();
        keeping_mode(|| {
            control::write(before | control::ROUNDING);
            let inside = in_mode_of_tensorflow(control::read);
            assert_eq!(inside & (control::ROUNDING | control::FLUSH), control::FLUSH);
            assert_eq!(control::read(), before | control::ROUNDING);
        });
    }
}
