//! The arguments of `tf-persist monitor`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tf_persist_monitor::Task;

use crate::keras_args::KerasArgs;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Exit codes: 0 a report, 1 drift with --fail-on-drift (or failure, with an error and no report), 2 usage \
                  error."
)]
pub(crate) struct MonitorArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MonitorCommand>,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MonitorCommand {
    /// Make a reference of a log, or of the arrays of training data
    Reference(ReferenceArgs),
}

/// What is watched of a log.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// A model: its reference in assets.extra is used, and its signature says which arrays are inputs and whether the
    /// first dimension is rows
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,
    /// Watch the requests to the model that is served under this name [default: that of the reference, or the most
    /// frequent one]
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Option<String>,
    /// Watch the requests to this signature [default: that of the reference, or the most frequent one]
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// Decode with this many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Request logs of serve-local, folders with such, and states written by --state: all of them together
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
    /// Compare with this reference [default: that of --model]
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Labels by request id: lines of JSON with `id` and `label`, or CSV with such columns; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Vec<PathBuf>,
    /// Compare the labels with this output [default: the only one]
    #[arg(long, value_name = "NAME", requires = "labels")]
    pub(crate) label_output: Option<String>,
    /// What that output answers [default: as its shape and the labels tell]
    #[arg(long, value_enum, value_name = "TASK", requires = "labels")]
    pub(crate) label_task: Option<LabelTask>,
    /// The scores of that output are logits: make probabilities of them
    #[arg(long, requires = "labels")]
    pub(crate) logits: bool,
    /// Report windows of time of this length, such as 10m, 1h or 1d
    #[arg(long, value_name = "LENGTH", value_parser = seconds)]
    pub(crate) window: Option<u64>,
    /// Report slices by the values of this feature; repeatable
    #[arg(long, value_name = "FEATURE")]
    pub(crate) slice: Vec<String>,
    /// The chance of any false alarm in a report
    #[arg(long, value_name = "P", value_parser = share, default_value = "0.01")]
    pub(crate) false_alarm: f64,
    /// The least population stability index of a feature that has drifted
    #[arg(long, value_name = "PSI", value_parser = crate::common_args::tolerance, default_value = "0.1")]
    pub(crate) psi: f64,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: ReportFormat,
    /// Write the report to this file, which is replaced [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write what was counted to this file, to be added to other logs
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Exit with 1 if a feature has drifted
    #[arg(long)]
    pub(crate) fail_on_drift: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Request logs, or folders with such; or one .npz file, with rows in the first dimension of its arrays
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
    /// Write the reference to this file, which is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// For tools; documented in docs/monitor.md.
    Json,
    /// For the textfile collector of Prometheus's node exporter.
    Prometheus,
    /// A page with plots.
    Html,
}

/// What an output answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabelTask {
    /// A score for each class; a label is the index of a class.
    Classes,
    /// The probability of 1; a label is 0 or 1.
    Binary,
    /// A number, or several.
    Regression,
    /// A text that is right or wrong.
    Text,
}

impl LabelTask {
    pub(crate) fn task(self) -> Task {
        match self {
            Self::Classes => Task::Classes,
            Self::Binary => Task::Binary,
            Self::Regression => Task::Regression,
            Self::Text => Task::Text,
        }
    }
}

/// Parses a length of time: a whole number with the unit s, m, h or d.
fn seconds(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "not a length of time such as 30s, 10m, 1h or 1d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WRONG)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(WRONG),
    };
    number.parse::<u32>().ok().filter(|number| *number > 0).map(|number| u64::from(number) * unit).ok_or(WRONG)
}

/// Parses a probability that is neither 0 nor 1.
fn share(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("not a number between 0 and 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(["30s", "10m", "1h", "2d"].map(seconds), [Ok(30), Ok(600), Ok(3600), Ok(172_800)]);
        for wrong in ["", "s", "10", "0h", "-1h", "1.5h", "1w", "é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
