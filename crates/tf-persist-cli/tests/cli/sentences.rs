//! Errors: printed once, about the right thing, and with a hint.

use crate::support::{Dir, npy, npz};

#[test]
fn messages_of_tensorflow_are_printed_once_without_escapes() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/tf1_graph/model --signature regress --input").arg("inputs=[\"no example\"]").run();
    let ran = ran.fails().says("TensorFlow could not run signature `regress` of `models/tf1_graph/model`: ");
    let said = ran.err();
    let sentence = said.lines().find_map(|line| line.split_once("tf1_graph/model`: ")).unwrap().1.to_owned();
    ran.check(said.matches(&sentence).count() == 1, "TensorFlow's sentence is printed twice");
    ran.check(!said.contains("\\t"), "a tab is spelled out");
    ran.check(said.contains("\nTensorFlow says further:\n  [[{{node "), "the node that failed is not named");
}

#[test]
fn the_hint_names_the_signature_flag_of_the_command() {
    let dir = Dir::new();
    dir.write("request.json", r#"{"signature_name": "nope", "inputs": {"x": [1]}}"#);
    dir.copy_model("half_plus_two", "m");
    for (line, hint) in [
        ("run m --signature nope --input x=[1]", "choose one of them with --signature NAME"),
        ("run m --inputs request.json", "with --signature NAME, or by `signature_name` in the request"),
        ("inspect m --signature nope", "choose one of them with --signature NAME"),
        ("export m out --signatures nope", "choose one of them with --signatures NAME,…"),
        ("verify m --record request.json", "with --signature NAME, or by `signature_name` in the request"),
    ] {
        let ran = dir.cmd(line).without_tensorflow().run().fails().says("no signature `nope`").hints(hint);
        ran.check(ran.err().matches("--signature").count() == 1, "options of other commands are named");
    }
}

#[test]
fn an_unwritable_output_is_refused_before_the_model_runs() {
    let dir = Dir::new();
    dir.write("file", "");
    dir.write("folder.npz/file", "");
    for (output, why) in [
        ("nosuchfolder/o.npz", "No such file or directory"),
        ("file/o.npz", "Not a directory"),
        ("folder.npz", "it is a folder"),
    ] {
        let line = format!("run models/half_plus_two/model --input x=[1] --output {output}");
        let ran = dir.cmd(&line).without_tensorflow().run().fails();
        ran.says(format!("cannot write `{output}`: {why}"));
    }
    assert_eq!(dir.names(""), ["file", "folder.npz", "models"]);
}

#[test]
fn other_files_are_recognised() {
    let dir = Dir::new();
    dir.write("a.in.npz", npz(&[("x", npy("<f4", "(1,)", &[0; 4]))]));
    let ran = dir.cmd("inspect a.in.npz").without_tensorflow().run().fails().says("it is a file of numpy arrays");
    ran.hints("give the arrays as inputs of a signature, or as data to train on");
    dir.copy_model("half_plus_two", "many/b");
    dir.copy_model("half_plus_two", "many/a");
    let ran = dir.cmd("inspect many").without_tensorflow().run().fails();
    ran.says("it is a folder with 2 models in it: `a` and `b`").hints("name one of them, such as `many/a`");
    dir.write("text/saved_model.pb", "truncated");
    let ran = dir.cmd("inspect text").without_tensorflow().run().fails();
    ran.says("`text/saved_model.pb` is damaged: it is text, and should be a protobuf: `truncated`");
}

#[test]
fn a_part_of_a_report_begins_with_its_first_line() {
    let dir = Dir::new();
    for (option, first) in [
        ("--signature serving_default", "signature "),
        ("--stats", "variables "),
        ("--variables", "variables "),
        ("--ops", "ops "),
    ] {
        let ran = dir.cmd(&format!("inspect models/digits/model {option}")).without_tensorflow().run().ok();
        ran.check(ran.out().starts_with(first), format_args!("it should begin with `{first}`"));
    }
}

#[test]
fn values_that_an_input_cannot_have() {
    let dir = Dir::new();
    dir.write("v1.npy", npy("<V1", "(2,)", &[1, 2]));
    let half = "run models/half_plus_two/model --input";
    dir.cmd(half)
        .arg("x=[1e39]")
        .without_tensorflow()
        .run()
        .fails()
        .says("--input x: at [0]: 1e39 is outside the range of float32; infinity is written Infinity");
    let ran = dir.cmd(half).arg("x=@v1.npy").without_tensorflow().run().fails();
    ran.says("elements of one byte without a type, as numpy writes float8 and int4").hints("cannot be fed");
    let ran = dir.cmd("run models/dtypes/model --signature unknown_rank --input bool=1").without_tensorflow().run();
    ran.fails();
    // What is printed can be given back.
    let given = r#"float32=[Infinity,-Infinity,1e-9]"#;
    let ran = dir
        .cmd("run models/dtypes/model --signature unknown_rank --input int64=1 --input")
        .args(["string=\"a\\u0000b\"", "--input", given])
        .run()
        .ok();
    ran.prints("[Infinity, -Infinity, 1e-9]").prints(r#""a\u0000b""#);
}

#[test]
fn small_differences_have_an_exponent() {
    let dir = Dir::new();
    crate::verify::times(&dir, "a", "1e-9");
    dir.cmd("verify a --record -").stdin("{\"inputs\": {\"x\": 1}}").run().ok();
    let text = std::fs::read_to_string(dir.path("a/saved_model.pbtxt")).unwrap();
    dir.write("a/saved_model.pbtxt", text.replace("float_val: 1e-9", "float_val: 5e-9"));
    let ran = dir.cmd("verify a --tolerance 1e-12").run().exits_with(1).prints("at [] 5e-9 instead of 1e-9");
    ran.check(!ran.out().contains("0.00000"), "zeros are printed that nobody counts");
}
