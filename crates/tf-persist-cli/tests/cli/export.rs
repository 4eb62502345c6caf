//! `export`: its output, and targets that it refuses to overwrite.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::command::Ran;
use crate::recorded::Recorded;
use crate::support::Dir;

/// The report on a model that is whole.
#[track_caller]
pub(crate) fn inspected(dir: &Dir, path: &str) -> Value {
    dir.cmd("inspect --format json").arg(path).without_tensorflow().run().ok().json()
}

/// `export` of one of the repository's models.
#[track_caller]
fn export(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("export models/{line}")).run()
}

/// What half_plus_two answers.
#[track_caller]
fn answers(dir: &Dir, path: &str) {
    let ran = dir.cmd("run --input x=[1,2] --format json").arg(path).run().ok();
    ran.check(ran.json() == json!({ "outputs": { "y": [2.5, 3.0] } }), "another answer than the source's");
}

/// Every file below a folder, by its name.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            names.extend(files(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn every_model_is_exported_completely() {
    let dir = Dir::new();
    for model in Recorded::all() {
        let name = &model.name;
        let target = format!("out/{name}");
        let ran = export(&dir, &format!("{name}/model {target}")).ok().prints(format!("`{target}`: "));
        let (source, out) = (dir.path("models").join(name).join("model"), dir.path(&target));
        // TensorFlow writes all variables into one shard.
        let unsharded =
            |names: Vec<String>| -> Vec<String> { names.into_iter().filter(|name| !name.contains(".data-")).collect() };
        ran.check(unsharded(files(&source)) == unsharded(files(&out)), "other files than the source's");
        for file in ["saved_model.pb", "saved_model.pbtxt"] {
            ran.check(fs::read(source.join(file)).ok() == fs::read(out.join(file)).ok(), "another graph");
        }
        let (before, after) = (inspected(&dir, source.to_str().unwrap()), inspected(&dir, &target));
        for key in ["meta_graphs", "file"] {
            ran.check(before[key] == after[key], format_args!("{key} differ: {} and {}", before[key], after[key]));
        }
        for key in ["count", "bytes", "all"] {
            ran.check(before["variables"][key] == after["variables"][key], "other variables");
        }
        let matches = before["fingerprint"].is_null() || after["fingerprint"]["checkpoint"] == "matches";
        ran.check(matches, "the fingerprint is not of these variables");
    }
    let models = Recorded::all();
    let mut names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    names.sort();
    assert_eq!(dir.names("out"), names);
}

#[test]
fn an_exported_model_answers_like_its_source() {
    let dir = Dir::new();
    for name in ["tf1_graph", "text"] {
        let model = Recorded::read(name);
        export(&dir, &format!("{name}/model {name}")).ok();
        let cases: Vec<_> = model.cases().into_iter().filter(|case| case.fits_json()).collect();
        let requests: Vec<String> = cases.iter().map(|case| case.request()).collect();
        let ran = dir.cmd(&format!("run {name} --requests -")).stdin(requests.join("\n")).run().ok();
        for (case, answer) in cases.iter().zip(ran.out().lines()) {
            model.compare(&format!("{name}, `{}`", case.signature), &case.answer(answer), &case.outputs);
        }
    }
}

#[test]
fn the_target_may_be_missing_or_empty() {
    let dir = Dir::new();
    fs::create_dir(dir.path("empty")).unwrap();
    fs::create_dir(dir.path("here")).unwrap();
    export(&dir, "half_plus_two/model missing")
        .ok()
        .prints_only("`missing`: 1 meta graph, 2 variables (8 B), signature `serving_default`\n");
    export(&dir, "half_plus_two/model empty").ok();
    export(&dir, "half_plus_two/model deep/er/still/").ok();
    let model = dir.path("models/half_plus_two/model").canonicalize().unwrap();
    dir.cmd("export").arg(model).arg(".").current_dir("here").run().ok();
    dir.cmd("export models/half_plus_two/model").arg("with space/a \"b\" ü").run().ok();
    for path in ["missing", "empty", "deep/er/still", "here", "with space/a \"b\" ü"] {
        let out = dir.path(path);
        assert_eq!(files(&out), files(&dir.path("models/half_plus_two/model")), "{path}");
        inspected(&dir, path);
        // As readable as any other new folder.
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        fs::create_dir(out.join("other")).unwrap();
        assert_eq!(mode(&out), mode(&out.join("other")), "{path}");
    }
    assert_eq!(dir.names(""), ["deep", "empty", "here", "missing", "models", "with space"]);
    answers(&dir, "deep/er/still");
}

