//! The inputs of `run` in every form, and the refusal of others without TensorFlow.

use std::fs;

use serde_json::json;

use crate::command::Ran;
use crate::recorded::Recorded;
use crate::support::{Dir, floats, npy, npz};

/// `run` of half_plus_two without TensorFlow.
#[track_caller]
fn refused(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("run models/half_plus_two/model {line}")).without_tensorflow().run().fails()
}

#[test]
fn every_form_gives_the_same_answer() {
    let dir = Dir::new();
    let x = npy("<f4", "(3,)", &floats(&[1.0, 2.0, 3.0]));
    dir.write("x.npy", &x);
    dir.write("big.npy", npy(">f4", "(3,)", &[1.0_f32, 2.0, 3.0].map(f32::to_be_bytes).concat()));
    dir.write("x.npz", npz(&[("x", x)]));
    dir.write("column.json", "{\"inputs\": {\"x\": [1, 2, 3]}}");
    dir.write("bare.json", "{\"signature_name\": \"serving_default\", \"inputs\": [1.0, 2e0, 3]}");
    dir.write("rows.json", "{\"instances\": [{\"x\": 1}, {\"x\": 2}, {\"x\": 3}]}");
    dir.write("bare_rows.json", "{\"instances\": [1, 2, 3]}");
    let forms = [
        "--input x=[1,2,3]",
        "--input x=@x.npy",
        "--input x=@big.npy",
        "--inputs x.npz",
        "--inputs column.json",
        "--inputs bare.json --signature serving_default",
        "--inputs rows.json",
        "--inputs bare_rows.json",
        "--inputs ./x.npz",
    ];
    for form in forms {
        let ran = dir.cmd(&format!("run models/half_plus_two/model --format json {form}")).run().ok();
        ran.check(ran.json()["outputs"]["y"] == json!([2.5, 3.0, 3.5]), "another answer");
    }
    let ran = dir.cmd("run models/half_plus_two/model --format json --inputs -").stdin("{\"instances\": [1, 2, 3]}");
    assert_eq!(ran.run().ok().json()["outputs"]["y"], json!([2.5, 3.0, 3.5]));
}

#[test]
fn inputs_can_be_given_in_several_ways() {
    let dir = Dir::new();
    let body = npy("<f4", "(1, 4)", &floats(&[0.1, 0.2, 0.3, 0.4]));
    dir.write("body.npy", &body);
    dir.write("body.npz", npz(&[("body", body)]));
    let mixed = "run models/two_in_two_out/model --format json --input blood=[[1,2,3,4,5,6]]";
    let one = dir.cmd(&format!("{mixed} --input body=@body.npy")).run().ok().json();
    let other = dir.cmd(&format!("{mixed} --inputs body.npz")).run().ok().json();
    assert_eq!(one, other);
    assert_eq!(one["outputs"].as_object().unwrap().len(), 2);
    let twice =
        "run models/two_in_two_out/model --inputs body.npz --input body=[[1,2,3,4]] --input blood=[[1,2,3,4,5,6]]";
    dir.cmd(twice).without_tensorflow().run().fails().says("`body`").says("twice");
}

#[test]
fn recorded_archives_give_recorded_answers() {
    let dir = Dir::new();
    // One case of each signature that npz can carry, and all those that JSON cannot, of the models whose inputs differ
    // most.
    for name in ["text", "sparse", "dtypes"] {
        let model = Recorded::read(name);
        let mut done: Vec<String> = Vec::new();
        for case in model.cases() {
            if !case.fits_npz() || case.fits_json() && done.contains(&case.signature) {
                continue;
            }
            done.push(case.signature.clone());
            dir.write("in.npz", case.npz());
            let line =
                format!("run models/{name}/model --signature {} --inputs in.npz --output out.npz", case.signature);
            dir.cmd(&line).run().ok().prints_only("");
            model.compare(&format!("{name}, `{}`", case.signature), &case.archive(&dir.path("out.npz")), &case.outputs);
        }
        assert!(!done.is_empty(), "{name} has no case that npz can carry");
    }
}

