//! Adds the step and the rows to an error of TensorFlow.

use tf_persist_savedmodel::tensor::Tensor;

use super::Dataset;
use crate::error::{Error, Hint};

/// The most rows of a failed batch that a message names.
const SHOWN_ROWS: usize = 8;

/// Adds the step, the rows of its batch and what was saved to an error of TensorFlow.
pub(super) fn with_context(error: Error, step: &str, data: &Dataset, rows: &[usize], kept: &str) -> Error {
    let Error::TensorFlow { action, code, message, hint } = error else { return error };
    let rows = find_row(&message, data, rows).unwrap_or_else(|| describe_rows(data, rows));
    let begun = hint.map_or_else(|| Hint::new(step.to_owned()), |hint| hint.and(step));
    let hint = Some(begun.and(rows).and(kept));
    Error::TensorFlow { action, code, message: in_one_line(message), hint }
}

/// Describes the rows of a batch.
pub(super) fn describe_rows(data: &Dataset, rows: &[usize]) -> String {
    let shown: Vec<String> = rows.iter().take(SHOWN_ROWS).map(usize::to_string).collect();
    let more = if rows.len() > SHOWN_ROWS { ", …" } else { "" };
    format!("the batch was rows {}{more} of `{}`", shown.join(", "), data.source())
}

/// Describes the row that a message such as `indices[18] = 10 is not in [0, 10)` is about. The message does not name
/// the array, so the row is only named if it contains the number in the message.
fn find_row(message: &str, data: &Dataset, rows: &[usize]) -> Option<String> {
    let (index, rest) = message.split_once("indices[")?.1.split_once("] = ")?;
    // Of several indices the first is that of the row.
    let index: usize = index.split(',').next()?.trim().parse().ok()?;
    let end = rest.find(|character: char| character != '-' && !character.is_ascii_digit()).unwrap_or(rest.len());
    let value: i64 = rest[..end].parse().ok()?;
    let row = *rows.get(index)?;
    let (name, _) = data.batch(&[row]).ok()?.into_iter().find(|(_, array)| contains(array, value))?;
    Some(format!("row {row} of array `{name}` of `{}` has the {value}", data.source()))
}

fn contains(array: &Tensor, value: i64) -> bool {
    fn any<T: crate::Element + Copy + Into<i64>>(array: &Tensor, value: i64) -> bool {
        array.view::<T>().is_ok_and(|all| all.iter().any(|element| (*element).into() == value))
    }
    any::<i64>(array, value)
        || any::<i32>(array, value)
        || any::<i16>(array, value)
        || any::<i8>(array, value)
        || any::<u32>(array, value)
        || any::<u16>(array, value)
        || any::<u8>(array, value)
}

/// Joins a sentence and the nodes that it comes from (`[[{{node …}}]]`) into one line. Longer messages stay as they
/// are.
fn in_one_line(message: String) -> String {
    let mut lines = message.trim().lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let nodes: Vec<&str> = lines.collect();
    if nodes.iter().all(|line| line.starts_with("[[")) {
        return [&[first], &nodes[..]].concat().join(" ");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_with_the_number_is_named() {
        let labels = Tensor::from_slice(&[5], &[0_i64, 1, 2, 10, 4]).unwrap();
        let words = Tensor::from_slice(&[5, 2], &[0_i32, 7, 1, 7, 2, -3, 3, 7, 4, 7]).unwrap();
        let data = Dataset::new("a.npz", vec![("y".into(), labels), ("words".into(), words)]).unwrap();
        let of = |message: &str| find_row(message, &data, &[4, 3, 2]);
        let found = of("indices[1] = 10 is not in [0, 10)\n\t [[{{node x}}]]").unwrap();
        assert_eq!(found, "row 3 of array `y` of `a.npz` has the 10");
        assert_eq!(of("indices[2,1] = -3 is not in [0, 7)").unwrap(), "row 2 of array `words` of `a.npz` has the -3");
        for other in [
            "indices[0] = 10 is not in [0, 10)",
            "indices[3] = 10 is not in [0, 10)",
            "indices[99999999999999999999] = 10",
            "indices[1] = 99999999999999999999",
            "indices[] = 10",
            "indices[1",
            "no more memory",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn sentence_and_nodes_become_one_line() {
        assert_eq!(in_one_line("no\n\t [[{{node a}}]]\n".into()), "no [[{{node a}}]]");
        assert_eq!(in_one_line("no\nDetected at\n\t [[a]]".into()), "no\nDetected at\n\t [[a]]");
        assert_eq!(in_one_line(String::new()), "");
    }
}
