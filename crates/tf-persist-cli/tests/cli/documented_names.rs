//! Every `Type::member` that the documentation names exists in the source of the crates.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use tf_persist_testing::root;

use crate::snippets::pages;

/// Types of other crates that the documentation names.
const FOREIGN: [&str; 3] = ["Box", "Operation", "Optimizer"];

/// The members of each type: functions and constants of its `impl` blocks, variants of an enum, functions of a trait.
type Members = HashMap<String, HashSet<String>>;

/// The identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}

/// The type of an `impl` line: of `impl<T: Into<U>> fmt::Display for a::Type<T> {` it is `Type`.
fn type_of_impl(line: &str) -> &str {
    let mut depth = 0_usize;
    let generics = line.find(|letter| {
        depth = match letter {
            '<' => depth + 1,
            '>' => depth.saturating_sub(1),
            _ => depth,
        };
        depth == 0 && letter == ' '
    });
    let rest = &line[generics.map_or(line.len(), |end| end + 1)..];
    let path = rest.split_once(" for ").map_or(rest, |(_, name)| name);
    let path = &path[..path.find(['<', ' ', '{']).unwrap_or(path.len())];
    path.rsplit("::").next().unwrap_or(path)
}

/// Adds the members in one formatted source file: a block ends at the closing brace of its own indentation.
fn collect(source: &str, members: &mut Members) {
    let mut open: Option<(usize, String, bool)> = None;
    for line in source.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let item = text.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        match &open {
            Some((outer, ..)) if indent == *outer && text.starts_with('}') => open = None,
            Some((outer, owner, is_enum)) if indent == outer + 4 => {
                let words = item.trim_start_matches("const fn ").trim_start_matches("fn ").trim_start_matches("const ");
                let is_member = words.len() < item.len() || (*is_enum && text.starts_with(char::is_uppercase));
                if is_member {
                    members.entry(owner.clone()).or_default().insert(identifier(words).to_owned());
                }
            }
            Some(_) => {}
            None => {
                let named = ["enum ", "struct ", "trait "].iter().find_map(|kind| item.strip_prefix(kind));
                let owner = if item.starts_with("impl") { Some(type_of_impl(item)) } else { named.map(identifier) };
                if let Some(owner) = owner {
                    members.entry(owner.to_owned()).or_default();
                    if text.ends_with('{') {
                        open = Some((indent, owner.to_owned(), item.starts_with("enum ")));
                    }
                }
            }
        }
    }
}

fn collect_folder(folder: &Path, members: &mut Members) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("generated") {
            collect_folder(&path, members);
        } else if path.extension().is_some_and(|it| it == "rs") {
            collect(&fs::read_to_string(&path).unwrap(), members);
        }
    }
}

/// The `Type::member` pairs in the code spans of a page; fenced blocks are left out.
fn named(page: &str) -> Vec<(&str, &str)> {
    let prose = page.split("```").step_by(2);
    let spans = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    spans
        .flat_map(|span| {
            span.match_indices("::").map(move |(at, _)| {
                let begin = span[..at].rfind(|letter: char| !letter.is_alphanumeric()).map_or(0, |before| before + 1);
                (&span[begin..at], identifier(&span[at + 2..]))
            })
        })
        .filter(|(owner, member)| owner.starts_with(char::is_uppercase) && !member.is_empty())
        .collect()
}

#[test]
fn documented_methods_exist() {
    let mut members = Members::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        collect_folder(&entry.unwrap().path().join("src"), &mut members);
    }
    let mut pages = pages();
    pages.push("CHANGELOG.md".to_owned());
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for (owner, member) in named(&text).into_iter().filter(|(owner, _)| !FOREIGN.contains(owner)) {
            count += 1;
            let found = members.get(owner).unwrap_or_else(|| panic!("{page} names `{owner}::{member}`: no such type"));
            let is_derived = member == "default";
            assert!(is_derived || found.contains(member), "{page} names `{owner}::{member}`, which does not exist");
        }
    }
    assert!(count > 20, "{count} names found");
}

#[test]
fn a_renamed_method_is_noticed() {
    let mut members = Members::new();
    let source = "impl<T: Into<A>> fmt::Display for a::Model<T> {\n    pub fn ask(&self) {\n    }\n}\npub enum E {\n    One(u8),\n}\n";
    collect(source, &mut members);
    assert!(members["Model"].contains("ask") && !members["Model"].contains("ask_again"));
    assert!(members["E"].contains("One"));
    assert_eq!(named("a `Model::ask(&x)` and ```\n`Model::no`\n``` and `E::One`"), [("Model", "ask"), ("E", "One")]);
}
