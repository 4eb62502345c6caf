//! The edges of a feature's bins, and the bin of a number.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most edges of a feature that are read.
const MAX_EDGES: usize = 1 << 14;

/// The cells of the table that narrows a search. Two or three edges lie in a cell where numbers lie evenly.
const CELLS: usize = 1024;

/// Rising numbers. Bin `i` has the numbers above edge `i - 1` up to edge `i`, and the last bin those above all edges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edges {
    values: Vec<f64>,
    /// For each cell the number of edges in the cells before it.
    table: Vec<u32>,
    scale: f64,
}

impl Edges {
    /// Edges at these values, which are sorted.
    ///
    /// # Errors
    /// A sentence, if there are none or too many, or they do not rise.
    pub(crate) fn new(values: Vec<f64>) -> Result<Self, String> {
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return Err("there are no edges".to_owned());
        };
        if values.len() > MAX_EDGES {
            return Err(format!("there are more than {MAX_EDGES} edges"));
        }
        let rise = values.iter().zip(values.iter().skip(1)).all(|(a, b)| a < b);
        if !rise || !values.iter().all(|value| value.is_finite()) {
            return Err("edges are not finite numbers that rise".to_owned());
        }
        let scale = CELLS as f64 / (last - first);
        let scale = if scale.is_finite() { scale } else { 0.0 };
        let mut edges = Self { values, table: vec![0; CELLS + 2], scale };
        for index in 0..edges.values.len() {
            let cell = edges.values.get(index).map_or(0, |value| edges.cell(*value));
            if let Some(count) = edges.table.get_mut(cell + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for count in &mut edges.table {
            sum += *count;
            *count = sum;
        }
        Ok(edges)
    }

    /// Edges out of quantiles, which rise or are equal. A value that is several of them is frequent: it gets a bin of
    /// its own, so that distances of distributions are exact there.
    pub(crate) fn from_quantiles(quantiles: &[f64]) -> Option<Self> {
        let mut values: Vec<f64> = Vec::new();
        let finite: Vec<f64> = quantiles.iter().copied().filter(|value| value.is_finite()).collect();
        for run in finite.chunk_by(|a, b| a == b) {
            let Some(value) = run.first() else { continue };
            // Zero has two signs, which are one number.
            let value = if *value == 0.0 { 0.0 } else { *value };
            let below = value.next_down();
            if run.len() > 1 && values.last().is_none_or(|last| *last < below) && below.is_finite() {
                values.push(below);
            }
            values.push(value);
        }
        Self::new(values).ok()
    }

    /// The cell of a number. It never falls where numbers rise, which is all that the search needs.
    #[inline]
    fn cell(&self, value: f64) -> usize {
        let first = self.values.first().copied().unwrap_or(0.0);
        // A cast of a negative number is 0, and that of a large one the largest.
        (((value - first) * self.scale) as usize).min(CELLS)
    }

    /// The bin of a number that is not NaN. One that is a frequent value as float32 is in the bin of that value: lines
    /// of JSON have the decimal digits of a float32, and other files its bits.
    #[inline]
    pub(crate) fn bin(&self, value: f64) -> usize {
        let bin = self.place(value);
        let single = value as f32;
        let is_near = |edge: Option<&f64>| edge.is_some_and(|edge| *edge as f32 == single);
        if is_near(self.values.get(bin)) || is_near(self.values.get(bin.wrapping_sub(1))) {
            return self.bin_as_single(value, bin);
        }
        bin
    }

    /// The bin beside this one, if it is that of one value and the number is the same as float32.
    fn bin_as_single(&self, value: f64, bin: usize) -> usize {
        let is_same = |other: &usize| {
            let Some(frequent) = self.values.get(*other).filter(|_| self.has_one_value(*other)) else { return false };
            // Whole numbers have the same digits everywhere, and numbers of which none is a float32 are others.
            let single = f64::from(value as f32);
            f64::from(*frequent as f32) == single
                && (value == single || *frequent == single)
                && value.fract() != 0.0
                && frequent.fract() != 0.0
        };
        if self.has_one_value(bin) {
            return bin;
        }
        [bin + 1, bin.wrapping_sub(1)].into_iter().find(is_same).unwrap_or(bin)
    }

    /// Whether only one number is in a bin: a frequent value, since an edge is just below it.
    pub(crate) fn has_one_value(&self, bin: usize) -> bool {
        match (self.values.get(bin.wrapping_sub(1)), self.values.get(bin)) {
            (Some(below), Some(value)) => below.next_up() == *value,
            _ => false,
        }
    }

    /// The bin of a number by the edges alone.
    #[inline]
    fn place(&self, value: f64) -> usize {
        let cell = self.cell(value);
        let (Some(start), Some(end)) = (self.table.get(cell), self.table.get(cell + 1)) else { return 0 };
        let (start, end) = (*start as usize, *end as usize);
        let within = self.values.get(start..end).unwrap_or_default();
        start + within.partition_point(|edge| *edge < value)
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// The number of bins.
    pub(crate) fn bins(&self) -> usize {
        self.values.len() + 1
    }
}

/// Numbers in one string: as such they are read exactly, and a file has one line for them.
impl Serialize for Edges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = self.values.iter().map(f64::to_string).collect();
        serializer.serialize_str(&texts.join(" "))
    }
}

impl<'de> Deserialize<'de> for Edges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let values: Result<Vec<f64>, _> = text.split(' ').take(MAX_EDGES + 1).map(str::parse).collect();
        Self::new(values.map_err(de::Error::custom)?).map_err(de::Error::custom)
    }
}
