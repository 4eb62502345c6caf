//! The side of ONNX Runtime in `scripts/bench optimize`: as `bench_run` of tf-persist-core, for a model in its format.
//!
//! ```sh
//! bench-onnx-runtime LIBRARY MODEL INPUT DTYPE SHAPE ANSWER [INTRA_OP_THREADS]
//! ```
//!
//! `INPUT` is a file with the bytes of the only input, `SHAPE` its sizes with commas between them.

use std::error::Error;
use std::io::{self, BufRead};
use std::time::Instant;
use std::{env, fs};

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [library, model, input, dtype, shape, answer, threads @ ..] = args.as_slice() else {
        return Err("usage: bench-onnx-runtime LIBRARY MODEL INPUT DTYPE SHAPE ANSWER [INTRA_OP_THREADS]".into());
    };
    let started = Instant::now();
    let environment = ort::init_from(library)?.build()?;
    let mut builder = Session::builder(&environment)?.with_optimization_level(GraphOptimizationLevel::Level3)?;
    if let Some(threads) = threads.first() {
        builder = builder.with_intra_threads(threads.parse()?)?;
    }
    let mut session = builder.commit_from_file(model)?;
    let input = tensor(&fs::read(input)?, dtype, shape)?;
    let outputs = session.run(ort::inputs![&input])?;
    let first: Vec<u8> =
        outputs[0].try_extract_tensor::<f32>()?.1.iter().flat_map(|value| value.to_le_bytes()).collect();
    drop(outputs);
    println!("{:.1} ONNX Runtime", started.elapsed().as_secs_f64() * 1e3);
    fs::write(answer, first)?;
    for line in io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.trim().parse::<usize>()? {
            let started = Instant::now();
            let outputs = session.run(ort::inputs![&input])?;
            times.push(started.elapsed());
            drop(outputs);
        }
        times.sort_unstable();
        println!("{:.3}", times[times.len() / 2].as_secs_f64() * 1e6);
    }
    Ok(())
}

fn tensor(bytes: &[u8], dtype: &str, shape: &str) -> Result<DynTensor, Box<dyn Error>> {
    let shape = shape.split(',').map(str::parse).collect::<Result<Vec<i64>, _>>()?;
    let fours = || bytes.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok());
    Ok(match dtype {
        "float32" => Tensor::from_array((shape, fours().map(f32::from_le_bytes).collect::<Vec<_>>()))?.upcast(),
        "int32" => Tensor::from_array((shape, fours().map(i32::from_le_bytes).collect::<Vec<_>>()))?.upcast(),
        _ => return Err(format!("no inputs of {dtype}").into()),
    })
}
