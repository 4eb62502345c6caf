//! `run`: signatures, tags, reports and timings.

use serde_json::json;

use crate::command::Ran;
use crate::recorded::Recorded;
use crate::support::Dir;

/// `run` without TensorFlow.
#[track_caller]
fn refused(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("run models/{line}")).without_tensorflow().run().fails()
}

#[test]
fn the_text_report_has_name_dtype_shape_and_a_view() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1,2,3]").run().ok();
    ran.prints_only("y  float32 [3]\n[2.5, 3.0, 3.5]\n");
    let ran = dir.cmd("run models/half_plus_two/model --input x=[]").run().ok();
    ran.prints_only("y  float32 [0]\n[]\n");
    // The graph's placeholder has one dimension.
    for wrong in ["2", "[[],[]]"] {
        let ran = dir.cmd("run models/half_plus_two/model --input").arg(format!("x={wrong}")).run().fails();
        ran.says("input `x` of signature `serving_default` takes the shape [-1], not [");
    }
    let ran = dir.cmd("run models/text/model --input").arg("text=[\"a good film\", \"b\"]").run().ok();
    ran.prints("label  string [2]\n[\"").prints("score  float32 [2]\n[");
}

#[test]
fn the_json_report_is_alone_on_standard_output() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1,2,3] --format json --repeat 3").run().ok();
    let report = ran.json();
    assert_eq!(report["outputs"], json!({ "y": [2.5, 3.0, 3.5] }));
    assert_eq!(report.as_object().unwrap().keys().collect::<Vec<_>>(), ["outputs", "timings"]);
    let timing = |name: &str| report["timings"][name].as_f64().unwrap();
    assert_eq!(report["timings"]["runs"], 3);
    assert!(timing("min_us") > 0.0 && timing("min_us") <= timing("median_us"), "{report}");
    assert!(timing("median_us") <= timing("max_us"), "{report}");
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1,2,3] --format json").run().ok();
    assert_eq!(ran.json(), json!({ "outputs": { "y": [2.5, 3.0, 3.5] } }));
}

#[test]
fn repeating_adds_timings_to_the_text() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1] --repeat 5").run().ok();
    let ran = ran.prints("y  float32 [1]\n[2.5]\n").prints("5 runs: median ");
    ran.prints(", shortest ").prints(", longest ");
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1] --repeat 1 --output y.json").run().ok();
    ran.check(!ran.out().contains("float32"), "the outputs go to the file alone");
    ran.prints(": median ");
}

#[test]
fn one_repetition_is_one_run() {
    let dir = Dir::new();
    dir.cmd("run models/half_plus_two/model --input x=[1] --repeat 1").run().ok().prints("1 run: ");
}

#[test]
fn signatures_are_chosen_by_name_or_by_default() {
    let dir = Dir::new();
    let aliases =
        dir.cmd("run models/multi/model --signature aliases --input x=[[1,2]] --format json").run().ok().json();
    let default = dir.cmd("run models/multi/model --input x=[[1,2]] --format json").run().ok().json();
    assert_eq!(aliases["outputs"]["y"], aliases["outputs"]["same"]);
    assert_eq!(aliases["outputs"]["y"], default["outputs"]["y"]);
    assert_eq!(default["outputs"].as_object().unwrap().len(), 1);
    // The only one, where none is called `serving_default`: that of a model with one of its signatures left.
    dir.write_proto("only", |model| {
        model.meta_graphs[0].signature_def.remove("serving_default");
    });
    let features = ["features.indices=[[0,1]]", "features.values=[3]", "features.dense_shape=[1,4]"];
    let features = features.iter().flat_map(|input| ["--input", input]);
    let only = dir.cmd("run only --format json").args(features).run().ok().json();
    assert_eq!(only["outputs"]["doubled.values"], json!([6.0]));
}

#[test]
fn an_unknown_signature_lists_the_known_ones() {
    let dir = Dir::new();
    refused(&dir, "half_plus_two/model --signature nope --input x=[1]")
        .says("`models/half_plus_two/model` has no signature `nope`; it has `serving_default`");
    refused(&dir, "counter/model").says("`increment`, `reset` and `value`");
    // An operation among the signatures is not a signature.
    refused(&dir, "half_plus_two/model --signature __saved_model_init_op").says("`serving_default`");
    refused(&dir, "multi/model --signature gradients --input x=[[1,2]]")
        .says("`aliases`, `serving_default` and `shifted`");
}

