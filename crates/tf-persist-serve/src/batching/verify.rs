//! Measures whether rows have the same bits in a batch as alone, and how large a batch pays, on the loaded model and
//! with its own threads.
//!
//! The kernel that computes a row, and its order of additions, can depend on the size of the batch and on the row's
//! index in it. So one-row requests are made of real, random and extreme values and run alone. Then batches of every
//! size are filled with them, from small to large, and each row of each output is compared with the single run, until a
//! bit differs. Of the sizes before, requests share runs up to the smallest whose rows are about as fast as any, if
//! that pays.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tf_persist_core::{DType, ModelError, Signature, Tensor};

use super::batchable::VerifiedBatches;
use super::benefit::BATCH_OVERHEAD;
use super::concat::{concat, split};
use super::execute::run_untimed;
use super::policy::BatchPolicy;
use super::signature_state::SignatureState;
use super::{InferenceRequest, InferenceResponse};
use crate::priority::lower_priority;

/// The largest batch that is measured, in rows.
const MAX_ROWS: usize = 64;

/// Batches of each size, filled with different rows.
const ROUNDS: usize = 16;

/// The number of one-row requests, and the memory that they may take.
const POOL_ROWS: usize = 192;
const MIN_POOL_ROWS: usize = 48;
const POOL_BYTES: usize = 16 << 20;

/// The time limit. When it passes, the batch sizes measured so far count if they reach `MIN_ROWS`.
const MAX_DURATION: Duration = Duration::from_secs(20);
const MIN_ROWS: usize = 8;

/// A larger batch must be faster by this factor: until it is full, requests wait for one another.
const WORTHWHILE: f64 = 1.1;

/// Measures in a low-priority thread.
pub(super) fn spawn(state: &Arc<SignatureState>, signature: Signature, sample: InferenceRequest) {
    let weak = Arc::downgrade(state);
    let work = move || {
        lower_priority();
        let outcome = verify(&weak, &signature, &sample);
        let Some(state) = weak.upgrade() else { return };
        match outcome {
            Ok(verified) => state.batchable.set_verified(verified),
            Err(why) => drop(state.batchable.reject(why)),
        }
        let (together, why) = state.batchable.describe();
        let signature = &signature.definition().name;
        let share = if together { "share runs" } else { "do not share runs" };
        tracing::info!(model = state.model, signature, "requests that overlap {share}: {why}");
    };
    if let Err(error) = std::thread::Builder::new().name("measure batches".to_owned()).spawn(work) {
        state.batchable.reject(format!("cannot start a thread to measure in: {error}"));
    }
}

/// A request of one row and its response.
struct Row {
    request: InferenceRequest,
    response: InferenceResponse,
}

fn verify(
    state: &Weak<SignatureState>,
    signature: &Signature,
    sample: &InferenceRequest,
) -> Result<VerifiedBatches, String> {
    let begin = Instant::now();
    let policy = state.upgrade().ok_or_else(unloaded)?.policy.clone();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (rows, single) = rows_alone(state, signature, sample, &mut random)?;
    let mut sizes = Sizes { single, times: Vec::new() };
    for size in 2..=MAX_ROWS.min(policy.max_run_rows) {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            if state.strong_count() == 0 {
                return Err(unloaded());
            }
            let picked: Vec<&Row> = (0..size).map(|_| &rows[random.below(rows.len())]).collect();
            let (time, is_same) = run_together(signature, &picked, &policy)?;
            took.push(time);
            if !is_same {
                let end = format!("a row has other bits in a batch of {size} than alone");
                return sizes.choose(Some(end)).map(|rows| verified(sample, rows));
            }
            if begin.elapsed() > MAX_DURATION {
                return match size {
                    ..=MIN_ROWS => Err("its runs take too long to be measured".to_owned()),
                    _ => sizes.choose(None).map(|rows| verified(sample, rows)),
                };
            }
        }
        sizes.times.push(took);
        // Where eight save nothing, more hardly do.
        if size == MIN_ROWS {
            sizes.choose(None)?;
        }
    }
    sizes.choose(None).map(|rows| verified(sample, rows))
}

fn unloaded() -> String {
    "the model is being unloaded".to_owned()
}

