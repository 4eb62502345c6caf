//! Inputs with a default may be missing.

use super::*;

const INPUTS: Inputs<'_> = &[("flip", DType::Bool), ("scale", DType::Float32), ("x", DType::Float32)];

/// The names and shapes of the decoded inputs, or the error.
fn given(body: &str, defaults: &[&str]) -> Result<Vec<(String, Vec<usize>)>, String> {
    let tensors = PredictBody::parse(body.as_bytes()).unwrap().tensors(INPUTS, &|name| defaults.contains(&name));
    let tensors = tensors.map_err(|status| status.message)?.1;
    Ok(tensors.into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect())
}

fn names(body: &str, defaults: &[&str]) -> Vec<(String, Vec<usize>)> {
    given(body, defaults).unwrap()
}

fn x(shape: &[usize]) -> (String, Vec<usize>) {
    ("x".to_owned(), shape.to_vec())
}

#[test]
fn columns_may_omit_inputs_with_a_default() {
    let defaults = &["flip", "scale"];
    assert_eq!(names(r#"{"inputs": {"x": [[1, 2, 3]]}}"#, defaults), [x(&[1, 3])]);
    let both = names(r#"{"inputs": {"x": [1], "scale": 2.5}}"#, defaults);
    assert_eq!(both, [("scale".to_owned(), vec![]), x(&[1])]);
    // The only required input needs no name.
    assert_eq!(names(r#"{"inputs": [[1, 2, 3]]}"#, defaults), [x(&[1, 3])]);
    assert_eq!(names(r#"{"inputs": 7}"#, defaults), [x(&[])]);
    assert_eq!(names(r#"{"inputs": {}}"#, &["flip", "scale", "x"]), []);
    assert_eq!(given(r#"{"inputs": {}}"#, defaults).unwrap_err(), "Missing named input: x in 'inputs' object.");
    let message = given(r#"{"inputs": {"x": [1], "flip": true}}"#, &["flip"]).unwrap_err();
    assert_eq!(message, "Missing named input: scale in 'inputs' object.");
    let message = given(r#"{"inputs": [1, 2]}"#, &["flip"]).unwrap_err();
    assert!(message.contains("expecting an object as multiple input tensors required"), "{message}");
}

#[test]
fn all_rows_may_omit_inputs_with_a_default() {
    let defaults = &["flip", "scale"];
    assert_eq!(names(r#"{"instances": [{"x": [1, 2, 3]}, {"x": [4, 5, 6]}]}"#, defaults), [x(&[2, 3])]);
    let some = names(r#"{"instances": [{"x": 1, "scale": 2}, {"scale": 3, "x": 4}]}"#, defaults);
    assert_eq!(some, [("scale".to_owned(), vec![2]), x(&[2])]);
    assert_eq!(names(r#"{"instances": [[1, 2], [3, 4]]}"#, defaults), [x(&[2, 2])]);
    assert_eq!(names(r#"{"instances": [{}, {}]}"#, &["flip", "scale", "x"]), []);
    for uneven in [
        r#"{"instances": [{"x": 1, "scale": 2}, {"x": 4}]}"#,
        r#"{"instances": [{"x": 1}, {"x": 4, "scale": 2}]}"#,
        r#"{"instances": [{"x": 1, "scale": 2}, {"scale": 4}]}"#,
        r#"{"instances": [{"x": 1}, {}]}"#,
    ] {
        let message = given(uneven, defaults).unwrap_err();
        let text = "Failed to process element: 1 of 'instances' list.";
        assert!(
            message.starts_with(text) && message.ends_with("keys must be equal to: flip,scale,x"),
            "{uneven}: {message}"
        );
    }
    let message = given(r#"{"instances": [[1, 2], [3, 4]]}"#, &["flip"]).unwrap_err();
    assert!(message.contains("expecting list of objects as multiple input tensors required"), "{message}");
}
