//! A load generator: a number of clients, each with its own connection, send the next request after each response.
//!
//! `bench_load PROTOCOL ADDRESS|MODEL --requests FILE --clients N --seconds S [--echo] [--model NAME]` prints one line
//! of JSON. The protocols are `rest` and `grpc` for Predict, `v2`, `v2-rest` and `v2-grpc` for the Open Inference
//! Protocol in JSON, in binary and over gRPC, and `core`, which runs the model in this process; that is what the server
//! is measured against. The file is made by `scripts/bench serve`.

#![allow(clippy::print_stdout, reason = "a program")]

mod core_loop;
mod grpc;
mod raw;
mod requests;
mod rest;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use requests::Requests;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Which answers are looked at in full: to look at all of them would measure the looking.
const LOOKED_AT: usize = 64;

/// What a client is to do.
pub(crate) struct Job {
    pub(crate) target: String,
    pub(crate) model: String,
    pub(crate) requests: Requests,
    /// Whether the answer is the request.
    pub(crate) echo: bool,
    pub(crate) protocol: Protocol,
    pub(crate) length: Duration,
    /// Where clients that are connected wait for the others: the time begins for all of them then.
    pub(crate) start: Barrier,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// TensorFlow Serving's JSON.
    Rest,
    /// TensorFlow Serving's gRPC.
    Grpc,
    /// The Open Inference Protocol in JSON, as MLServer has it too.
    V2,
    /// The same with tensors in binary.
    V2Rest,
    /// The same over gRPC.
    V2Grpc,
    /// No protocol.
    Core,
}

impl Protocol {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "rest" => Self::Rest,
            "grpc" => Self::Grpc,
            "v2" => Self::V2,
            "v2-rest" => Self::V2Rest,
            "v2-grpc" => Self::V2Grpc,
            "core" => Self::Core,
            _ => return None,
        })
    }
}

/// What a client saw.
#[derive(Default)]
pub(crate) struct Seen {
    latencies: Vec<Duration>,
    errors: usize,
    wrong: usize,
    first_error: Option<String>,
}

impl Seen {
    /// Takes down an answer: whether it was one, and whether it was right, if it was looked at.
    pub(crate) fn note(&mut self, begin: Instant, answer: std::result::Result<bool, String>) {
        self.latencies.push(begin.elapsed());
        match answer {
            Ok(true) => {}
            Ok(false) => self.wrong += 1,
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Whether the next answer is looked at.
    pub(crate) fn looks(&self) -> bool {
        self.latencies.len().is_multiple_of(LOOKED_AT)
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench_load rest|grpc|v2|v2-rest|v2-grpc|core ADDRESS|MODEL --requests FILE --clients N --seconds S [--echo] \
                 [--model NAME]";
    let (protocol, target) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let protocol = Protocol::from_name(&protocol).ok_or(usage)?;
    let (mut file, mut clients, mut seconds, mut echo, mut model) = (None, 1, 1.0, false, "m".to_owned());
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(usage);
        match option.as_str() {
            "--requests" => file = Some(value()?),
            "--clients" => clients = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "--model" => model = value()?,
            "--echo" => echo = true,
            _ => return Err(usage.into()),
        }
    }
    let requests = Requests::read(&file.ok_or(usage)?)?;
    let length = Duration::from_secs_f64(seconds);
    let job = Arc::new(Job { target, model, requests, echo, protocol, length, start: Barrier::new(clients) });
    let seen = match protocol {
        Protocol::Core => core_loop::run(&job, clients)?,
        Protocol::Rest | Protocol::V2 | Protocol::V2Rest => {
            let messages = Arc::new(rest::messages(&job));
            in_tasks(clients, |client| rest::client(job.clone(), messages.clone(), client))?
        }
        Protocol::Grpc | Protocol::V2Grpc => {
            let messages = Arc::new(grpc::messages(&job)?);
            in_tasks(clients, |client| grpc::client(job.clone(), messages.clone(), client))?
        }
    };
    report(seen, seconds);
    Ok(())
}

/// One thread for all clients, so that the server has the other cores.
fn in_tasks<F>(clients: usize, client: impl Fn(usize) -> F) -> Result<Vec<Seen>>
where
    F: Future<Output = Result<Seen>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks: JoinSet<_> = (0..clients).map(client).collect();
        let mut all = Vec::new();
        // Whichever fails first: the others may wait for it.
        while let Some(seen) = tasks.join_next().await {
            all.push(seen??);
        }
        Ok(all)
    })
}

fn report(seen: Vec<Seen>, seconds: f64) {
    let (errors, wrong) = seen.iter().fold((0, 0), |sum, seen| (sum.0 + seen.errors, sum.1 + seen.wrong));
    let first_error = seen.iter().find_map(|seen| seen.first_error.clone());
    let mut latencies: Vec<Duration> = seen.into_iter().flat_map(|seen| seen.latencies).collect();
    latencies.sort_unstable();
    let quantile = |part: f64| {
        let place = (latencies.len() as f64 * part) as usize;
        latencies.get(place.min(latencies.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let line = serde_json::json!({
        "requests": latencies.len(), "per_second": latencies.len() as f64 / seconds, "p50_us": quantile(0.5),
        "p99_us": quantile(0.99), "max_us": quantile(1.0), "errors": errors, "wrong": wrong, "first_error": first_error,
    });
    println!("{line}");
}