/// How long one-row requests take together, and whether each has the response that it has alone.
fn run_together(signature: &Signature, rows: &[&Row], policy: &BatchPolicy) -> Result<(Duration, bool), String> {
    let size = rows.len();
    let requests: Vec<&InferenceRequest> = rows.iter().map(|row| &row.request).collect();
    let (inputs, _) = concat(&requests, size, policy).map_err(|error| error.to_string())?;
    let outputs = requests.first().map_or(&[][..], |request| &request.outputs);
    let start = Instant::now();
    let response = run_untimed(signature, &inputs, outputs);
    let took = start.elapsed();
    let response = response.map_err(|status| format!("a batch of {size} rows fails: {}", status.message))?;
    for (index, row) in rows.iter().enumerate() {
        let own = split(&response, index..index + 1, size).ok_or("its outputs do not have the batch's rows")?;
        if own != row.response {
            return Ok((took, false));
        }
    }
    Ok((took, true))
}

/// The sizes of batches whose rows have the same bits as alone.
struct Sizes {
    /// The time of a request alone.
    single: Duration,
    /// The times of batches of two rows, of three, ….
    times: Vec<Vec<Duration>>,
}

impl Sizes {
    /// The largest number of rows of a batch, if batches pay. `end` says why no larger ones were measured.
    fn choose(&self, end: Option<String>) -> Result<usize, String> {
        // The times of single sizes are noisy: those up to a power of two are taken together with those above half.
        let groups: Vec<(usize, Duration)> = (1..)
            .map(|power| ((1_usize << (power - 1)) + 1, 1_usize << power))
            .take_while(|(first, _)| *first <= self.times.len() + 1)
            .map(|(first, last)| (last.min(self.times.len() + 1), first))
            .map(|(last, first)| (last, median((first..=last).flat_map(|size| self.per_request(size)).collect())))
            .collect();
        let fastest = groups.iter().map(|(_, time)| *time).min();
        let enough = fastest.map(|fastest| fastest.mul_f64(WORTHWHILE));
        let chosen = groups.iter().find(|(_, time)| Some(*time) <= enough);
        match chosen {
            // A batch must save a quarter at least.
            Some((rows, time)) if (*time + BATCH_OVERHEAD) * 4 <= self.single * 3 => Ok(*rows),
            _ => Err(end.unwrap_or_else(|| "a batch is not faster than its requests one by one".to_owned())),
        }
    }

    /// The times of batches of this many rows, divided by the rows.
    fn per_request(&self, size: usize) -> impl Iterator<Item = Duration> + '_ {
        let count = u32::try_from(size).unwrap_or(u32::MAX);
        self.times.get(size - 2).into_iter().flatten().map(move |time| *time / count)
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn verified(sample: &InferenceRequest, rows: usize) -> VerifiedBatches {
    let row = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.dtype(), tensor.shape()[1..].to_vec());
    VerifiedBatches { inputs: sample.inputs.iter().map(row).collect(), outputs: sample.outputs.clone(), rows }
}

/// One-row requests that the model accepts, with their responses, and the median time of one.
fn rows_alone(
    state: &Weak<SignatureState>,
    signature: &Signature,
    sample: &InferenceRequest,
    random: &mut Random,
) -> Result<(Vec<Row>, Duration), String> {
    let count = sample.inputs.first().and_then(|(_, tensor)| tensor.row_count()).unwrap_or(0);
    let bytes = sample.bytes() / count.max(1) + 1;
    let wanted = POOL_ROWS.min(POOL_BYTES / bytes);
    if count == 0 || wanted < MIN_POOL_ROWS {
        return Err("its rows are too large to be measured".to_owned());
    }
    let begin = Instant::now();
    let (mut rows, mut took) = (Vec::<Row>::new(), Vec::new());
    for number in 0..wanted {
        if state.strong_count() == 0 || begin.elapsed() > MAX_DURATION {
            return Err("its runs take too long to be measured".to_owned());
        }
        let Ok(request) = synthetic_request(sample, number, count, random) else { continue };
        let start = Instant::now();
        // A request that the model rejects shows nothing.
        let Ok(response) = run_untimed(signature, &request.inputs, &request.outputs) else { continue };
        took.push(start.elapsed());
        if split(&response, 0..1, 1).as_ref() != Some(&response) {
            return Err("its outputs do not have the batch's rows".to_owned());
        }
        // Rows with equal responses show nothing new: where all clients send the same row, that one would stand for
        // all.
        if rows.iter().all(|row| row.response != response) {
            rows.push(Row { request, response });
        }
    }
    if rows.len() < MIN_POOL_ROWS.min(wanted) {
        return Err("no requests with different responses could be made up to measure with".to_owned());
    }
    Ok((rows, median(took)))
}

