//! Standard output, which is for results alone.
//!
//! A model may print (`tf.print`), and so may TensorFlow: both write to the file descriptor of standard output themselves. It is
//! taken from them here, for this command; the library leaves it to the process that it runs in.

use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};

/// The real standard output.
static OWN: OnceLock<File> = OnceLock::new();

/// Keeps standard output for [`stdout`] and [`plain_stdout`], and gives standard error to whoever else writes to it from now on.
/// To be called once, before there are other threads.
#[expect(clippy::disallowed_methods, reason = "here it is taken away")]
pub(crate) fn keep() -> io::Result<()> {
    let own = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    OWN.get_or_init(|| own);
    Ok(())
}

fn own() -> &'static File {
    OWN.get().expect("standard output is kept when the command starts")
}

/// Standard output, with colours where it is a terminal that wants them.
pub(crate) fn stdout() -> AutoStream<Box<dyn Write>> {
    let choice: ColorChoice = AutoStream::choice(own());
    AutoStream::new(Box::new(plain_stdout()), choice)
}

/// Standard output as it is: what looks like a colour in a name is part of the name.
pub(crate) fn plain_stdout() -> LineWriter<&'static File> {
    LineWriter::new(own())
}
