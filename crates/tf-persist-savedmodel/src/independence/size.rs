//! Sizes of dimensions: products of numbers, unknown sizes and the batch's size.

/// A size: a number times unknown sizes, and times the number of rows if `is_batch`. Unknown sizes depend neither on
/// the number of rows nor on their contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    is_batch: bool,
    factor: i64,
    /// Unknown sizes by number, ascending.
    symbols: Vec<u32>,
}

/// The number of unknown sizes in a product. No real graph has as many.
const MAX_SYMBOLS: usize = 16;

impl Size {
    /// The number of rows.
    pub(super) fn batch() -> Self {
        Self { is_batch: true, factor: 1, symbols: Vec::new() }
    }

    pub(super) fn known(size: i64) -> Self {
        Self { is_batch: false, factor: size, symbols: Vec::new() }
    }

    pub(super) fn symbol(number: u32) -> Self {
        Self { is_batch: false, factor: 1, symbols: vec![number] }
    }

    /// Whether it depends on the number of rows.
    pub(super) fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// The number, if no factor is unknown.
    pub(super) fn number(&self) -> Option<i64> {
        (!self.is_batch && self.symbols.is_empty()).then_some(self.factor)
    }

    pub(super) fn is(&self, number: i64) -> bool {
        self.number() == Some(number)
    }

    /// Whether it may be the size of a non-empty dimension.
    pub(super) fn is_positive(&self) -> bool {
        self.factor > 0
    }

    /// The product; `None` if the number of rows would be squared, or it is too large.
    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        if self.is_batch && other.is_batch || self.symbols.len() + other.symbols.len() > MAX_SYMBOLS {
            return None;
        }
        let mut symbols: Vec<u32> = self.symbols.iter().chain(&other.symbols).copied().collect();
        symbols.sort_unstable();
        let factor = self.factor.checked_mul(other.factor)?;
        Some(Self { is_batch: self.is_batch || other.is_batch, factor, symbols })
    }

    /// The product of all sizes.
    pub(super) fn product<'s>(sizes: impl IntoIterator<Item = &'s Self>) -> Option<Self> {
        sizes.into_iter().try_fold(Self::known(1), |product, size| product.times(size))
    }

    /// The quotient, if it is a whole number for all unknown sizes.
    pub(super) fn over(&self, other: &Self) -> Option<Self> {
        if other.is_batch && !self.is_batch || other.factor <= 0 || self.factor % other.factor != 0 {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            symbols.remove(symbols.iter().position(|own| own == symbol)?);
        }
        Some(Self { is_batch: self.is_batch && !other.is_batch, factor: self.factor / other.factor, symbols })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_are_exact() {
        let (batch, time) = (Size::batch(), Size::symbol(0));
        let all = Size::product([&batch, &time, &Size::known(6)]).unwrap();
        assert_eq!(all.over(&Size::known(3)), batch.times(&time).and_then(|all| all.times(&Size::known(2))));
        assert_eq!(all.over(&Size::known(4)), None);
        assert_eq!(all.over(&Size::symbol(1)), None);
        assert_eq!(all.over(&time).and_then(|rest| rest.over(&batch)), Some(Size::known(6)));
        assert_eq!(batch.times(&all), None);
        assert_eq!(Size::known(6).over(&batch), None);
        assert_eq!(Size::known(6).over(&Size::known(0)), None);
        assert_eq!(Size::known(i64::MAX).times(&Size::known(2)), None);
        assert_eq!((time.number(), batch.number(), Size::known(3).number()), (None, None, Some(3)));
    }
}
