//! The file with a server's rules for its traffic. Tables of other models stay as they are.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tf_persist_store::{FileLock, durable};
use toml::{Table, Value};

use crate::error::{LoopError, Result};

/// The most bytes of the file.
const MAX_FILE: u64 = 4 << 20;

/// The longest wait for another process that writes the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server does with requests that name no version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Shares in percent, by label.
    pub(crate) weights: Vec<(String, u8)>,
    /// Labels whose versions are asked the same requests.
    pub(crate) shadows: Vec<String>,
}

fn parse(path: &Path) -> Result<(bool, Table)> {
    let bytes = durable::read(path, MAX_FILE)?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let file = toml::from_str(&text).map_err(|error| {
        let reason = error.message().replace('\n', " ");
        LoopError::Other(format!("`{}` is no file of traffic rules: {reason}", path.display()))
    })?;
    Ok((bytes.is_some(), file))
}

/// Whether the file has rules for a model.
pub(crate) fn has_rules(path: &Path, model: &str) -> Result<bool> {
    Ok(parse(path)?.1.contains_key(model))
}

/// Keeps the loops of other models, which may have the same file, from writing it at the same time.
fn lock(path: &Path) -> Result<FileLock> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock = path.with_file_name(format!(".{name}.lock"));
    let begun = Instant::now();
    loop {
        if let Some(held) = FileLock::take(&lock)? {
            return Ok(held);
        }
        if begun.elapsed() > PATIENCE {
            return Err(LoopError::Other(format!("another process holds `{}`", lock.display())));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Writes the rules of a model, unless the file has them. Returns whether it was written.
pub(crate) fn write(path: &Path, model: &str, rules: &Rules) -> Result<bool> {
    let _locked = lock(path)?;
    let (exists, mut file) = parse(path)?;
    let mut table = Table::new();
    let weights = rules.weights.iter().filter(|(_, share)| *share > 0);
    let weights: Table = weights.map(|(label, share)| (label.clone(), Value::Integer(i64::from(*share)))).collect();
    table.insert("weights".into(), Value::Table(weights));
    if !rules.shadows.is_empty() {
        let shadows = rules.shadows.iter().map(|label| Value::String(label.clone())).collect();
        table.insert("shadows".into(), Value::Array(shadows));
    }
    if exists && file.get(model) == Some(&Value::Table(table.clone())) {
        return Ok(false);
    }
    file.insert(model.to_owned(), Value::Table(table));
    let text = toml::to_string(&file).map_err(|error| LoopError::Other(format!("cannot write rules: {error}")))?;
    durable::write(path, text.as_bytes())?;
    Ok(true)
}
