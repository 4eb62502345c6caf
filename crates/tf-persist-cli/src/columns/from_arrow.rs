//! Columns of record batches as tensors.

use anyhow::{anyhow, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, OffsetSizeTrait};
use arrow_schema::DataType;
use arrow_select::take::take;
use tf_persist_core::{DType, Element, Strings, Tensor, printable};

/// The dtype of a column's elements, inside of all lists; `None` if a tensor cannot hold them.
pub(super) fn dtype(data_type: &DataType) -> Option<DType> {
    Some(match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => dtype(item.data_type())?,
        DataType::Dictionary(_, values) => dtype(values)?,
        DataType::Boolean => DType::Bool,
        DataType::Float16 => DType::Float16,
        DataType::Float32 => DType::Float32,
        DataType::Float64 => DType::Float64,
        DataType::Int8 => DType::Int8,
        DataType::Int16 => DType::Int16,
        DataType::Int32 => DType::Int32,
        DataType::Int64 => DType::Int64,
        DataType::UInt8 => DType::UInt8,
        DataType::UInt16 => DType::UInt16,
        DataType::UInt32 => DType::UInt32,
        DataType::UInt64 => DType::UInt64,
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DType::String,
        _ => return None,
    })
}

/// The rows of a column as a tensor: lists are further dimensions. `first` is the number of its first row, for errors.
pub(super) fn tensor(column: &str, array: &ArrayRef, first: usize) -> anyhow::Result<Tensor> {
    let named = |row: usize| format!("column `{}`, row {}", printable(column), first + row);
    let mut shape = vec![array.len()];
    // How many elements of the current level a row has.
    let mut width = 1;
    let mut values = array.clone();
    loop {
        if let Some(index) = first_null(&values) {
            return Err(anyhow!("{}: a null, which no tensor has", named(index / width)));
        }
        let (size, items) = match values.data_type() {
            DataType::List(_) => items::<i32>(&values).map_err(|other| unequal(&named(other.0 / width), other))?,
            DataType::LargeList(_) => items::<i64>(&values).map_err(|other| unequal(&named(other.0 / width), other))?,
            DataType::FixedSizeList(_, size) => (usize::try_from(*size)?, values.as_fixed_size_list().values().clone()),
            DataType::Dictionary(..) => {
                let dictionary = values.as_any_dictionary();
                values = take(dictionary.values(), dictionary.keys(), None)?;
                continue;
            }
            _ => break,
        };
        shape.push(size);
        // Of rows without elements, every width is as good.
        width = (width * size).max(1);
        values = items;
    }
    leaf(column, &values, &shape)
}

fn first_null(values: &ArrayRef) -> Option<usize> {
    match values.data_type() {
        DataType::Null => (!values.is_empty()).then_some(0),
        _ if values.null_count() == 0 => None,
        _ => (0..values.len()).find(|index| values.is_null(*index)),
    }
}

/// A list of another length than the first: its index, its length and that of the first.
struct Unequal(usize, usize, usize);

fn unequal(named: &str, Unequal(_, length, expected): Unequal) -> anyhow::Error {
    anyhow!("{named}: a list of {length}, and the first one has {expected}; all lists of a column have one length")
}

/// The length of the lists, and all of their items.
fn items<O: OffsetSizeTrait>(lists: &ArrayRef) -> Result<(usize, ArrayRef), Unequal> {
    let lists = lists.as_list::<O>();
    let offsets: Vec<usize> = lists.offsets().iter().map(|offset| offset.as_usize()).collect();
    let lengths = || offsets.windows(2).map(|pair| pair[1] - pair[0]);
    let expected = lengths().next().unwrap_or(0);
    if let Some((index, length)) = lengths().enumerate().find(|(_, length)| *length != expected) {
        return Err(Unequal(index, length, expected));
    }
    let (start, end) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    Ok((expected, lists.values().slice(start, end - start)))
}

/// Elements that are not lists.
fn leaf(column: &str, values: &ArrayRef, shape: &[usize]) -> anyhow::Result<Tensor> {
    Ok(match values.data_type() {
        DataType::Boolean => {
            let values: &BooleanArray = values.as_boolean();
            Tensor::from_slice(shape, &values.values().iter().collect::<Vec<bool>>())?
        }
        DataType::Float16 => numbers::<Float16Type>(values, shape)?,
        DataType::Float32 => numbers::<Float32Type>(values, shape)?,
        DataType::Float64 => numbers::<Float64Type>(values, shape)?,
        DataType::Int8 => numbers::<Int8Type>(values, shape)?,
        DataType::Int16 => numbers::<Int16Type>(values, shape)?,
        DataType::Int32 => numbers::<Int32Type>(values, shape)?,
        DataType::Int64 => numbers::<Int64Type>(values, shape)?,
        DataType::UInt8 => numbers::<UInt8Type>(values, shape)?,
        DataType::UInt16 => numbers::<UInt16Type>(values, shape)?,
        DataType::UInt32 => numbers::<UInt32Type>(values, shape)?,
        DataType::UInt64 => numbers::<UInt64Type>(values, shape)?,
        DataType::Utf8 => strings(shape, values.as_string::<i32>().iter().map(|it| it.map(str::as_bytes)))?,
        DataType::LargeUtf8 => strings(shape, values.as_string::<i64>().iter().map(|it| it.map(str::as_bytes)))?,
        DataType::Utf8View => strings(shape, values.as_string_view().iter().map(|it| it.map(str::as_bytes)))?,
        DataType::Binary => strings(shape, values.as_binary::<i32>().iter())?,
        DataType::LargeBinary => strings(shape, values.as_binary::<i64>().iter())?,
        DataType::BinaryView => strings(shape, values.as_binary_view().iter())?,
        DataType::FixedSizeBinary(_) => strings(shape, values.as_fixed_size_binary().iter())?,
        other => bail!("column `{}` has elements of the type {other}, which no tensor has", printable(column)),
    })
}

fn numbers<T: ArrowPrimitiveType>(values: &ArrayRef, shape: &[usize]) -> anyhow::Result<Tensor>
where
    T::Native: Element,
{
    Ok(Tensor::from_slice(shape, values.as_primitive::<T>().values())?)
}

fn strings<'a>(shape: &[usize], values: impl Iterator<Item = Option<&'a [u8]>>) -> anyhow::Result<Tensor> {
    let strings: Strings = values.map(Option::unwrap_or_default).collect();
    Ok(Tensor::from_string_array(shape, strings)?)
}
