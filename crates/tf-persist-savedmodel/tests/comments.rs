//! Comments of all crates are wrapped at column 120, which rustfmt does not do.

use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 120;

/// The folders of the workspace that have Rust files. `tf-persist-proto` has generated ones.
const FOLDERS: [&str; 4] = ["crates", "examples", "fuzz", "tests"];
const SKIPPED: [&str; 2] = ["generated", "target"];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_skipped = path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped));
        if path.is_dir() && !is_skipped {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Splits a line that is a comment into what it begins with, such as `    ///`, and its text.
fn comment(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("//")?;
    let text = rest.strip_prefix(['/', '!']).unwrap_or(rest);
    Some((&line[..line.len() - text.len()], text.strip_prefix(' ').unwrap_or(text)))
}

/// Whether a line of a comment begins something: an item of a list, a row of a table, a heading, a block of code, or
/// what clippy looks for.
fn is_start(text: &str) -> bool {
    let item = text.trim_start().trim_start_matches(|digit: char| digit.is_ascii_digit());
    text.is_empty() || item.starts_with(['-', '*', '|', '#', '>', '`', '.']) || text.starts_with("SAFETY:")
}

/// The numbers of the lines, from 1, that are too long, or that the first word of the next line would fit on.
fn badly_wrapped(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut is_code) = (Vec::new(), false);
    for (index, line) in lines.iter().enumerate() {
        let Some((begin, text)) = comment(line) else {
            is_code = false;
            continue;
        };
        if text.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let width = line.chars().count();
        let is_too_long = width > WIDTH && text.contains(' ') && !text.starts_with('|');
        let next = lines.get(index + 1).copied().and_then(comment);
        let next = next.filter(|(other, next)| *other == begin && !is_start(next) && !next.starts_with("    "));
        let word = next.and_then(|(_, next)| next.split_whitespace().next());
        let is_too_short = word.is_some_and(|word| width + 1 + word.chars().count() <= WIDTH);
        if !is_code && (is_too_long || is_too_short && !text.is_empty() && !text.starts_with(['|', '#'])) {
            found.push(index + 1);
        }
    }
    found
}

#[test]
fn comments_are_wrapped_at_column_120() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    assert!(files.len() > 500, "{}", files.len());
    let found = files.iter().flat_map(|file| {
        let lines = badly_wrapped(&fs::read_to_string(file).unwrap());
        let file = file.strip_prefix(&root).unwrap().display();
        lines.into_iter().map(move |line| format!("{file}:{line}"))
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "too long, or the next line's first word fits:\n{}", found.join("\n"));
}

#[test]
fn long_and_short_lines_are_found() {
    let word = "word ".repeat(30);
    assert_eq!(badly_wrapped(&format!("    /// {word}\nlet x = \"{word}\";\n// https://{}", "a".repeat(200))), [1]);
    assert_eq!(
        badly_wrapped("// One\n// two.\n\n/// One.\n///\n/// - two\n///   three\n//! ```\n//! a\n//! b\n//! ```"),
        [1, 6]
    );
    assert_eq!(badly_wrapped("/// One.\n// Two.\n# three\n// | a |\n// | b |\n// 1. a\n// 2. b"), [0; 0]);
}
