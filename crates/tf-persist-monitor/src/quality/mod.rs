//! How good answers are, by labels that arrive late.

mod evaluation;
mod labels;
mod scores;

use serde::{Deserialize, Serialize};

pub use evaluation::Evaluation;
pub use labels::Labels;
pub(crate) use labels::{Found, Label, LabelCounts, UNKNOWN};
use scores::Scores;

use crate::as_text;
use crate::plan::argmax;

/// The bins of the calibration.
pub(crate) const CALIBRATION_BINS: usize = 15;

/// A probability of a class below this counts as this in the logarithm.
const LEAST_PROBABILITY: f64 = 1e-15;

/// How far probabilities may be from the sum 1.
const SUM_TOLERANCE: f64 = 1e-3;

/// What an output answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A score for each class; a label is the index of a class.
    Classes,
    /// The probability of 1; a label is 0 or 1.
    Binary,
    /// A number, or several.
    Regression,
    /// A text that is right or wrong.
    Text,
}

/// Which output is compared with labels, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) output: String,
    pub(crate) task: Task,
    /// Whether scores are logits, of which probabilities are to be made.
    pub(crate) is_logits: bool,
}

/// Sums over the rows with a label.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quality {
    pub(crate) rows: u64,
    /// Labels that do not go with the output, such as a class that it does not have.
    pub(crate) unusable: u64,
    /// Rows whose scores are not probabilities.
    pub(crate) not_probabilities: u64,
    correct: u64,
    #[serde(with = "as_text")]
    log_loss: f64,
    #[serde(with = "as_text")]
    absolute: f64,
    #[serde(with = "as_text")]
    squares: f64,
    calibration: Vec<CalibrationBin>,
    scores: Scores,
}

/// Rows of a similar confidence.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationBin {
    rows: u64,
    #[serde(with = "as_text")]
    confidence: f64,
    correct: u64,
}

