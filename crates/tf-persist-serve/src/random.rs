//! Random numbers for sampling, not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A number from 0 to below 1 (xorshift64*).
pub(crate) fn random() -> f64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    STATE.with(|state| {
        let mut value = state.get();
        value ^= value >> 12;
        value ^= value << 25;
        value ^= value >> 27;
        state.set(value);
        (value.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly() {
        let below = (0..100_000).filter(|_| random() < 0.25).count();
        assert!((24_000..26_000).contains(&below), "{below}");
    }
}
