//! Sketches of Apache DataSketches, with their encoding in JSON as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The base-2 logarithm of the number of registers: a distinct count is off by 2.3% (one standard deviation).
const REGISTERS: u8 = 11;

/// Quantiles of numbers. It keeps values of the stream and never means of them, so that a value that is frequent is
/// found as it is; the rank of a quantile is off by about 1.7 / `k`.
#[derive(Debug, Clone)]
pub(crate) struct Quantiles(Option<KllSketch<KllFloat<f64>>>);

impl Quantiles {
    pub(crate) fn new(k: u16) -> Self {
        Self(KllSketch::new(k).ok())
    }

    /// Adds a number; NaN is left out.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        if let (Some(sketch), Ok(value)) = (&mut self.0, KllFloat::<f64>::new(value)) {
            sketch.update(value);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Some(sketch), Some(other)) => {
                // Sketches of different `k` merge as well; nothing else is refused.
                let _ = sketch.merge(other);
            }
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
    }

    /// The values at these ranks from 0 to 1, which rise; empty without values.
    pub(crate) fn at(&self, ranks: &[f64]) -> Vec<f64> {
        let found =
            self.0.as_ref().and_then(|sketch| sketch.quantiles(ranks, SearchCriteria::Inclusive).ok().flatten());
        found.unwrap_or_default().into_iter().map(KllFloat::<f64>::into_inner).collect()
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .serialize_str(&self.0.as_ref().map_or_else(String::new, |sketch| STANDARD.encode(sketch.serialize())))
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = decoded::<D>(deserializer)?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        KllSketch::deserialize(&bytes).map(|sketch| Self(Some(sketch))).map_err(de::Error::custom)
    }
}

/// The number of distinct values, approximately (HyperLogLog).
#[derive(Debug, Clone)]
pub(crate) struct Distinct(Option<HllSketch>);

impl Distinct {
    pub(crate) fn new() -> Self {
        Self(HllSketch::new(REGISTERS, HllType::Hll8).ok())
    }

    #[inline]
    pub(crate) fn add_bits(&mut self, value: u64) {
        if let Some(sketch) = &mut self.0 {
            sketch.update(value);
        }
    }

    pub(crate) fn add_text(&mut self, value: &[u8]) {
        if let Some(sketch) = &mut self.0 {
            sketch.update(value);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let Some(other) = &other.0 else { return };
        if let (Some(own), Ok(mut union)) = (&mut self.0, HllUnion::new(REGISTERS)) {
            union.update(own);
            union.update(other);
            *own = union.to_sketch(HllType::Hll8);
        }
    }

    pub(crate) fn estimate(&self) -> u64 {
        self.0.as_ref().map_or(0, |sketch| sketch.estimate().round() as u64)
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .serialize_str(&self.0.as_ref().map_or_else(String::new, |sketch| STANDARD.encode(sketch.serialize())))
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = decoded::<D>(deserializer)?;
        if !has_possible_registers(&bytes) {
            return Err(de::Error::custom("a distinct count has registers that cannot be"));
        }
        let sketch = HllSketch::deserialize(&bytes).map_err(de::Error::custom)?;
        // A union takes the lower precision of two, and sketches here have one.
        if sketch.lg_config_k() != REGISTERS {
            return Err(de::Error::custom("a distinct count has another number of registers"));
        }
        Ok(Self(Some(sketch)))
    }
}

/// Whether an encoded sketch with registers has as many zeros as it says, and no register beyond what a hash has:
/// DataSketches 0.6 trusts both, and would panic when it counts on. Small sketches are lists without registers.
fn has_possible_registers(bytes: &[u8]) -> bool {
    const MODE: usize = 7;
    const WITH_REGISTERS: u8 = 2;
    const ZEROS: std::ops::Range<usize> = 32..36;
    const START: usize = 40;
    const LARGEST: u8 = 63;
    if bytes.get(MODE).is_none_or(|mode| mode & 3 != WITH_REGISTERS) {
        return true;
    }
    let zeros = bytes.get(ZEROS).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
    let Some((zeros, registers)) = zeros.zip(bytes.get(START..START + (1 << REGISTERS))) else { return false };
    let found = registers.iter().filter(|register| **register == 0).count();
    found == zeros as usize && registers.iter().all(|register| *register <= LARGEST)
}

fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_merge_and_are_read_back() {
        let (mut low, mut high) = (Quantiles::new(400), Quantiles::new(400));
        let (mut few, mut more) = (Distinct::new(), Distinct::new());
        for value in 0..50_000_u32 {
            low.add(f64::from(value));
            high.add(f64::from(value + 50_000));
            few.add_bits(u64::from(value % 1000));
            more.add_bits(u64::from(value % 3000));
        }
        low.merge(&high);
        few.merge(&more);
        let again: Quantiles = serde_json::from_str(&serde_json::to_string(&low).unwrap()).unwrap();
        let [quarter, half] = again.at(&[0.25, 0.5])[..] else { panic!() };
        assert!((quarter - 25_000.0).abs() < 1000.0 && (half - 50_000.0).abs() < 1000.0, "{quarter} {half}");
        let again: Distinct = serde_json::from_str(&serde_json::to_string(&few).unwrap()).unwrap();
        assert!(again.estimate().abs_diff(3000) < 250, "{}", again.estimate());
    }

    #[test]
    fn damaged_sketches_are_refused_or_read() {
        let (mut quantiles, mut distinct) = (Quantiles::new(200), Distinct::new());
        for value in 0..5000_u32 {
            quantiles.add(f64::from(value));
            distinct.add_bits(u64::from(value));
        }
        for text in [serde_json::to_string(&quantiles).unwrap(), serde_json::to_string(&distinct).unwrap()] {
            let bytes = STANDARD.decode(text.trim_matches('"')).unwrap();
            for at in 0..bytes.len().min(200) {
                for flip in [1, 0x80, 0xff_u8] {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= flip;
                    let text = format!("\"{}\"", STANDARD.encode(&bytes));
                    if let Ok(mut read) = serde_json::from_str::<Quantiles>(&text) {
                        read.add(1.0);
                        read.merge(&quantiles);
                        read.at(&[0.0, 0.5, 1.0]);
                    }
                    if let Ok(mut read) = serde_json::from_str::<Distinct>(&text) {
                        (0..9999).for_each(|value| read.add_bits(value * 7));
                        read.merge(&distinct);
                        read.estimate();
                    }
                }
            }
        }
    }
}