#[test]
fn strings_are_text_base64_or_numpy_arrays() {
    let dir = Dir::new();
    dir.write("bytes.npy", npy("|S11", "(2,)", b"a good filmbad\0\0\0\0\0\0\0\0"));
    let text: Vec<u8> = "a good film".chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    dir.write("text.npy", npy("<U11", "(1,)", &text));
    dir.write("b64.json", "{\"instances\": [{\"b64\": \"YSBnb29kIGZpbG0=\"}]}");
    dir.write("row.json", "{\"instances\": [{\"text\": {\"b64\": \"YSBnb29kIGZpbG0=\"}}]}");
    let ids = |args: &[&str]| {
        let ran = dir.cmd("run models/text/model --signature tokens --format json").args(args).run().ok();
        ran.json()["outputs"]["ids"].clone()
    };
    let expected = ids(&["--input", "text=[\"a good film\"]"]);
    assert_eq!(ids(&["--input", "text=@text.npy"]), expected);
    assert_eq!(ids(&["--inputs", "b64.json"]), expected);
    assert_eq!(ids(&["--inputs", "row.json"]), expected);
    let two = ids(&["--input", "text=@bytes.npy"]);
    assert_eq!((two.as_array().unwrap().len(), &two[0]), (2, &expected[0]));
    let hint = dir.cmd("run models/text/model --input text=good").without_tensorflow().run().fails();
    hint.says("--input text").hints("--input 'text=\"some text\"'");
}

#[test]
fn bfloat16_is_read_from_uint16_bits() {
    let dir = Dir::new();
    let model = Recorded::read("dtypes");
    let case = model.cases().into_iter().find(|case| case.signature == "scalars").unwrap();
    dir.write("in.npz", case.npz());
    // One of the archive's arrays, replaced by the bits of 1.5.
    let archive = fs::read(dir.path("in.npz")).unwrap();
    assert!(archive.windows(3).any(|bytes| bytes == b"<u2"));
    let others = case.inputs.iter().filter(|(name, _)| name != "bfloat16").cloned().collect();
    let rest = crate::recorded::Case { inputs: others, ..case };
    dir.write("rest.npz", rest.npz());
    dir.write("bits.npy", npy("<u2", "()", &0x3fc0_u16.to_le_bytes()));
    dir.write("raw.npy", npy("|V2", "()", &0x3fc0_u16.to_le_bytes()));
    for array in ["bits.npy", "raw.npy"] {
        let line = format!("run models/dtypes/model --signature scalars --inputs rest.npz --input bfloat16=@{array}");
        dir.cmd(&line).run().ok().prints("bfloat16  bfloat16 []\n1.5\n");
    }
    // The other way round, bits of another number are not bfloat16.
    dir.write("float.npy", npy("<f4", "()", &floats(&[1.5])));
    let line = "run models/dtypes/model --signature scalars --inputs rest.npz --input bfloat16=@float.npy";
    dir.cmd(line)
        .without_tensorflow()
        .run()
        .fails()
        .says("input `bfloat16` of signature `scalars` is bfloat16, not float32");
}

#[test]
fn another_dtype_of_numpy_is_refused_with_its_conversion() {
    let dir = Dir::new();
    let x = npy("<f8", "(1,)", &1.0_f64.to_le_bytes());
    dir.write("x64.npz", npz(&[("x", x.clone())]));
    dir.write("x64.npy", x);
    for line in ["--inputs x64.npz", "--input x=@x64.npy", "--input x=@x64.npy --batch-size 2 --output y.npz"] {
        refused(&dir, line).says("is float32, not float64").hints("x.astype(\"float32\")");
    }
    let ran = dir.cmd("verify models/half_plus_two/model --record x64.npz").without_tensorflow().run().fails();
    ran.says("is float32, not float64").hints("x.astype(\"float32\")");
}

