//! Rules, their text form, and their file.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use tf_persist_core::Tensor;

use super::rules::Target;
use super::shadows::compare;
use super::{ModelTraffic, TrafficFile, TrafficRules, TrafficSource};
use crate::random::random;

const SPLIT: &str = "[m]\nweights = { production = 95, 3 = 5 }\nshadows = [\"candidate\", \"4\"]\n";

fn parse(text: &str) -> Result<TrafficRules, String> {
    TrafficRules::parse(text.as_bytes())
}

fn of_model(text: &str) -> ModelTraffic {
    parse(text).unwrap().get("m").unwrap().clone()
}

/// Which versions the labels are: `production` is 1, `canary` is 2; versions up to 4 answer.
fn served(target: &Target) -> Option<i64> {
    match target.name.as_str() {
        "production" => Some(1),
        "canary" => Some(2),
        name => name.parse().ok().filter(|version| *version <= 4),
    }
}

#[test]
fn rules_name_labels_and_versions() {
    let traffic = of_model(SPLIT);
    let weights: Vec<_> =
        traffic.weight_list().iter().map(|(target, weight)| (target.name.as_str(), *weight)).collect();
    assert_eq!(weights, [("3", 5), ("production", 95)]);
    assert_eq!(traffic.shares(served), BTreeMap::from([(1, 0.95), (3, 0.05)]));
    assert_eq!(traffic.pending(served), ["candidate"]);
    let rules = parse("[\"a.b/c\"]\nshadows = [\"x\"]\n[none]\n").unwrap();
    assert!(rules.get("a.b/c").unwrap().weight_list().is_empty() && rules.get("none").is_some());
    assert_eq!(rules.get("m"), None);
}

#[test]
fn unusable_texts_are_refused_with_a_reason() {
    for (text, reason) in [
        ("", "it has no table"),
        ("# [m]\n", "it has no table"),
        ("[m]\nweights = { a = 95, b = 4 }", "[m]: the weights add up to 99, and not to 100"),
        ("[m]\nweights = { a = 60, b = 60 }", "[m]: the weights add up to 120"),
        ("[m]\nweights = {}", "[m]: the weights add up to 0"),
        ("[m]\nweights = { a = 101, b = -1 }", "[m]: the weight of `a` is 101, and not from 0 to 100"),
        ("[m]\nweights = { a = -1, b = 101 }", "[m]: the weight of `a` is -1"),
        ("[m]\nweights = { a = 99.5, b = 0.5 }", "line 2: invalid type: floating point `99.5`"),
        ("[m]\nweights = { 3 = 50, 03 = 50 }", "[m]: `3` is in `weights` twice"),
        ("[m]\nweights = { a = 50, a = 50 }", "line 2: duplicate key"),
        ("[m]\nweights = { \"\" = 100 }", "[m]: a label is empty"),
        ("[m]\nweights = { 99999999999999999999 = 100 }", "[m]: the version 99999999999999999999 is too large"),
        ("[m]\nshadows = [\"a\", \"a\"]", "[m]: `a` is in `shadows` twice"),
        ("[m]\nshadows = [3]", "line 2: invalid type: integer `3`, expected a string"),
        ("[m]\n\nweight = { a = 100 }", "line 3: unknown field `weight`, expected `weights` or `shadows`"),
        ("weights = { a = 100 }", "line 1: unknown field `a`"),
        ("m = 3", "line 1: invalid type: integer `3`"),
        ("[m]\nweights = { a = 10", "line 2: "),
        ("[m]\nweights = ", "line 2: "),
        ("[m", "line 1: "),
        ("[m]\n[m]\n", "line 2: duplicate key"),
    ] {
        let refused = parse(text).unwrap_err();
        assert!(refused.starts_with(reason) && !refused.contains('\n'), "{text:?}: {refused}");
    }
    assert_eq!(TrafficRules::parse(b"[m]\n\xff").unwrap_err(), "line 2: it is not UTF-8");
}

