//! The training loop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tf_persist_savedmodel::SaveReport;
use tf_persist_savedmodel::tensor::Tensor;

use super::event::{Epoch, Event, Step, TrainReport};
use super::publish::{Published, Publisher};
use super::shuffle::shuffled_rows;
use super::step::{self, Sums, Values};
use super::{Dataset, FINALIZE_SIGNATURE, Trainer, TrainingState, error_context};
use crate::error::{Error, Hint, Result, TrainError};
use crate::session::{LoadedModel, Signature};

impl Trainer {
    /// Trains the model, which must be the one that this was made for, freshly loaded. Blocks until the training ends.
    /// `observe` is called for every event, and can stop the training.
    ///
    /// # Errors
    /// - [`TrainError::Diverged`] if a loss, or a variable that was finite, becomes NaN or infinite: nothing more is
    ///   published, and the last checkpoint stays;
    /// - as [`LoadedModel::save`], if possible before the first step;
    /// - as [`Signature::run`].
    pub fn run(
        self,
        model: &LoadedModel,
        mut observe: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<TrainReport> {
        let train = model.signature(&self.state.signature)?;
        let evaluate = match self.validation {
            Some(data) => Some((model.signature(&self.options.evaluate)?, data)),
            None => None,
        };
        let publisher = match self.target {
            Some((target, options)) => Some(Publisher::begin(model, target, self.shown, options)?),
            None => None,
        };
        let finalize = self.finalizes.then(|| model.signature(FINALIZE_SIGNATURE)).transpose()?;
        let mut sums = Sums { values: self.state.sums().unwrap_or_default(), rows: 0 };
        sums.rows = self.state.step * self.state.batch_size as u64;
        let running = Running {
            model,
            train,
            finalize,
            data: self.data,
            evaluate,
            evaluate_name: self.options.evaluate,
            batch_size: self.options.batch_size,
            loss: self.loss,
            checkpoint_every: self.options.checkpoint_every.map(u64::from),
            publisher,
            saved: None,
            saved_at: (self.state.steps, Instant::now()),
            first_step: self.state.steps,
            state: self.state,
            sums,
            epochs: Vec::new(),
            rows: 0,
            trained_for: Duration::ZERO,
        };
        running.run(&mut observe)
    }
}

struct Running<'m> {
    model: &'m LoadedModel,
    train: Signature,
    /// What replaces the weights by their averages at the end.
    finalize: Option<Signature>,
    data: Dataset,
    evaluate: Option<(Signature, Dataset)>,
    evaluate_name: String,
    batch_size: usize,
    loss: String,
    checkpoint_every: Option<u64>,
    publisher: Option<Publisher>,
    saved: Option<SaveReport>,
    /// The step and the time of the last checkpoint, or of the beginning.
    saved_at: (u64, Instant),
    first_step: u64,
    state: TrainingState,
    /// The sums of the current epoch.
    sums: Sums,
    epochs: Vec<Epoch>,
    rows: u64,
    trained_for: Duration,
}

/// Takes every event, and decides whether to stop.
type Observer<'o> = &'o mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