#[test]
fn sparse_tensors_have_three_parts() {
    let dir = Dir::new();
    let parts = ["features.indices=[[0,1],[2,3]]", "features.values=[1.5,2]", "features.dense_shape=[3,4]"];
    let inputs = || parts.iter().flat_map(|part| ["--input", part]);
    let ran = dir.cmd("run models/sparse/model --signature sparse --format json").args(inputs()).run().ok().json();
    let expected =
        json!({ "doubled.indices": [[0, 1], [2, 3]], "doubled.values": [3.0, 4.0], "doubled.dense_shape": [3, 4] });
    assert_eq!(ran["outputs"], expected);
    let ran = dir.cmd("run models/sparse/model --format json").args(inputs()).run().ok().json();
    assert_eq!(ran["outputs"]["scores"].as_array().unwrap().len(), 3);
    let run = |inputs: &str| dir.cmd(&format!("run models/sparse/model {inputs}")).without_tensorflow().run().fails();
    let whole = "`features.indices`, `features.values` and `features.dense_shape`";
    run("--input features=[1]").says("no input `features`").says(whole);
    run("--input features.values=[1]").says("`features.indices` and `features.dense_shape`, which were not given");
    run("--input features.indices=[0.5]").says("int64");
}

#[test]
fn nan_and_infinity_are_read_and_written() {
    let dir = Dir::new();
    let line = "run models/half_plus_two/model --format json --inputs -";
    let ran = dir.cmd(line).stdin("{\"inputs\": {\"x\": [NaN, Infinity, -Infinity, 1]}}").run().ok();
    ran.prints_only("{\"outputs\": {\"y\": [NaN, Infinity, -Infinity, 2.5]}}\n");
}

#[test]
fn missing_extra_and_wrong_inputs_are_refused_by_name_before_tensorflow_is_opened() {
    let dir = Dir::new();
    dir.write("double.npy", npy("<f8", "(1,)", &1.0_f64.to_le_bytes()));
    dir.write("double.npz", npz(&[("x", fs::read(dir.path("double.npy")).unwrap())]));
    dir.write("extra.npz", npz(&[("x", npy("<f4", "()", &floats(&[1.0]))), ("z", npy("<f4", "()", &floats(&[1.0])))]));
    dir.write("extra.json", "{\"inputs\": {\"x\": [1], \"z\": [2]}}");
    dir.write("missing.json", "{\"inputs\": {}}");
    dir.write("other.json", "{\"inputs\": {\"x\": [1]}, \"signature_name\": \"other\"}");
    refused(&dir, "").says("signature `serving_default` needs `x`, which was not given");
    refused(&dir, "--inputs missing.json").says("`x`, which was not given");
    for extra in ["--input z=[1]", "--input x=[1] --input z=[1]", "--inputs extra.npz", "--inputs extra.json"] {
        refused(&dir, extra).says("signature `serving_default` has no input `z`; its inputs are `x`");
    }
    for wrong in ["--input x=@double.npy", "--inputs double.npz"] {
        refused(&dir, wrong).says("input `x` of signature `serving_default` is float32, not float64");
    }
    refused(&dir, "--input x=[1] --input x=[2]").says("`x`").says("twice");
    refused(&dir, "--inputs other.json").says("has no signature `other`; it has `serving_default`");
    refused(&dir, "--inputs other.json --signature serving_default").says("`other`").says("`serving_default`");
    let counter = |input: &str| {
        dir.cmd(&format!("run models/counter/model --signature increment --input {input}")).without_tensorflow().run()
    };
    counter("delta=1.5").fails().says("1.5").says("int64");
    counter("delta=9223372036854775808").fails().says("outside the range of int64");
    counter("delta=\"1\"").fails().says("a string where int64 is expected");
    counter("delta=true").fails().says("int64");
}

