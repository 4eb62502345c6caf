//! Reports of replays, as text and as JSON.

use std::io::Write;

use serde_json::{Value, json};
use tf_persist_core::printable;
use tf_persist_core::tensor::Tolerance;
use tf_persist_core::warmup::{Outcome, OutputReport, OutputResult, Replay};

use crate::comparison;
use crate::format::{count, short};

/// The number of replays by outcome.
#[derive(Default)]
struct Tally {
    compared: u64,
    equal: u64,
    different: u64,
    unanswered: u64,
    skipped: u64,
}

impl Tally {
    fn from_replays(replays: &[Replay]) -> Self {
        let mut tally = Self::default();
        for replay in replays {
            match &replay.outcome {
                Outcome::Compared(outputs) => {
                    tally.compared += 1;
                    tally.equal += u64::from(outputs.iter().all(OutputReport::is_equal));
                }
                Outcome::Unanswered => tally.unanswered += 1,
                Outcome::Skipped(_) => tally.skipped += 1,
                _ => tally.compared += 1,
            }
            tally.different += u64::from(replay.is_different());
        }
        tally
    }

    fn verdict(&self) -> &'static str {
        match self {
            Self { different: 1.., .. } => "different",
            Self { compared: 0, .. } => "unknown",
            _ => "same",
        }
    }
}

/// Writes the verdict as the first word, then a line for each record that was not equal.
pub(super) fn text(out: &mut impl Write, replays: &[Replay], tolerance: Tolerance) -> anyhow::Result<()> {
    let tally = Tally::from_replays(replays);
    let Tally { compared, equal, different, unanswered, skipped } = tally;
    let how = match tally.verdict() {
        "different" => format!("{different} of {}", count(compared, "answer")),
        "same" if equal == compared => format!("{}, bit for bit", count(compared, "answer")),
        "same" => format!("{} within {} ({equal} bit for bit)", count(compared, "answer"), tolerated(tolerance)),
        _ => "no record has an answer".to_owned(),
    };
    write!(out, "{}: {how}", tally.verdict())?;
    if unanswered > 0 {
        write!(out, "; {} ran, nothing to compare with", count(unanswered, "request"))?;
    }
    if skipped > 0 {
        write!(out, "; {} not replayed", count(skipped, "request"))?;
    }
    writeln!(out)?;
    for replay in replays {
        let signature = printable(&replay.signature);
        let of = if replay.in_order { " of the sequence" } else { "" };
        let mut line =
            |what: &str| writeln!(out, "  record {}{of}, {} `{signature}`: {what}", replay.number, replay.kind);
        match &replay.outcome {
            Outcome::Compared(outputs) => {
                let unequal = outputs.iter().filter(|output| !output.is_equal());
                // For an answer that differs, only the outputs that differ are shown.
                let shown = unequal.filter(|output| !replay.is_different() || !output.is_same());
                shown.map(ToString::to_string).try_for_each(|output| line(&output))?;
            }
            Outcome::Unanswered => {}
            Outcome::Skipped(reason) => line(&format!("not replayed: {}", printable(reason)))?,
            Outcome::Failed(error) => line(&format!("failed: {}", printable(&error.to_string())))?,
            _ => {}
        }
    }
    Ok(out.flush()?)
}

fn tolerated(tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::Within(both) => format!("{} absolute and relative", short(both)),
        _ => "rounding".to_owned(),
    }
}

/// The report that docs/cli.md documents.
pub(super) fn json(out: &mut impl Write, replays: &[Replay]) -> anyhow::Result<()> {
    let tally = Tally::from_replays(replays);
    let records: Vec<Value> = replays.iter().map(record).collect();
    let report = json!({
        "verdict": tally.verdict(),
        "compared": tally.compared,
        "bit_equal": tally.equal,
        "different": tally.different,
        "unanswered": tally.unanswered,
        "not_replayed": tally.skipped,
        "records": records,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}

fn record(replay: &Replay) -> Value {
    let mut report = json!({
        "record": replay.number,
        "in_order": replay.in_order,
        "kind": replay.kind.to_string(),
        "signature": replay.signature,
    });
    match &replay.outcome {
        Outcome::Compared(outputs) => {
            report["outcome"] = if replay.is_different() { "different" } else { "same" }.into();
            let all = outputs.iter().map(|output| (output.name.clone(), self::output(output)));
            report["outputs"] = Value::Object(all.collect());
        }
        Outcome::Unanswered => report["outcome"] = "unanswered".into(),
        Outcome::Skipped(reason) => {
            report["outcome"] = "not_replayed".into();
            report["reason"] = reason.as_str().into();
        }
        Outcome::Failed(error) => {
            report["outcome"] = "failed".into();
            report["reason"] = error.to_string().into();
        }
        _ => {}
    }
    report
}

fn output(output: &OutputReport) -> Value {
    let same = output.is_same();
    match &output.result {
        OutputResult::Compared(comparison) => {
            let mut report = json!({ "same": same });
            if let (Some(report), Value::Object(figures)) = (report.as_object_mut(), comparison::json(comparison)) {
                report.extend(figures);
            }
            report
        }
        other => {
            let text = output.to_string();
            let reason = match other {
                OutputResult::Missing => "missing",
                OutputResult::Unexpected => "unexpected",
                OutputResult::DType { .. } => "dtype",
                _ => "shape",
            };
            json!({ "same": same, "reason": reason, "text": text })
        }
    }
}
