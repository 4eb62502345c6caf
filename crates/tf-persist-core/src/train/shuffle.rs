//! The order of the rows in an epoch: a function of seed, epoch and number of rows, the same on every machine and in
//! every version.
//!
//! Resuming depends on it, so it is implemented here instead of by a crate that may change. The generator is SplitMix64
//! (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014); numbers below a bound are
//! drawn by multiplying and rejecting (Lemire, "Fast random integer generation in an interval", 2019), which is
//! unbiased; the shuffle is that of Fisher and Yates, from the last row to the second.

/// 2⁶⁴ divided by the golden ratio: the step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The rows of one epoch in the order of training. Rows and epochs are counted from 0.
pub(super) fn shuffled_rows(rows: usize, seed: u64, epoch: u64, shuffle: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    if shuffle {
        let mut numbers = SplitMix64(mix(seed).wrapping_add(epoch));
        for last in (1..rows).rev() {
            order.swap(last, numbers.below(last as u64 + 1) as usize);
        }
    }
    order
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Draws a number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next()) * u128::from(bound);
        if (product as u64) < bound {
            // This many of the 2⁶⁴ numbers would make some results likelier than others.
            let surplus = bound.wrapping_neg() % bound;
            while (product as u64) < surplus {
                product = u128::from(self.next()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }
}

/// The finalizer of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From an independent implementation in Python.
    const GOLDEN: [[usize; 10]; 4] = [
        [4, 9, 2, 5, 1, 7, 6, 0, 3, 8],
        [9, 0, 1, 4, 8, 2, 3, 7, 6, 5],
        [9, 4, 0, 5, 2, 1, 6, 8, 3, 7],
        [2, 9, 5, 0, 7, 8, 6, 1, 3, 4],
    ];

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The first outputs of the reference implementation for the seed 1234567
        // (https://prng.di.unimi.it/splitmix64.c).
        let mut numbers = SplitMix64(1_234_567);
        let first = [numbers.next(), numbers.next(), numbers.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    /// A change of these orders would break the resumption of every existing checkpoint.
    #[test]
    fn seed_gives_the_same_order_in_every_version() {
        assert_eq!(shuffled_rows(10, 0, 0, true), GOLDEN[0]);
        assert_eq!(shuffled_rows(10, 0, 1, true), GOLDEN[1]);
        assert_eq!(shuffled_rows(10, 1, 0, true), GOLDEN[2]);
        assert_eq!(shuffled_rows(10, u64::MAX, u64::MAX, true), GOLDEN[3]);
    }

    #[test]
    fn every_row_occurs_once() {
        for rows in [1, 2, 3, 1000] {
            let mut shuffled = shuffled_rows(rows, 7, 3, true);
            assert!(rows < 1000 || shuffled != shuffled_rows(rows, 7, 3, false));
            shuffled.sort_unstable();
            assert_eq!(shuffled, shuffled_rows(rows, 7, 3, false));
        }
        assert!(shuffled_rows(0, 7, 3, true).is_empty());
    }

    #[test]
    fn shuffle_is_unbiased() {
        // Row 0 of five lands at each index about 2,000 times in 10,000 epochs; the standard deviation is 40.
        let mut counts = [0_i32; 5];
        for epoch in 0..10_000 {
            let order = shuffled_rows(5, 42, epoch, true);
            counts[order.iter().position(|row| *row == 0).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (count - 2_000).abs() < 200), "{counts:?}");
    }
}
