//! Converts the Keras files of test cases to SavedModels, for `python/checks/check_keras_cases.py`.
//!
//! `convert_cases CASES OUT [FILTER]`: each `CASES/NAME/FILE` becomes `OUT/NAME/FILE/`, with the custom objects in
//! `CASES/NAME/recipes.toml`, if it is there. Failures are printed, one a line.

use std::error::Error;
use std::fs;
use std::path::Path;

use tf_persist_keras::{CustomObjects, OpenOptions};

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
    let (mut converted, mut failed) = (0, 0);
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
            let recipes = source.with_file_name("recipes.toml");
            if recipes.exists() {
                let mut custom = CustomObjects::new();
                custom.add_file(&recipes)?;
                options = options.custom_objects(custom);
            }
            let target = Path::new(out).join(name).join(file);
            // A folder is not given the name of a Keras file, unless it is there.
            fs::create_dir_all(&target)?;
            let result = options.open(&source).and_then(|model| {
                if let Some(reason) = model.export(&target, true)?.why_inference_only {
                    println!("{name}/{file}: without training: {reason}");
                }
                Ok(model.input_names().join("\n"))
            });
            match result {
                Ok(inputs) => {
                    fs::write(Path::new(out).join(name).join(format!("{file}.inputs")), inputs)?;
                    converted += 1;
                }
                Err(error) => {
                    let _ = fs::remove_dir_all(&target);
                    println!("{name}/{file}: {error}");
                    fs::write(Path::new(out).join(name).join(format!("{file}.error")), error.to_string())?;
                    failed += 1;
                }
            }
        }
    }
    println!("{converted} converted, {failed} failed");
    Ok(())
}