#[test]
fn requests_are_split_by_weight() {
    let traffic = of_model(SPLIT);
    let draws = 100_000;
    let third = (0..draws).filter(|_| traffic.pick(random(), served) == Some(3)).count();
    assert!((4_500..5_500).contains(&third), "{third}");
    assert_eq!((traffic.pick(0.0, served), traffic.pick(0.049, served)), (Some(3), Some(3)));
    assert_eq!((traffic.pick(0.0501, served), traffic.pick(1.0 - f64::EPSILON / 2.0, served)), (Some(1), Some(1)));
}

#[test]
fn what_does_not_answer_leaves_its_weight_to_the_others() {
    let traffic = of_model("[m]\nweights = { production = 50, canary = 25, gone = 25, 9 = 0 }");
    let shares = BTreeMap::from([(1, 50.0 / 75.0), (2, 25.0 / 75.0)]);
    assert_eq!((traffic.shares(served), traffic.pending(served)), (shares, vec!["9".to_owned(), "gone".to_owned()]));
    let draws = 60_000;
    let picks: Vec<Option<i64>> = (0..draws).map(|_| traffic.pick(random(), served)).collect();
    assert!(picks.iter().all(Option::is_some));
    let first = picks.iter().filter(|pick| **pick == Some(1)).count();
    assert!((39_000..41_000).contains(&first), "{first}");
    let none = |_: &Target| None;
    assert_eq!((traffic.pick(0.5, none), traffic.shares(none)), (None, BTreeMap::new()));
    // One without weight is not drawn, even if it is all that answers.
    let idle = of_model("[m]\nweights = { gone = 100, canary = 0 }");
    assert_eq!((idle.pick(0.5, served), idle.shares(served)), (None, BTreeMap::new()));
    // Two names of one version.
    let twice = of_model("[m]\nweights = { production = 60, 1 = 40 }");
    assert_eq!(twice.shares(served), BTreeMap::from([(1, 1.0)]));
}

proptest! {
    #[test]
    fn any_bytes_give_rules_or_an_error(bytes: Vec<u8>) {
        let _ = TrafficRules::parse(&bytes);
    }

    #[test]
    fn changed_texts_give_rules_or_an_error(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut text = SPLIT.as_bytes().to_vec();
        for (at, byte) in cuts {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text.truncate(end.index(text.len() + 1));
        if let Ok(rules) = TrafficRules::parse(&text) {
            for (_, traffic) in rules.iter() {
                let sum: u32 = traffic.weight_list().iter().map(|(_, weight)| weight).sum();
                prop_assert!(sum == 100 || traffic.weight_list().is_empty());
            }
        }
    }

    #[test]
    fn weights_that_add_up_are_drawn_wherever_the_point_is(point in 0.0..1.0_f64, first in 0..=100_i64) {
        let weights = [("production".to_owned(), first), ("canary".to_owned(), 100 - first)];
        let traffic = ModelTraffic::default().weights(weights).unwrap();
        // In the order in which they were given.
        let expected = if point * 100.0 < first as f64 { 1 } else { 2 };
        prop_assert_eq!(traffic.pick(point, served), Some(expected));
    }
}

#[test]
fn file_is_read_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.toml");
    let file = TrafficFile::new(&path);
    assert!(file.look().unwrap_err().contains("it cannot be read: No such file"));
    fs::write(&path, SPLIT).unwrap();
    assert_eq!(file.look(), Ok(Some(parse(SPLIT).unwrap())));
    assert_eq!(file.look(), Ok(None));
    // The same length, within the same second.
    let other = SPLIT.replace("95", "94").replace("= 5", "= 6");
    fs::write(&path, &other).unwrap();
    assert_eq!(file.look(), Ok(Some(parse(&other).unwrap())));
    fs::write(&path, "[m]\nweights = { production = 9").unwrap();
    let problem = file.look().unwrap_err();
    assert!(problem.starts_with("line 2: "), "{problem}");
    assert_eq!(file.look(), Err(problem));
    // Another file takes its place.
    fs::write(folder.path().join("new"), SPLIT).unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert_eq!(file.look(), Ok(Some(parse(SPLIT).unwrap())));
    fs::remove_file(&path).unwrap();
    assert!(file.look().unwrap_err().contains("No such file"));
    fs::create_dir(&path).unwrap();
    assert_eq!(file.look(), Err("it is not a file".to_owned()));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(file.look(), Err("it has more than 1048576 bytes".to_owned()));
}

