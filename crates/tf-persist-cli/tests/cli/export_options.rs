//! `export` with options that change the graph.

use serde_json::json;

use crate::export::inspected;
use crate::support::Dir;

#[test]
fn signatures_are_kept_and_renamed() {
    let dir = Dir::new();
    let names = |path: &str| {
        let report = inspected(&dir, path);
        report["meta_graphs"][0]["signatures"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    dir.cmd("export models/multi/model one --tags serve --signatures shifted").run().ok().prints("signature `shifted`");
    assert_eq!(names("one"), ["shifted"]);
    dir.cmd("export models/multi/model two --tags serve --signatures shifted,aliases --rename-signature shifted=moved")
        .run()
        .ok()
        .prints("signatures `aliases`, `moved`");
    assert_eq!(names("two"), ["aliases", "moved"]);
    dir.cmd("export models/multi/model three --rename-signature shifted=aliases --rename-signature aliases=shifted")
        .run()
        .ok();
    assert_eq!(names("three"), ["aliases", "serving_default", "shifted"]);
    // Without tags it takes the meta graph that `run` would take, and reports its signatures.
    let report = dir.cmd("export models/multi/model four --signatures shifted --format json").run().ok().json();
    assert_eq!(
        report,
        json!({
            "path": "four", "meta_graphs": 1, "signatures": ["shifted"],
            "variables": 2, "tables": [], "variable_bytes": 12, "restored": null,
        })
    );
}

#[test]
fn options_that_do_not_fit_the_model_write_nothing() {
    let dir = Dir::new();
    let refused = [
        ("--signatures nothing", "`nothing`"),
        ("--rename-signature nothing=x", "`nothing`"),
        ("--signatures shifted --rename-signature aliases=x", "signature `aliases` is renamed but not kept"),
        ("--rename-signature aliases=shifted", "would both be called `shifted`"),
        (
            "--rename-signature aliases=__saved_model_init_op",
            "`__saved_model_init_op` is not allowed as the name of a signature",
        ),
        ("--tags gpu --frozen", "`gpu`"),
    ];
    for (options, says) in refused {
        dir.cmd(&format!("export models/multi/model out {options}")).run().fails().says(says).prints_only("");
    }
    // Nothing is advised that was just refused.
    dir.cmd("export models/counter/model out --frozen --signatures increment,value")
        .run()
        .fails()
        .says("signature `increment` does something else with the variable `calls` than to read it")
        .says("AssignAddVariableOp")
        .hints("leave that signature out (--signatures value)");
    dir.cmd("export models/counter/model out --frozen --signatures increment")
        .run()
        .fails()
        .says("signature `increment` does something else with the variable `calls`")
        .hints("--inference-only");
    for options in ["--rename-signature x", "--rename-signature =x", "--rename-signature x=", "--signatures"] {
        dir.cmd(&format!("export models/multi/model out {options}")).run().misused();
    }
    assert_eq!(dir.names(""), ["models"]);
}

#[test]
fn frozen_alone_leaves_out_what_inference_only_leaves_out() {
    let dir = Dir::new();
    for (name, signatures) in [("digits_trainable", json!(["serving_default"])), ("counter", json!(["value"]))] {
        for options in ["--frozen", "--frozen --inference-only", "--inference-only"] {
            let line = format!("export models/{name}/model out --overwrite {options} --format json");
            assert_eq!(dir.cmd(&line).run().ok().json()["signatures"], signatures, "{line}");
        }
    }
}

#[test]
fn pruned_and_frozen_models_answer_as_before() {
    let dir = Dir::new();
    let inputs = "--inputs in.json --format json";
    dir.write("in.json", r#"{"inputs": ["a b", "c d e"]}"#);
    let cases = [("half_plus_two", "--input x=[1,2] --format json"), ("text", inputs), ("two_in_two_out", "")];
    for (name, inputs) in cases {
        for (number, options) in ["--inference-only", "--frozen"].iter().enumerate() {
            let out = format!("{name}_{number}");
            dir.cmd(&format!("export models/{name}/model {out} {options}")).run().ok();
            if !inputs.is_empty() {
                let before = dir.cmd(&format!("run models/{name}/model {inputs}")).run().ok().json();
                assert_eq!(dir.cmd(&format!("run {out} {inputs}")).run().ok().json(), before, "{name}, {options}");
            }
            let variables = &inspected(&dir, &out)["variables"]["count"];
            assert_eq!(variables == 0, *options == "--frozen", "{name}, {options}: {variables}");
        }
    }
    // Once more, from what was pruned: the saver and the object graph that were made are as good as the first ones.
    dir.cmd("export text_0 again --inference-only").run().ok();
    assert_eq!(
        dir.cmd(&format!("run again {inputs}")).run().ok().json(),
        dir.cmd(&format!("run text_0 {inputs}")).run().ok().json()
    );
}