/// The answer to a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer<'e> {
    Numbers(&'e [f64]),
    Text(&'e [u8]),
}

impl Quality {
    /// Adds a row.
    pub(crate) fn add(&mut self, target: &Target, answer: Answer<'_>, label: &Label, probabilities: &mut Vec<f64>) {
        let is_used = match (target.task, answer) {
            (Task::Classes, Answer::Numbers(scores)) => self.add_class(target, scores, label, probabilities),
            (Task::Binary, Answer::Numbers([score])) => self.add_binary(target, *score, label),
            (Task::Regression, Answer::Numbers(numbers)) => self.add_numbers(numbers, label),
            (Task::Text, Answer::Text(text)) => {
                self.correct += u64::from(label.is_text(text));
                true
            }
            _ => false,
        };
        if is_used {
            self.rows += 1;
        } else {
            self.unusable += 1;
        }
    }

    fn add_class(&mut self, target: &Target, scores: &[f64], label: &Label, probabilities: &mut Vec<f64>) -> bool {
        let (Some(class), Some((best, _))) = (label.class(), argmax(scores)) else { return false };
        if class >= scores.len() {
            return false;
        }
        self.correct += u64::from(best == class);
        probabilities.clear();
        if target.is_logits {
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            probabilities.extend(scores.iter().map(|score| (score - largest).exp()));
        } else {
            let sum: f64 = scores.iter().sum();
            let is_share = |score: &f64| (0.0..=1.0 + SUM_TOLERANCE).contains(score);
            if (sum - 1.0).abs() > SUM_TOLERANCE || !scores.iter().all(is_share) {
                self.not_probabilities += 1;
                return true;
            }
            probabilities.extend_from_slice(scores);
        }
        let sum: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|probability| *probability /= sum);
        let of = |class: usize| probabilities.get(class).copied().unwrap_or(0.0);
        self.log_loss -= of(class).max(LEAST_PROBABILITY).ln();
        self.calibrate(of(best), best == class);
        for (index, probability) in probabilities.iter().enumerate() {
            self.scores.add(index, *probability, index == class);
        }
        true
    }

    fn add_binary(&mut self, target: &Target, score: f64, label: &Label) -> bool {
        let Some(class @ (0 | 1)) = label.class() else { return false };
        if score.is_nan() {
            return false;
        }
        let probability = if target.is_logits { 1.0 / (1.0 + (-score).exp()) } else { score };
        self.correct += u64::from((probability >= 0.5) == (class == 1));
        if !(0.0..=1.0).contains(&probability) {
            self.not_probabilities += 1;
            return true;
        }
        let of_label = if class == 1 { probability } else { 1.0 - probability };
        self.log_loss -= of_label.max(LEAST_PROBABILITY).ln();
        self.calibrate(probability, class == 1);
        self.scores.add(0, probability, class == 1);
        true
    }

    fn add_numbers(&mut self, numbers: &[f64], label: &Label) -> bool {
        let expected = label.numbers();
        if numbers.is_empty() || expected.len() != numbers.len() {
            return false;
        }
        let count = numbers.len() as f64;
        let differences = numbers.iter().zip(expected).map(|(number, expected)| number - expected);
        let absolute: f64 = differences.clone().map(f64::abs).sum();
        if absolute.is_nan() {
            return false;
        }
        self.absolute += absolute / count;
        self.squares += differences.map(|difference| difference * difference).sum::<f64>() / count;
        true
    }

    fn calibrate(&mut self, confidence: f64, is_correct: bool) {
        self.calibration.resize_with(CALIBRATION_BINS, CalibrationBin::default);
        let bin = ((confidence * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        if let Some(bin) = self.calibration.get_mut(bin) {
            bin.rows += 1;
            bin.confidence += confidence;
            bin.correct += u64::from(is_correct);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.unusable += other.unusable;
        self.not_probabilities += other.not_probabilities;
        self.correct += other.correct;
        self.log_loss += other.log_loss;
        self.absolute += other.absolute;
        self.squares += other.squares;
        let bins = self.calibration.len().max(other.calibration.len()).min(CALIBRATION_BINS);
        self.calibration.resize_with(bins, CalibrationBin::default);
        for (own, other) in self.calibration.iter_mut().zip(&other.calibration) {
            own.rows += other.rows;
            own.confidence += other.confidence;
            own.correct += other.correct;
        }
        self.scores.merge(&other.scores);
    }

    /// The figures; `None` without rows.
    pub(crate) fn figures(&self, task: Task) -> Option<Figures> {
        if self.rows == 0 {
            return None;
        }
        let rows = self.rows as f64;
        let mut figures = Figures { task, rows: self.rows, ..Figures::new(task) };
        if task == Task::Regression {
            figures.mae = Some(self.absolute / rows);
            figures.rmse = Some((self.squares / rows).sqrt());
            return Some(figures);
        }
        figures.accuracy = Some(self.correct as f64 / rows);
        if task == Task::Text || self.not_probabilities > 0 {
            return Some(figures);
        }
        figures.log_loss = Some(self.log_loss / rows);
        figures.auc = self.scores.auc();
        let filled = self.calibration.iter().filter(|bin| bin.rows > 0);
        figures.calibration = filled
            .map(|bin| {
                let count = bin.rows as f64;
                Calibrated { rows: bin.rows, confidence: bin.confidence / count, share: bin.correct as f64 / count }
            })
            .collect();
        let error = |bin: &Calibrated| bin.rows as f64 * (bin.confidence - bin.share).abs();
        figures.calibration_error = Some(figures.calibration.iter().map(error).sum::<f64>() / rows);
        Some(figures)
    }
}

/// Figures of quality. Those that a task does not have are `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// What the output answers.
    pub task: Task,
    /// The rows with a label.
    pub rows: u64,
    /// The share of right answers.
    pub accuracy: Option<f64>,
    /// The mean of the negative logarithm of the label's probability.
    pub log_loss: Option<f64>,
    /// The area under the ROC curve; of several classes the mean of each against the others.
    pub auc: Option<f64>,
    /// The mean absolute error.
    pub mae: Option<f64>,
    /// The root of the mean squared error.
    pub rmse: Option<f64>,
    /// The expected calibration error over 15 bins.
    pub calibration_error: Option<f64>,
    /// Rows of a similar confidence.
    pub calibration: Vec<Calibrated>,
}

impl Figures {
    fn new(task: Task) -> Self {
        Self {
            task,
            rows: 0,
            accuracy: None,
            log_loss: None,
            auc: None,
            mae: None,
            rmse: None,
            calibration_error: None,
            calibration: Vec::new(),
        }
    }
}

/// Rows of a similar confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Calibrated {
    /// Their number.
    pub rows: u64,
    /// The mean of their confidence: the probability of the answer, or of 1 for a binary task.
    pub confidence: f64,
    /// The share that is right, or 1.
    pub share: f64,
}

#[cfg(test)]
mod tests;
