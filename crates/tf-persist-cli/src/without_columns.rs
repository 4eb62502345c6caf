//! Parquet and Arrow files in a build that does not read them: they are refused with a hint.

use std::io::Write;
use std::path::Path;

use tf_persist_core::{DType, Tensor};

use crate::error::Hinted;

/// A format of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Either of them.
    Any,
}

/// An opened file, of which there is none.
pub(crate) enum ColumnReader {}

/// A file that is written, of which there is none.
pub(crate) enum ColumnWriter<W> {
    /// Never made.
    #[expect(dead_code, reason = "it has the type")]
    Never(W, std::convert::Infallible),
}

/// An output: its name, its dtype, the shape of its rows, and whether all of its strings are UTF-8.
pub(crate) type Output<'a> = (&'a str, DType, &'a [usize], bool);

impl Format {
    /// The format that the ending of a name tells.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        ["parquet", "arrow", "feather"].contains(&ending).then_some(Self::Any)
    }
}

fn refuse<T>(path: &Path) -> anyhow::Result<T> {
    let error = anyhow::anyhow!(
        "`{}` is a file of columns, which this build of tf-persist neither reads nor writes",
        path.display()
    );
    let hint = "it needs the cargo feature `columns`: cargo install --locked --path crates/tf-persist-cli".to_owned();
    Err(Hinted { error, hint }.into())
}

/// Checks that a column can hold an output.
pub(crate) fn check(path: &Path, _: &str, _: DType) -> anyhow::Result<()> {
    refuse(path)
}

impl ColumnReader {
    pub(crate) fn open(path: &Path, _: Format, _: usize, _: impl Fn(&str) -> bool) -> anyhow::Result<Self> {
        refuse(path)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, DType)> {
        match *self {}
        #[expect(unreachable_code, reason = "it has the type")]
        std::iter::empty()
    }

    pub(crate) fn others(&self) -> &[String] {
        match *self {}
    }

    pub(crate) fn rows(&self) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn read_rows(&mut self, _: usize) -> anyhow::Result<Vec<Tensor>> {
        match *self {}
    }
}

impl<W: Write> ColumnWriter<W> {
    pub(crate) fn new<'a>(
        target: &Path,
        _: Format,
        _: W,
        _: impl IntoIterator<Item = Output<'a>>,
    ) -> anyhow::Result<Self> {
        refuse(target)
    }

    pub(crate) fn write<'a>(&mut self, _: impl IntoIterator<Item = &'a Tensor>) -> anyhow::Result<()> {
        let Self::Never(_, never) = self;
        match *never {}
    }

    pub(crate) fn finish(self) -> anyhow::Result<W> {
        let Self::Never(_, never) = self;
        match never {}
    }
}
