use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Nested lists of these values, of this shape.
fn nested<T: serde::Serialize>(shape: &[usize], values: &[T]) -> Value {
    match shape.split_first() {
        None => json!(values[0]),
        Some((size, inner)) => {
            let stride: usize = inner.iter().product();
            (0..*size).map(|index| nested(inner, &values[index * stride..(index + 1) * stride])).collect()
        }
    }
}

fn shaped<T: std::fmt::Debug + Clone>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<usize>, Vec<T>)> {
    prop::collection::vec(1_usize..5, 1..4).prop_flat_map(move |shape| {
        let count = shape.iter().product::<usize>();
        (Just(shape), prop::collection::vec(element.clone(), count))
    })
}

/// A JSON number, most often one that programs write for 32-bit and 64-bit floats.
fn decimal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?[0-9]\\.[0-9]{1,8}",
        2 => any::<f32>().prop_filter("no JSON", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        2 => (-1e4..1e4_f32).prop_map(|value| format!("{value}")),
        2 => (-1.0..1.0_f64).prop_map(|value| format!("{value}")),
        1 => (0_u32..0x7f00_0000).prop_map(|bits| {
            // The middle between two floats, with some of its digits.
            let (float, next) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
            format!("{:.1$}", float + (next - float) / 2.0, bits as usize % 24 + 1)
        }),
        2 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?",
    ]
}

/// The 32-bit float of a token. An integer zero has no sign.
fn read_twice_rounded(token: &str) -> f32 {
    let value = token.parse::<f64>().unwrap() as f32;
    if value == 0.0 && !token.contains(['.', 'e', 'E']) { 0.0 } else { value }
}

