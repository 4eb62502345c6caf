//! `run --output`: the files that it writes, and those it does not leave behind.

use std::fs;

use serde_json::{Value, json};
use tf_persist_core::tensor::npz;

use crate::recorded::Recorded;
use crate::support::{Dir, floats, npy};

#[test]
fn an_output_goes_to_npy_npz_and_json() {
    let dir = Dir::new();
    for ending in ["npy", "npz", "json"] {
        let line = format!("run models/half_plus_two/model --input x=[1,2,3] --output y.{ending}");
        dir.cmd(&line).run().ok().prints_only("");
    }
    assert_eq!(fs::read(dir.path("y.npy")).unwrap(), npy("<f4", "(3,)", &floats(&[2.5, 3.0, 3.5])));
    let arrays = npz::read_file(dir.path("y.npz")).unwrap();
    assert_eq!((arrays.len(), arrays[0].0.as_str()), (1, "y"));
    assert_eq!(arrays[0].1.view::<f32>().unwrap(), [2.5, 3.0, 3.5]);
    let answer: Value = serde_json::from_slice(&fs::read(dir.path("y.json")).unwrap()).unwrap();
    assert_eq!(answer, json!({ "outputs": { "y": [2.5, 3.0, 3.5] } }));
    assert_eq!(dir.names(""), ["models", "y.json", "y.npy", "y.npz"]);
}

#[test]
fn npy_holds_one_output() {
    let dir = Dir::new();
    let inputs = "--input body=[[1,2,3,4]] --input blood=[[1,2,3,4,5,6]]";
    let ran = dir.cmd(&format!("run models/two_in_two_out/model {inputs} --output y.npy")).without_tensorflow().run();
    let ran = ran.misused();
    ran.check(ran.err().contains("`serving_default` has 2 outputs") && ran.err().contains(".npz"), "why?");
    // A sparse output is three.
    let parts = "--input features.indices=[[0,1]] --input features.values=[1] --input features.dense_shape=[1,4]";
    let line = format!("run models/sparse/model --signature sparse {parts} --output");
    let ran = dir.cmd(&format!("{line} y.npy")).without_tensorflow().run().misused();
    ran.check(ran.err().contains("3 outputs"), "why?");
    dir.cmd(&format!("{line} y.npz")).run().ok();
    let names: Vec<String> = npz::read_file(dir.path("y.npz")).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["doubled.indices", "doubled.values", "doubled.dense_shape"]);
    assert_eq!(dir.names(""), ["models", "y.npz"]);
}

#[test]
fn strings_and_bfloat16_are_written_as_numpy_can_read_them() {
    let dir = Dir::new();
    let case = Recorded::read("dtypes").cases().into_iter().find(|case| case.signature == "mixed").unwrap();
    dir.write("in.npz", case.npz());
    dir.cmd("run models/dtypes/model --signature mixed --inputs in.npz --output out.npz").run().ok();
    let archive = fs::read(dir.path("out.npz")).unwrap();
    let has = |descr: &str| archive.windows(descr.len()).any(|bytes| bytes == descr.as_bytes());
    // `chosen` is bfloat16, `label` a string, `turned` complex64.
    for descr in ["'<u2'", "'|S", "'<c8'", "'|b1'", "'|u1'", "'<f8'"] {
        assert!(has(descr), "no array is {descr}");
    }
    dir.cmd("run models/text/model --input").arg("text=[\"good\"]").arg("--output").arg("y.npz").run().ok();
    let arrays = npz::read_file(dir.path("y.npz")).unwrap();
    assert!(arrays.iter().any(|(name, label)| name == "label" && label.strings().is_ok()));
}

#[test]
fn strings_that_end_in_nul_need_json() {
    let dir = Dir::new();
    let inputs = [("float32", "1"), ("int64", "1"), ("string", "[\"ab\\u0000\", {\"b64\": \"//4A\"}, \"c\"]")];
    let inputs: Vec<String> =
        inputs.iter().flat_map(|(name, value)| ["--input".into(), format!("{name}={value}")]).collect();
    let run =
        |file: &str| dir.cmd("run models/dtypes/model --signature unknown_rank --output").arg(file).args(&inputs).run();
    let refused = run("out.npz").fails();
    refused.says("`string`").says("ends in NUL").hints("JSON");
    assert_eq!(dir.names(""), ["models"]);
    run("out.json").ok();
    let answer: Value = serde_json::from_slice(&fs::read(dir.path("out.json")).unwrap()).unwrap();
    assert_eq!(answer["outputs"]["string"], json!(["ab\u{0}", { "b64": "//4A" }, "c"]));
}

#[test]
fn a_file_is_replaced_atomically_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let other = dir.write("y.npy", "something longer than the array that will stand here ".repeat(100));
    dir.cmd("run models/half_plus_two/model --input x=[1] --output y.npy").run().ok();
    assert_eq!(fs::read(&other).unwrap(), npy("<f4", "(1,)", &floats(&[2.5])));
    assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o644);
    // What cannot be done leaves it as it was.
    dir.write("y.npz", "before");
    let nul = ["--input", "float32=1", "--input", "int64=1", "--input", "string=\"\\u0000\"", "--output", "y.npz"];
    dir.cmd("run models/dtypes/model --signature unknown_rank").args(nul).run().fails();
    assert_eq!(fs::read(dir.path("y.npz")).unwrap(), b"before");
    assert_eq!(dir.names(""), ["models", "y.npy", "y.npz"]);
}

#[test]
fn an_unwritable_path_is_named() {
    let dir = Dir::new();
    let run = |file: &str| dir.cmd(&format!("run models/half_plus_two/model --input x=[1] --output {file}"));
    for name in ["y.csv", "y"] {
        let ran = run(name).without_tensorflow().run().misused();
        ran.check(
            [name, ".npz", ".npy", ".json"].iter().all(|said| ran.err().contains(said)),
            "it should say what is wrong",
        );
    }
    run("missing/y.npz").run().fails().says("cannot write `missing/y.npz`");
    fs::create_dir(dir.path("folder.json")).unwrap();
    run("folder.json").run().fails().says("cannot write `folder.json`");
    // Nobody, not even root, makes files here.
    run("/sys/y.json").run().fails().says("cannot write `/sys/y.json`");
    assert_eq!(dir.names(""), ["folder.json", "models"]);
}

#[test]
fn messages_do_not_name_temporary_files() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1] --output missing/y.npz").run().fails();
    ran.check(!ran.err().contains(".tmp"), "it names its own temporary file");
}
