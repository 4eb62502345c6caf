//! What a request costs besides TensorFlow.
//!
//! `cargo bench -p tf-persist-serve --bench serve`

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tf_persist_core::{DType, Tensor};
use tf_persist_serve::internals::json::{Format, PredictBody, predict_response};

/// Images of this size make up a request.
const IMAGE: usize = 784;
const BODY: usize = 1 << 20;

/// Numbers between 0 and 1, the same ones every time.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }
}

/// A request of about a megabyte: images, of which `write` writes each number.
fn body(write: impl Fn(&mut String, f32)) -> String {
    let mut numbers = Numbers(1);
    let mut body = String::from("{\"instances\": [");
    while body.len() < BODY {
        body.push_str(if body.ends_with(']') { ", [" } else { "[" });
        for index in 0..IMAGE {
            if index > 0 {
                body.push_str(", ");
            }
            write(&mut body, numbers.next());
        }
        body.push(']');
    }
    body.push_str("]}");
    body
}

/// What serde_json can do for the same: numbers go to one flat vector, whatever they are nested in.
struct Flat<'a>(&'a mut Vec<f32>);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("numbers, nested")
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push(value as f32);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flat(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&str>()? {
            if name == "instances" {
                map.next_value_seed(Flat(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn serde_json(body: &str) -> Vec<f32> {
    let mut flat = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(body);
    Flat(&mut flat).deserialize(&mut deserializer).unwrap();
    flat
}

fn ours(body: &str, dtype: DType) -> Tensor {
    let (_, mut tensors) = PredictBody::parse(body.as_bytes()).unwrap().tensors(&[("x", dtype)], &|_| false).unwrap();
    tensors.remove(0).1
}

fn decode_one(group: &mut BenchmarkGroup<'_, WallTime>, kind: &str, body: &str) {
    assert_eq!(ours(body, DType::Float32).view::<f32>().unwrap(), serde_json(body));
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function(format!("1MB {kind}/ours"), |bencher| {
        bencher.iter(|| ours(black_box(body), DType::Float32));
    });
    group.bench_function(format!("1MB {kind}/serde_json visitor"), |bencher| {
        bencher.iter(|| serde_json(black_box(body)));
    });
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let floats = body(|body, number| write!(body, "{number:.7}").unwrap());
    decode_one(&mut group, "floats", &floats);
    // What Python writes of a list that was an array of 32-bit floats.
    decode_one(
        &mut group,
        "floats of 17 digits",
        &body(|body, number| write!(body, "{}", f64::from(number) * 1.000_000_001).unwrap()),
    );
    decode_one(&mut group, "ints", &body(|body, number| write!(body, "{}", (number * 256.0) as u8).unwrap()));
    decode_one(&mut group, "e-notation", &body(|body, number| write!(body, "{:.6e}", number / 1000.0).unwrap()));
    // Two passes, where the first one cannot guess the dtype.
    group.throughput(Throughput::Bytes(floats.len() as u64));
    group.bench_function("1MB doubles/ours", |bencher| bencher.iter(|| ours(black_box(&floats), DType::Float64)));
    let named =
        floats.replace('[', "{\"x\": [").replacen("{\"x\": [", "[", 1).replace("],", "]},").replace("]]}", "]}]}");
    group.throughput(Throughput::Bytes(named.len() as u64));
    group.bench_function("1MB named/ours", |bencher| bencher.iter(|| ours(black_box(&named), DType::Float32)));
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut numbers = Numbers(1);
    let values: Vec<f32> = (0..100 * 1000).map(|_| numbers.next()).collect();
    let answer = vec![("y".to_owned(), Tensor::from_slice(&[100, 1000], &values).unwrap())];
    let lists: Vec<&[f32]> = values.chunks(1000).collect();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(values.len() as u64));
    for (name, form) in [("rows", Format::Row), ("columns", Format::Column)] {
        group.bench_function(format!("100000 floats/ours, {name}"), |bencher| {
            bencher.iter(|| predict_response(form, black_box(&answer)).unwrap());
        });
    }
    group.bench_function("100000 floats/serde_json", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(&lists)).unwrap());
    });
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = config(); targets = decode, encode }
criterion_main!(benches);