#[test]
fn a_non_empty_target_is_refused_and_unchanged() {
    let dir = Dir::new();
    dir.write("full/notes.txt", "mine");
    dir.write("file", "mine");
    dir.write("hidden/.keep", "");
    let before = dir.listing();
    for target in ["full", "hidden", "full/../full/"] {
        let line = format!("half_plus_two/model {target}");
        export(&dir, &line).fails().says(target.trim_end_matches('/')).says("not empty");
    }
    export(&dir, "half_plus_two/model .").fails().says("not empty");
    for options in ["", "--overwrite"] {
        export(&dir, &format!("half_plus_two/model file {options}")).fails().says("file").says("ot a directory");
        export(&dir, &format!("half_plus_two/model file/below {options}")).fails().says("file/below");
        export(&dir, &format!("half_plus_two/model / {options}")).fails().says("`/`");
    }
    assert_eq!(dir.listing(), before);
    assert_eq!(fs::read(dir.path("file")).unwrap(), b"mine");
}

#[test]
fn the_hint_names_the_option_that_overwrites() {
    let dir = Dir::new();
    dir.write("full/notes.txt", "mine");
    export(&dir, "half_plus_two/model full").fails().hints("--overwrite");
}

#[test]
fn an_unusable_target_is_refused_before_the_model_is_loaded() {
    let dir = Dir::new();
    dir.write("full/notes.txt", "mine");
    dir.cmd("export models/half_plus_two/model full").without_tensorflow().run().fails().says("not empty");
}

#[test]
fn overwriting_replaces_all_and_leaves_nothing_beside_it() {
    let dir = Dir::new();
    dir.write("out/assets/old.txt", "old");
    dir.write("out/saved_model.pbtxt", "old");
    dir.write("out/.hidden", "old");
    export(&dir, "half_plus_two/model out --overwrite").ok();
    assert_eq!(files(&dir.path("out")), files(&dir.path("models/half_plus_two/model")));
    // A model may be written over itself, and over a target that is not there.
    dir.cmd("export out out --overwrite").run().ok();
    export(&dir, "half_plus_two/model new --overwrite").ok();
    assert_eq!(dir.names(""), ["models", "new", "out"]);
    answers(&dir, "out");
}

#[test]
fn a_failed_overwrite_leaves_the_old_model() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "out");
    let before = dir.listing();
    let line = "export models/digits/model out --overwrite";
    dir.bash("trap '' XFSZ; ulimit -f 8; exec \"$@\"", line).run().fails();
    dir.cmd("export models/none out --overwrite").run().fails();
    assert_eq!(dir.listing(), before);
    answers(&dir, "out");
}

#[test]
fn a_link_to_an_empty_folder_is_followed() {
    let dir = Dir::new();
    fs::create_dir(dir.path("real")).unwrap();
    symlink("real", dir.path("link")).unwrap();
    // Written through, or refused: but not left half done, and the link is not lost.
    let ran = export(&dir, "half_plus_two/model link");
    if dir.path("link/saved_model.pb").exists() {
        inspected(&dir, "link");
    } else {
        ran.fails().says("link");
        assert_eq!(dir.names("real"), Vec::<String>::new());
        assert!(dir.path("link").symlink_metadata().unwrap().is_symlink());
    }
    assert_eq!(dir.names(""), ["link", "models", "real"]);
}

#[test]
fn tags_choose_the_meta_graph_that_is_written() {
    let dir = Dir::new();
    let tags = |path: &str| {
        let report = inspected(&dir, path);
        let graphs = report["meta_graphs"].as_array().unwrap();
        graphs.iter().map(|graph| graph["tags"].clone()).collect::<Vec<_>>()
    };
    export(&dir, "multi/model both").ok().prints("2 meta graphs, 2 variables (12 B)");
    assert_eq!(tags("both"), [json!(["serve"]), json!(["serve", "train"])]);
    export(&dir, "multi/model serve --tags serve").ok().prints("1 meta graph, 2 variables");
    assert_eq!(tags("serve"), [json!(["serve"])]);
    export(&dir, "multi/model train --tags train,serve").ok().prints("1 meta graph, 2 variables");
    assert_eq!(tags("train"), [json!(["serve", "train"])]);
    let inputs = "--signature gradients --input x=[[1,2]] --input target=[[1]] --format json";
    let source = dir.cmd(&format!("run models/multi/model --tags serve,train {inputs}")).run().ok().json();
    let written = dir.cmd(&format!("run train {inputs}")).run().ok().json();
    assert_eq!(source, written);
    dir.cmd("export models/text_format/model empty --tags").arg("").run().ok();
    assert_eq!(tags("empty"), [json!([])]);
    export(&dir, "multi/model none --tags gpu").fails().says("`gpu`").says("`serve`, `serve,train`");
    assert_eq!(dir.names(""), ["both", "empty", "models", "serve", "train"]);
}

#[test]
fn links_out_of_the_model_are_not_followed() {
    let dir = Dir::new();
    let model = dir.copy_model("text", "model");
    dir.write("secret", "secret");
    symlink("../../secret", model.join("assets/link.txt")).unwrap();
    dir.cmd("export model out").run().fails().says("assets/link.txt").says("outside the model");
    assert_eq!(dir.names(""), ["model", "models", "secret"]);
}