#[test]
fn several_signatures_without_a_default_ask_for_a_choice() {
    let dir = Dir::new();
    refused(&dir, "counter/model").hints("--signature");
}

#[test]
fn tags_choose_the_meta_graph() {
    let dir = Dir::new();
    let line =
        "run models/multi/model --signature gradients --input x=[[1,2]] --input target=[[1]] --format json --tags";
    let ran = dir.cmd(line).arg("train, serve").run().ok().json();
    assert_eq!(ran["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["bias", "kernel", "loss"]);
    let case = &Recorded::read("text_format").cases()[0];
    dir.write("inputs.npz", case.npz());
    for tags in [&["--tags", ""][..], &["--tags="], &[]] {
        let ran = dir.cmd("run models/text_format/model --inputs inputs.npz --format json").args(tags).run().ok();
        Recorded::read("text_format").compare("text_format", &case.answer(ran.out()), &case.outputs);
    }
    refused(&dir, "text_format/model --tags serve --input x=[1]").says("(empty)");
    refused(&dir, "multi/model --tags gpu --input x=[[1,2]]").says("`serve`, `serve,train`");
}

#[test]
fn threads_and_executors_do_not_change_the_answer() {
    let dir = Dir::new();
    let settings = [("0", "-1"), ("1", "1"), ("2", "0")];
    for (intra, inter) in settings {
        let ran = dir
            .cmd("run models/half_plus_two/model --input x=[1,2,3] --format json")
            .args(["--intra-op-threads", intra, "--inter-op-threads", inter])
            .run()
            .ok();
        assert_eq!(ran.json()["outputs"]["y"], json!([2.5, 3.0, 3.5]));
    }
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1]").env("TF_PERSIST_INTER_OP_THREADS", "-3");
    ran.run().misused();
}

#[test]
fn an_op_library_that_cannot_be_loaded_is_named() {
    let dir = Dir::new();
    dir.write("own.so", "no library");
    let line = "run models/half_plus_two/model --input x=[1] --op-library";
    dir.cmd(line).arg("missing.so").run().fails().says("`missing.so`");
    dir.cmd(line).arg("own.so").run().fails().says("own.so`");
    let variable = dir.cmd("run models/half_plus_two/model --input x=[1]").env("TF_PERSIST_OP_LIBRARIES", "a.so:b.so");
    variable.run().fails().says("`a.so`");
}

#[test]
fn a_shape_that_the_graph_refuses_is_explained() {
    let dir = Dir::new();
    let ran =
        dir.cmd("run models/two_in_two_out/model --input body=[[1,2]] --input blood=[[1,2,3,4,5,6]]").run().fails();
    ran.says("input `body` of signature `serving_default` takes the shape [-1, 4], not [1, 2]");
}

#[test]
fn a_shape_that_a_kernel_fails_on_is_explained() {
    let dir = Dir::new();
    let ran = dir.cmd("run models/digits/model --input image=[[[[1]]]]").run().fails();
    ran.says("input `image` of signature `serving_default` takes the shape [-1, 8, 8, 1], not [1, 1, 1, 1]");
}

#[test]
fn unsupported_dtypes_are_refused_by_name() {
    let dir = Dir::new();
    refused(&dir, "float8/model --signature widened --input x=[1]").says("float8_e4m3fn").says("input x");
    let ran = dir.cmd("run models/float8/model --signature narrowed --input x=[1]").run().fails();
    ran.says("float8_e4m3fn").says("`y`");
}

#[test]
fn a_shape_that_a_kernel_would_abort_on_does_not_end_the_process() {
    let dir = Dir::new();
    // TensorFlow's convolution on CPUs ends the whole process for an image of two dimensions; Python refuses to feed
    // it.
    let ran = dir.cmd("run models/digits/model --input image=[[1,2],[3,4]]").run().fails();
    ran.says("`image`");
}
