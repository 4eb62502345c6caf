//! The arguments of `tf-persist ready`.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 ready, 1 not ready or no answer, 2 usage error.")]
pub(crate) struct ReadyArgs {
    /// The REST address of the server, as http://HOST:PORT
    #[arg(default_value = "http://127.0.0.1:8501")]
    pub(super) url: String,
    /// Wait up to N seconds for the answer
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    pub(super) timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or("not a number of seconds above 0")
}
