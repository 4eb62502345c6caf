//! Tensors as columns of record batches.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray,
};
use arrow_schema::{DataType, Field};
use half::bf16;
use tf_persist_core::{DType, Element, Tensor, printable};

/// The name of the items of a list, as in pyarrow.
const ITEM: &str = "item";

/// Checks that a column of a file can hold an output.
pub(crate) fn check(_: &Path, name: &str, dtype: DType) -> anyhow::Result<()> {
    // A dtype that the signature does not tell is seen when the output is there.
    if dtype == DType::Invalid { Ok(()) } else { element_type(name, dtype, true).map(drop) }
}

/// The column of an output with rows of this shape. `is_text` is whether all strings are UTF-8.
pub(super) fn field(name: &str, dtype: DType, row_shape: &[usize], is_text: bool) -> anyhow::Result<Field> {
    let mut data_type = element_type(name, dtype, is_text)?;
    for size in row_shape.iter().rev() {
        let size = i32::try_from(*size)
            .map_err(|_| anyhow!("output `{}` has rows of {row_shape:?}, too long for a list", printable(name)))?;
        data_type = DataType::FixedSizeList(Arc::new(Field::new(ITEM, data_type, true)), size);
    }
    Ok(Field::new(name, data_type, false))
}

/// The type of a tensor's elements. As in .npy files, bfloat16 is uint16 bits, and a quantised integer its raw number.
fn element_type(name: &str, dtype: DType, is_text: bool) -> anyhow::Result<DataType> {
    Ok(match dtype {
        DType::Bool => DataType::Boolean,
        DType::Float16 => DataType::Float16,
        DType::Float32 => DataType::Float32,
        DType::Float64 => DataType::Float64,
        DType::Int8 | DType::QInt8 => DataType::Int8,
        DType::Int16 | DType::QInt16 => DataType::Int16,
        DType::Int32 | DType::QInt32 => DataType::Int32,
        DType::Int64 => DataType::Int64,
        DType::UInt8 | DType::QUInt8 => DataType::UInt8,
        DType::UInt16 | DType::QUInt16 | DType::BFloat16 => DataType::UInt16,
        DType::UInt32 => DataType::UInt32,
        DType::UInt64 => DataType::UInt64,
        DType::String if is_text => DataType::Utf8,
        DType::String => DataType::Binary,
        other => bail!("output `{}` is {other}, which a column of Parquet or Arrow cannot hold", printable(name)),
    })
}

/// The rows of an output as a column of this type.
pub(super) fn array(tensor: &Tensor, data_type: &DataType) -> anyhow::Result<ArrayRef> {
    let row_shape = tensor.shape().get(1..).unwrap_or_default();
    let mut types = vec![data_type];
    while let Some(DataType::FixedSizeList(item, _)) = types.last() {
        types.push(item.data_type());
    }
    let mut array = elements(tensor, types.pop().unwrap_or(data_type))?;
    // From the innermost lists outwards.
    for (depth, list) in types.iter().enumerate().rev() {
        let DataType::FixedSizeList(item, size) = list else { continue };
        let length = tensor.shape()[0] * row_shape[..depth].iter().product::<usize>();
        array = Arc::new(FixedSizeListArray::try_new_with_length(Arc::clone(item), *size, array, None, length)?);
    }
    Ok(array)
}

fn elements(tensor: &Tensor, data_type: &DataType) -> anyhow::Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(tensor.view::<bool>()?.to_vec())),
        DataType::Float16 => numbers::<Float16Type>(tensor)?,
        DataType::Float32 => numbers::<Float32Type>(tensor)?,
        DataType::Float64 => numbers::<Float64Type>(tensor)?,
        DataType::Int8 => numbers::<Int8Type>(tensor)?,
        DataType::Int16 => numbers::<Int16Type>(tensor)?,
        DataType::Int32 => numbers::<Int32Type>(tensor)?,
        DataType::Int64 => numbers::<Int64Type>(tensor)?,
        DataType::UInt8 => numbers::<UInt8Type>(tensor)?,
        DataType::UInt16 if tensor.dtype() == DType::BFloat16 => {
            let bits = tensor.view::<bf16>()?.iter().map(|value| value.to_bits());
            Arc::new(PrimitiveArray::<UInt16Type>::from_iter_values(bits))
        }
        DataType::UInt16 => numbers::<UInt16Type>(tensor)?,
        DataType::UInt32 => numbers::<UInt32Type>(tensor)?,
        DataType::UInt64 => numbers::<UInt64Type>(tensor)?,
        DataType::Utf8 => {
            let text: Result<Vec<&str>, _> = tensor.strings()?.iter().map(std::str::from_utf8).collect();
            Arc::new(StringArray::from_iter_values(text?))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(tensor.strings()?.iter())),
        other => bail!("a tensor cannot become a column of the type {other}"),
    })
}

fn numbers<T: ArrowPrimitiveType>(tensor: &Tensor) -> anyhow::Result<ArrayRef>
where
    T::Native: Element,
{
    Ok(Arc::new(PrimitiveArray::<T>::from_iter_values(tensor.view::<T::Native>()?.iter().copied())))
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::from_arrow;
    use super::*;

    #[test]
    fn tensors_come_back_as_they_went_in() {
        let all = [
            Tensor::from_slice(&[2, 3], &[1.0_f32, 2.0, f32::NAN, -0.0, 5.0, 6.0]).unwrap(),
            Tensor::from_slice(&[2, 1, 2, 2], &[1_i64, 2, 3, 4, 5, 6, 7, 8]).unwrap(),
            Tensor::from_slice(&[3], &[true, false, true]).unwrap(),
            Tensor::from_slice(&[2], &[f16::ONE, f16::INFINITY]).unwrap(),
            Tensor::from_slice::<u8>(&[0, 4], &[]).unwrap(),
            Tensor::from_slice::<u8>(&[3, 0], &[]).unwrap(),
            Tensor::from_slice::<u8>(&[3, 0, 2], &[]).unwrap(),
            Tensor::from_slice::<u8>(&[3, 2, 0], &[]).unwrap(),
            Tensor::from_strings(&[2, 2], ["a", "", "ü", "d\0"]).unwrap(),
        ];
        for tensor in all {
            let field = field("y", tensor.dtype(), &tensor.shape()[1..], true).unwrap();
            let array = array(&tensor, field.data_type()).unwrap();
            assert_eq!(from_arrow::dtype(field.data_type()), Some(tensor.dtype()));
            assert_eq!(from_arrow::tensor("y", &array, 0).unwrap(), tensor);
        }
        let bytes = Tensor::from_strings(&[1], [b"\xff"]).unwrap();
        let binary = array(&bytes, field("y", DType::String, &[], false).unwrap().data_type()).unwrap();
        assert_eq!(from_arrow::tensor("y", &binary, 0).unwrap(), bytes);
    }

    #[test]
    fn bfloat16_is_written_as_its_bits() {
        let tensor = Tensor::from_slice(&[2], &[bf16::ONE, bf16::NEG_ONE]).unwrap();
        let field = field("y", DType::BFloat16, &[], true).unwrap();
        let read = from_arrow::tensor("y", &array(&tensor, field.data_type()).unwrap(), 0).unwrap();
        assert_eq!(read.view::<u16>().unwrap(), [0x3f80, 0xbf80]);
        assert!(
            check(Path::new("y.parquet"), "y", DType::Complex64)
                .unwrap_err()
                .to_string()
                .contains("output `y` is complex64")
        );
    }
}
