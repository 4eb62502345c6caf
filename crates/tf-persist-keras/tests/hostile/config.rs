//! Changed configs.

use std::path::Path;

use serde_json::Value;
use tf_persist_keras::fuzzing;

use crate::measure::{Outcome, Watch, convert};
use crate::mutate::change_config;
use crate::random::Random;
use crate::{rounds, samples};

/// Configs above this size are changed less often, because they take longer.
const SMALL: usize = 20_000;

fn check(kind: &str, originals: &[(Value, Option<String>)], default_rounds: u64) {
    let watch = Watch::new();
    let donors: Vec<Value> = originals.iter().map(|(config, _)| config.clone()).collect();
    let mut wrong = Vec::new();
    let (mut count, mut failed) = (0, 0);
    for seed in rounds(default_rounds) {
        let mut random = Random::new(seed);
        let (config, version) = random.pick(originals).clone();
        let config = change_config(&mut random, config, &donors);
        watch.begin(format!("{kind} {seed}"));
        count += 1;
        match read(&config, version.as_deref()) {
            Ok(error) => failed += usize::from(error.is_some()),
            Err(problem) => {
                if let Ok(folder) = std::env::var("TF_PERSIST_HOSTILE_KEEP") {
                    let _ = std::fs::write(format!("{folder}/{kind}-{seed}.json"), config.to_string());
                }
                wrong.push(format!("{kind} {seed}: {problem}"));
            }
        }
    }
    println!("{kind}: {failed} of {count} changed configs are refused");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

/// Makes a file of a config, and converts it.
pub(crate) fn read(config: &Value, version: Option<&str>) -> Outcome {
    let config = config.to_string();
    let mut bytes = None;
    crate::measure::measured(|| {
        bytes = fuzzing::keras_file(config.as_bytes(), version);
        Ok(())
    })?;
    bytes.map_or(Ok(None), convert)
}

#[test]
fn changed_configs() {
    check("config", &samples::configs(), 10_000);
}

#[test]
fn changed_configs_of_cases() {
    let Ok(folder) = std::env::var("TF_PERSIST_KERAS_CASES") else {
        println!("skipped: TF_PERSIST_KERAS_CASES is not set");
        return;
    };
    let mut originals = Vec::new();
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for file in cases.iter().flat_map(|case| ["model.keras", "compiled.keras"].map(|name| case.join(name))) {
        if let Some((config, version)) = of_case(&file) {
            originals.push((config, version));
        }
    }
    check("case", &originals, 10_000);
}

fn of_case(file: &Path) -> Option<(Value, Option<String>)> {
    let (config, version) = fuzzing::config_of(file).ok()?;
    (config.to_string().len() < SMALL).then_some((config, version))
}
