//! Models as packs and as bytes, without TensorFlow: what comes out is what went in, each time the same.
//!
//! Goes over `models/` and, where `TF_PERSIST_CORPUS` names it, over a corpus of real models.

#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tf_persist_savedmodel::checkpoint::CheckpointReader;
use tf_persist_savedmodel::{DType, Error, SaveOptions, SavedModel, Tensor};
use tf_persist_testing::{corpus, model, root};

/// What belongs to a model besides its graph.
const PARTS: [&str; 7] =
    ["assets", "assets.extra", "batching_params.pbtxt", "debug", "fingerprint.pb", "keras_metadata.pb", "variables"];

/// The folders of all models there are.
fn models() -> Vec<PathBuf> {
    let mut folders = vec![root().join("models")];
    folders.extend(corpus("the corpus").map(|corpus| corpus.join("dev")));
    let cases = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut models: Vec<PathBuf> = cases.map(|case| case.unwrap().path().join("model")).collect();
    models.retain(|model| model.is_dir());
    models.sort();
    assert!(models.len() >= 14);
    models
}

/// The files below a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            all.insert(name, fs::read(path).unwrap());
        }
    }
    all
}

/// Copies a folder, its files in the given order and with other times than they have.
fn copy(from: &Path, to: &Path, backwards: bool) {
    let mut all: Vec<_> = files(from).into_iter().collect();
    if backwards {
        all.reverse();
    }
    for (number, (name, bytes)) in (1..).zip(all) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number * 1_000_000);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

/// Everything that can be asked of a model without TensorFlow, and every variable.
fn everything(model: &SavedModel) -> String {
    let mut said = Vec::new();
    for meta_graph in model.meta_graphs() {
        said.push(format!("{:?} {:?}", meta_graph.tags(), meta_graph.signatures()));
        said.push(format!("{:?} {:?}", meta_graph.ops(), meta_graph.init_ops()));
        said.push(format!("{:?} {:?}", model.assets(meta_graph).unwrap(), model.training(meta_graph)));
        said.push(format!("{:?}", model.check(meta_graph).map_err(|error| error.hint())));
    }
    said.push(format!("{:?} {:?}", model.fingerprint().unwrap(), model.file_bytes()));
    let variables = model.variables().unwrap();
    said.push(format!("{:?}", variables.all));
    if let Some(index) = &variables.index {
        let reader = CheckpointReader::new(index.clone());
        for entry in &reader.index().entries {
            let read = match entry.dtype {
                DType::Other(_) => reader.read_bytes(&entry.key),
                _ => reader.read(&entry.key),
            };
            let tensor: Tensor = read.unwrap();
            said.push(format!("{} {:?}", entry.key, tensor.bytes().map(<[u8]>::to_vec).or_else(|_| strings(&tensor))));
        }
    }
    said.join("\n")
}

fn strings(tensor: &Tensor) -> Result<Vec<u8>, String> {
    Ok(tensor.strings().map_err(|error| error.to_string())?.iter().flatten().copied().collect())
}

#[test]
fn what_is_taken_out_is_what_was_packed() {
    let work = tempfile::tempdir().unwrap();
    for (number, folder) in models().iter().enumerate() {
        let about = folder.display();
        let model = SavedModel::open(folder).unwrap_or_else(|error| panic!("{about}: {error}"));
        let bytes = model.to_bytes().unwrap_or_else(|error| panic!("{about}: {error}"));
        let (pack, out) = (work.path().join(format!("{number}.tfpack")), work.path().join(number.to_string()));
        let saved = model.save(&pack, SaveOptions::default()).unwrap();
        assert_eq!(saved.variables, model.variables().unwrap().all.len(), "{about}");
        assert_eq!(fs::read(&pack).unwrap(), bytes, "{about}: a file is other bytes than bytes are");

        let (packed, from_bytes) = (SavedModel::open(&pack).unwrap(), SavedModel::from_bytes(bytes.clone()).unwrap());
        let expected = everything(&model);
        for other in [&packed, &from_bytes] {
            assert!(other.is_packed() && everything(other) == expected, "{about}: {}", other.path().display());
            assert_eq!(other.to_bytes().unwrap(), bytes, "{about}: packed again");
        }
        assert_eq!(
            (packed.path(), packed.file()),
            (pack.as_path(), pack.join(model.file().file_name().unwrap()).as_path())
        );

        packed.save(&out, SaveOptions::default()).unwrap();
        let (mut before, after) = (files(folder), files(&out));
        // Other files of the folder are left out.
        let graph = model.file().file_name().unwrap().to_str().unwrap();
        before.retain(|name, _| name == graph || PARTS.contains(&name.split('/').next().unwrap()));
        assert!(before == after, "{about}: {:?} instead of {:?}", after.keys(), before.keys());
        assert!(after.len() + 1 == archive(&pack), "{about}");
    }
}

