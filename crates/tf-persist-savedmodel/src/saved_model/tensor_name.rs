//! Names of tensors: an operation and the index of one of its outputs.

use crate::error::{Error, Result};

/// Splits `scope/op:1` into the operation's name and the output's index, which is 0 by default, as TensorFlow does
/// (`ParseTensorName` in `tensorflow/core/graph/tensor_id.cc`).
///
/// # Errors
/// If the name is empty, names a control dependency (`^op`), has an invalid index, or has characters that operations'
/// names cannot have.
pub fn parse_tensor_name(name: &str) -> Result<(&str, u32)> {
    let refuse = |reason: &str| Err(Error::data(format!("tensor name `{}`", name.escape_debug()), reason));
    let (operation, output) = match name.rsplit_once(':') {
        Some((operation, output)) => (operation, output),
        None => (name, "0"),
    };
    if operation.starts_with('^') {
        return refuse("it names a control dependency, which has no value");
    }
    if operation.is_empty() {
        return refuse("it names no operation");
    }
    if !operation.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return refuse("no operation has such a name");
    }
    // The C API counts outputs with an `int`; signs and spaces are not digits.
    match output.parse::<u32>() {
        Ok(number) if i32::try_from(number).is_ok() && output.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((operation, number))
        }
        _ => refuse("what follows the colon is not the number of an output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names() {
        assert_eq!(parse_tensor_name("a/b:0").unwrap(), ("a/b", 0));
        assert_eq!(parse_tensor_name("a/b:12").unwrap(), ("a/b", 12));
        assert_eq!(parse_tensor_name("NoOp").unwrap(), ("NoOp", 0));
    }

    #[test]
    fn refuses_what_is_no_tensor() {
        for name in
            ["", ":0", "^a", "a:", "a:b", "a:-1", "a:+1", "a: 1", "a:b:0", "a b:0", "a\n:0", "a:9999999999", "ä:0"]
        {
            assert!(parse_tensor_name(name).is_err(), "{name:?}");
        }
    }
}
