//! Statistics of each variable, which are read one after the other.

use serde_json::{Value, json};
use tf_persist_savedmodel::checkpoint::{CheckpointReader, Entry};
use tf_persist_savedmodel::saved_model::{Table, Variables};
use tf_persist_savedmodel::tensor::{Number, Stats};
use tf_persist_savedmodel::{DType, Error};

use crate::format::short;

/// The statistics of one variable; `None` if it does not hold numbers.
pub(super) type Read = Result<Option<Stats>, Error>;

/// The statistics of a table's keys and of its values.
pub(super) type TableRead = Result<[Option<Stats>; 2], Error>;

/// Reads every table, in the order of `variables.tables`, without the empty buckets of dense tables.
pub(super) fn read_tables(variables: &Variables) -> Vec<TableRead> {
    let Some(index) = &variables.index else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    let read = |table: &Table| {
        let contents = table.read(&reader)?;
        Ok([Stats::from_tensor(&contents.keys), Stats::from_tensor(&contents.values)])
    };
    variables.tables.iter().map(read).collect()
}

/// Reads every variable, in the order of `variables.all`, also those without numbers, whose checksums are compared.
pub(super) fn read_all(variables: &Variables) -> Vec<Read> {
    let Some(index) = &variables.index else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    variables.all.iter().map(|variable| read(&reader, &variable.entry)).collect()
}

fn read(reader: &CheckpointReader, entry: &Entry) -> Read {
    match entry.dtype {
        DType::Invalid | DType::Resource | DType::Variant => Ok(None),
        _ => reader.read_widened(&entry.key).map(|tensor| Stats::from_tensor(&tensor)),
    }
}

/// `min -0.5  max 0.5  mean 0.01`, and a warning such as `3 NaN`.
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

/// The statistics that docs/cli.md documents.
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
