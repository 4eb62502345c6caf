//! Writes the Keras files of test cases again, for `python/checks/check_keras_back.py`.
//!
//! `write_back_cases CASES OUT [FILTER]`: each `CASES/NAME/FILE` becomes, in `OUT/NAME/FILE/`, `same.keras` or
//! `same.h5` (the file read and written), `back` (by way of a SavedModel), `like` (by way of a SavedModel that does not
//! tell where it came from), and `other` (the other kind of file). A file of Keras 2 becomes `keras3.keras` and
//! `keras3.h5`, too, for Keras 3. Failures are printed, one a line.

use std::error::Error;
use std::fs;
use std::path::Path;

use tf_persist_keras::{KerasModel, KerasSaveOptions, KerasVersion, OpenOptions, SavedKerasFile, write_back};
use tf_persist_savedmodel::SavedModel;

/// The files of a case that hold a model. Those that have weights only need `model.json`.
const FILES: [&str; 7] = [
    "model.keras",
    "model.h5",
    "after.keras",
    "compiled.keras",
    "compiled.h5",
    "model.weights.h5",
    "model.weights.json",
];

#[expect(clippy::print_stdout, reason = "its purpose")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [cases, out, rest @ ..] = arguments.as_slice() else { return Err("usage: CASES OUT [FILTER]".into()) };
    let filter = rest.first().map_or("", String::as_str);
    let mut names: Vec<_> =
        fs::read_dir(cases)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let (mut written, mut failed) = (0, 0);
    for name in names.iter().filter(|name| name.contains(filter)) {
        for file in FILES {
            let source = Path::new(cases).join(name).join(file);
            if !source.exists() {
                continue;
            }
            let mut options = OpenOptions::default();
            if file.contains(".weights.") {
                options = options.architecture(source.with_file_name("model.json"));
            }
            let Ok(model) = options.open(&source) else { continue };
            let folder = Path::new(out).join(name).join(file);
            fs::create_dir_all(&folder)?;
            let _ = fs::remove_file(folder.join("keras3.keras"));
            let _ = fs::remove_file(folder.join("keras3.h5"));
            for (kind, result) in write(&model, &folder) {
                match result {
                    Ok(()) => written += 1,
                    Err(error) => {
                        println!("{name}/{file}: {kind}: {error}");
                        failed += 1;
                    }
                }
            }
        }
    }
    println!("{written} written, {failed} failed");
    Ok(())
}

/// Writes a model in each way, and tells how that went.
fn write(model: &KerasModel, folder: &Path) -> Vec<(&'static str, tf_persist_savedmodel::Result<()>)> {
    let is_hdf5 = ["model.h5", "compiled.h5"].iter().any(|name| folder.ends_with(name));
    let (own, other) = if is_hdf5 { ("h5", "keras") } else { ("keras", "h5") };
    let path = |kind: &str, extension: &str| folder.join(format!("{kind}.{extension}"));
    let is_keras2 = model.keras_version().is_some_and(|version| version.starts_with('2'));
    let mut options = KerasSaveOptions::default().overwrite(true);
    if is_keras2 {
        options = options.keras(KerasVersion::Keras2);
    }
    let saved = |saved: tf_persist_savedmodel::Result<SavedKerasFile>| saved.map(drop);
    let exported = folder.join("saved_model");
    let back = |kind: &str, extension: &str, like: Option<&KerasModel>| {
        saved(write_back(&SavedModel::open(&exported)?, like, path(kind, extension), &options))
    };
    let mut results = vec![
        ("same", saved(model.save(path("same", own), &options))),
        ("other", saved(model.save(path("other", other), &options))),
        ("export", model.export(&exported, true).map(drop)),
        ("back", back("back", own, None)),
        ("back as the other kind", back("back", other, None)),
    ];
    let _ = fs::remove_dir_all(exported.join("assets.extra"));
    results.push(("like", back("like", own, Some(model))));
    let _ = fs::remove_dir_all(&exported);
    if is_keras2 {
        let options = KerasSaveOptions::default().overwrite(true).keras(KerasVersion::Keras3);
        results.push(("keras3", saved(model.save(path("keras3", "keras"), &options))));
        results.push(("keras3 as .h5", saved(model.save(path("keras3", "h5"), &options))));
    }
    results
}