/// The number of files that another reader of archives finds.
fn archive(path: &Path) -> usize {
    zip::ZipArchive::new(File::open(path).unwrap()).unwrap().len()
}

#[test]
fn equal_folders_make_equal_packs() {
    for name in ["digits", "text", "text_format", "multi"] {
        let work = tempfile::tempdir().unwrap();
        let (a, b) = (work.path().join("a"), work.path().join("some/where/else"));
        copy(&model(name), &a, false);
        copy(&model(name), &b, true);
        // A pack has only the files of the model, and no empty folders.
        fs::write(b.join("README.md"), "mine").unwrap();
        fs::create_dir_all(b.join("assets.extra/empty")).unwrap();
        let bytes = |folder: &Path| SavedModel::open(folder).unwrap().to_bytes().unwrap();
        assert_eq!(bytes(&a), bytes(&b), "{name}");
        assert_eq!(bytes(&a), bytes(&model(name)), "{name}");
    }
}

#[test]
fn only_what_belongs_to_a_model_is_packed() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    copy(&model("text"), &folder, false);
    for name in
        ["assets.extra/warm/up", "debug/info.pb", "keras_metadata.pb", "batching_params.pbtxt", "variables/more"]
    {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), name).unwrap();
    }
    let expected = files(&folder);
    for name in ["notes.txt", ".hidden", "assets2/x", "variables.old/x", "saved_model.pbtxt"] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), name).unwrap();
    }
    symlink("vocabulary.txt", folder.join("assets/link.txt")).unwrap();
    let out = work.path().join("out");
    let packed = SavedModel::from_bytes(SavedModel::open(&folder).unwrap().to_bytes().unwrap()).unwrap();
    packed.save(&out, SaveOptions::default()).unwrap();
    let mut found = files(&out);
    assert_eq!(found.remove("assets/link.txt"), expected.get("assets/vocabulary.txt").cloned(), "a link is followed");
    assert_eq!(found, expected);
}

#[test]
fn what_leads_out_of_the_model_or_cannot_be_named_is_refused() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("secret"), "secret").unwrap();
    let refused = |name: &str, make: &dyn Fn(&Path), why: &str| {
        let folder = work.path().join(name);
        copy(&model("text"), &folder, false);
        make(&folder);
        let opened = SavedModel::open(&folder).unwrap();
        let target = work.path().join(format!("{name}.tfpack"));
        for error in [opened.to_bytes().unwrap_err(), opened.save(&target, SaveOptions::default()).unwrap_err()] {
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
        assert!(!target.exists());
    };
    let link = |to: &'static str, name: &'static str| move |folder: &Path| symlink(to, folder.join(name)).unwrap();
    refused("file", &link("../../secret", "assets/link.txt"), "outside the model");
    refused("folder", &link("/etc", "assets.extra"), "outside the model");
    refused("loop", &link(".", "assets/loop"), "a folder that contains it");
    refused("nowhere", &link("nowhere", "assets/link"), "assets/link");
    refused("backslash", &|folder: &Path| fs::write(folder.join("assets/a\\b"), "").unwrap(), "backslash");
    refused("newline", &|folder: &Path| fs::write(folder.join("assets/a\nb"), "").unwrap(), "control character");
    let no_text = |folder: &Path| {
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
        fs::write(folder.join("assets").join(name), "").unwrap();
    };
    refused("no_text", &no_text, "not valid UTF-8");
    let cut = |folder: &Path| fs::write(folder.join("variables/variables.data-00000-of-00001"), "x").unwrap();
    refused("cut", &cut, "too few");
}

