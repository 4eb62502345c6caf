//! A message of TensorFlow in two parts: a sentence, and the details.
//!
//! Its messages are a line or many. The lines behind the first begin with tabs and say which node failed; several
//! failures at once begin with a heading (`2 root error(s) found.`) under which each is listed with a number and its
//! code.

/// The first failure of a message, as a sentence without its full stop.
pub(super) fn sentence(message: &str) -> String {
    let lines = lines(message);
    let first = lines.get(usize::from(is_heading(&lines))).map_or("", |line| without_number(line));
    let first = first.trim_end_matches(['.', ':', ' ']);
    if first.is_empty() { "it gave no reason".into() } else { first.into() }
}

/// The lines of a message after the one that became the sentence.
pub(super) fn rest(message: &str) -> Option<String> {
    let lines = lines(message);
    let rest = lines.get(1 + usize::from(is_heading(&lines))..).unwrap_or_default();
    (!rest.is_empty()).then(|| rest.join("\n"))
}

fn lines(message: &str) -> Vec<String> {
    let lines = message.lines().map(|line| line.trim().replace('\t', " "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Whether the first line only says how many failures follow.
fn is_heading(lines: &[String]) -> bool {
    lines.len() > 1 && lines[0].ends_with("root error(s) found.")
}

/// `Incompatible shapes` of `(0) INVALID_ARGUMENT: Incompatible shapes`.
fn without_number(line: &str) -> &str {
    let numbered = line.strip_prefix('(').and_then(|line| line.split_once(") "));
    let Some((_, text)) = numbered.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit())) else {
        return line;
    };
    match text.split_once(": ") {
        Some((code, text)) if code.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_ ".contains(&byte)) => text,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_sentence_and_the_rest() {
        let message = "Incompatible shapes: [2] vs. [3]\n\t [[{{function_node f}}{{node Add}}]]";
        assert_eq!(sentence(message), "Incompatible shapes: [2] vs. [3]");
        assert_eq!(rest(message).as_deref(), Some("[[{{function_node f}}{{node Add}}]]"));
        assert_eq!((sentence("No.\n\n"), rest("No.\n\n")), ("No".into(), None));
        assert_eq!((sentence("a\tb"), rest("")), ("a b".into(), None));
        assert_eq!(sentence(" \n"), "it gave no reason");
    }

    #[test]
    fn of_several_failures_the_first_is_the_sentence() {
        let message = "2 root error(s) found.\n  (0) INVALID_ARGUMENT: bad index\n\t [[{{node Gather}}]]\n  (1) INVALID_ARGUMENT: bad index\n\t \
                       [[{{node Gather}}]]\n\t [[x/_3]]\n0 successful operations.";
        assert_eq!(sentence(message), "bad index");
        assert!(rest(message).unwrap().starts_with("[[{{node Gather}}]]\n(1) INVALID_ARGUMENT: bad index\n"));
    }
}