proptest! {
    #[test]
    fn doubles_are_read_to_the_last_bit(
        (shape, values) in shaped(prop_oneof![any::<f64>(), -1e3..1e3, (-1e6..1e6_f64).prop_map(f64::round)]),
        pretty: bool,
    ) {
        let finite: Vec<f64> = values.iter().map(|value| if value.is_finite() { *value } else { 0.5 }).collect();
        let body = json!({"instances": nested(&shape, &finite)});
        let body = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
        let tensor = one(&body, DType::Float64).1;
        prop_assert_eq!(tensor, Tensor::from_slice(&shape, &finite).unwrap());
        let floats: Vec<f32> = finite.iter().map(|value| *value as f32).collect();
        prop_assert_eq!(one(&body, DType::Float32).1, Tensor::from_slice(&shape, &floats).unwrap());
    }

    #[test]
    fn decimals_are_read_as_the_standard_library_reads_them(token in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
        let tensor = column(&token, DType::Float64);
        let value = tensor.view::<f64>().unwrap()[0];
        let expected: f64 = token.parse().unwrap();
        let integer = !token.contains(['.', 'e', 'E']);
        prop_assert!(value.to_bits() == expected.to_bits() || integer && value == 0.0 && expected == 0.0, "{}", token);
    }

    /// Lists of decimals as programs write them, and other valid ones: each number is what the standard library parses
    /// as 64 bits, rounded to 32.
    #[test]
    fn lists_of_decimals_are_read_as_the_standard_library_reads_them(
        rows in prop::collection::vec(prop::collection::vec((decimal(), 0_usize..12), 3), 1..20),
    ) {
        let separator = |space: usize| ["", "", "", "", "", "", "", "", " ", "\n  ", "\t", "\r\n"][space];
        let mut body = String::from("{\"instances\":[");
        for (index, row) in rows.iter().enumerate() {
            body.push_str(if index == 0 { "[" } else { [",[", ", [", ",\n["][index % 3] });
            for (place, (token, space)) in row.iter().enumerate() {
                let comma = if place > 0 { "," } else { "" };
                body.extend([comma, separator(*space), token, separator((space * 5) % 12)]);
            }
            body.push(']');
        }
        let expected: Vec<f32> = rows.iter().flatten().map(|(token, _)| read_twice_rounded(token)).collect();
        let expected: Vec<u32> = expected.into_iter().map(f32::to_bits).collect();
        // Numbers at the end of the text take another path than others.
        for end in ["]}", "],\"and\":\"then some more text than any number has, so that nothing is near its end\"}"] {
            let tensor = one(format!("{body}{end}"), DType::Float32).1;
            prop_assert_eq!(tensor.shape(), [rows.len(), 3]);
            let read: Vec<u32> = tensor.view::<f32>().unwrap().iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(&read, &expected, "{}", body);
        }
    }

    /// Any bytes as a list are refused or read alike, near the end of a text and far from it.
    #[test]
    fn the_end_of_a_text_changes_nothing(list in "[0-9.,eE+ \\[\\]-]{0,24}") {
        let near = format!("{{\"inputs\":[{list}]}}");
        let far = format!("{{\"inputs\":[{list}] {:64}}}", "");
        match (decode(&near, &[("x", DType::Float32)]), decode(&far, &[("x", DType::Float32)])) {
            (Ok((_, near)), Ok((_, far))) => prop_assert_eq!(near, far),
            (Err(near), Err(far)) => prop_assert_eq!(near.code, far.code),
            (near, far) => prop_assert!(false, "{near:?} {far:?}"),
        }
    }

    /// Decimals of many digits, among them some in the middle between two floats or next to it.
    #[test]
    fn floats_are_rounded_twice(bits in 0_u32..0x7f00_0000, middle: bool, nudge in -12_i64..13, digits in 12_usize..19, negative: bool) {
        let float = f64::from(f32::from_bits(bits));
        let next = f64::from(f32::from_bits(bits + 1));
        let value = if middle { float + (next - float) / 2.0 } else { float };
        let value = f64::from_bits(value.to_bits().saturating_add_signed(nudge) & (u64::MAX >> 1));
        let sign = if negative { "-" } else { "" };
        let plain = if (1e-3..1e3).contains(&value) { value } else { 0.5 + value.fract() / 4.0 };
        for token in [format!("{sign}{value:.digits$e}"), format!("{sign}{plain:.digits$}"), format!("{sign}{value}")] {
            let expected = token.parse::<f64>().unwrap() as f32;
            let integer = !token.contains(['.', 'e']);
            let read = column(&token, DType::Float32).view::<f32>().unwrap()[0];
            prop_assert!(read == expected, "{}", token);
            prop_assert!(integer || read.to_bits() == expected.to_bits(), "{}", token);
        }
    }

    #[test]
    fn integers_are_read_exactly((shape, values) in shaped(any::<i64>()), (unsigned_shape, unsigned) in shaped(any::<u64>())) {
        let tensor = one(json!({"inputs": nested(&shape, &values)}).to_string(), DType::Int64).1;
        prop_assert_eq!(tensor, Tensor::from_slice(&shape, &values).unwrap());
        let tensor = one(json!({"inputs": nested(&unsigned_shape, &unsigned)}).to_string(), DType::UInt64).1;
        prop_assert_eq!(tensor, Tensor::from_slice(&unsigned_shape, &unsigned).unwrap());
    }

    #[test]
    fn strings_go_round((shape, values) in shaped(any::<String>())) {
        let tensor = one(json!({"inputs": nested(&shape, &values)}).to_string(), DType::String).1;
        prop_assert_eq!(&tensor, &Tensor::from_strings(&shape, &values).unwrap());
        let answer = predict_response(Format::Column, &vec![("y".to_owned(), tensor)]).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        prop_assert_eq!(&answer["outputs"], &nested(&shape, &values));
    }

    #[test]
    fn named_rows_are_plain_rows((shape, values) in shaped(any::<i32>())) {
        let rows = nested(&shape, &values);
        let named: Vec<Value> = rows.as_array().unwrap().iter().map(|row| json!({"b": 1.5, "a": row})).collect();
        let inputs: Inputs<'_> = &[("a", DType::Int32), ("b", DType::Float32)];
        let (_, tensors) = decode(json!({"instances": named}).to_string(), inputs).unwrap();
        prop_assert_eq!(&tensors[0].1, &one(json!({"instances": rows}).to_string(), DType::Int32).1);
    }

    #[test]
    fn answers_read_back((shape, values) in shaped(any::<f32>()), row: bool) {
        let finite: Vec<f32> = values.iter().map(|value| if value.is_finite() { *value } else { -0.0 }).collect();
        let tensor = Tensor::from_slice(&shape, &finite).unwrap();
        let format = if row { Format::Row } else { Format::Column };
        let answer = text(predict_response(format, &vec![("y".to_owned(), tensor.clone())]).unwrap());
        let value: Value = serde_json::from_str(&answer).unwrap();
        prop_assert!(value.is_object());
        let request = answer.replace("predictions", "instances").replace("outputs", "inputs");
        prop_assert_eq!(one(request, DType::Float32).1, tensor);
    }

    #[test]
    fn base64_goes_round(bytes: Vec<u8>) {
        let tensor = Tensor::from_strings(&[1], [&bytes]).unwrap();
        let answer = text(predict_response(Format::Row, &vec![("y_bytes".to_owned(), tensor.clone())]).unwrap());
        prop_assert_eq!(one(answer.replace("predictions", "instances"), DType::String).1, tensor);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[\\[\\]{},:\"\\\\ub64x01.eE+Nan-]{0,40}") {
        for member in ["\"instances\":", "\"inputs\":", "\"signature_name\":", "\"examples\":", ""] {
            for inner in [&bytes[..], text.as_bytes()] {
                let body = [b"{", member.as_bytes(), inner, b"}"].concat();
                let _ = ExamplesBody::parse(&body);
                let Ok(body) = PredictBody::parse(&body) else { continue };
                for number in 1..24 {
                    let dtype = DType::from_number(number);
                    for inputs in [&[("x", dtype)][..], &[("x", dtype), ("0", DType::Float32)]] {
                        if let Err(status) = body.tensors(inputs, &|name| name == "0") {
                            prop_assert_ne!(status.code, Code::Internal);
                        }
                    }
                }
            }
        }
    }
}
