//! Standard output, which has only results.
//!
//! Models (`tf.print`) and TensorFlow write to the file descriptor of standard output. This module redirects that
//! descriptor to standard error for the command; the library leaves it alone.

use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};

/// The real standard output.
static OWN: OnceLock<File> = OnceLock::new();

/// Keeps standard output for [`stdout`] and [`plain_stdout`], and redirects all other writes to it to standard error.
/// Call it once, before other threads start.
#[expect(clippy::disallowed_methods, reason = "it is redirected here")]
pub(crate) fn keep() -> io::Result<()> {
    let own = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    OWN.get_or_init(|| own);
    Ok(())
}

fn own() -> &'static File {
    OWN.get().expect("standard output is kept when the command starts")
}

/// Standard output, with colours on a terminal that supports them.
pub(crate) fn stdout() -> AutoStream<Box<dyn Write>> {
    let choice: ColorChoice = AutoStream::choice(own());
    AutoStream::new(Box::new(plain_stdout()), choice)
}

/// Standard output without a filter: an escape sequence in a name is part of the name.
pub(crate) fn plain_stdout() -> LineWriter<&'static File> {
    LineWriter::new(own())
}
