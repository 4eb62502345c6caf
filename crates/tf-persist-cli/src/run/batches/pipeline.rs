//! Reading, running and writing batches at the same time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tf_persist_core::{RunOptions, Signature, Tensor};

use super::inputs::{Batch, Inputs};

/// The interval at which the main thread looks for a request to stop.
const POLL: Duration = Duration::from_millis(100);

/// A batch that was run.
pub(super) struct Done {
    pub(super) rows: usize,
    pub(super) outputs: Vec<(String, Tensor)>,
    /// The digests of all rows up to the last of this batch.
    pub(super) digests: Vec<u64>,
}

/// What a run of batches needs.
pub(super) struct Pipeline<'a> {
    pub(super) signature: &'a Signature,
    pub(super) options: RunOptions<'a>,
    /// How many batches run at once.
    pub(super) runners: usize,
}

/// Messages with the number of their batch.
type Numbered<T> = (usize, anyhow::Result<T>);

impl Pipeline<'_> {
    /// Runs the batches of `inputs`, and calls `write` with their outputs in order. `write` may end the run, and so may
    /// `stops`, which is asked a few times a second. Returns whether all batches were run.
    ///
    /// `prepare` is called in the thread that reads, before the first batch.
    pub(super) fn run(
        &self,
        inputs: &mut Inputs,
        prepare: impl FnOnce(&mut Inputs) -> anyhow::Result<()> + Send,
        mut write: impl FnMut(Done) -> anyhow::Result<()>,
        stops: impl Fn() -> bool,
    ) -> anyhow::Result<ControlFlow<()>> {
        // A batch holds a permit from when it is read until it is written, which bounds the memory.
        let all = self.runners + 2;
        let (permit, permits) = sync_channel::<()>(all);
        while permit.try_send(()).is_ok() {}
        let (to_run, read) = sync_channel::<Numbered<Batch>>(all);
        let (to_write, run) = sync_channel::<Numbered<Done>>(all);
        let read = Mutex::new(read);
        thread::scope(|scope| {
            scope.spawn(move || read_batches(inputs, prepare, &permits, &to_run));
            for _ in 0..self.runners {
                let (read, to_write) = (&read, to_write.clone());
                scope.spawn(move || self.run_batches(read, &to_write));
            }
            drop(to_write);
            write_batches(run, permit, &mut write, &stops)
        })
    }

    fn run_batches(&self, read: &Mutex<Receiver<Numbered<Batch>>>, to_write: &SyncSender<Numbered<Done>>) {
        loop {
            let Ok(Ok((number, batch))) = read.lock().map(|read| read.recv()) else { return };
            let done = batch.and_then(|batch| self.run_batch(batch));
            if to_write.send((number, done)).is_err() {
                return;
            }
        }
    }

    fn run_batch(&self, batch: Batch) -> anyhow::Result<Done> {
        let inputs = batch.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let outputs = self.signature.run_with(inputs, &self.options)?.into_vec();
        Ok(Done { rows: batch.rows, outputs, digests: batch.digests })
    }
}

/// Writes batches in order. When it returns, the channels close, and the other threads end.
fn write_batches(
    run: Receiver<Numbered<Done>>,
    permit: SyncSender<()>,
    write: &mut impl FnMut(Done) -> anyhow::Result<()>,
    stops: &impl Fn() -> bool,
) -> anyhow::Result<ControlFlow<()>> {
    let (mut next, mut waiting) = (0, BTreeMap::new());
    loop {
        match run.recv_timeout(POLL) {
            Err(RecvTimeoutError::Disconnected) => return Ok(ControlFlow::Continue(())),
            Err(RecvTimeoutError::Timeout) => {}
            Ok((number, done)) => drop(waiting.insert(number, done)),
        }
        while let Some(done) = waiting.remove(&next) {
            write(done?)?;
            next += 1;
            // After the last batch nobody takes it.
            let _ = permit.send(());
        }
        if stops() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Reads batches until the last one, or an error, which takes its place.
fn read_batches(
    inputs: &mut Inputs,
    prepare: impl FnOnce(&mut Inputs) -> anyhow::Result<()>,
    permits: &Receiver<()>,
    to_run: &SyncSender<Numbered<Batch>>,
) {
    let mut prepared = prepare(inputs);
    for number in 0.. {
        if permits.recv().is_err() {
            return;
        }
        let batch = match std::mem::replace(&mut prepared, Ok(())).and_then(|()| inputs.next()) {
            Ok(None) => return,
            Ok(Some(batch)) => Ok(batch),
            Err(error) => Err(error),
        };
        let failed = batch.is_err();
        if to_run.send((number, batch)).is_err() || failed {
            return;
        }
    }
}
