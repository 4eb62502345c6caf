//! Progress: a bar on a terminal, and a line for each epoch everywhere.

use std::time::{Duration, Instant};

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tf_persist_core::printable;
use tf_persist_core::train::{Epoch, Event, TrainingState, is_mean_of_batches};

use super::report::speed;
use crate::format::{count, grouped, short};

/// The interval between two updates of the bar: a step may take less than a millisecond.
const REFRESH: Duration = Duration::from_millis(50);

pub(super) struct Progress {
    bar: ProgressBar,
    epochs: u64,
    updated: Instant,
}

impl Progress {
    pub(super) fn new(state: &TrainingState) -> Self {
        let bar = ProgressBar::with_draw_target(Some(state.steps_per_epoch()), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, epochs: state.epochs, updated: Instant::now() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Begun(state) => {
                if state.steps > 0 {
                    let (epoch, step, all) = (state.epoch + 1, state.step, state.steps_per_epoch());
                    self.line(&format!("continuing in epoch {epoch} of {}, {step} of {all} steps done", state.epochs));
                }
                self.bar.set_prefix(self.epoch_name(state.epoch + 1));
                self.bar.set_position(state.step);
            }
            Event::Step(step) if !self.bar.is_hidden() && self.updated.elapsed() >= REFRESH => {
                self.updated = Instant::now();
                self.bar.set_prefix(self.epoch_name(step.epoch));
                self.bar.set_message(format!("loss {}", short(step.loss)));
                self.bar.set_position(step.step);
            }
            Event::Validating { rows, all } if !self.bar.is_hidden() && self.updated.elapsed() >= REFRESH => {
                self.updated = Instant::now();
                self.bar.set_message(format!("validating {} of {}", grouped(*rows as u64), grouped(*all as u64)));
            }
            Event::Epoch(epoch) => self.line(&self.describe(epoch)),
            _ => {}
        }
    }

    fn epoch_name(&self, epoch: u64) -> String {
        format!("epoch {epoch}/{}", self.epochs)
    }

    fn describe(&self, epoch: &Epoch) -> String {
        let validation = match &epoch.validation {
            Some(values) => format!("  validation {}", values_of(values)),
            None => String::new(),
        };
        let (means, rows) = (values_of(&epoch.means), count(epoch.rows, "row"));
        let name = self.epoch_name(epoch.epoch);
        let speed = speed(epoch.rows, epoch.seconds).map(|speed| format!(" ({speed})")).unwrap_or_default();
        format!("{name}  {means}{validation}  {rows} in {:.2} s{speed}", epoch.seconds)
    }

    fn line(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{}", printable(line)));
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// `loss 0.25, accuracy 0.9, auc 0.8 (mean of batches)`.
pub(super) fn values_of(values: &[(String, f64)]) -> String {
    let shown = |(name, value): &(String, f64)| {
        let mark = if is_mean_of_batches(name) { " (mean of batches)" } else { "" };
        format!("{name} {}{mark}", short(*value))
    };
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_means_over_rows_are_marked() {
        let values = [("loss".to_owned(), 0.25), ("auc_1".to_owned(), 0.75)];
        assert_eq!(values_of(&values), "loss 0.25, auc_1 0.75 (mean of batches)");
    }
}