/// A one-row request: a real row, random values or extreme values, in turn.
fn synthetic_request(
    sample: &InferenceRequest,
    number: usize,
    count: usize,
    random: &mut Random,
) -> tf_persist_core::Result<InferenceRequest> {
    let mut inputs = Vec::with_capacity(sample.inputs.len());
    for (name, tensor) in &sample.inputs {
        let real = tensor.rows(number % count..number % count + 1)?;
        let row = if number < count.min(16) { real } else { random_row(tensor, &real, number, random)? };
        inputs.push((name.clone(), row));
    }
    Ok(InferenceRequest { inputs, outputs: sample.outputs.clone(), deadline: None })
}

fn random_row(all: &Tensor, real: &Tensor, number: usize, random: &mut Random) -> Result<Tensor, ModelError> {
    let (shape, count) = (real.shape(), real.len());
    // Denormals, and numbers whose squares overflow.
    const EXTREME: [f64; 10] = [0.0, -0.0, 1e-40, -3e-42, 1.2e-38, 1e30, -2e25, 3e38, 1e-20, -1.0];
    let float = |random: &mut Random| match number % 8 {
        0..=2 => random.unit(),
        3 | 4 => random.unit() * 2.0 - 1.0,
        5 => (random.unit() * 2.0 - 1.0) * 100.0,
        6 => (random.unit() - 0.5) * 1e-3,
        _ if random.below(4) == 0 => EXTREME[random.below(EXTREME.len())],
        _ => random.unit(),
    };
    match all.dtype() {
        DType::Float32 => Tensor::from_slice(shape, &(0..count).map(|_| float(random) as f32).collect::<Vec<f32>>()),
        DType::Float64 => Tensor::from_slice(shape, &(0..count).map(|_| float(random)).collect::<Vec<f64>>()),
        DType::String => {
            const WORDS: [&str; 8] = ["", " ", "a", "the", "not good", "42", "\u{e4}\u{1f642}", "x y z, and much more"];
            let known: Vec<&[u8]> = all.strings()?.iter().collect();
            let text = |random: &mut Random| match random.below(3) {
                0 => WORDS[random.below(WORDS.len())].as_bytes().to_vec(),
                _ => known[random.below(known.len())].to_vec(),
            };
            Tensor::from_strings(shape, (0..count).map(|_| text(random)).collect::<Vec<_>>())
        }
        // For other dtypes the real values are mixed: other values may be invalid as indices.
        dtype => {
            let (size, bytes) = (dtype.size().unwrap_or(1), all.bytes()?);
            let elements = (bytes.len() / size.max(1)).max(1);
            let mut mixed = Vec::with_capacity(count * size);
            for _ in 0..count {
                let at = random.below(elements) * size;
                mixed.extend_from_slice(&bytes[at..at + size]);
            }
            Tensor::from_bytes(dtype, shape, &mixed)
        }
    }
}

/// Pseudo-random numbers, the same ones each time (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }

    /// A number from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes whose rows take so many microseconds each, from two rows on.
    fn sizes(single: u64, per_row: &[u64]) -> Sizes {
        let times = per_row.iter().zip(2..).map(|(each, size)| vec![Duration::from_micros(each * size); 3]);
        Sizes { single: Duration::from_micros(single), times: times.collect() }
    }

    #[test]
    fn the_smallest_batch_that_is_about_the_fastest_is_taken() {
        let end = || Some("bits".to_owned());
        for (per_row, chosen) in [
            // The larger, the faster.
            (&[60, 50, 40, 30, 30, 25, 25][..], Ok(8)),
            // From four rows on, nothing more is gained, or something is lost.
            (&[60, 40, 40, 38, 39, 38, 41], Ok(4)),
            (&[60, 40, 40, 80, 80, 80, 80], Ok(4)),
            // One size is noisy.
            (&[60, 40, 40, 38, 10, 38, 41], Ok(4)),
            // Larger ones have other bits.
            (&[60, 40, 30, 20], Ok(5)),
            (&[60], Ok(2)),
            (&[80], Err(end().unwrap())),
            (&[], Err(end().unwrap())),
        ] {
            assert_eq!(sizes(100, per_row).choose(end()), chosen, "{per_row:?}");
        }
        let slow = sizes(100, &[90, 80, 80]).choose(None).unwrap_err();
        assert_eq!(slow, "a batch is not faster than its requests one by one");
    }
}
