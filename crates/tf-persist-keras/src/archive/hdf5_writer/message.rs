//! Messages of object headers, version 1.

use tf_persist_savedmodel::{DType, Tensor, printable};

use super::plan::{Builder, Place, Target};
use crate::archive::Attribute;
use crate::reason::{Result, refuse};

/// The most dimensions (`H5S_MAX_RANK`).
const MAX_RANK: usize = 32;

/// The largest message: its size is a multiple of 8 that has 16 bits.
const MAX_MESSAGE: usize = 0xFFF8;

/// The largest header of an object that the reader takes, without its last message.
const MAX_HEADER: usize = (64 << 20) - 2 * MAX_MESSAGE;

const DATASPACE: u16 = 1;
const DATATYPE: u16 = 3;
const FILL_VALUE: u16 = 5;
const LAYOUT: u16 = 8;
const ATTRIBUTE: u16 = 12;
const SYMBOL_TABLE: u16 = 17;

/// A message that cannot change, such as a datatype.
const CONSTANT: u8 = 1;

/// A text of a variable length, UTF-8: a sequence of bytes with 16 bytes for its reference.
const VARIABLE_TEXT: [u8; 20] = [0x19, 1, 1, 0, 16, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0];

/// The messages of one object header, and what in them is only known once the file is laid out.
#[derive(Debug, Default)]
pub(super) struct Header {
    count: u16,
    bytes: Vec<u8>,
    /// Offsets in `bytes` that take the address of a target.
    addresses: Addresses,
}

impl Header {
    /// The header of a group.
    pub(super) fn of_group(btree: u64, heap: u64) -> Self {
        let mut header = Self::default();
        let mut message = btree.to_le_bytes().to_vec();
        message.extend_from_slice(&heap.to_le_bytes());
        header.push(SYMBOL_TABLE, 0, &message);
        header
    }

    /// The header of a dataset, with the place and the size of its elements, if it has any.
    pub(super) fn of_dataset(tensor: &Tensor, elements: Option<(Place, usize)>) -> Result<Self> {
        let mut header = Self::default();
        header.push(DATASPACE, 0, &dataspace(tensor.shape())?);
        header.push(DATATYPE, CONSTANT, &datatype(tensor.dtype())?);
        // Version 2, allocated late. The fill value is the default one; texts are filled when they are allocated.
        let fill_time = if tensor.dtype() == DType::String { 0 } else { 2 };
        header.push(FILL_VALUE, CONSTANT, &[2, 2, fill_time, 1, 0, 0, 0, 0]);
        let (address, target) = match elements {
            None => (u64::MAX, None),
            Some((Place::Known(address), _)) => (address, None),
            Some((Place::Later(target), _)) => (0, Some(target)),
        };
        // Version 3, contiguous.
        let mut layout = vec![3, 1];
        layout.extend_from_slice(&address.to_le_bytes());
        layout.extend_from_slice(&elements.map_or(0, |(_, size)| size as u64).to_le_bytes());
        let start = header.push(LAYOUT, 0, &layout);
        header.addresses.extend(target.map(|target| (start + 2, target)));
        Ok(header)
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, name: &str, value: &Attribute, file: &mut Builder) -> Result<()> {
        let shown = printable(name);
        if name.is_empty() || name.contains('\0') {
            refuse!("`{shown}` cannot be the name of an attribute");
        }
        let (datatype, shape, data, texts) =
            encode(value, file).map_err(|reason| format!("attribute `{shown}`: {reason}"))?;
        let dataspace = dataspace(&shape).map_err(|reason| format!("attribute `{shown}`: {reason}"))?;
        // Version 3 is for names that are not ASCII: it says so, and has no padding.
        let version = if name.is_ascii() { 1 } else { 3 };
        let lengths =
            [name.len() + 1, datatype.len(), dataspace.len()].map(|length| length.min(usize::from(u16::MAX)) as u16);
        let mut message = vec![version, 0];
        lengths.iter().for_each(|length| message.extend_from_slice(&length.to_le_bytes()));
        if version == 3 {
            message.push(1);
        }
        for part in [&[name.as_bytes(), &[0]].concat(), &datatype, &dataspace] {
            message.extend_from_slice(part);
            if version == 1 {
                message.resize(message.len().next_multiple_of(8), 0);
            }
        }
        let start = message.len();
        message.extend_from_slice(&data);
        if message.len() > MAX_MESSAGE {
            refuse!("the attribute `{shown}` has {} bytes, more than {MAX_MESSAGE}", message.len());
        }
        if self.count == u16::MAX || self.bytes.len() > MAX_HEADER {
            refuse!("there are too many attributes before the attribute `{shown}`");
        }
        let message = self.push(ATTRIBUTE, 0, &message);
        self.addresses.extend(texts.into_iter().map(|(offset, target)| (message + start + offset, target)));
        Ok(())
    }

