//! What the numbers of each variable are like, read one variable after the other.

use serde_json::{Value, json};
use tf_persist_savedmodel::checkpoint::{CheckpointReader, Entry};
use tf_persist_savedmodel::saved_model::{Table, Variables};
use tf_persist_savedmodel::tensor::{Number, Stats};
use tf_persist_savedmodel::{DType, Error};

use crate::format::short;

/// Of one variable; `None` if it is not of numbers.
pub(super) type Read = Result<Option<Stats>, Error>;

/// Of a table's entries; of their keys and of their values.
pub(super) type TableRead = Result<[Option<Stats>; 2], Error>;

/// Reads every table, in the order of `variables.tables`. What a dense table has in its empty buckets is no number of it.
pub(super) fn of_tables(variables: &Variables) -> Vec<TableRead> {
    let Some(index) = &variables.index else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    let read = |table: &Table| {
        let contents = table.read(&reader)?;
        Ok([Stats::of(&contents.keys), Stats::of(&contents.values)])
    };
    variables.tables.iter().map(read).collect()
}

/// Reads every variable, in the order of `variables.all`. Those that are not of numbers are read for their checksums.
pub(super) fn of(variables: &Variables) -> Vec<Read> {
    let Some(index) = &variables.index else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    variables.all.iter().map(|variable| read(&reader, &variable.entry)).collect()
}

fn read(reader: &CheckpointReader, entry: &Entry) -> Read {
    match entry.dtype {
        DType::Invalid | DType::Resource | DType::Variant => Ok(None),
        _ => reader.read_widened(&entry.key).map(|tensor| Stats::of(&tensor)),
    }
}

/// `min -0.5  max 0.5  mean 0.01`, and what is to be warned of: `3 NaN`.
pub(super) fn text(stats: &Read) -> (String, String) {
    let stats = match stats {
        Ok(Some(stats)) => stats,
        Ok(None) => return Default::default(),
        Err(error) => return (String::new(), error.to_string()),
    };
    let mut figures = Vec::new();
    if let (Some(min), Some(max), Some(mean)) = (stats.min, stats.max, stats.mean) {
        figures = vec![format!("min {}", number(min)), format!("max {}", number(max)), format!("mean {}", short(mean))];
    }
    figures.extend(stats.trues.map(|trues| format!("{trues} true")));
    let warnings = [(stats.nans, "NaN"), (stats.infinities, "infinite")];
    let warnings = warnings.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    (figures.join("  "), warnings.collect::<Vec<_>>().join(", "))
}

fn number(number: Number) -> String {
    match number {
        Number::Float(number) => short(number),
        exact => exact.to_string(),
    }
}

/// As docs/cli.md says.
pub(super) fn json(stats: &Read) -> Value {
    let stats = match stats {
        Ok(Some(stats)) => stats,
        Ok(None) => return Value::Null,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    if let Some(trues) = stats.trues {
        return json!({ "true": trues });
    }
    json!({
        "min": stats.min.map(json_number),
        "max": stats.max.map(json_number),
        "mean": stats.mean,
        "nan": stats.nans,
        "infinite": stats.infinities,
    })
}

fn json_number(number: Number) -> Value {
    match number {
        Number::Integer(number) => i64::try_from(number).map_or_else(|_| json!(number as u64), |number| json!(number)),
        Number::Float(number) => json!(number),
        _ => Value::Null,
    }
}
