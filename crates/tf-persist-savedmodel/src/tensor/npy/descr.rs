//! The `descr` of a .npy header: the element type of the file.

use crate::dtype::DType;

/// A kind of element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, taken as it is.
    Number(DType),
    /// `S`: bytes, filled up with NULs.
    Bytes,
    /// `U`: UCS-4 code points, filled up with zeros.
    Text,
}

/// The element type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descr {
    pub(super) kind: Kind,
    /// Bytes an element.
    pub(super) size: usize,
    /// The size of the units in big-endian order, 1 if there are none: half of a complex number, or a character of a
    /// text.
    pub(super) swap: usize,
}

/// The reason and the hint for a refused element type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) hint: Option<&'static str>,
}

/// Bytes of a UCS-4 code point.
const CODE_POINT: usize = 4;

/// numpy's names (`numpy/lib/format.py`, `dtype_to_descr`), without the byte order.
const NUMBERS: [(&str, DType); 15] = [
    ("b1", DType::Bool),
    ("i1", DType::Int8),
    ("i2", DType::Int16),
    ("i4", DType::Int32),
    ("i8", DType::Int64),
    ("u1", DType::UInt8),
    ("u2", DType::UInt16),
    ("u4", DType::UInt32),
    ("u8", DType::UInt64),
    ("f2", DType::Float16),
    ("f4", DType::Float32),
    ("f8", DType::Float64),
    ("c8", DType::Complex64),
    ("c16", DType::Complex128),
    // numpy's form of the bfloat16 of ml_dtypes, the only 2-byte type that is saved as "void".
    ("V2", DType::BFloat16),
];

impl Descr {
    /// Reads a `descr` such as `<f4` or `|S12`.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let (order, name) = match text.as_bytes().first() {
            Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
            _ => ("=", text),
        };
        // `=` is the order of the machine, which is little-endian like every machine this builds for.
        let swapped = order == ">";
        if let Some((_, dtype)) = NUMBERS.iter().find(|(known, _)| *known == name) {
            let size = dtype.size().unwrap_or(1);
            let unit = if matches!(dtype, DType::Complex64 | DType::Complex128) { size / 2 } else { size };
            return Ok(Self { kind: Kind::Number(*dtype), size, swap: if swapped { unit } else { 1 } });
        }
        let count = name.get(1..).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let count = count.and_then(|digits| digits.parse::<usize>().ok());
        match (name.as_bytes().first(), count) {
            (Some(b'S'), Some(size)) => Ok(Self { kind: Kind::Bytes, size, swap: 1 }),
            (Some(b'U'), Some(count)) => {
                let size = count.checked_mul(CODE_POINT).ok_or_else(|| Refusal::unsupported(text))?;
                Ok(Self { kind: Kind::Text, size, swap: if swapped { CODE_POINT } else { 1 } })
            }
            _ => Err(Refusal::unsupported(text)),
        }
    }

    /// The `descr` and the element size for writing a numeric dtype; `None` for strings and unsupported dtypes.
    ///
    /// bfloat16 is written as uint16 bits and a quantised integer as its raw number, because numpy alone has neither.
    pub(super) fn written(dtype: DType) -> Option<&'static str> {
        Some(match dtype {
            DType::Bool => "|b1",
            DType::Int8 | DType::QInt8 => "|i1",
            DType::Int16 | DType::QInt16 => "<i2",
            DType::Int32 | DType::QInt32 => "<i4",
            DType::Int64 => "<i8",
            DType::UInt8 | DType::QUInt8 => "|u1",
            DType::UInt16 | DType::QUInt16 | DType::BFloat16 => "<u2",
            DType::UInt32 => "<u4",
            DType::UInt64 => "<u8",
            DType::Float16 => "<f2",
            DType::Float32 => "<f4",
            DType::Float64 => "<f8",
            DType::Complex64 => "<c8",
            DType::Complex128 => "<c16",
            DType::String | DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => return None,
        })
    }
}

impl Refusal {
    /// The error for an unsupported `descr`.
    fn unsupported(text: &str) -> Self {
        /// A longer `descr` is cut in the message.
        const SHOWN: usize = 40;
        let name = text.trim_start_matches(['<', '>', '|', '=']);
        let (what, hint) = match name.as_bytes().first() {
            Some(b'O') => (
                "pickled Python objects",
                // numpy takes ASCII alone as "S".
                Some("save it without objects: text as `array.astype(\"U\")`, bytes as `array.astype(\"S\")`"),
            ),
            Some(b'M' | b'm') => ("dates", Some("save them as numbers, for instance `array.astype(\"int64\")`")),
            Some(b'V') if name == "V1" => (
                "elements of one byte without a type, as numpy writes float8 and int4",
                Some("TensorFlow cannot be fed float8 or int4; a model that takes bytes takes `array.view(\"uint8\")`"),
            ),
            Some(b'V') => {
                ("raw bytes of no known type", Some("save it as numbers, for instance `array.view(\"uint8\")`"))
            }
            _ => ("elements of an unknown type", None),
        };
        let shown: String = text.chars().take(SHOWN).collect();
        Self { reason: format!("it holds {what} (`{shown}`), which no tensor can"), hint }
    }

    /// The error for a `descr` that is a list of fields.
    pub(super) fn structured() -> Self {
        Self {
            reason: "it holds records of several fields, which no tensor can".into(),
            hint: Some("save each field as an array of its own"),
        }
    }
}