#[test]
fn invalid_json_is_refused_with_its_position() {
    let dir = Dir::new();
    refused(&dir, "--input x=[[1],[1,2]]").says("--input x: at [1][1]").says("the lists before this one have 1");
    refused(&dir, "--input x=[1,[2]]").says("at [1]").says("a list where float32 is expected");
    refused(&dir, "--input x=[[1],2]").says("at [1]");
    refused(&dir, "--input x=[1,2").says("not valid JSON");
    refused(&dir, "--input x=").says("not valid JSON");
    refused(&dir, "--input x=[1]]").says("trailing characters");
    refused(&dir, "--input x=abc").says("not valid JSON");
    refused(&dir, "--input x=null").says("null");
    refused(&dir, "--input x={\"a\":1}").says("--input x");
    let json = |text: &str| {
        let run = dir.cmd("run models/half_plus_two/model --inputs -").stdin(text).without_tensorflow().run();
        run.fails().says("standard input")
    };
    json("").says("not valid JSON");
    json("{\"inputs\": [1, 2]").says("not valid JSON");
    json("{\"foo\": [1]}").says("neither `inputs` nor `instances`");
    json("{\"inputs\": [1], \"instances\": [1]}").says("`inputs`").says("`instances`");
    json("{\"inputs\": {\"x\": [[1], [1, 2]]}}").says("input `x`").says("[1][1]");
    json("{\"instances\": [[1], [1, 2]]}").says("[1][1]");
    json("{\"instances\": [{\"x\": 1}, {}]}").says("at [1]").says("`x` is missing");
    json("{\"instances\": []}").says("empty");
    json("{\"instances\": 5}").says("`instances`");
    json("[1, 2]").says("a request is a JSON object");
    json(&format!("{{\"inputs\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000))).says("nested deeper");
    json(&"[".repeat(1_000_000));
    json("{\"inputs\": \"\u{1b}]0;owned\u{7}\"}");
}

#[test]
fn invalid_array_files_are_refused_by_name() {
    let dir = Dir::new();
    let x = npy("<f4", "(3,)", &floats(&[1.0, 2.0, 3.0]));
    dir.write("pickled.npz", npz(&[("x", npy("|O", "(1,)", b"\x80\x04K\x01."))]));
    dir.write("pickled.npy", npy("|O", "(1,)", b"\x80\x04K\x01."));
    dir.write("dates.npy", npy("<M8[s]", "(1,)", &[0; 8]));
    dir.write("short.npy", &x[..x.len() - 1]);
    dir.write("long.npy", [&x[..], b"x"].concat());
    dir.write("huge.npy", npy("<f4", "(4611686018427387904,)", &[]));
    dir.write("text.npy", "hello");
    dir.write("empty.npy", "");
    dir.write("text.npz", "hello");
    dir.write("empty.npz", "");
    let archive = npz(&[("x", x.clone())]);
    dir.write("cut.npz", &archive[..archive.len() - 30]);
    dir.write("data.bin", x);
    for name in ["pickled", "dates", "short", "long", "huge", "text", "empty", "missing"] {
        refused(&dir, &format!("--input x=@{name}.npy")).says(format!("{name}.npy"));
    }
    for name in ["pickled", "text", "empty", "cut", "missing"] {
        refused(&dir, &format!("--inputs {name}.npz")).says(format!("{name}.npz"));
    }
    refused(&dir, "--inputs pickled.npz").says("`x`").says("pickled");
    refused(&dir, "--input x=@pickled.npy").says("pickled").hints("text as `array.astype(\"U\")`");
    let misused = [
        ("--input x=@data.bin", "`data.bin` does not end in .npy"),
        ("--inputs data.bin", "`data.bin` does not end in .npz, .json, .parquet or .arrow"),
        ("--inputs x.npy", "--input NAME=@x.npy"),
        ("--inputs x.jsonl", "--requests x.jsonl"),
    ];
    for (option, said) in misused {
        let ran = dir.cmd(&format!("run models/half_plus_two/model {option}")).without_tensorflow().run().misused();
        ran.check(ran.err().contains(said), "it should say what is wrong");
    }
    refused(&dir, "--inputs missing.json").says("`missing.json`");
    // A folder has files for --shard, whatever its name.
    for name in ["folder.json", "folder.npz"] {
        fs::create_dir(dir.path(name)).unwrap();
    }
    for name in ["models", "folder.json", "folder.npz"] {
        let line = format!("run models/half_plus_two/model --inputs {name}");
        let ran = dir.cmd(&line).without_tensorflow().run().misused();
        ran.check(ran.err().contains(&format!("`{name}`")), "it should be named");
    }
}
