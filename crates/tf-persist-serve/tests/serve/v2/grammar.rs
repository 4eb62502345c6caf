//! Hostile infer requests: a grammar of requests whose every rule lies now and then.

use super::DATATYPES;

/// SplitMix64: the same requests from the same seed, everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True once in this many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// A request over HTTP.
pub(super) struct HttpRequest {
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// What some rules produce in the place of a value.
const ODD_VALUES: [&str; 20] = [
    "null",
    "true",
    "{}",
    "[]",
    "[[]]",
    "\"\"",
    "\"NaN\"",
    "NaN",
    "-Infinity",
    "-1",
    "1.5",
    "1e999",
    "-0",
    "18446744073709551615",
    "99999999999999999999999",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"a\": [1]}",
    "[1, [2]]",
    "\"FP32\"",
];

const ODD_SHAPES: [&str; 10] = [
    "[-1]",
    "[]",
    "[0]",
    "[4294967296, 4294967296]",
    "[9223372036854775807, 0, 3]",
    "[1.5]",
    "[1, null]",
    "{}",
    "[[1]]",
    "[9223372036854775808]",
];

const ODD_PATHS: [&str; 12] = [
    "/v2/models/echo/versions/99/infer",
    "/v2/models/echo/versions/x/infer",
    "/v2/models/none/infer",
    "/v2/models//infer",
    "/v2/models/%ff%00/infer",
    "/v2/models/echo/versions/-7/infer",
    "/v2/repository/index",
    "/v2/models/echo/infer?x=%",
    "/v2/repository/models/echo/unload",
    "/v2/models/echo/infer/",
    "/v2/systemsharedmemory/region/r/register",
    "/v2/../v2",
];

/// An input under construction: its JSON, and its binary data.
struct Input {
    json: String,
    binary: Vec<u8>,
}

pub(super) fn http_request(random: &mut Random) -> HttpRequest {
    let datatype = DATATYPES[random.below(DATATYPES.len())].0;
    let count = if random.once_in(30) { random.below(40) } else { 1 };
    let inputs: Vec<Input> = (0..count).map(|_| input(random, datatype)).collect();
    let list: Vec<&str> = inputs.iter().map(|input| input.json.as_str()).collect();
    let mut members = vec![format!("\"inputs\": [{}]", list.join(", "))];
    if !random.once_in(20) {
        members.push(format!("\"parameters\": {}", parameters(random, datatype)));
    }
    if random.once_in(3) {
        members.push(format!("\"outputs\": {}", outputs(random)));
    }
    if random.once_in(4) {
        members.push(format!("\"id\": {}", if random.once_in(3) { random.pick(&ODD_VALUES) } else { "\"an id\"" }));
    }
    if random.once_in(20) {
        members.push("\"inputs\": []".to_owned());
    }
    if random.once_in(2) {
        members.reverse();
    }
    let mut json = format!("{{{}}}", members.join(", ")).into_bytes();
    let mut headers = Vec::new();
    let binary: Vec<u8> = inputs.iter().flat_map(|input| &input.binary).copied().collect();
    if !binary.is_empty() || random.once_in(10) {
        headers.push(("Inference-Header-Content-Length", header_length(random, json.len())));
    }
    damage(random, &mut json);
    let mut body = [json, binary].concat();
    if random.once_in(30) {
        let extra = random.below(20);
        body.extend(random.bytes(extra));
    }
    if random.once_in(25) {
        let encodings = ["gzip", "deflate", "br", "gzip, deflate", "identity", "\u{1}"];
        headers.push(("Content-Encoding", random.pick(&encodings[..5]).to_owned()));
    }
    if random.once_in(10) {
        headers.push(("Accept-Encoding", random.pick(&["gzip", "deflate", "gzip;q=0", "*;q=x", ",,"]).to_owned()));
    }
    let path = if random.once_in(40) { random.pick(&ODD_PATHS) } else { "/v2/models/echo/infer" };
    HttpRequest { path: path.to_owned(), headers, body }
}

fn header_length(random: &mut Random, truth: usize) -> String {
    match random.below(12) {
        0 => (truth + 1 + random.below(5)).to_string(),
        1 => truth.saturating_sub(1 + random.below(5)).to_string(),
        2 => random.pick(&["-1", "0", "", "x", "99999999999999999999", "1e3", "0x10"]).to_owned(),
        _ => truth.to_string(),
    }
}

fn input(random: &mut Random, datatype: &str) -> Input {
    let name = if random.once_in(15) { random.pick(&["y", "", "x\\u0000", "\\ud83d\\ude00", "X"]) } else { "x" };
    let size = random.below(4);
    let shape = if random.once_in(8) { random.pick(&ODD_SHAPES).to_owned() } else { format!("[{size}]") };
    let declared = if random.once_in(12) {
        random.pick(&["FP31", "fp32", "", "STRING", "FP32", "BYTES", "BF16", "INT64"]).to_owned()
    } else {
        datatype.to_owned()
    };
    let mut members =
        vec![format!("\"name\": \"{name}\""), format!("\"shape\": {shape}"), format!("\"datatype\": \"{declared}\"")];
    let mut binary = Vec::new();
    if random.once_in(2) {
        binary = binary_data(random, datatype, size);
        let told = match random.below(10) {
            0 => random.pick(&ODD_VALUES).to_owned(),
            1 => (binary.len() + 1).to_string(),
            2 => binary.len().saturating_sub(1).to_string(),
            _ => binary.len().to_string(),
        };
        members.push(format!("\"parameters\": {{\"binary_data_size\": {told}}}"));
        if random.once_in(15) {
            members.push("\"data\": [1]".to_owned());
        }
    } else if random.once_in(20) {
        members.push("\"parameters\": {\"shared_memory_region\": \"r\", \"shared_memory_byte_size\": 8}".to_owned());
    } else {
        members.push(format!("\"data\": {}", data(random, datatype, size)));
    }
    if random.once_in(15) {
        members.remove(random.below(members.len()));
    }
    if random.once_in(15) {
        members.push(format!("\"{}\": {}", random.pick(&["name", "shape", "data", "own"]), random.pick(&ODD_VALUES)));
    }
    if random.once_in(5) {
        members.reverse();
    }
    Input { json: format!("{{{}}}", members.join(", ")), binary }
}

fn data(random: &mut Random, datatype: &str, size: usize) -> String {
    if random.once_in(12) {
        return random.pick(&ODD_VALUES).to_owned();
    }
    if random.once_in(40) {
        let depth = random.below(400);
        return format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    }
    let count = if random.once_in(12) { random.below(6) } else { size };
    let element = |random: &mut Random| {
        if random.once_in(25) {
            return random.pick(&ODD_VALUES).to_owned();
        }
        match datatype {
            "BOOL" => random.pick(&["true", "false", "1", "0"]).to_owned(),
            "BYTES" => random.pick(&["\"\"", "\"text\"", "\"\\u00e4\"", "\"\\n\""]).to_owned(),
            "FP16" | "BF16" | "FP32" | "FP64" => {
                random.pick(&["1.5", "-0.25", "1e30", "NaN", "null", "Infinity", "\"-Infinity\"", "7"]).to_owned()
            }
            _ => random.pick(&["0", "1", "127", "-1", "300", "100000", "9223372036854775807"]).to_owned(),
        }
    };
    let elements: Vec<String> = (0..count).map(|_| element(random)).collect();
    if random.once_in(6) { format!("[[{}]]", elements.join(", ")) } else { format!("[{}]", elements.join(", ")) }
}

fn binary_data(random: &mut Random, datatype: &str, count: usize) -> Vec<u8> {
    let size = DATATYPES.iter().find(|row| row.0 == datatype).map_or(1, |row| row.2);
    let mut bytes = match datatype {
        "BYTES" => {
            let mut bytes = Vec::new();
            for _ in 0..count {
                let length = random.below(5);
                let told = match random.below(10) {
                    0 => u32::MAX,
                    1 => length as u32 + 1,
                    _ => length as u32,
                };
                bytes.extend(told.to_le_bytes());
                bytes.extend(random.bytes(length));
            }
            bytes
        }
        "BOOL" => (0..count).map(|_| if random.once_in(20) { 2 } else { random.below(2) as u8 }).collect(),
        _ => random.bytes(size * count),
    };
    if random.once_in(12) {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    bytes
}

fn parameters(random: &mut Random, datatype: &str) -> String {
    if random.once_in(30) {
        return random.pick(&ODD_VALUES).to_owned();
    }
    let mut members = vec![format!("\"signature_name\": \"{datatype}\"")];
    if random.once_in(3) {
        members.push("\"binary_data_output\": true".to_owned());
    }
    if random.once_in(10) {
        let names = ["timeout", "sequence_id", "priority", "binary_data_output", "signature_name", "own"];
        members.push(format!("\"{}\": {}", random.pick(&names), random.pick(&ODD_VALUES)));
    }
    format!("{{{}}}", members.join(", "))
}

fn outputs(random: &mut Random) -> String {
    if random.once_in(10) {
        return random.pick(&ODD_VALUES).to_owned();
    }
    let name = if random.once_in(10) { random.pick(&["z", ""]) } else { "y" };
    let parameters = match random.below(6) {
        0 => format!("{{\"binary_data\": {}}}", random.pick(&ODD_VALUES)),
        1 => format!("{{\"classification\": {}}}", random.pick(&["1", "0", "-1", "18446744073709551615", "null"])),
        2 => "{\"shared_memory_region\": \"r\"}".to_owned(),
        3 => "{\"binary_data\": true}".to_owned(),
        _ => "{}".to_owned(),
    };
    let output = format!("{{\"name\": \"{name}\", \"parameters\": {parameters}}}");
    if random.once_in(10) { format!("[{output}, {output}]") } else { format!("[{output}]") }
}

/// Changes, drops or repeats bytes now and then.
pub(super) fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() || !random.once_in(6) {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(4) {
        0 => bytes.truncate(at),
        1 => bytes[at] = random.next() as u8,
        2 => {
            bytes.remove(at);
        }
        _ => {
            let again = bytes[at..(at + 8).min(bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
    }
}
