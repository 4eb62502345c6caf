//! Prints a completion script.

use anyhow::Context;
use clap_complete::Generator;

use super::CompletionsArgs;
use crate::error::PRINTING;
use crate::stdout::plain_stdout;

pub(crate) fn run(args: &CompletionsArgs, mut command: clap::Command) -> anyhow::Result<()> {
    command.set_bin_name("tf-persist");
    command.build();
    args.shell.try_generate(&command, &mut plain_stdout()).context(PRINTING)
}
