//! A short view of a tensor, in nested brackets, as numpy prints arrays.

use std::fmt::{Debug, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use num_complex::Complex;
use tf_persist_core::{DType, Element, Result, Tensor};

/// Tensors of more elements than this are shown by their edges.
const WHOLE: usize = 200;
/// Elements shown at either end of each dimension.
const EDGE: usize = 3;
/// Longer strings are cut.
const STRING: usize = 60;

/// The elements, or those at the edges.
pub(super) fn view(tensor: &Tensor) -> Result<String> {
    Ok(match tensor.dtype() {
        DType::Float32 => elements::<f32>(tensor, |value| float(*value))?,
        DType::Float64 => elements::<f64>(tensor, |value| float(*value))?,
        DType::Float16 => elements::<f16>(tensor, |value| float(value.to_f32()))?,
        DType::BFloat16 => elements::<bf16>(tensor, |value| float(value.to_f32()))?,
        DType::Int8 | DType::QInt8 => elements::<i8>(tensor, i8::to_string)?,
        DType::Int16 | DType::QInt16 => elements::<i16>(tensor, i16::to_string)?,
        DType::Int32 | DType::QInt32 => elements::<i32>(tensor, i32::to_string)?,
        DType::Int64 => elements::<i64>(tensor, i64::to_string)?,
        DType::UInt8 | DType::QUInt8 => elements::<u8>(tensor, u8::to_string)?,
        DType::UInt16 | DType::QUInt16 => elements::<u16>(tensor, u16::to_string)?,
        DType::UInt32 => elements::<u32>(tensor, u32::to_string)?,
        DType::UInt64 => elements::<u64>(tensor, u64::to_string)?,
        DType::Bool => elements::<bool>(tensor, bool::to_string)?,
        DType::Complex64 => elements::<Complex<f32>>(tensor, |value| complex(float(value.re), &float(value.im)))?,
        DType::Complex128 => elements::<Complex<f64>>(tensor, |value| complex(float(value.re), &float(value.im)))?,
        DType::String => {
            let strings = tensor.strings()?;
            nested(tensor.shape(), |index| string(strings.get(index).unwrap_or_default()))
        }
        // No tensor holds another dtype.
        other => other.to_string(),
    })
}

fn elements<T: Element>(tensor: &Tensor, show: impl Fn(&T) -> String) -> Result<String> {
    let values = tensor.view::<T>()?;
    Ok(nested(tensor.shape(), |index| show(&values[index])))
}

/// A float as in JSON requests, so that it can be pasted into one.
fn float<T: Debug + Into<f64> + Copy>(value: T) -> String {
    match value.into() {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => format!("{value:?}"),
    }
}

fn complex(real: String, imag: &str) -> String {
    let sign = if imag.starts_with('-') { "" } else { "+" };
    format!("{real}{sign}{imag}i")
}

/// A string as in JSON requests, so that it can be pasted into one: text with escapes, or base64.
fn string(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.char_indices().nth(STRING) {
            None => text_in_quotes(text),
            Some((end, _)) => format!("{}… ({} bytes)", text_in_quotes(&text[..end]), bytes.len()),
        },
        Err(_) => {
            let coded = STANDARD.encode(&bytes[..bytes.len().min(STRING / 4 * 3)]);
            let cut =
                if coded.len() * 3 / 4 < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
            format!("{{\"b64\": \"{coded}\"}}{cut}")
        }
    }
}

/// A JSON string without characters that move the cursor or change the writing direction.
fn text_in_quotes(text: &str) -> String {
    let mut shown = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\'' => shown.push(character),
            // What Rust would not print as it is.
            _ if character.escape_debug().len() > 1 => {
                let mut units = [0; 2];
                character.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
            }
            _ => shown.push(character),
        }
    }
    shown.push('"');
    shown
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
    fn shown_values_are_valid_input() {
        let shown = |tensor: Tensor| view(&tensor).unwrap();
        let floats = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-7];
        assert_eq!(shown(Tensor::from_slice(&[4], &floats).unwrap()), "[Infinity, -Infinity, NaN, 1e-7]");
        let strings = ["a\0b\u{1b}[31m", "it's \\ \u{202e}", "\u{e0001}\n\t"];
        assert_eq!(
            shown(Tensor::from_strings(&[3], strings).unwrap()),
            r#"["a\u0000b\u001b[31m", "it's \\ \u202e", "\udb40\udc01\n\t"]"#
        );
        assert_eq!(shown(Tensor::from_strings(&[], [b"\xff\0"]).unwrap()), r#"{"b64": "/wA="}"#);
        assert!(shown(Tensor::from_strings(&[], [[0xff; 100]]).unwrap()).ends_with(r#"//"}… (100 bytes)"#));
        assert_eq!(shown(Tensor::scalar(Complex::new(0.5, -1e-9)).unwrap()), "0.5-1e-9i");
    }

    #[test]
    fn long_strings_are_cut() {
        let shown = view(&Tensor::from_strings(&[], ["x".repeat(100)]).unwrap()).unwrap();
        assert!(shown.ends_with("… (100 bytes)"), "{shown}");
    }
}
