//! The command `tf-persist`: arguments in, reports out.

mod args;
mod diff;
mod error;
mod export;
mod format;
mod hint;
mod inspect;
mod run;
mod runtime;
mod scan;
mod serve;
mod signals;
mod stdout;
mod train;
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};

use args::{Args, Command};
use clap::CommandFactory;
use hint::Flags;

fn main() -> ExitCode {
    error::report_panics_as_bugs();
    let (args, matches) = match Args::read() {
        Ok(args) => args,
        // Help and version come this way too, with exit code 0; wrong usage has 2.
        Err(error) => error.exit(),
    };
    let choose_signature = args.command.choose_signature();
    let flags = Flags::new(Args::command(), matches.subcommand_name());
    if let Err(error) = stdout::keep() {
        exit(error::print(&anyhow::Error::new(error).context("cannot keep standard output"), &flags, None));
    }
    let run = || match args.command {
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Run(args) => run::run(&args),
        Command::Export(args) => export::export(&args),
        Command::Train(args) => train::train(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Scan(args) => scan::scan(&args),
        Command::ServeLocal(args) => {
            serve::serve(*args, matches.subcommand_matches(args::SERVE_LOCAL).unwrap_or(&matches))
        }
        Command::Runtime(args) => runtime::runtime(&args),
    };
    // A panic is told where it happens; it is caught here so that what was begun is cleared away on the way.
    let code = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) if error::is_broken_pipe(&error) => 0,
        Ok(Err(error)) => error::print(&error, &flags, choose_signature),
        Err(_) => error::FAILURE,
    };
    // Everything is written by now, and the operating system takes memory back faster than a session's destructors do.
    exit(code)
}
