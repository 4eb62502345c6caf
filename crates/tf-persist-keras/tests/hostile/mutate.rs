//! Changes of bytes and of JSON.

use serde_json::{Map, Number, Value};

use crate::random::Random;

/// Changes a few bytes, in one of several ways.
pub(crate) fn change_bytes(random: &mut Random, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.below(bytes.len());
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = *random.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
            3 => {
                let number = random.pick(&NUMBERS).to_le_bytes();
                let length = *random.pick(&[2, 4, 8]);
                for (byte, new) in bytes[at..].iter_mut().zip(&number[..length]) {
                    *byte = *new;
                }
            }
            4 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let from = random.below(other.len());
                let part = other[from..(from + 1 + random.below(64)).min(other.len())].to_vec();
                bytes.splice(at..at, part);
            }
            6 => {
                let from = random.below(other.len());
                let part = &other[from..(from + 1 + random.below(256)).min(other.len())];
                for (byte, new) in bytes[at..].iter_mut().zip(part) {
                    *byte = *new;
                }
            }
            7 if random.one_in(4) => bytes.truncate(at),
            _ => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                bytes[at..end].fill(*random.pick(&[0, 0xFF]));
            }
        }
    }
    bytes
}

/// Numbers at which arithmetic goes wrong.
const NUMBERS: [i64; 28] = [
    0,
    1,
    2,
    3,
    7,
    -1,
    -2,
    127,
    255,
    1 << 10,
    1 << 16,
    1 << 20,
    (1 << 24) - 1,
    1 << 24,
    1_000_000_000,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 31,
    u32::MAX as i64,
    1 << 32,
    1 << 40,
    1 << 53,
    i64::MAX / 2,
    1 << 62,
    i64::MAX - 1,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];

const TEXTS: [&str; 40] = [
    "",
    ".",
    "..",
    "../../../etc/passwd",
    "/",
    "a/b",
    "\u{1b}[31mred",
    "line\nbreak",
    "\0",
    "relu",
    "softmax",
    "tanh",
    "hard_sigmoid",
    "same",
    "valid",
    "causal",
    "channels_first",
    "channels_last",
    "float16",
    "mixed_float16",
    "bfloat16",
    "float64",
    "int32",
    "string",
    "bool",
    "complex64",
    "int8_from_float32",
    "int4_from_float32",
    "sum",
    "ave",
    "concat",
    "mul",
    "__keras_tensor__",
    "Functional",
    "Sequential",
    "a,b->ab",
    "...ab,bc->...ac",
    "ab,ab->",
    "reflect",
    "é\u{202e}ß",
];

/// Changes a config; `donors` are configs whose parts may be put into it.
pub(crate) fn change_config(random: &mut Random, mut config: Value, donors: &[Value]) -> Value {
    for _ in 0..*random.pick(&[1, 1, 2, 3]) {
        let count = count(&config);
        let donor = random.pick(donors);
        let part = random.below(self::count(donor));
        let part = nth(donor, part).cloned().unwrap_or_default();
        // Numbers and parameters are where most code is, so most changes are there.
        let wanted = random.below(4);
        for _ in 0..50 {
            let number = random.below(count);
            let Some(target) = nth_mut(&mut config, number) else { break };
            let fits = match wanted {
                0 => true,
                1 => target.is_number(),
                2 => target.is_string() || target.is_boolean() || target.is_null(),
                _ => target.is_array() || target.is_number(),
            };
            if fits {
                change(random, target, part);
                break;
            }
        }
    }
    config
}

fn change(random: &mut Random, target: &mut Value, part: Value) {
    let choice = random.below(12);
    *target = match (choice, std::mem::take(target)) {
        (0..=5, Value::Number(_)) => number(random),
        (0..=2, Value::String(_)) => Value::String((*random.pick(&TEXTS)).to_owned()),
        (0..=3, Value::Bool(value)) => Value::Bool(!value),
        (0..=3, Value::Array(items)) => Value::Array(change_list(random, items, part)),
        (0..=3, Value::Object(items)) => Value::Object(change_object(random, items, part)),
        (4, _) => number(random),
        (5, _) => Value::String((*random.pick(&TEXTS)).to_owned()),
        (6, _) => Value::Null,
        (7, _) => Value::Bool(random.one_in(2)),
        (8, old) if random.one_in(2) => Value::Array(vec![old]),
        (8, _) => Value::Array(Vec::new()),
        (9, old) if random.one_in(8) => deep(random, old),
        (9, _) => Value::Object(Map::new()),
        (10, old) if random.one_in(2) => Value::Array(vec![old; 1 + random.below(40)]),
        _ => part,
    };
}

fn change_list(random: &mut Random, mut items: Vec<Value>, part: Value) -> Vec<Value> {
    let at = random.below(items.len());
    match random.below(7) {
        0 if !items.is_empty() => {
            items.remove(at);
        }
        1 if !items.is_empty() => items.insert(at, items[at].clone()),
        2 if !items.is_empty() => {
            let other = random.below(items.len());
            items.swap(at, other);
        }
        3 => items.insert(at, part),
        4 => items.clear(),
        5 => items.insert(at, number(random)),
        _ => items.truncate(at),
    }
    items
}

fn change_object(random: &mut Random, mut items: Map<String, Value>, part: Value) -> Map<String, Value> {
    let keys: Vec<String> = items.keys().cloned().collect();
    if keys.is_empty() {
        items.insert("units".into(), part);
        return items;
    }
    let (key, other) = (random.pick(&keys).clone(), random.pick(&keys).clone());
    match random.below(5) {
        0 => {
            items.remove(&key);
        }
        1 => {
            let value = items.remove(&key).unwrap_or_default();
            items.insert((*random.pick(&TEXTS)).to_owned(), value);
        }
        2 => {
            let value = items.get(&key).cloned().unwrap_or_default();
            items.insert(other, value);
        }
        3 => {
            items.insert(key, part);
        }
        _ => {
            items.insert(key, number(random));
        }
    }
    items
}

fn number(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Number::from_f64(*random.pick(&[0.5, -0.5, 1e308, -1e308, 1e-320, 1.5, -0.0, 3e38, 1e19]))
            .map_or(Value::Null, Value::Number),
        1 => Value::from(random.below(10)),
        2 => Value::from(u64::MAX - random.below(2) as u64),
        _ => Value::from(*random.pick(&NUMBERS)),
    }
}

/// Lists or objects around a value, as deep as JSON is read.
fn deep(random: &mut Random, mut value: Value) -> Value {
    for _ in 0..90 + random.below(40) {
        value = match random.below(3) {
            0 => serde_json::json!({"class_name": "Sequential", "config": value}),
            1 => serde_json::json!({"a": value}),
            _ => Value::Array(vec![value]),
        };
    }
    value
}

/// The number of values in a value, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(items) => items.values().map(count).sum(),
        _ => 0,
    }
}

fn nth(value: &Value, number: usize) -> Option<&Value> {
    if number == 0 {
        return Some(value);
    }
    let mut left = number - 1;
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(items) => items.values().collect(),
        _ => return None,
    };
    for item in inner {
        let size = count(item);
        if left < size {
            return nth(item, left);
        }
        left -= size;
    }
    None
}

fn nth_mut(value: &mut Value, number: usize) -> Option<&mut Value> {
    if number == 0 {
        return Some(value);
    }
    let mut left = number - 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(items) => items.values_mut().collect(),
        _ => return None,
    };
    for item in inner {
        let size = count(item);
        if left < size {
            return nth_mut(item, left);
        }
        left -= size;
    }
    None
}