#[test]
fn file_that_is_being_written_is_not_read_half() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.toml");
    fs::write(&path, SPLIT).unwrap();
    // Longer than a busy machine keeps the writer waiting.
    let file = TrafficFile::new(&path).settle(Duration::from_secs(1));
    file.look().unwrap();
    // The first table alone would be rules, too.
    let (first, second) = ("[a]\nshadows = [\"1\"]\n", "[b]\nshadows = [\"2\"]\n");
    fs::write(&path, first).unwrap();
    let writer = thread::spawn({
        let path = path.clone();
        move || {
            thread::sleep(Duration::from_millis(20));
            fs::write(&path, [first, second].concat()).unwrap();
        }
    });
    assert_eq!(file.look(), Ok(Some(parse(&[first, second].concat()).unwrap())));
    writer.join().unwrap();
}

#[test]
fn answers_are_the_same_within_the_tolerance() {
    let floats = |values: &[f32]| Tensor::from_slice(&[values.len()], values).unwrap();
    let answer = |tensor: &Tensor| vec![("y".to_owned(), tensor.clone())];
    let compared = |found: &Tensor, expected: &Tensor| compare(&answer(found), &answer(expected));
    let expected = floats(&[100.0, 0.0, f32::NAN]);
    assert_eq!(compared(&expected, &expected), (None, Some(0.0)));
    // A hundredth of a thousandth of a number, and a millionth.
    let (why, largest) = compared(&floats(&[100.0009, 5e-7, f32::NAN]), &expected);
    assert!(why.is_none() && (8e-4..1e-3).contains(&largest.unwrap()), "{why:?} {largest:?}");
    for (found, words, is_number) in [
        (floats(&[100.002, 0.0, f32::NAN]), "`y` differs in 1 of 3 elements", true),
        (floats(&[100.0, 2e-6, f32::NAN]), "`y` differs in 1 of 3 elements", true),
        (floats(&[100.0, 0.0, 1.0]), "`y` differs in 1 of 3 elements", false),
        (floats(&[100.0]), "`y` is float32 [1], not float32 [3]", false),
        (Tensor::from_slice(&[3], &[1_i64, 2, 3]).unwrap(), "`y` is int64 [3], not float32 [3]", false),
    ] {
        let (why, largest) = compared(&found, &expected);
        assert!(why.as_ref().is_some_and(|why| why.starts_with(words)), "{words}: {why:?}");
        assert_eq!(largest.unwrap().is_finite(), is_number, "{words}");
    }
    let (one, two) = (Tensor::from_slice(&[1], &[1_i64]).unwrap(), Tensor::from_slice(&[1], &[2_i64]).unwrap());
    assert_eq!((compared(&one, &one), compared(&two, &one).0.is_some()), ((None, None), true));
    assert_eq!(compared(&two, &one).1, Some(f64::INFINITY), "it is no float");
    let (a, b) = (Tensor::from_strings(&[1], ["a"]).unwrap(), Tensor::from_strings(&[1], ["b"]).unwrap());
    assert_eq!((compared(&a, &a), compared(&a, &b).0.is_some()), ((None, None), true));
    let both = [answer(&one), vec![("z".to_owned(), two)]].concat();
    assert_eq!(compare(&both, &answer(&one)).0.unwrap(), "it has the output `z` as well");
    assert_eq!(compare(&answer(&one), &both).0.unwrap(), "it has no output `z`");
}
