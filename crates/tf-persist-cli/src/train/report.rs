//! The report on standard output.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context;
use serde_json::{Map, Value, json};
use tf_persist_core::printable;
use tf_persist_core::train::{Epoch, TrainReport, is_mean_of_batches};

use super::TrainArgs;
use super::curve::Curve;
use super::progress::values_of;
use crate::common_args::Format;
use crate::error::PRINTING;
use crate::format::{bytes, count, grouped, short};
use crate::stdout::{plain_stdout, stdout};

pub(super) fn print(
    args: &TrainArgs,
    trained: &TrainReport,
    to_go_on: Option<&str>,
    curve: &Curve,
) -> anyhow::Result<()> {
    match args.format {
        Format::Text => writeln!(stdout(), "{}", text(args, trained)).context(PRINTING),
        Format::Json => {
            let mut line = serde_json::to_vec(&json(args, trained, to_go_on, curve)).context(PRINTING)?;
            line.push(b'\n');
            plain_stdout().write_all(&line).context(PRINTING)
        }
    }
}

/// `1,234 rows/s`; `None` if the rate is 0.
pub(super) fn speed(rows: u64, seconds: f64) -> Option<String> {
    match rate(rows, seconds) {
        rate if rate <= 0.0 => None,
        // A large model may take seconds per row.
        rate if rate < 10.0 => Some(format!("{} rows/s", short((rate * 100.0).ceil() / 100.0))),
        rate => Some(format!("{} rows/s", grouped(rate as u64))),
    }
}

/// Rows per second; 0 if no time has passed.
pub(super) fn rate(rows: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rows as f64 / seconds } else { 0.0 }
}

fn text(args: &TrainArgs, trained: &TrainReport) -> String {
    let Some(saved) = &trained.saved else { return "nothing was trained".into() };
    let mut line = format!(
        "`{}`: {}, {} ({}); {} in {:.2} s{}",
        printable(&args.output.display().to_string()),
        count(trained.epochs.len() as u64, "epoch"),
        count(saved.variables as u64, "variable"),
        bytes(saved.variable_bytes),
        count(trained.steps, "step"),
        trained.seconds,
        speed(trained.rows, trained.seconds).map(|speed| format!(", {speed}")).unwrap_or_default()
    );
    if let Some(epoch) = trained.epochs.last() {
        line.push_str(&format!("\n{}", printable(&values_of(&epoch.means))));
        if let Some(values) = &epoch.validation {
            line.push_str(&format!("; validation {}", printable(&values_of(values))));
        }
    }
    line
}

/// The report that docs/cli.md documents.
fn json(args: &TrainArgs, trained: &TrainReport, to_go_on: Option<&str>, curve: &Curve) -> Value {
    let state = &trained.state;
    let epochs: Vec<Value> = trained.epochs.iter().map(epoch).collect();
    let batches: Map<String, Value> =
        curve.outputs.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
    json!({
        "output": args.output.display().to_string(),
        "stopped": trained.stopped,
        "to_go_on": to_go_on,
        "epochs": epochs,
        "means_of_batches": means_of_batches(trained),
        "steps": trained.steps,
        "rows": trained.rows,
        "seconds": trained.seconds,
        "rows_per_second": rate(trained.rows, trained.seconds),
        "batches": batches,
        "place": {
            "epoch": state.epoch,
            "step": state.step,
            "steps": state.steps,
            "epochs": state.epochs,
            "batch_size": state.batch_size,
            "seed": state.seed,
            "shuffle": state.shuffle,
            "rows": state.rows,
            "data": state.data,
        },
    })
}

/// The names of numbers in the epochs that are means of batches, and not what the metric is over all rows.
fn means_of_batches(trained: &TrainReport) -> Vec<&str> {
    let names = trained.epochs.iter().flat_map(|epoch| epoch.means.iter().chain(epoch.validation.iter().flatten()));
    let names = names.map(|(name, _)| name.as_str()).filter(|name| is_mean_of_batches(name));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn epoch(epoch: &Epoch) -> Value {
    let object = |values: &[(String, f64)]| -> Value {
        values.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
    };
    json!({
        "epoch": epoch.epoch,
        "steps": epoch.steps,
        "train": object(&epoch.means),
        "validation": epoch.validation.as_deref().map(object),
        "rows": epoch.rows,
        "seconds": epoch.seconds,
        "rows_per_second": rate(epoch.rows, epoch.seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rates_are_not_rounded_to_0() {
        let said =
            [(1347, 0.1, "13,470 rows/s"), (1, 2.0, "0.5 rows/s"), (1, 1e6, "0.01 rows/s"), (15, 2.0, "7.5 rows/s")];
        for (rows, seconds, expected) in said {
            assert_eq!(speed(rows, seconds).as_deref(), Some(expected));
        }
        assert_eq!(speed(0, 1.0), None);
        assert_eq!(speed(1, 0.0), None);
    }
}
