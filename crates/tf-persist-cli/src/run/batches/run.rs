//! Runs a signature batch by batch.

use std::ops::ControlFlow;
use std::time::Instant;

use tf_persist_core::saved_model::first_effect;
use tf_persist_core::{MetaGraph, SavedModel, SignatureDef, printable};

use super::super::args::RunArgs;
use super::super::output::{Kind, Target};
use super::super::run::load;
use super::finish;
use super::inputs::{Inputs, OtherRows};
use super::pipeline::Pipeline;
use super::progress::Progress;
use super::spool::Spool;
use crate::error::{self, Interrupted, UsageError};
use crate::format::{count, grouped};
use crate::signals::Stop;

/// Batches that run at once: while one waits for its last op, the other uses the second core.
const RUNNERS: usize = 2;

pub(in super::super) fn run(
    args: &RunArgs,
    size: usize,
    model: &SavedModel,
    meta_graph: &MetaGraph,
    definition: &SignatureDef,
) -> anyhow::Result<()> {
    let wanted = args.outputs.as_deref();
    let path = args.output.as_deref().ok_or_else(|| UsageError("--batch-size needs --output FILE".to_owned()))?;
    let target = Target::new(path, definition, wanted)?;
    if target.kind() == Kind::Json {
        let reason =
            format!("--batch-size does not write one JSON value: write `{}`", path.with_extension("jsonl").display());
        return Err(UsageError(reason).into());
    }
    let mut inputs = Inputs::open(args, size, model, meta_graph, definition)?;
    model.check_inputs(meta_graph, definition, &inputs.examples()?, wanted)?;
    let effect = first_effect(model, meta_graph, definition);
    let request = request(args, size, &model.digest(meta_graph)?, definition, &inputs)?;
    let mut spool = Spool::open(path, request, effect.is_none())?;
    let before = spool.rows();
    if before > 0 {
        error::note(&format!("continuing after {}", count(before as u64, "row")));
    }
    if let Some((op, _)) = &effect {
        error::note(&format!(
            "signature `{}` does more than compute, by the op `{}`: its batches run one by one, and an interrupted run begins \
             again",
            printable(&definition.name),
            printable(op)
        ));
    }
    let started = Instant::now();
    let loaded = load(args, model)?;
    let signature = loaded.signature(&definition.name)?;
    let stop = Stop::on_signals(|_| ())?;
    let progress = Progress::new(inputs.rows(), before);
    let runners = if effect.is_none() { RUNNERS } else { 1 };
    let pipeline = Pipeline { signature: &signature, options: args.run_options(), runners };
    let digests = spool.digests().to_vec();
    let outcome = pipeline.run(
        &mut inputs,
        |inputs| inputs.skip(before, &digests),
        |done| {
            finish::check(&target, &done.outputs, spool.rows())?;
            spool.append(done.rows, &done.outputs, done.digests)?;
            progress.advance(done.rows);
            Ok(())
        },
        || stop.exit_code().is_some(),
    );
    progress.finish();
    let flow = match outcome {
        Ok(flow) => flow,
        Err(error) if error.is::<OtherRows>() => return Err(spool.other_run(&error.to_string())),
        Err(error) => {
            // What was done is kept, if the disk has room for it.
            let _ = spool.save();
            return Err(error);
        }
    };
    if let (ControlFlow::Break(()), Some(code)) = (flow, stop.exit_code()) {
        spool.save()?;
        error::note(&format!("stopped after {}; the same command continues", count(spool.rows() as u64, "row")));
        return Err(Interrupted(code).into());
    }
    spool.save()?;
    finish::write(&target, &spool)?;
    let (rows, seconds) = (spool.rows(), started.elapsed().as_secs_f64());
    spool.remove()?;
    let speed = ((rows - before) as f64 / seconds.max(f64::MIN_POSITIVE)) as u64;
    let (rows, path) = (count(rows as u64, "row"), printable(&path.display().to_string()));
    error::note(&format!("{rows} in `{path}` after {seconds:.1} s ({} rows/s)", grouped(speed)));
    Ok(())
}

/// What the outputs depend on besides the rows of the inputs.
fn request(
    args: &RunArgs,
    size: usize,
    model: &str,
    definition: &SignatureDef,
    inputs: &Inputs,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut request = vec![
        ("the model's digest".to_owned(), model.to_owned()),
        ("the signature".to_owned(), definition.name.clone()),
        ("--batch-size".to_owned(), size.to_string()),
        ("the inputs with rows".to_owned(), inputs.names().join(", ")),
        ("the digest of the other inputs".to_owned(), format!("{:016x}", inputs.constants_digest())),
    ];
    let options = [
        ("--outputs", args.outputs.as_ref().map(|names| names.join(","))),
        ("--optimize", Some(args.optimize.mode()?.name())),
        ("--intra-op-threads", args.load.intra_op_threads.map(|threads| threads.to_string())),
        ("--inter-op-threads", args.load.inter_op_threads.map(|threads| threads.to_string())),
    ];
    request.extend(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(request)
}
