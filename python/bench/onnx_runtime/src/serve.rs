//! A rival in `scripts/bench serve`: TensorFlow Serving's predict of one float32 input and one float32 output over ONNX
//! Runtime, as plain as a handler of axum is. Runs are in the threads that decode, one for each core.
//!
//! ```sh
//! serve LIBRARY MODEL PORT [INTRA_OP_THREADS]
//! ```

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::{env, fmt};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// A session for each thread: a run needs one for itself.
type Sessions = Arc<Mutex<Vec<Session>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [library, model, port, threads @ ..] = args.as_slice() else {
        return Err("usage: serve LIBRARY MODEL PORT [INTRA_OP_THREADS]".into());
    };
    let cores = std::thread::available_parallelism()?.get();
    let environment = ort::init_from(library)?.build()?;
    let mut sessions = Vec::new();
    for _ in 0..cores {
        let mut builder = Session::builder(&environment)?.with_optimization_level(GraphOptimizationLevel::Level3)?;
        if let Some(threads) = threads.first() {
            builder = builder.with_intra_threads(threads.parse()?)?;
        }
        sessions.push(builder.commit_from_file(model)?);
    }
    let route = post(predict).layer(DefaultBodyLimit::disable());
    let app = Router::new().route("/v1/models/m:predict", route).with_state(Arc::new(Mutex::new(sessions)));
    let port: u16 = port.parse()?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        // An error costs speed alone.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, app).await
    })?;
    Ok(())
}

async fn predict(State(sessions): State<Sessions>, body: Bytes) -> impl IntoResponse {
    match answer(&sessions, &body) {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, "application/json")], text),
        Err(error) => (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "text/plain")], error.to_string().into_bytes()),
    }
}

fn answer(sessions: &Sessions, body: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let Lists { values, shape } = serde_json::from_slice::<Request>(body)?.instances;
    let input = Tensor::from_array((shape, values))?;
    let mut session = sessions.lock().map_err(|_| "a run panicked")?.pop().ok_or("more threads than sessions")?;
    let text = run(&mut session, &input);
    sessions.lock().map_err(|_| "a run panicked")?.push(session);
    text
}

fn run(session: &mut Session, input: &Tensor<f32>) -> Result<Vec<u8>, Box<dyn Error>> {
    let outputs = session.run(ort::inputs![input])?;
    let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
    let width = shape.last().and_then(|&size| usize::try_from(size).ok()).unwrap_or(1).max(1);
    // Every model of the benchmark answers with a matrix.
    let rows: Vec<&[f32]> = values.chunks(width).collect();
    Ok(serde_json::to_vec(&serde_json::json!({ "predictions": rows }))?)
}

#[derive(Deserialize)]
struct Request {
    instances: Lists,
}

/// Nested lists of numbers: the numbers in a row, and the sizes of the lists.
struct Lists {
    values: Vec<f32>,
    shape: Vec<i64>,
}

impl<'de> Deserialize<'de> for Lists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut lists = Self { values: Vec::new(), shape: Vec::new() };
        Level { lists: &mut lists, depth: 0 }.deserialize(deserializer)?;
        Ok(lists)
    }
}

struct Level<'a> {
    lists: &'a mut Lists,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("lists of numbers")
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.lists.values.push(value as f32);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.lists.values.push(value as f32);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.lists.values.push(value as f32);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.lists.shape.len() == self.depth {
            self.lists.shape.push(0);
        }
        let mut size = 0;
        while list.next_element_seed(Level { lists: self.lists, depth: self.depth + 1 })?.is_some() {
            size += 1;
        }
        self.lists.shape[self.depth] = size;
        Ok(())
    }
}
