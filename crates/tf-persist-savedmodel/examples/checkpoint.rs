//! What can be done with a checkpoint without TensorFlow; `scripts/bench process --checkpoints` measures these.
//!
//! ```sh
//! cargo run --release --example checkpoint -- read PREFIX           every tensor in turn, each dropped before the next
//! cargo run --release --example checkpoint -- keep PREFIX           every tensor, all kept
//! cargo run --release --example checkpoint -- copy PREFIX TO        byte for byte
//! cargo run --release --example checkpoint -- restore MODEL FROM TO the variables of FROM under the keys of MODEL
//! cargo run --release --example checkpoint -- make TO VARIABLES MB  variables of float32, MB megabytes each
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::error::Error;
use std::process::ExitCode;

use tf_persist_savedmodel::Tensor;
use tf_persist_savedmodel::checkpoint::restore::{Mapping, RestoreOptions};
use tf_persist_savedmodel::checkpoint::{
    CheckpointReader, CheckpointWriter, OBJECT_GRAPH_KEY, copy_checkpoint, find_checkpoint,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["read", prefix] => {
            let checkpoint = CheckpointReader::open(find_checkpoint(prefix)?)?;
            for entry in &checkpoint.index().entries {
                checkpoint.read(&entry.key)?;
            }
        }
        ["keep", prefix] => {
            let checkpoint = CheckpointReader::open(find_checkpoint(prefix)?)?;
            let all = checkpoint.index().entries.iter().map(|entry| checkpoint.read(&entry.key));
            let all: Vec<Tensor> = all.collect::<Result<_, _>>()?;
            println!("{} tensors", all.len());
        }
        ["copy", prefix, to] => {
            copy_checkpoint(find_checkpoint(prefix)?, to)?;
        }
        ["restore", model, from, to] => {
            let model = CheckpointReader::open(find_checkpoint(model)?)?;
            let from = CheckpointReader::open(find_checkpoint(from)?)?;
            let mapping = Mapping::find(&model, &from, &RestoreOptions::default())?;
            mapping.write(&model, &from, to)?;
            println!("{} variables, {} of the checkpoint not used", mapping.pairs.len(), mapping.unused.len());
        }
        ["make", to, variables, megabytes] => {
            let mut checkpoint = CheckpointWriter::create(to)?;
            let length = megabytes.parse::<usize>()? * 1_000_000 / 4;
            let mut numbers: Vec<f32> = (0..length).map(|number| number as f32).collect();
            for number in 0..variables.parse()? {
                numbers.iter_mut().for_each(|value| *value += 1.0);
                checkpoint.add(&format!("layer_{number:04}/kernel"), &Tensor::from_slice(&[length], &numbers)?)?;
            }
            assert!(checkpoint.finish()?.get(OBJECT_GRAPH_KEY).is_none());
        }
        _ => {
            eprintln!("read PREFIX | keep PREFIX | copy PREFIX TO | restore MODEL FROM TO | make TO VARIABLES MB");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
