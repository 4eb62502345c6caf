//! The command `tf-persist`: arguments in, reports out.

mod args;
mod export;
mod failure;
mod format;
mod inspect;
mod run;
mod runtime;

use std::io::Write;
use std::process::{ExitCode, exit};

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    failure::report_panics_as_bugs();
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version come this way too, with exit code 0; wrong usage has 2.
        Err(error) => error.exit(),
    };
    let result = match args.command {
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Run(args) => run::run(&args),
        Command::Export(args) => export::export(&args),
        Command::Runtime(args) => runtime::runtime(&args),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) if failure::is_broken_pipe(&error) => 0,
        Err(error) => failure::print(&error),
    };
    // Everything is written by now, and the operating system takes memory back faster than a session's destructors do.
    let _ = std::io::stdout().flush();
    exit(code)
}
