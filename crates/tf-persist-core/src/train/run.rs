//! The loop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tf_persist_savedmodel::Saved;

use super::event::{Epoch, Event, Step, Trained};
use super::order::order;
use super::publish::{Published, Publisher};
use super::step::{self, Sums, Values};
use super::{Dataset, Trainer, TrainingState, blame};
use crate::error::{Error, Hint, Result, TrainError};
use crate::session::{LoadedModel, Signature};

impl Trainer {
    /// Trains the model, which must be the one this was made for, freshly loaded. Blocks until the training is done or stopped;
    /// `observe` is told of every step, and can stop it.
    ///
    /// # Errors
    /// - [`TrainError::Diverged`] if a loss, or a variable that was finite, becomes NaN or infinite: nothing is published from then on, and the
    ///   checkpoint before it stays;
    /// - as [`LoadedModel::save`], told before the first step where that is possible, because saving is tried out then;
    /// - as [`Signature::run`].
    pub fn run(self, model: &LoadedModel, mut observe: impl FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Trained> {
        let train = model.signature(&self.place.signature)?;
        let evaluate = match self.validation {
            Some(data) => Some((model.signature(&self.options.evaluate)?, data)),
            None => None,
        };
        let publisher = match self.target {
            Some((target, options)) => Some(Publisher::begin(model, target, options)?),
            None => None,
        };
        let mut sums = Sums { values: self.place.sums().unwrap_or_default(), rows: 0 };
        sums.rows = self.place.step * self.place.batch_size as u64;
        let running = Running {
            model,
            train,
            data: self.data,
            evaluate,
            evaluate_name: self.options.evaluate,
            batch_size: self.options.batch_size,
            loss: self.loss,
            checkpoint_every: self.options.checkpoint_every.map(u64::from),
            publisher,
            saved: None,
            saved_at: (self.place.steps, Instant::now()),
            first_step: self.place.steps,
            place: self.place,
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
    data: Dataset,
    evaluate: Option<(Signature, Dataset)>,
    evaluate_name: String,
    batch_size: usize,
    loss: String,
    checkpoint_every: Option<u64>,
    publisher: Option<Publisher>,
    saved: Option<Saved>,
    /// The step that was published last, or the first one, and when.
    saved_at: (u64, Instant),
    first_step: u64,
    place: TrainingState,
    /// Of the epoch that is under way.
    sums: Sums,
    epochs: Vec<Epoch>,
    rows: u64,
    trained_for: Duration,
}

/// Told of everything; says whether to stop.
type Observe<'o> = &'o mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

impl Running<'_> {
    fn run(mut self, observe: Observe<'_>) -> Result<Trained> {
        let mut flow = observe(Event::Begun(&self.place));
        while flow.is_continue() && self.place.epoch < self.place.epochs {
            flow = self.epoch(observe)?;
        }
        if self.place.steps != self.saved_at.0 {
            // It ends here, whatever the observer says.
            let _ = self.publish(observe)?;
        }
        Ok(Trained {
            stopped: self.place.epoch < self.place.epochs,
            steps: self.place.steps - self.first_step,
            epochs: self.epochs,
            place: self.place,
            rows: self.rows,
            seconds: self.trained_for.as_secs_f64(),
            saved: self.saved,
        })
    }

    /// The rest of an epoch.
    fn epoch(&mut self, observe: Observe<'_>) -> Result<ControlFlow<()>> {
        let (epoch, all) = (self.place.epoch, self.place.steps_per_epoch());
        let (rows_before, time_before) = (self.rows, self.trained_for);
        let mut lap = Instant::now();
        let order = order(self.data.rows(), self.place.seed, epoch, self.place.shuffle);
        for rows in order.chunks(self.batch_size).skip(self.place.step as usize) {
            let values = step::run(&self.train, &self.data, rows).map_err(|error| self.explain(error, rows))?;
            let number = self.place.step + 1;
            self.advance(&values, rows)?;
            let loss = self.loss_in(&values);
            let told = Step {
                epoch: epoch + 1,
                step: number,
                steps: self.place.steps,
                rows: rows.len(),
                loss,
                values: &values,
            };
            let mut flow = observe(Event::Step(&told));
            self.trained_for += lap.elapsed();
            let over = number == all;
            let mut finished = None;
            if over {
                let means = std::mem::take(&mut self.sums).means(&self.loss);
                (self.place.epoch, self.place.step) = (epoch + 1, 0);
                finished = Some(Epoch {
                    epoch: epoch + 1,
                    steps: self.place.steps,
                    means,
                    validation: None,
                    rows: self.rows - rows_before,
                    seconds: (self.trained_for - time_before).as_secs_f64(),
                });
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

    /// Counts a step, if its loss is a number.
    fn advance(&mut self, values: &Values, rows: &[usize]) -> Result<()> {
        self.place.step += 1;
        self.place.steps = self.place.steps.saturating_add(1);
        self.rows += rows.len() as u64;
        let loss = self.loss_in(values);
        if loss.is_finite() {
            self.sums.add(values, rows.len());
            return Ok(());
        }
        let what = if loss.is_nan() { "NaN" } else { "infinite" };
        let cause = match self.data.not_finite(rows) {
            Some((name, row)) => format!("row {row} of array `{name}` of `{}` is not finite", self.data.source()),
            None => format!("{}; try a lower learning rate", blame::batch(&self.data, rows)),
        };
        Err(self.diverged(format!("the {} is {what}", self.loss), self.place.epoch, self.place.step, cause))
    }

    fn loss_in(&self, values: &Values) -> f64 {
        values.iter().find(|(name, _)| *name == self.loss).map_or(f64::NAN, |(_, value)| *value)
    }

    fn diverged(&self, what: String, epoch: u64, step: u64, cause: String) -> Error {
        let hint = Some(Hint::new(cause).and(self.kept()));
        Error::Train(TrainError::Diverged { what, epoch: epoch + 1, step, steps: self.place.steps, hint })
    }

    /// Which step it was that TensorFlow refused, such as one with a label that the model has no class for. What it may have
    /// changed by then nobody knows, so it is not saved.
    fn explain(&self, error: Error, rows: &[usize]) -> Error {
        let place = format!("it was step {} of epoch {}", self.place.step + 1, self.place.epoch + 1);
        blame::explained(error, &place, &self.data, rows, &self.kept())
    }

    /// What is left of the training if it ends here.
    fn kept(&self) -> String {
        self.publisher.as_ref().map_or("nothing was published".into(), |it| it.kept(self.saved_at.0))
    }

    /// Whether a checkpoint is due after this step, which may be the last of its epoch.
    fn is_due(&self, over: bool) -> bool {
        // The last epoch is worth keeping whatever its validation comes to.
        if over && self.place.epoch == self.place.epochs {
            return true;
        }
        match (self.checkpoint_every, &self.publisher) {
            (Some(every), _) => self.place.steps.is_multiple_of(every),
            (None, Some(publisher)) => over && publisher.is_worth_it(self.saved_at.1.elapsed()),
            (None, None) => false,
        }
    }

    fn publish(&mut self, observe: Observe<'_>) -> Result<ControlFlow<()>> {
        let Some(publisher) = &mut self.publisher else { return Ok(ControlFlow::Continue(())) };
        self.place.set_sums(&self.sums.values);
        match publisher.publish(self.model, &mut self.place)? {
            Published::Saved(saved) => self.saved = Some(saved),
            Published::NotFinite(name) => {
                // The place is that of the next batch; the step that did it is the one before.
                let (epoch, step) = match self.place.step {
                    0 => (self.place.epoch - 1, self.place.steps_per_epoch()),
                    step => (self.place.epoch, step),
                };
                let cause = "its loss was still a number; try a lower learning rate".to_owned();
                return Err(self.diverged(format!("variable `{name}` is not finite"), epoch, step, cause));
            }
        }
        self.saved_at = (self.place.steps, Instant::now());
        Ok(observe(Event::Saved(&self.place)))
    }

    /// The means of the `evaluate` signature over the validation data; none if there are none, or it was stopped.
    fn validate(&self, observe: Observe<'_>) -> Result<(ControlFlow<()>, Option<Values>)> {
        let Some((evaluate, data)) = &self.evaluate else { return Ok((ControlFlow::Continue(()), None)) };
        let order = order(data.rows(), 0, 0, false);
        let (mut sums, mut done) = (Sums::default(), 0);
        for rows in order.chunks(self.batch_size) {
            let place = || format!("it was the validation after epoch {}", self.place.epoch);
            let explained = |error| blame::explained(error, &place(), data, rows, &self.kept());
            let values = step::run(evaluate, data, rows).map_err(explained)?;
            if values.is_empty() {
                // Of outputs whose shape the signature does not tell it is seen only now.
                let name = &self.evaluate_name;
                let reason =
                    format!("signature `{name}` gave no output that is a single number, so it measures nothing");
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
