//! The names of the outputs of TensorFlow's ops, by which nodes of functions refer to tensors.

use tf_persist_savedmodel::internals::output_names;

/// The name of an output and its index under that name. `None` if the op has no such output, or several lists.
pub(crate) fn output_name(op: &str, output: usize) -> Option<(&'static str, usize)> {
    let names: Vec<&str> = output_names(op)?.collect();
    match names.as_slice() {
        [list] if list.ends_with('*') => Some((list.trim_end_matches('*'), output)),
        names if names[..=output.min(names.len() - 1)].iter().any(|name| name.ends_with('*')) => None,
        names => Some((*names.get(output)?, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::output_name;

    #[test]
    fn names_outputs() {
        assert_eq!(output_name("MatMul", 0), Some(("product", 0)));
        assert_eq!(output_name("Split", 2), Some(("output", 2)));
        assert_eq!(output_name("TopKV2", 1), Some(("indices", 0)));
        assert_eq!(output_name("MatMul", 1), None);
        assert_eq!(output_name("NoSuchOp", 0), None);
    }
}
