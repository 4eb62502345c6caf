//! What the README shows is what happens.

use std::fs;
use tf_persist_testing::root;

use crate::support::Dir;

/// The commands of a section's console block, each with the lines that it prints.
fn console(section: &str) -> Vec<(String, Vec<String>)> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once(section).unwrap_or_else(|| panic!("the README has no `{section}`"));
    let (_, rest) = rest.split_once("```console\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ tf-persist "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, printed))) => printed.push(line.to_owned()),
            (None, None) => panic!("`{line}` belongs to no command"),
        }
    }
    commands
}

#[test]
fn the_tour_of_the_readme() {
    let dir = Dir::new();
    let commands = console("### Train, verify, compare, export");
    let words: Vec<&str> = commands.iter().map(|(command, _)| command.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["train", "verify", "diff", "export", "verify", "train"]);
    for (command, printed) in commands {
        let ran = dir.cmd(&command).run();
        let ran = if command.starts_with("diff") { ran.exits_with(1) } else { ran.ok() };
        for (printed, expected) in ran.out().lines().zip(&printed) {
            // How long it took, and the last digits of what another machine computes, are its own.
            let is_stable = !command.starts_with("train") && expected != "  …";
            ran.check(!is_stable || printed == expected, format_args!("the README shows `{expected}`"));
        }
    }
    assert!(dir.path("loss.svg").is_file());
    let size = |path: &str| -> u64 {
        let within =
            |folder: &str| fs::read_dir(dir.path(folder)).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        [path.to_owned(), format!("{path}/variables")]
            .iter()
            .flat_map(|folder| within(folder))
            .filter(|it| it.is_file())
            .map(|it| it.len())
            .sum()
    };
    assert!(2 * size("served") < size("trained"), "{} of {}", size("served"), size("trained"));
}