    /// Appends the header to the file, and returns its address.
    pub(super) fn write(self, file: &mut Builder) -> u64 {
        let mut header = vec![1, 0];
        header.extend_from_slice(&self.count.to_le_bytes());
        // The object has one link. The header's own size is padded to 16 bytes.
        header.extend_from_slice(&1_u32.to_le_bytes());
        header.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        let address = file.append(&header);
        let messages = file.append(&self.bytes);
        for (offset, target) in self.addresses {
            file.resolve_later(messages + offset as u64, target);
        }
        address
    }

    /// Adds a message and returns the offset of its data.
    fn push(&mut self, kind: u16, flags: u8, data: &[u8]) -> usize {
        let size = data.len().next_multiple_of(8);
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&(size as u16).to_le_bytes());
        self.bytes.extend_from_slice(&[flags, 0, 0, 0]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.bytes.resize(start + size, 0);
        self.count += 1;
        start
    }
}

/// Offsets that take the addresses of targets.
type Addresses = Vec<(usize, Target)>;

/// The references of texts, and the offsets in them that take the addresses of the texts' collections.
pub(super) fn references<'a>(
    texts: impl Iterator<Item = &'a [u8]>,
    file: &mut Builder,
) -> Result<(Vec<u8>, Addresses)> {
    let (mut bytes, mut addresses) = (Vec::new(), Vec::new());
    for text in texts {
        let Ok(length) = u32::try_from(text.len()) else { refuse!("a text of {} bytes is too long", text.len()) };
        if text.contains(&0) {
            refuse!("a text has a NUL, which ends texts in HDF5");
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        let index = if length == 0 {
            0
        } else {
            let object = file.heap.add(text);
            addresses.push((bytes.len(), Target::Collection(object.collection)));
            object.index
        };
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&u32::from(index).to_le_bytes());
    }
    Ok((bytes, addresses))
}

type Encoded = (Vec<u8>, Vec<usize>, Vec<u8>, Addresses);

/// The datatype, shape, data and open addresses of a value.
fn encode(value: &Attribute, file: &mut Builder) -> Result<Encoded> {
    let texts = |texts: &[String], file: &mut Builder| references(texts.iter().map(String::as_bytes), file);
    Ok(match value {
        Attribute::Text(text) => {
            let (data, addresses) = texts(std::slice::from_ref(text), file)?;
            (VARIABLE_TEXT.to_vec(), Vec::new(), data, addresses)
        }
        Attribute::Texts(list) => {
            let (data, addresses) = texts(list, file)?;
            (VARIABLE_TEXT.to_vec(), vec![list.len()], data, addresses)
        }
        Attribute::FixedText(text) => {
            let (datatype, data) = fixed(std::slice::from_ref(text))?;
            (datatype, Vec::new(), data, Vec::new())
        }
        Attribute::FixedTexts(list) => {
            let (datatype, data) = fixed(list)?;
            (datatype, vec![list.len()], data, Vec::new())
        }
        Attribute::Numbers(numbers) if numbers.dtype() == DType::String || numbers.dtype() == DType::BFloat16 => {
            refuse!("{} cannot be in an attribute of numbers", numbers.dtype())
        }
        Attribute::Numbers(numbers) => {
            (datatype(numbers.dtype())?, numbers.shape().to_vec(), numbers.bytes()?.to_vec(), Vec::new())
        }
    })
}

