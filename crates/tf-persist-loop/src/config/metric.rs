//! Metrics that versions are compared by.

use serde::{Deserialize, Serialize};
use tf_persist_monitor::Figures;

/// A metric of `monitor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The share of right answers.
    Accuracy,
    /// The mean of the negative logarithm of the label's probability.
    LogLoss,
    /// The area under the ROC curve.
    Auc,
    /// The mean absolute error.
    Mae,
    /// The root of the mean squared error.
    Rmse,
    /// The expected calibration error.
    CalibrationError,
}

impl Metric {
    /// As in the configuration, with spaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::LogLoss => "log loss",
            Self::Auc => "AUC",
            Self::Mae => "mean absolute error",
            Self::Rmse => "root mean squared error",
            Self::CalibrationError => "calibration error",
        }
    }

    /// Its value, where the task has it and it is finite.
    #[must_use]
    pub fn of(self, figures: &Figures) -> Option<f64> {
        let value = match self {
            Self::Accuracy => figures.accuracy,
            Self::LogLoss => figures.log_loss,
            Self::Auc => figures.auc,
            Self::Mae => figures.mae,
            Self::Rmse => figures.rmse,
            Self::CalibrationError => figures.calibration_error,
        };
        value.filter(|value| value.is_finite())
    }

    /// How much better a value is than another one; below 0 if it is worse.
    #[must_use]
    pub fn gain(self, value: f64, over: f64) -> f64 {
        match self {
            Self::Accuracy | Self::Auc => value - over,
            Self::LogLoss | Self::Mae | Self::Rmse | Self::CalibrationError => over - value,
        }
    }
}
