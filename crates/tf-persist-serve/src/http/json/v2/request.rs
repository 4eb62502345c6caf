//! Infer requests.

use tf_persist_core::{DType, MAX_RANK, Tensor};

use super::super::cursor::Cursor;
use super::data::{self, Declared};
use super::fields::{boolean, count, list, object, parameter, text};
use crate::status::Status;
use crate::v2::{self, InferRequest, Output, Parameters};

/// The body of an infer request.
#[derive(Debug)]
pub struct InferBody {
    /// What the answer repeats.
    pub(crate) id: Option<String>,
    pub(crate) parameters: Parameters,
    pub(crate) request: InferRequest,
}

impl InferBody {
    /// Tensors by the names of the inputs.
    #[must_use]
    pub fn inputs(&self) -> &[(String, Tensor)] {
        &self.request.inputs
    }
}

/// Reads a request: its JSON, and the binary data of tensors that follows it. A member that is null counts as absent.
/// At most `limit` tensors are allowed, of inputs and of outputs.
///
/// # Errors
/// `INVALID_ARGUMENT` if the JSON or the data is not as the protocol says, which names the tensor at fault.
pub fn infer_request(json: &[u8], binary: &[u8], limit: usize) -> Result<InferBody, Status> {
    let mut cursor = Cursor { text: json, at: 0 };
    cursor.skip_space();
    if cursor.at == json.len() {
        return Err(Status::invalid_argument("the request has no JSON"));
    }
    let (mut id, mut parameters) = (None, Parameters::default());
    let mut inputs: Option<Vec<(String, Tensor)>> = None;
    let mut outputs = Vec::new();
    let mut rest = binary;
    object(&mut cursor, "the request", |name, cursor| match name {
        _ if cursor.peek() == b'n' => Ok(cursor.word(b"null")?),
        b"id" => {
            id = Some(text(cursor, "`id`")?);
            Ok(())
        }
        b"parameters" => object(cursor, "`parameters`", |name, cursor| {
            let name = String::from_utf8_lossy(name);
            parameter(cursor, &name, |value| parameters.set(&name, value))
        }),
        b"inputs" if inputs.is_some() => Err(Status::invalid_argument("`inputs` is there twice")),
        b"inputs" => {
            let inputs = inputs.insert(Vec::new());
            list(cursor, "`inputs`", |cursor| {
                check_limit("inputs", inputs.len(), limit)?;
                inputs.push(input(inputs.len(), cursor, &mut rest)?);
                Ok(())
            })
        }
        b"outputs" => list(cursor, "`outputs`", |cursor| {
            check_limit("outputs", outputs.len(), limit)?;
            outputs.push(output(cursor)?);
            Ok(())
        }),
        _ => Ok(cursor.skip_value()?),
    })?;
    cursor.skip_space();
    if cursor.at < json.len() {
        return Err(Status::invalid_argument("text follows the JSON of the request"));
    }
    let Some(inputs) = inputs else { return Err(Status::invalid_argument("the request has no `inputs`")) };
    if !rest.is_empty() {
        let reason = format!("{} bytes of binary data follow those of the inputs", rest.len());
        return Err(Status::invalid_argument(reason));
    }
    Ok(InferBody { id, parameters, request: InferRequest { inputs, outputs } })
}

fn check_limit(what: &str, count: usize, limit: usize) -> Result<(), Status> {
    if count < limit {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("the request has more than {limit} {what}")))
}

/// What is known of an input so far.
#[derive(Default)]
struct Input<'a> {
    name: Option<String>,
    dtype: Option<DType>,
    shape: Option<Vec<usize>>,
    binary_bytes: Option<usize>,
    /// At the elements, if they come before the name, the datatype or the shape.
    data: Option<Cursor<'a>>,
    tensor: Option<Tensor>,
}