/// The datatype and data of texts of one length, padded with NUL.
fn fixed(texts: &[String]) -> Result<(Vec<u8>, Vec<u8>)> {
    if texts.iter().any(|text| text.contains('\0')) {
        refuse!("a text has a NUL, which pads texts in HDF5");
    }
    let length = texts.iter().map(String::len).max().unwrap_or(0).max(1);
    let size = length.saturating_mul(texts.len());
    if size > MAX_MESSAGE {
        refuse!("{size} bytes are more than {MAX_MESSAGE}");
    }
    let mut datatype = vec![0x13, 1, 0, 0];
    datatype.extend_from_slice(&(length as u32).to_le_bytes());
    let mut data = Vec::with_capacity(size);
    for text in texts {
        let end = data.len() + length;
        data.extend_from_slice(text.as_bytes());
        data.resize(end, 0);
    }
    Ok((datatype, data))
}

fn dataspace(shape: &[usize]) -> Result<Vec<u8>> {
    if shape.len() > MAX_RANK {
        refuse!("{} dimensions are more than {MAX_RANK}", shape.len());
    }
    // The largest sizes are the sizes; a scalar has none.
    let mut message = vec![1, shape.len() as u8, u8::from(!shape.is_empty()), 0, 0, 0, 0, 0];
    for size in shape.iter().chain(shape) {
        message.extend_from_slice(&(*size as u64).to_le_bytes());
    }
    Ok(message)
}

fn datatype(dtype: DType) -> Result<Vec<u8>> {
    let integer = |size: u8, flags: u8| vec![0x10, flags, 0, 0, size, 0, 0, 0, 0, 0, 8 * size, 0];
    /// Flags of signed integers.
    const SIGNED: u8 = 8;
    // Class and version, flags with the position of the sign, size; offset, precision, then position and size of
    // exponent and mantissa, and the exponent's bias.
    let float = |size: u8, exponent: [u8; 2], mantissa: u8, bias: [u8; 2]| {
        let mut bytes = vec![0x11, 0x20, 8 * size - 1, 0, size, 0, 0, 0, 0, 0, 8 * size, 0];
        bytes.extend_from_slice(&[exponent[0], exponent[1], 0, mantissa, bias[0], bias[1], 0, 0]);
        bytes
    };
    Ok(match dtype {
        DType::Float16 => float(2, [10, 5], 10, [15, 0]),
        DType::Float32 => float(4, [23, 8], 23, [127, 0]),
        DType::Float64 => float(8, [52, 11], 52, [0xFF, 3]),
        DType::Int8 => integer(1, SIGNED),
        DType::Int16 => integer(2, SIGNED),
        DType::Int32 => integer(4, SIGNED),
        DType::Int64 => integer(8, SIGNED),
        DType::UInt8 => integer(1, 0),
        DType::UInt16 => integer(2, 0),
        DType::UInt32 => integer(4, 0),
        DType::UInt64 => integer(8, 0),
        // An enumeration of two signed bytes, its names padded to 8 bytes, then its values.
        DType::Bool => {
            let members = b"FALSE\0\0\0TRUE\0\0\0\0\x00\x01";
            [&[0x18, 2, 0, 0, 1, 0, 0, 0], integer(1, SIGNED).as_slice(), members].concat()
        }
        // Opaque, without a tag.
        DType::BFloat16 => vec![0x15, 0, 0, 0, 2, 0, 0, 0],
        DType::String => VARIABLE_TEXT.to_vec(),
        other => refuse!("{other} cannot be written to a Keras file"),
    })
}