#[test]
fn the_graph_is_packed_as_it_was_opened() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    copy(&model("text"), &folder, false);
    let opened = SavedModel::open(&folder).unwrap();
    let graph = fs::read(folder.join("saved_model.pb")).unwrap();
    fs::write(folder.join("saved_model.pb"), "another").unwrap();
    let packed = SavedModel::from_bytes(opened.to_bytes().unwrap()).unwrap();
    packed.save(work.path().join("out"), SaveOptions::default()).unwrap();
    assert_eq!(fs::read(work.path().join("out/saved_model.pb")).unwrap(), graph);
}

#[test]
fn targets_are_replaced_only_if_they_are_packs() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let (plain, over) = (SaveOptions::default(), SaveOptions::default().overwrite(true));
    let (digits, text) = (SavedModel::open(model("digits")).unwrap(), SavedModel::open(model("text")).unwrap());
    digits.save(at("a/b/m.tfpack"), plain.clone()).unwrap();
    assert!(matches!(text.save(at("a/b/m.tfpack"), plain.clone()), Err(Error::Exists { .. })));
    assert!(matches!(plain.check_target(at("a/b/m.tfpack")), Err(Error::Exists { .. })));
    symlink("a/b/m.tfpack", at("link.tfpack")).unwrap();
    // An open file keeps its contents if another file takes its name.
    let opened = SavedModel::open(at("link.tfpack")).unwrap();
    text.save(at("link.tfpack"), over.clone()).unwrap();
    assert!(at("link.tfpack").is_symlink());
    assert_eq!(fs::read(at("a/b/m.tfpack")).unwrap(), text.to_bytes().unwrap());
    assert_eq!(opened.to_bytes().unwrap(), digits.to_bytes().unwrap());
    // A pack may be written over itself.
    opened.save(at("link.tfpack"), over.clone()).unwrap();
    SavedModel::open(at("link.tfpack")).unwrap().save(at("link.tfpack"), over.clone()).unwrap();

    fs::write(at("thesis.tfpack"), "mine").unwrap();
    fs::create_dir(at("folder.tfpack")).unwrap();
    symlink("nowhere", at("dangling.tfpack")).unwrap();
    for name in ["thesis.tfpack", "folder.tfpack", "dangling.tfpack", "thesis.tfpack/m.tfpack"] {
        assert!(digits.save(at(name), over.clone()).is_err(), "{name}");
        assert!(over.check_target(at(name)).is_err() || name.contains('/'), "{name}");
    }
    assert_eq!(fs::read(at("thesis.tfpack")).unwrap(), b"mine");
    // In the model it is made of, it would be part of the next.
    copy(&model("digits"), &at("model"), false);
    let error = SavedModel::open(at("model")).unwrap().save(at("model/assets/m.tfpack"), plain.clone()).unwrap_err();
    assert!(error.to_string().contains("it is inside the model"), "{error}");
    let mut names: Vec<_> = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "dangling.tfpack", "folder.tfpack", "link.tfpack", "model", "thesis.tfpack"]);
}

#[test]
fn a_damaged_pack_is_told_by_the_file_that_is() {
    let work = tempfile::tempdir().unwrap();
    let pack = work.path().join("m.tfpack");
    let bytes = SavedModel::open(model("text")).unwrap().to_bytes().unwrap();
    let damaged = |part: &[u8]| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(part.len()).position(|window| window == part).unwrap();
        bytes[at] ^= 1;
        fs::write(&pack, &bytes).unwrap();
        SavedModel::open(&pack)
    };
    // Of the graph it is known at once; of the rest, when it is read.
    let error = damaged(&fs::read(model("text").join("saved_model.pb")).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("m.tfpack/saved_model.pb` is damaged: its checksum is wrong"), "{error}");
    let opened = damaged(&fs::read(model("text").join("variables/variables.index")).unwrap()).unwrap();
    assert!(opened.variables().unwrap_err().to_string().contains("variables.index` is damaged: its checksum is wrong"));
    let opened = damaged(&fs::read(model("text").join("assets/vocabulary.txt")).unwrap()).unwrap();
    let error = opened.save(work.path().join("out"), SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("assets/vocabulary.txt` is damaged"), "{error}");
    assert!(!work.path().join("out").exists());
    fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
    let error = SavedModel::open(&pack).unwrap_err();
    assert!(error.to_string().contains("cut short") && error.hint().is_some(), "{error}");
    assert!(SavedModel::from_bytes(&b"PK"[..]).is_err());
}