/// Reads an input. Its binary data, if it has any, is taken from the beginning of `binary`.
fn input(index: usize, cursor: &mut Cursor<'_>, binary: &mut &[u8]) -> Result<(String, Tensor), Status> {
    let mut found = Input::default();
    let what = |member: &str, found: &Input<'_>| match &found.name {
        Some(name) => format!("`{member}` of input `{name}`"),
        None => format!("`{member}` of input {index}"),
    };
    object(cursor, &format!("input {index}"), |member, cursor| {
        match member {
            // KServe's client has a `data` of null beside binary data of no bytes.
            _ if cursor.peek() == b'n' => cursor.word(b"null")?,
            b"name" => found.name = Some(text(cursor, &what("name", &found))?),
            b"datatype" => {
                let name = text(cursor, &what("datatype", &found))?;
                let unknown = || Status::invalid_argument(format!("{} is unknown: {name}", what("datatype", &found)));
                found.dtype = Some(v2::dtype(&name).ok_or_else(unknown)?);
            }
            b"shape" => found.shape = Some(shape(cursor, &what("shape", &found))?),
            b"parameters" => object(cursor, &what("parameters", &found), |name, cursor| {
                if name == b"binary_data_size" {
                    found.binary_bytes = Some(count(cursor, &what("binary_data_size", &found))?);
                    return Ok(());
                }
                v2::refuse_shared_memory(&String::from_utf8_lossy(name))?;
                Ok(cursor.skip_value()?)
            })?,
            b"data" if found.data.is_some() || found.tensor.is_some() => {
                return Err(Status::invalid_argument(format!("{} is there twice", what("data", &found))));
            }
            b"data" => match &found {
                // As all clients send it. The text is read once.
                Input { name: Some(name), dtype: Some(dtype), shape: Some(shape), .. } => {
                    let declared = Declared { name, dtype: *dtype, shape };
                    found.tensor = Some(data::tensor(declared, cursor)?);
                }
                _ => {
                    found.data = Some(*cursor);
                    cursor.skip_value()?;
                }
            },
            _ => cursor.skip_value()?,
        }
        Ok(())
    })?;
    found.finish(index, binary)
}

impl Input<'_> {
    fn finish(self, index: usize, binary: &mut &[u8]) -> Result<(String, Tensor), Status> {
        let Some(name) = self.name else { return Err(Status::invalid_argument(format!("input {index} has no name"))) };
        let refuse = |reason: &str| Err(Status::invalid_argument(format!("input `{name}`: {reason}")));
        let Some(dtype) = self.dtype else { return refuse("`datatype` is missing") };
        let Some(shape) = self.shape else { return refuse("`shape` is missing") };
        let declared = Declared { name: &name, dtype, shape: &shape };
        let tensor = match (self.tensor, self.data, self.binary_bytes) {
            (None, None, None) => return refuse("`data` is missing, and so is `binary_data_size`"),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return refuse("it has `data` as well as `binary_data_size`");
            }
            (Some(tensor), ..) => tensor,
            (None, Some(mut cursor), _) => data::tensor(declared, &mut cursor)?,
            (None, None, Some(wanted)) => {
                let Some((own, rest)) = binary.split_at_checked(wanted) else {
                    let left = binary.len();
                    return refuse(&format!("`binary_data_size` is {wanted}, and {left} bytes are left"));
                };
                *binary = rest;
                v2::decode(&name, dtype, &shape, own)?
            }
        };
        Ok((name, tensor))
    }
}

fn shape(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<usize>, Status> {
    let mut shape = Vec::new();
    list(cursor, what, |cursor| {
        if shape.len() == MAX_RANK {
            return Err(Status::invalid_argument(format!("{what} has more than {MAX_RANK} sizes")));
        }
        shape.push(count(cursor, what)?);
        Ok(())
    })?;
    Ok(shape)
}

fn output(cursor: &mut Cursor<'_>) -> Result<Output, Status> {
    let mut name = None;
    let (mut binary, mut classes) = (None, None);
    object(cursor, "an output", |member, cursor| match member {
        _ if cursor.peek() == b'n' => Ok(cursor.word(b"null")?),
        b"name" => {
            name = Some(text(cursor, "`name` of an output")?);
            Ok(())
        }
        b"parameters" => object(cursor, "`parameters` of an output", |name, cursor| {
            match name {
                b"binary_data" => binary = Some(boolean(cursor, "`binary_data`")?),
                b"classification" => parameter(cursor, "classification", |value| {
                    classes = v2::classes(value)?;
                    Ok(())
                })?,
                _ => {
                    v2::refuse_shared_memory(&String::from_utf8_lossy(name))?;
                    cursor.skip_value()?;
                }
            }
            Ok(())
        }),
        _ => Ok(cursor.skip_value()?),
    })?;
    let Some(name) = name else { return Err(Status::invalid_argument("an output has no name")) };
    Ok(Output { name, binary, classes })
}
