//! What the README shows is what happens.

use std::fs;
use tf_persist_testing::{root, wait_until};

use crate::serve::Running;
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
    commands.iter().for_each(|(command, printed)| run(&dir, command, printed));
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
    publish_and_serve(&dir);
}

/// Runs a command, and compares what it prints.
fn run(dir: &Dir, command: &str, printed: &[String]) {
    let ran = dir.cmd(command).run();
    let ran = if command.starts_with("diff") { ran.exits_with(1) } else { ran.ok() };
    for (printed, expected) in ran.out().lines().zip(printed) {
        // How long it took, and the last digits of what another machine computes, are its own.
        let is_stable = !command.starts_with("train") && expected != "  …";
        ran.check(!is_stable || printed == expected, format_args!("the README shows `{expected}`"));
    }
}

/// The next section, with the models of the first.
fn publish_and_serve(dir: &Dir) {
    let commands = console("### Publish, sign, serve, roll back");
    let at = commands.iter().position(|(command, _)| command.starts_with("serve-local")).unwrap();
    let (before, rest) = commands.split_at(at);
    before.iter().for_each(|(command, printed)| run(dir, command, printed));
    let ((serve, _), after) = rest.split_first().unwrap();
    let flags = serve.strip_prefix("serve-local ").unwrap().strip_suffix(" &").unwrap();
    let flags = flags.strip_suffix(" --rest-api-port 8501").unwrap();
    let server = Running::start(dir, flags);
    server.waits_for("ready: every model answers");
    let answer = |label: &str| {
        let body = format!("{{\"instances\": [{}]}}", serde_json::json!(vec![vec![[0.5]; 8]; 8]));
        let (code, body) = server.ask("POST", &format!("/v1/models/digits/labels/{label}:predict"), &body);
        assert_eq!(code, 200, "{body}");
        body
    };
    let labels = || server.ask("GET", "/models", "").1.split_whitespace().collect::<String>();
    let first = answer("production");
    let [(promote, promoted), (rollback, rolled_back)] = after else { panic!("{after:?}") };
    run(dir, promote, promoted);
    wait_until("production is 2", || labels().contains("\"labels\":{\"production\":\"2\"}"));
    assert_ne!(answer("production"), first);
    run(dir, rollback, rolled_back);
    wait_until("production is 1", || labels().contains("\"labels\":{\"production\":\"1\"}"));
    assert_eq!(answer("production"), first);
    dir.cmd("store show digits@production --at 2026-11-24T12:00").run().exits_with(1);
}