impl Running<'_> {
    fn run(mut self, observe: Observer<'_>) -> Result<TrainReport> {
        let mut flow = observe(Event::Begun(&self.state));
        while flow.is_continue() && self.state.epoch < self.state.epochs {
            flow = self.epoch(observe)?;
        }
        if self.state.steps != self.saved_at.0 {
            // The training ends here, whatever the observer answers.
            let _ = self.publish(observe)?;
        }
        Ok(TrainReport {
            stopped: self.state.epoch < self.state.epochs,
            steps: self.state.steps - self.first_step,
            epochs: self.epochs,
            state: self.state,
            rows: self.rows,
            seconds: self.trained_for.as_secs_f64(),
            saved: self.saved,
        })
    }

    /// Runs the rest of an epoch.
    fn epoch(&mut self, observe: Observer<'_>) -> Result<ControlFlow<()>> {
        let (epoch, all) = (self.state.epoch, self.state.steps_per_epoch());
        let (rows_before, time_before) = (self.rows, self.trained_for);
        let mut lap = Instant::now();
        let order = shuffled_rows(self.data.rows(), self.state.seed, epoch, self.state.shuffle);
        for rows in order.chunks(self.batch_size).skip(self.state.step as usize) {
            let values = step::run(&self.train, &self.data, rows).map_err(|error| self.explain(error, rows))?;
            let number = self.state.step + 1;
            self.advance(&values, rows)?;
            let loss = self.loss_in(&values);
            let step = Step {
                epoch: epoch + 1,
                step: number,
                steps: self.state.steps,
                rows: rows.len(),
                loss,
                values: &values,
            };
            let mut flow = observe(Event::Step(&step));
            self.trained_for += lap.elapsed();
            let over = number == all;
            let mut finished = None;
            if over {
                let means = std::mem::take(&mut self.sums).means(&self.loss);
                (self.state.epoch, self.state.step) = (epoch + 1, 0);
                finished = Some(Epoch {
                    epoch: epoch + 1,
                    steps: self.state.steps,
                    means,
                    validation: None,
                    rows: self.rows - rows_before,
                    seconds: (self.trained_for - time_before).as_secs_f64(),
                });
            }
            if over && self.state.epoch == self.state.epochs {
                self.finalize()?;
            }
            if self.is_due(over) {
                flow = either(flow, self.publish(observe)?);
            } else if over && let Some(publisher) = &self.publisher {
                publisher.check()?;
            }
            if let Some(mut epoch) = finished {
                if flow.is_continue() {
                    (flow, epoch.validation) = self.validate(observe)?;
                }
                flow = either(flow, observe(Event::Epoch(&epoch)));
                self.epochs.push(epoch);
                return Ok(flow);
            }
            if flow.is_break() {
                return Ok(flow);
            }
            lap = Instant::now();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Replaces the weights by their averages, if the model says so. Keras does it after the last validation; here it
    /// is before, so that what is measured is what is published.
    fn finalize(&self) -> Result<()> {
        let Some(finalize) = &self.finalize else { return Ok(()) };
        finalize.run(Vec::<(&str, Tensor)>::new())?;
        Ok(())
    }

    /// Counts a step, and checks that its loss is finite.
    fn advance(&mut self, values: &Values, rows: &[usize]) -> Result<()> {
        self.state.step += 1;
        self.state.steps = self.state.steps.saturating_add(1);
        self.rows += rows.len() as u64;
        let loss = self.loss_in(values);
        if loss.is_finite() {
            self.sums.add(values, rows.len());
            return Ok(());
        }
        let what = if loss.is_nan() { "NaN" } else { "infinite" };
        let cause = match self.data.not_finite(rows) {
            Some((name, row)) => format!("row {row} of array `{name}` of `{}` is not finite", self.data.source()),
            None => format!("{}; try a lower learning rate", error_context::describe_rows(&self.data, rows)),
        };
        Err(self.diverged(format!("the {} is {what}", self.loss), self.state.epoch, self.state.step, cause))
    }

    fn loss_in(&self, values: &Values) -> f64 {
        values.iter().find(|(name, _)| *name == self.loss).map_or(f64::NAN, |(_, value)| *value)
    }

    fn diverged(&self, what: String, epoch: u64, step: u64, cause: String) -> Error {
        let hint = Some(Hint::new(cause).and(self.kept()));
        Error::Train(TrainError::Diverged { what, epoch: epoch + 1, step, steps: self.state.steps, hint })
    }

    /// Adds the step to an error of TensorFlow, such as a label out of range. The variables may be half updated, so
    /// they are not saved.
    fn explain(&self, error: Error, rows: &[usize]) -> Error {
        let step = format!("it was step {} of epoch {}", self.state.step + 1, self.state.epoch + 1);
        error_context::with_context(error, &step, &self.data, rows, &self.kept())
    }

    /// Describes the saved state if the training ends here.
    fn kept(&self) -> String {
        self.publisher.as_ref().map_or("nothing was published".into(), |it| it.kept(self.saved_at.0))
    }

    /// Whether a checkpoint is due after this step. `over` if it is the last of its epoch.
    fn is_due(&self, over: bool) -> bool {
        // The result of the last epoch is saved before its validation, which may fail.
        if over && self.state.epoch == self.state.epochs {
            return true;
        }
        match (self.checkpoint_every, &self.publisher) {
            (Some(every), _) => self.state.steps.is_multiple_of(every),
            (None, Some(publisher)) => over && publisher.is_due(self.saved_at.1.elapsed()),
            (None, None) => false,
        }
    }

    fn publish(&mut self, observe: Observer<'_>) -> Result<ControlFlow<()>> {
        let Some(publisher) = &mut self.publisher else { return Ok(ControlFlow::Continue(())) };
        self.state.set_sums(&self.sums.values);
        match publisher.publish(self.model, &mut self.state)? {
            Published::Saved(saved) => self.saved = Some(saved),
            Published::NotFinite(name) => {
                // The state names the next batch; the step before it caused this.
                let (epoch, step) = match self.state.step {
                    0 => (self.state.epoch - 1, self.state.steps_per_epoch()),
                    step => (self.state.epoch, step),
                };
                let cause = "its loss was still a number; try a lower learning rate".to_owned();
                return Err(self.diverged(format!("variable `{name}` is not finite"), epoch, step, cause));
            }
        }
        let begun = Instant::now();
        let flow = observe(Event::Saved(&self.state));
        publisher.took_longer(begun.elapsed());
        self.saved_at = (self.state.steps, Instant::now());
        Ok(flow)
    }

    /// The means of the `evaluate` signature over the validation data. `None` without such data, or if it was stopped.
    fn validate(&self, observe: Observer<'_>) -> Result<(ControlFlow<()>, Option<Values>)> {
        let Some((evaluate, data)) = &self.evaluate else { return Ok((ControlFlow::Continue(()), None)) };
        let order = shuffled_rows(data.rows(), 0, 0, false);
        let (mut sums, mut done) = (Sums::default(), 0);
        for rows in order.chunks(self.batch_size) {
            let step = || format!("it was the validation after epoch {}", self.state.epoch);
            let explained = |error| error_context::with_context(error, &step(), data, rows, &self.kept());
            let values = step::run(evaluate, data, rows).map_err(explained)?;
            if values.is_empty() {
                // The signature may not declare the shapes of its outputs.
                let name = &self.evaluate_name;
                let reason = format!("signature `{name}` returned no output that is a single number");
                let path = self.model.saved_model().path().to_path_buf();
                return Err(Error::Train(TrainError::NotTrainable { path, reason, hint: Some(self.kept().into()) }));
            }
            sums.add(&values, rows.len());
            done += rows.len();
            if observe(Event::Validating { rows: done, all: data.rows() }).is_break() {
                return Ok((ControlFlow::Break(()), None));
            }
        }
        Ok((ControlFlow::Continue(()), Some(sums.means(&self.loss))))
    }
}

fn either(one: ControlFlow<()>, other: ControlFlow<()>) -> ControlFlow<()> {
    if one.is_break() { one } else { other }
}
