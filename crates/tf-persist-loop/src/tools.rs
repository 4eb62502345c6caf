//! What a loop needs from its program.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tf_persist_core::{LoadOptions, Tensor};

/// Something that happened, for people or programs that watch the loop.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Where the loop is, such as `watching` or `canary`.
    pub step: &'static str,
    /// A decision, such as `train`; or `look`, `note` or `error`.
    pub kind: String,
    /// A sentence.
    pub text: String,
    /// The attempt under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The version that it published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Numbers.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
}

type ReadColumns = dyn Fn(&Path) -> Result<Vec<(String, Tensor)>, String>;

/// What a loop needs from its program.
pub struct Tools {
    pub(crate) load: LoadOptions,
    pub(crate) read_columns: Option<Box<ReadColumns>>,
    stop: Box<dyn Fn() -> bool>,
    report: Box<dyn Fn(&Line)>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Tools {
    /// Models are loaded with these options. Nothing is reported, and nothing asks for a stop.
    #[must_use]
    pub fn new(load: LoadOptions) -> Self {
        Self { load, read_columns: None, stop: Box::new(|| false), report: Box::new(|_| ()) }
    }

    /// Reads files of columns, such as Parquet, with this function. Its error is a sentence.
    #[must_use]
    pub fn read_columns(mut self, read: impl Fn(&Path) -> Result<Vec<(String, Tensor)>, String> + 'static) -> Self {
        self.read_columns = Some(Box::new(read));
        self
    }

    /// Asks for a stop once this returns true.
    #[must_use]
    pub fn stop_when(mut self, stop: impl Fn() -> bool + 'static) -> Self {
        self.stop = Box::new(stop);
        self
    }

    /// Reports what happens to this function.
    #[must_use]
    pub fn report(mut self, report: impl Fn(&Line) + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    pub(crate) fn is_stopping(&self) -> bool {
        (self.stop)()
    }

    pub(crate) fn say(&self, line: &Line) {
        (self.report)(line);
    }
}
