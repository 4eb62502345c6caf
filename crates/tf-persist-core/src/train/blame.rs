//! Which rows it were when TensorFlow refuses a batch.

use tf_persist_savedmodel::tensor::Tensor;

use super::Dataset;
use crate::error::{Error, Hint};

/// So many rows are named of a batch that failed.
const SHOWN_ROWS: usize = 8;

/// TensorFlow's refusal of a batch, with where it was, which rows it were, and what is left.
pub(super) fn explained(error: Error, place: &str, data: &Dataset, rows: &[usize], kept: &str) -> Error {
    let Error::TensorFlow { action, code, message, hint } = error else { return error };
    let rows = culprit(&message, data, rows).unwrap_or_else(|| batch(data, rows));
    let begun = hint.map_or_else(|| Hint::new(place.to_owned()), |hint| hint.and(place));
    let hint = Some(begun.and(rows).and(kept));
    Error::TensorFlow { action, code, message: in_one_line(message), hint }
}

/// The rows of a batch, for people.
pub(super) fn batch(data: &Dataset, rows: &[usize]) -> String {
    let shown: Vec<String> = rows.iter().take(SHOWN_ROWS).map(usize::to_string).collect();
    let more = if rows.len() > SHOWN_ROWS { ", …" } else { "" };
    format!("the batch was rows {}{more} of `{}`", shown.join(", "), data.source())
}

/// The row that a message such as `indices[18] = 10 is not in [0, 10)` is about. What `indices` are the message does not tell, so
/// the row is only named if one of its integers is the one in the message.
fn culprit(message: &str, data: &Dataset, rows: &[usize]) -> Option<String> {
    let (index, rest) = message.split_once("indices[")?.1.split_once("] = ")?;
    // Of several indices the first is that of the row.
    let index: usize = index.split(',').next()?.trim().parse().ok()?;
    let end = rest.find(|character: char| character != '-' && !character.is_ascii_digit()).unwrap_or(rest.len());
    let value: i64 = rest[..end].parse().ok()?;
    let row = *rows.get(index)?;
    let (name, _) = data.batch(&[row]).ok()?.into_iter().find(|(_, array)| has(array, value))?;
    Some(format!("row {row} of array `{name}` of `{}` has the {value}", data.source()))
}

fn has(array: &Tensor, value: i64) -> bool {
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

/// A sentence and the nodes that it comes from (`[[{{node …}}]]`) as one line, which is then all there is to say. What has more
/// lines stays as it is.
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
    fn the_row_is_the_one_with_the_number() {
        let labels = Tensor::from_slice(&[5], &[0_i64, 1, 2, 10, 4]).unwrap();
        let words = Tensor::from_slice(&[5, 2], &[0_i32, 7, 1, 7, 2, -3, 3, 7, 4, 7]).unwrap();
        let data = Dataset::new("a.npz", vec![("y".into(), labels), ("words".into(), words)]).unwrap();
        let of = |message: &str| culprit(message, &data, &[4, 3, 2]);
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
    fn a_sentence_and_its_nodes_are_one_line() {
        assert_eq!(in_one_line("no\n\t [[{{node a}}]]\n".into()), "no [[{{node a}}]]");
        assert_eq!(in_one_line("no\nDetected at\n\t [[a]]".into()), "no\nDetected at\n\t [[a]]");
        assert_eq!(in_one_line(String::new()), "");
    }
}
