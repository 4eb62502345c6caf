//! Figures of answers to rows whose labels are at hand.

use super::{Answer, Figures, Label, Quality, Target, Task};

/// Adds up answers to rows whose labels are at hand, such as held-out ones: the figures that a report has of a log.
#[derive(Debug)]
pub struct Evaluation {
    target: Target,
    quality: Quality,
    probabilities: Vec<f64>,
}

impl Evaluation {
    /// Without rows. Scores are probabilities, or logits of which probabilities are made.
    #[must_use]
    pub fn new(task: Task, is_logits: bool) -> Self {
        let target = Target { output: String::new(), task, is_logits };
        Self { target, quality: Quality::default(), probabilities: Vec::new() }
    }

    /// Adds a row: the elements of its answer, and its label: a class, 0 or 1, or as many numbers as the answer has.
    pub fn add(&mut self, answer: &[f64], label: &[f64]) {
        let label = match label {
            [only] => Label::Number(*only),
            several => Label::Many(several.iter().map(|number| Label::Number(*number)).collect()),
        };
        self.quality.add(&self.target, Answer::Numbers(answer), &label, &mut self.probabilities);
    }

    /// The rows whose label does not go with their answer, such as a class that the answer does not have.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.quality.unusable
    }

    /// The figures; `None` without rows.
    #[must_use]
    pub fn figures(&self) -> Option<Figures> {
        self.quality.figures(self.target.task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_rows() {
        let mut classes = Evaluation::new(Task::Classes, false);
        assert!(classes.figures().is_none());
        classes.add(&[0.75, 0.25], &[0.0]);
        classes.add(&[0.75, 0.25], &[1.0]);
        classes.add(&[0.75, 0.25], &[2.0]);
        let figures = classes.figures().unwrap();
        assert_eq!((figures.rows, figures.accuracy, classes.unusable()), (2, Some(0.5), 1));
        let log_loss = -(0.75_f64.ln() + 0.25_f64.ln()) / 2.0;
        assert!((figures.log_loss.unwrap() - log_loss).abs() < 1e-12);
        let mut numbers = Evaluation::new(Task::Regression, false);
        numbers.add(&[1.0, 2.0], &[1.5, 1.5]);
        assert_eq!(numbers.figures().unwrap().mae, Some(0.5));
    }
}
