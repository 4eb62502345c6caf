//! The command `tf-persist`: arguments in, reports out.

mod cli;
#[cfg(feature = "columns")]
mod columns;
#[cfg(all(feature = "runtime", not(feature = "columns")))]
#[path = "without_columns.rs"]
mod columns;
mod common_args;
mod comparison;
mod completions;
#[cfg(feature = "deploy")]
mod deploy;
mod diff;
mod error;
mod export;
mod format;
mod hint;
#[cfg(feature = "image")]
mod image;
#[cfg(feature = "runtime")]
mod inputs;
mod inspect;
#[cfg(feature = "keras")]
mod keras_args;
#[cfg(not(feature = "keras"))]
#[path = "without_keras.rs"]
mod keras_args;
#[cfg(feature = "runtime")]
mod load_args;
#[cfg(feature = "loop")]
mod loop_command;
mod man;
#[cfg(feature = "monitor")]
mod monitor;
#[cfg(feature = "serve")]
mod ready;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
mod runtime;
mod scan;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "runtime")]
mod signals;
mod stdout;
mod store;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "remote")]
mod transfer_bar;
#[cfg(feature = "runtime")]
mod verify;
mod version_path;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};

use clap::CommandFactory;

use cli::Cli;
use hint::Flags;

fn main() -> ExitCode {
    error::report_panics_as_bugs();
    let (cli, matches) = match Cli::read() {
        Ok(read) => read,
        // Also help and version, with exit code 0; a usage error has 2.
        Err(error) => error.exit(),
    };
    let choose_signature = cli.command.choose_signature();
    let flags = || Flags::new(Cli::command(), matches.subcommand_name());
    if let Err(error) = stdout::keep() {
        exit(error::print(&anyhow::Error::new(error).context("cannot keep standard output"), &flags(), None));
    }
    // A panic is reported where it happens; it is caught here so that temporary files are deleted on the way.
    let code = match catch_unwind(AssertUnwindSafe(|| cli.command.run(&matches))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) if error::is_broken_pipe(&error) => 0,
        Ok(Err(error)) => error::print(&error, &flags(), choose_signature),
        Err(_) => error::FAILURE,
    };
    // Everything is written by now, and the operating system frees memory faster than a session's destructors do.
    exit(code)
}
