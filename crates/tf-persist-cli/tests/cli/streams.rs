//! Standard output and standard error: their contents, and the result if the reader closes them.

use std::process::Command;
use tf_persist_testing::skipped;

use crate::support::{Dir, floats, npy};

/// More than a pipe holds.
const MANY: usize = 20_000;

/// A model with enough signatures to overflow any pipe.
fn large_model(dir: &Dir) {
    dir.write_proto("large", |model| {
        let signatures = &mut model.meta_graphs[0].signature_def;
        let signature = signatures["serving_default"].clone();
        for number in 0..2_000 {
            signatures.insert(format!("signature_number_{number}"), signature.clone());
        }
    });
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let dir = Dir::new();
    large_model(&dir);
    dir.write("requests.jsonl", "{\"instances\": [1, 2, 3]}\n".repeat(MANY));
    dir.write("x.npy", npy("<f4", "(20000,)", &floats(&[1.0; MANY])));
    let lines = [
        "inspect large",
        "run models/half_plus_two/model --requests requests.jsonl",
        "run models/half_plus_two/model --input x=@x.npy --format json",
        "runtime --format json",
        "run --help",
    ];
    for line in lines {
        for reader in ["head -n 1", "true"] {
            let script = format!("\"$@\" | {reader}; exit \"${{PIPESTATUS[0]}}\"");
            let ran = dir.bash(&script, line).run().ok();
            ran.check(!ran.err().contains("pipe"), "it complains about the pipe");
        }
    }
}

#[test]
fn a_closed_pipe_of_json_is_not_a_failure() {
    let dir = Dir::new();
    large_model(&dir);
    let ran = dir.bash("\"$@\" | head -n 1; exit \"${PIPESTATUS[0]}\"", "inspect large --format json").run().ok();
    ran.check(ran.err().is_empty(), "there is nothing to complain about");
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let dir = Dir::new();
    large_model(&dir);
    dir.write("requests.jsonl", "{\"instances\": [1, 2, 3]}\n");
    let lines = [
        "inspect models/half_plus_two/model",
        "inspect large",
        "inspect models/half_plus_two/model --format json",
        "inspect large --format json",
    ];
    for line in lines {
        let ran = dir.bash("exec \"$@\" > /dev/full", line).without_tensorflow().run().fails();
        ran.says("cannot print to standard output: No space left on device");
    }
}

#[test]
fn unprintable_outputs_are_an_error() {
    let dir = Dir::new();
    dir.write("requests.jsonl", "{\"instances\": [1, 2, 3]}\n");
    let lines = [
        "run models/half_plus_two/model --input x=[1]",
        "run models/half_plus_two/model --input x=[1] --format json",
        "run models/half_plus_two/model --requests requests.jsonl",
        "runtime",
        "runtime --format json",
    ];
    for line in lines {
        dir.bash("exec \"$@\" > /dev/full", line).run().fails().says("print").says("No space left on device");
    }
}

#[test]
fn errors_go_only_to_standard_error() {
    let dir = Dir::new();
    let lines = [
        "inspect none",
        "inspect none --format json",
        "run none --input x=1 --format json",
        "run models/half_plus_two/model --format json",
        "export none out",
        "runtime install --python /nonexistent",
    ];
    for line in lines {
        dir.cmd(line).without_tensorflow().run().fails().prints_only("");
    }
}

#[test]
fn colours_are_for_terminals() {
    let dir = Dir::new();
    // Every test checks that there are no colours without a terminal; here they are enabled.
    let coloured = dir.cmd("inspect models/digits/model").in_colour().run().ok();
    coloured.check(coloured.out().contains("\x1b[1m"), "there are no colours where they are asked for");
    let plain = dir.cmd("inspect models/digits/model").env("TERM", "xterm-256color").run().ok();
    let text = coloured.out().replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[36m", "");
    plain.check(plain.out() == text, "the text differs by more than its colours");
    let error = dir.cmd("inspect none").in_colour().run();
    error.check(error.err().contains("\x1b[1m\x1b[31merror:\x1b[0m "), "the error is not marked");
    dir.cmd("inspect models/digits/model --format json").in_colour().run().ok().json();
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    if Command::new("script").arg("--version").output().is_err() {
        skipped("a_terminal_gets_colours_unless_no_color_is_set", "there is no `script` to make a terminal");
        return;
    }
    let dir = Dir::new();
    let terminal = "exec script -qec \"$(printf '%q ' \"$@\")\" /dev/null";
    let run = |name: &str, value: &str| {
        let cmd = dir.bash(terminal, "inspect models/digits/model").env("TERM", "xterm-256color").env(name, value);
        cmd.in_colour_if_any().run()
    };
    let coloured = run("LANG", "C.UTF-8");
    coloured.check(coloured.out().contains("\x1b[1mmeta graph\x1b[0m"), "there are no colours on a terminal");
    let plain = run("NO_COLOR", "1");
    plain.check(!plain.out().contains('\x1b'), "there are colours although NO_COLOR is set");
}
