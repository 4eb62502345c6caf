//! Inspects a model, verifies the checksums of its variables and freezes it, without TensorFlow.
//!
//! ```sh
//! cargo run -p tf-persist-savedmodel --example inspect_verify_freeze -- models/digits/model digits-frozen
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::env;
use std::error::Error;

use tf_persist_savedmodel::checkpoint::CheckpointReader;
use tf_persist_savedmodel::{SaveOptions, SavedModel};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "models/digits/model".into());
    let target = args.next().unwrap_or_else(|| "frozen".into());

    let model = SavedModel::open(model)?;
    for meta_graph in model.meta_graphs() {
        println!("meta graph `{}`, TensorFlow {}", meta_graph.tags().join(","), meta_graph.tensorflow_version());
        for signature in meta_graph.signatures() {
            println!("{signature}");
        }
    }

    let variables = model.variables()?;
    if let Some(index) = &variables.index {
        let checkpoint = CheckpointReader::new(index.clone());
        for entry in &checkpoint.index().entries {
            checkpoint.read(&entry.key)?; // fails if the checksum differs
        }
        println!("{} variables, {} bytes, all checksums match", variables.all.len(), variables.total_bytes);
    }

    let scan = model.scan()?;
    println!("{} findings of the scan", scan.findings.len());

    let saved = model.save(&target, SaveOptions::default().frozen(true).overwrite(true))?;
    println!("`{target}`: signatures {}", saved.signatures.join(", "));
    Ok(())
}
