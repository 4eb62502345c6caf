//! A short view of a tensor, in nested brackets, as numpy prints arrays.

use std::fmt::Write;

use half::{bf16, f16};
use num_complex::Complex;
use tf_persist_core::{DType, Element, Result, Tensor};

/// Tensors of more elements than this are shown by their edges.
const WHOLE: usize = 200;
/// So many at either end of each dimension.
const EDGE: usize = 3;
/// Strings longer than this are cut.
const STRING: usize = 60;

/// The elements, or those at the edges.
pub(super) fn view(tensor: &Tensor) -> Result<String> {
    Ok(match tensor.dtype() {
        DType::Float32 => of::<f32>(tensor, |value| format!("{value:?}"))?,
        DType::Float64 => of::<f64>(tensor, |value| format!("{value:?}"))?,
        DType::Float16 => of::<f16>(tensor, |value| format!("{value:?}"))?,
        DType::BFloat16 => of::<bf16>(tensor, |value| format!("{value:?}"))?,
        DType::Int8 | DType::QInt8 => of::<i8>(tensor, i8::to_string)?,
        DType::Int16 | DType::QInt16 => of::<i16>(tensor, i16::to_string)?,
        DType::Int32 | DType::QInt32 => of::<i32>(tensor, i32::to_string)?,
        DType::Int64 => of::<i64>(tensor, i64::to_string)?,
        DType::UInt8 | DType::QUInt8 => of::<u8>(tensor, u8::to_string)?,
        DType::UInt16 | DType::QUInt16 => of::<u16>(tensor, u16::to_string)?,
        DType::UInt32 => of::<u32>(tensor, u32::to_string)?,
        DType::UInt64 => of::<u64>(tensor, u64::to_string)?,
        DType::Bool => of::<bool>(tensor, bool::to_string)?,
        DType::Complex64 => of::<Complex<f32>>(tensor, Complex::to_string)?,
        DType::Complex128 => of::<Complex<f64>>(tensor, Complex::to_string)?,
        DType::String => {
            let strings = tensor.strings()?;
            nested(tensor.shape(), |index| string(strings.get(index).unwrap_or_default()))
        }
        // No tensor holds any other.
        other => other.to_string(),
    })
}

fn of<T: Element>(tensor: &Tensor, show: impl Fn(&T) -> String) -> Result<String> {
    let values = tensor.view::<T>()?;
    Ok(nested(tensor.shape(), |index| show(&values[index])))
}

fn string(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(STRING + 1).collect();
    if text.chars().count() <= STRING {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(STRING).collect();
    format!("{cut:?}… ({} bytes)", bytes.len())
}

fn nested(shape: &[usize], element: impl Fn(usize) -> String) -> String {
    let count: usize = shape.iter().product();
    let mut text = String::new();
    write_level(&mut text, shape, count > WHOLE, 0, 0, &element);
    text
}

fn write_level(
    text: &mut String,
    shape: &[usize],
    edges: bool,
    first: usize,
    depth: usize,
    element: &impl Fn(usize) -> String,
) {
    let Some((size, inner)) = shape.split_first() else {
        text.push_str(&element(first));
        return;
    };
    let stride: usize = inner.iter().product();
    let separator = if inner.is_empty() { ", ".to_owned() } else { format!(",\n{}", " ".repeat(depth + 1)) };
    text.push('[');
    for index in 0..*size {
        let skipped = edges && *size > 2 * EDGE && index >= EDGE && index < size - EDGE;
        if skipped {
            if index == EDGE {
                let _ = write!(text, "{separator}…");
            }
            continue;
        }
        if index > 0 {
            text.push_str(&separator);
        }
        write_level(text, inner, edges, first + index * stride, depth + 1, element);
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tensors_are_shown_whole() {
        let shown = |tensor: Tensor| view(&tensor).unwrap();
        assert_eq!(shown(Tensor::scalar(1.5_f32).unwrap()), "1.5");
        assert_eq!(shown(Tensor::from_slice(&[2, 2], &[1, 2, 3, 4]).unwrap()), "[[1, 2],\n [3, 4]]");
        assert_eq!(shown(Tensor::from_strings(&[2], ["a", "\"b\""]).unwrap()), r#"["a", "\"b\""]"#);
        assert_eq!(shown(Tensor::zeros(DType::Float32, &[0, 3]).unwrap()), "[]");
    }

    #[test]
    fn large_tensors_are_shown_by_their_edges() {
        let values: Vec<i64> = (0..1000).collect();
        let shown = view(&Tensor::from_slice(&[1000], &values).unwrap()).unwrap();
        assert_eq!(shown, "[0, 1, 2, …, 997, 998, 999]");
    }

    #[test]
    fn long_strings_are_cut() {
        let shown = view(&Tensor::from_strings(&[], ["x".repeat(100)]).unwrap()).unwrap();
        assert!(shown.ends_with("… (100 bytes)"), "{shown}");
    }
}
