//! How long a row takes.

use std::time::Instant;

use tf_persist_core::LoadedModel;

use super::{Verdict, score::Rows};
use crate::error::Result;
use crate::train::rounded;

/// Runs before the measurement, of each model.
const WARM_UP: usize = 20;

/// Runs that are measured, of each model.
const RUNS: usize = 200;

/// Compares the medians of both models, which run in turn.
pub(super) fn check(
    largest: f64,
    rows: &Rows,
    new: &LoadedModel,
    old: &LoadedModel,
    verdict: &mut Verdict,
) -> Result<()> {
    let inputs = rows.batch(0, 1)?;
    let inputs = || inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let signatures = [new.default_signature()?, old.default_signature()?];
    let mut seconds = [Vec::new(), Vec::new()];
    for run in 0..WARM_UP + RUNS {
        for (signature, seconds) in signatures.iter().zip(&mut seconds) {
            let begun = Instant::now();
            signature.run(inputs())?;
            if run >= WARM_UP {
                seconds.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let [new, old] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
    });
    let ratio = if old > 0.0 { new / old } else { 1.0 };
    verdict.numbers.insert("latency_ratio".into(), rounded(ratio));
    if ratio > largest {
        let (new, old) = (new * 1e3, old * 1e3);
        verdict.failures.push(format!(
            "a row takes {new:.3} ms, {ratio:.2} times the {old:.3} ms of production, and at most {largest} times is allowed"
        ));
    }
    Ok(())
}
