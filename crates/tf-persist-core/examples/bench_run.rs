//! The side of tf-persist in `scripts/bench optimize`: loads a model, and times its runs whenever it is told to.
//!
//! ```sh
//! bench_run MODEL INPUTS.npz OPTIMIZE ANSWER [INTRA_OP_THREADS [INTER_OP_THREADS]]
//! ```
//!
//! It writes the bytes of the first output to `ANSWER`, and prints how long loading took and what the fast path did.
//!
//! For each number that it reads from standard input, it runs the signature so often, and prints the median time in
//! microseconds.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::io::{self, BufRead};
use std::time::Instant;
use std::{env, fs};

use tf_persist_core::tensor::npz;
use tf_persist_core::{LoadOptions, LoadSavedModel, Optimize, SavedModel};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, inputs, optimize, answer, threads @ ..] = args.as_slice() else {
        return Err("usage: bench_run MODEL INPUTS.npz off|on|auto ANSWER [INTRA_OP_THREADS [INTER_OP_THREADS]]".into());
    };
    let mut options = LoadOptions::default().optimize(match optimize.as_str() {
        "off" => Optimize::Off,
        "on" => Optimize::On,
        _ => Optimize::Auto,
    });
    if let Some(intra) = threads.first() {
        options = options.intra_op_threads(intra.parse()?);
    }
    if let Some(inter) = threads.get(1) {
        options = options.inter_op_threads(inter.parse()?);
    }
    let inputs = npz::read_file(inputs)?;
    let started = Instant::now();
    let loaded = SavedModel::open(model)?.load(options)?;
    let signature = loaded.signature("serving_default")?;
    let run = || signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)));
    let (_, first) = run()?.into_vec().into_iter().next().ok_or("the signature has no outputs")?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    fs::write(answer, first.bytes()?)?;
    let done = loaded.optimization().map_or_else(|| "is as it was".to_owned(), ToString::to_string);
    println!("{took:.1} {done}");
    for line in io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.trim().parse::<usize>()? {
            let started = Instant::now();
            let answer = run()?;
            times.push(started.elapsed());
            drop(answer);
        }
        times.sort_unstable();
        println!("{:.3}", times[times.len() / 2].as_secs_f64() * 1e6);
    }
    Ok(())
}
