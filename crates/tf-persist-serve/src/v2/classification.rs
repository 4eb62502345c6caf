//! The classification extension: the best classes of an output as strings `SCORE:INDEX`, in Triton's format. A
//! SavedModel has no labels for the indexes.

use std::cmp::Ordering;

use tf_persist_core::tensor::Strings;
use tf_persist_core::{DType, Element, Tensor};

use crate::status::Status;

/// The best classes of each row, at most all; of the whole tensor if it has less than two dimensions.
///
/// # Errors
/// `INVALID_ARGUMENT` if the output has no numbers.
pub(super) fn classify(name: &str, tensor: &Tensor, count: usize) -> Result<Tensor, Status> {
    match tensor.dtype() {
        DType::Float32 => best::<f32>(tensor, count, |score| format!("{score:.6}")),
        DType::Float64 => best::<f64>(tensor, count, |score| format!("{score:.6}")),
        DType::Int8 => best::<i8>(tensor, count, |score| score.to_string()),
        DType::Int16 => best::<i16>(tensor, count, |score| score.to_string()),
        DType::Int32 => best::<i32>(tensor, count, |score| score.to_string()),
        DType::Int64 => best::<i64>(tensor, count, |score| score.to_string()),
        DType::UInt8 => best::<u8>(tensor, count, |score| score.to_string()),
        DType::UInt16 => best::<u16>(tensor, count, |score| score.to_string()),
        DType::UInt32 => best::<u32>(tensor, count, |score| score.to_string()),
        DType::UInt64 => best::<u64>(tensor, count, |score| score.to_string()),
        other => {
            let reason = format!("output `{name}`: no classes can be made of {other}");
            Err(Status::invalid_argument(reason))
        }
    }
}

fn best<T: Element + PartialOrd>(tensor: &Tensor, count: usize, text: impl Fn(T) -> String) -> Result<Tensor, Status> {
    let scores = tensor.view::<T>()?;
    let rows = match tensor.shape() {
        [rows, _, ..] => Some(*rows),
        _ => None,
    };
    let width = scores.len().checked_div(rows.unwrap_or(1)).unwrap_or(0);
    let count = count.min(width);
    let mut strings = Strings::default();
    for row in scores.chunks(width.max(1)) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        // A score that is not a number comes last. Of equal ones the first comes first, since the sort is stable.
        order.sort_by(|a, b| compare(&row[*b], &row[*a]));
        order
            .into_iter()
            .take(count)
            .for_each(|index| strings.push(format!("{}:{index}", text(row[index])).as_bytes()));
    }
    let shape: Vec<usize> = rows.into_iter().chain([count]).collect();
    Ok(Tensor::from_string_array(&shape, strings)?)
}

/// The order of two scores, with those that are not numbers below all others.
fn compare<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| is_number(a).cmp(&is_number(b)))
}

fn is_number<T: PartialOrd>(value: &T) -> bool {
    value.partial_cmp(value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(tensor: &Tensor, count: usize) -> (Vec<usize>, Vec<String>) {
        let found = classify("y", tensor, count).unwrap();
        let strings = found.strings().unwrap().iter().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect();
        (found.shape().to_vec(), strings)
    }

    #[test]
    fn best_classes_of_each_row() {
        let scores = Tensor::from_slice(&[2, 3], &[0.25_f32, 0.5, 0.25, f32::NAN, -1.0, 2.0]).unwrap();
        let (shape, found) = classes(&scores, 2);
        assert_eq!(
            (shape, found.as_slice()),
            (vec![2, 2], &["0.500000:1", "0.250000:0", "2.000000:2", "-1.000000:1"].map(str::to_owned)[..])
        );
        assert_eq!(classes(&scores, 9).0, [2, 3]);
        assert_eq!(classes(&scores, 3).1[5], "NaN:0");
        assert_eq!(classes(&Tensor::from_slice(&[3], &[1_i64, 3, 2]).unwrap(), 1), (vec![1], vec!["3:1".to_owned()]));
        assert_eq!(classes(&Tensor::from_slice(&[], &[7_u8]).unwrap(), 1), (vec![1], vec!["7:0".to_owned()]));
    }

    #[test]
    fn tensors_without_elements_or_numbers() {
        assert_eq!(classes(&Tensor::zeros(DType::Float32, &[2, 0]).unwrap(), 1), (vec![2, 0], vec![]));
        assert_eq!(classes(&Tensor::zeros(DType::Float32, &[0, 3]).unwrap(), 1).0[0], 0);
        assert_eq!(classes(&Tensor::zeros(DType::Float32, &[0]).unwrap(), 1), (vec![0], vec![]));
        assert!(classify("y", &Tensor::from_strings(&[1], ["a"]).unwrap(), 1).is_err());
    }
}
