//! Models with variables that no saver restores.

use std::fs;

use serde_json::json;

use crate::support::Dir;

/// A copy of a model as text, without its saver.
fn without_saver(dir: &Dir) {
    dir.copy_model("text_format", "bare");
    let file = dir.path("bare/saved_model.pbtxt");
    let text = fs::read_to_string(&file).unwrap();
    let (before, saver) = text.split_once("  saver_def {").unwrap();
    let (_, after) = saver.split_once('}').unwrap();
    fs::write(file, format!("{before}{after}")).unwrap();
}

#[test]
fn variables_are_restored_by_name_and_inspect_reports_it() {
    let dir = Dir::new();
    without_saver(&dir);
    let inspected = dir.cmd("inspect bare").without_tensorflow().run().ok();
    inspected.prints("loading restores 2 variables that the graph has no saver for, by their names: ");
    let report = dir.cmd("inspect bare --format json").without_tensorflow().run().ok().json();
    let restored = report["meta_graphs"][0]["restored_besides"].as_array().unwrap().clone();
    assert_eq!(restored.len(), 2, "{restored:?}");
    assert!(restored.iter().all(|variable| variable["by"] == "name" && variable["key"] == variable["variable"]));
    assert_eq!(report["meta_graphs"][0]["missing"], json!([]));

    let ask = |model: &str| dir.cmd(&format!("run {model} --input x=[1,2] --format json")).run().ok().json();
    let expected = ask("models/text_format/model");
    assert_eq!(ask("bare"), expected);
    for options in ["", "--inference-only", "--frozen"] {
        dir.cmd(&format!("export bare out --overwrite {options}")).run().ok();
        assert_eq!(ask("out"), expected, "{options}");
    }
    dir.cmd("export bare out.tfpack").run().ok();
    assert_eq!(ask("out.tfpack"), expected);
}

#[test]
fn a_variable_without_a_value_is_missing() {
    let dir = Dir::new();
    without_saver(&dir);
    fs::remove_dir_all(dir.path("bare/variables")).unwrap();
    dir.cmd("inspect bare").without_tensorflow().run().prints("a value of the variable `").prints(", of signature `");
    for command in ["run bare --input x=[1,2]", "export bare out --frozen", "export bare out --inference-only"] {
        dir.cmd(command).run().fails().says("value").says("the model has no checkpoint");
    }
    assert!(!dir.path("out").exists());
    let ran =
        dir.cmd("export bare out --frozen").run().fails().says("which signature `serving_default` reads, has no value");
    ran.hints("save the model again with all its variables");
    // The server reports it before the model is available.
    fs::create_dir(dir.path("base")).unwrap();
    fs::rename(dir.path("bare"), dir.path("base/1")).unwrap();
    let line = "serve-local --model_base_path=base --port=0 --rest_api_port=any";
    dir.cmd(line).run().fails().says("did not become available").says("without a value");
}
