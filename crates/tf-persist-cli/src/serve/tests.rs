use std::time::Duration;

use clap::Parser;

use super::args::complete;
use super::*;

/// The flags of a command line, and what clap found.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}
