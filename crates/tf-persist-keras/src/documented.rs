//! `docs/keras.md` lists what is read and what is refused, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{Config, Dialect};
use crate::parse::Parser;
use crate::{layers, operations, train};

/// A section of the page, without its heading.
fn section(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/keras.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap();
    rest.split("\n#").next().unwrap().to_owned()
}

/// The words in back-ticks.
fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether there is a layer of a class in one of the dialects, with whatever config.
fn is_known(class: &str) -> bool {
    [Dialect::Keras3, Dialect::Keras2].into_iter().any(|dialect| {
        let empty: Map<String, Value> = Map::new();
        layers::build(class, &Config::new(&empty, dialect), &mut Parser::new(dialect)).is_some()
    })
}

#[test]
fn layers_are_known() {
    let text = section("### Layers");
    let (known, refused) = text.split_once("| refused layers |").unwrap();
    let classes: Vec<String> = names(known).into_iter().filter(|name| !name.contains('.')).collect();
    assert!(classes.len() > 140, "{}", classes.len());
    let unknown: Vec<&String> = classes.iter().filter(|class| !is_known(class)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let rows: Vec<String> =
        refused.lines().skip(2).flat_map(|row| names(row.split('|').nth(1).unwrap_or_default())).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let wrong: Vec<&String> = rows.iter().filter(|class| is_known(class)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn operations_are_those_that_are_not_excepted() {
    let text = section("### Operations and functions");
    let (operations, _) = text.split_once("Keras 2 writes calls").unwrap();
    let excepted: Vec<String> = names(operations).into_iter().filter(|name| name != "keras.ops").collect();
    let wrong: Vec<&String> = excepted.iter().filter(|class| operations::has(class)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let all = operations::count() + excepted.len();
    assert!(operations.contains(&format!("Of the {all} operations")), "{all}");
}

#[test]
fn metrics_that_are_not_trained_are_refused() {
    let text = section("### Not trained");
    let row = text.lines().find(|line| line.starts_with("| the metrics")).unwrap();
    let metrics = names(row);
    assert!(metrics.len() > 8, "{metrics:?}");
    let known: Vec<&String> = metrics.iter().filter(|metric| train::has_metric(metric)).collect();
    assert!(known.is_empty(), "{known:?}");
    assert!(train::has_metric("CategoricalAccuracy") && train::has_metric("mean_absolute_error"));
}

#[test]
fn functions_of_tensorflow_are_listed() {
    let text = section("### Operations and functions");
    let mut listed = BTreeSet::new();
    for line in text.split("\n- ").skip(1) {
        // `tf.math`: `add`, `abs`.
        let line = line.split("\n\n").next().unwrap();
        let mut words = names(line).into_iter();
        let module = words.next().unwrap();
        let prefix = module.strip_prefix("tf").unwrap().trim_start_matches('.').to_owned();
        listed.extend(words.map(|name| if prefix.is_empty() { name } else { format!("{prefix}.{name}") }));
    }
    let known: BTreeSet<String> =
        operations::tensorflow::names().filter(|name| !name.starts_with("__")).map(str::to_owned).collect();
    assert_eq!(known.difference(&listed).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(listed.difference(&known).collect::<Vec<_>>(), [""; 0]);
}
