//! Prints a manual page, or writes all of them.

use anyhow::Context;
use clap_mangen::Man;

use super::ManArgs;
use crate::error::PRINTING;
use crate::stdout::plain_stdout;

pub(crate) fn run(args: &ManArgs, command: clap::Command) -> anyhow::Result<()> {
    match &args.output {
        Some(folder) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write manual pages to `{}`", folder.display())),
        None => Man::new(command).render(&mut plain_stdout()).context(PRINTING),
    }
}
