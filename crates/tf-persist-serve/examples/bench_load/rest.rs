//! A client of the REST interface, over a bare socket.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::requests::{Case, Requests};
use crate::{Job, Protocol, Result, Seen};

/// A client of its own connection, until the time is over.
pub(crate) async fn client(job: Arc<Job>, messages: Arc<Vec<Message>>, number: usize) -> Result<Seen> {
    let mut socket = TcpStream::connect(&job.target).await?;
    socket.set_nodelay(true)?;
    let mut seen = Seen::default();
    let mut buffer = Vec::with_capacity(1 << 16);
    let mut turn = number;
    job.start.wait().await;
    let until = Instant::now() + job.length;
    while Instant::now() < until {
        let looks = seen.looks();
        let (message, body) = &messages[turn % messages.len()];
        let begin = Instant::now();
        socket.write_all(message).await?;
        let (status, start) = read_answer(&mut socket, &mut buffer).await?;
        let answer = match status {
            200 if !looks => Ok(true),
            200 if job.echo => Ok(buffer[start..] == message[message.len() - body..]),
            200 if job.protocol == Protocol::V2Rest => Ok(is_right_in_binary(&buffer, start, job.requests.case(turn))),
            200 => Ok(is_right(&buffer[start..], job.requests.case(turn))),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&buffer[start..]))),
        };
        seen.note(begin, answer);
        turn += 1;
    }
    Ok(seen)
}

/// A whole request, and the length of its body.
pub(crate) type Message = (Vec<u8>, usize);

/// What is asked.
pub(crate) fn messages(job: &Job) -> Vec<Message> {
    job.requests.cases.iter().map(|case| message(job, case)).collect()
}

fn message(job: &Job, case: &Case) -> Message {
    let (model, target, requests) = (&job.model, &job.target, &job.requests);
    let v2 = |data: serde_json::Value, more: serde_json::Value| {
        let mut input = serde_json::json!({"name": requests.input, "shape": requests.shape, "datatype": "FP32"});
        input.as_object_mut().into_iter().for_each(|input| input.extend(data.as_object().cloned().unwrap_or_default()));
        let mut body = serde_json::json!({ "inputs": [input] });
        body.as_object_mut().into_iter().for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
        (format!("/v2/models/{model}/infer"), body.to_string().into_bytes())
    };
    let mut header = String::from("Content-Type: application/json\r\n");
    let (path, body) = match job.protocol {
        Protocol::V2 => v2(serde_json::json!({"data": case.values}), serde_json::json!({})),
        Protocol::V2Rest => {
            let bytes: Vec<u8> = case.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let (path, json) = v2(
                serde_json::json!({"parameters": {"binary_data_size": bytes.len()}}),
                serde_json::json!({"parameters": {"binary_data_output": true}}),
            );
            // As tritonclient sends it: without a Content-Type.
            header = format!("Inference-Header-Content-Length: {}\r\n", json.len());
            (path, [json, bytes].concat())
        }
        _ => {
            let body = format!("{{\"instances\":{}}}", nested(requests, &case.values));
            (format!("/v1/models/{model}:predict"), body.into_bytes())
        }
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: {target}\r\n{header}Content-Length: {}\r\n\r\n", body.len());
    let length = body.len();
    ([head.into_bytes(), body].concat(), length)
}

/// The values as lists in lists.
fn nested(requests: &Requests, values: &[f32]) -> String {
    let mut level: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    for size in requests.shape.iter().skip(1).rev() {
        level = level.chunks(*size).map(|some| format!("[{}]", some.join(","))).collect();
    }
    format!("[{}]", level.join(","))
}

/// Reads an answer; gives its status and where its body begins in the buffer, which ends with it.
async fn read_answer(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(u16, usize)> {
    buffer.clear();
    let (mut start, mut end) = (0, usize::MAX);
    let mut status = 0;
    while buffer.len() < end {
        if socket.read_buf(buffer).await? == 0 {
            return Err("the server hung up".into());
        }
        if start == 0
            && let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            start = head + 4;
            let head = std::str::from_utf8(&buffer[..head])?;
            status = head.get(9..12).ok_or("no status")?.parse()?;
            let length = head.lines().filter_map(|line| line.split_once(':'));
            let mut length =
                length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value);
            end = start + length.next_back().ok_or("an answer without a length")?.trim().parse::<usize>()?;
        }
    }
    Ok((status, start))
}

/// Whether the binary data after the JSON of an answer is right.
fn is_right_in_binary(answer: &[u8], start: usize, case: &Case) -> bool {
    let Some((head, body)) = answer.split_at_checked(start) else { return false };
    let head = String::from_utf8_lossy(head);
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("inference-header-content-length"));
    let Some(length) = length.next().and_then(|(_, value)| value.trim().parse::<usize>().ok()) else { return false };
    let values = body.get(length..).unwrap_or_default().chunks_exact(4);
    let values: Vec<f32> = values.filter_map(|four| four.try_into().ok()).map(f32::from_le_bytes).collect();
    case.is_answered_by(&values)
}

fn is_right(body: &[u8], case: &Case) -> bool {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else { return false };
    // `outputs` is the protocol V2's: a list of one tensor.
    let output =
        answer.get_mut("outputs").and_then(|outputs| outputs.get_mut(0)).and_then(|output| output.get_mut("data"));
    let Some(predictions) = output.map(Value::take).or_else(|| answer.remove("predictions")) else { return false };
    let mut values = Vec::new();
    flatten(&predictions, &mut values);
    case.is_answered_by(&values)
}

fn flatten(value: &Value, values: &mut Vec<f32>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| flatten(value, values)),
        // One output by its name, as servers that are no TensorFlow Serving give it.
        Value::Object(map) => map.values().for_each(|value| flatten(value, values)),
        value => values.extend(value.as_f64().map(|value| value as f32)),
    }
}
