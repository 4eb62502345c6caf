//! Predict requests into tensors (`FillPredictRequestFromJson` of `util/json_tensor.cc`).

use tf_persist_core::tensor::TensorBuilder;
use tf_persist_core::{DType, Tensor};

use super::Form;
use super::cursor::Cursor;
use super::explain::measure;
use super::nest::{Column, Nest, Stop, floats, room};
use super::outline::Outline;
use super::show::show;
use super::string::c_string;
use crate::status::Status;

/// The members that matter, in the order of [`Outline::members`].
const MEMBERS: [&str; 3] = ["signature_name", "instances", "inputs"];
const SIGNATURE: usize = 0;
const INSTANCES: usize = 1;
const INPUTS: usize = 2;

/// The body of a predict request, of which the outline is known: it is a JSON object, and its signature has a name.
pub struct PredictBody<'a> {
    outline: Outline<'a, 3>,
    signature_name: Option<String>,
    /// What plain nested lists of numbers are as 32-bit floats, and which member they are of. All of the body has to be read
    /// before the model is known, and with it the dtype; this one is by far the most common.
    guess: Option<(usize, Tensor)>,
}

impl<'a> PredictBody<'a> {
    /// Reads the outline. All of the body has to be valid JSON; what is after the closing brace is not looked at.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not a JSON object, or the signature's name no string.
    pub fn parse(body: &'a [u8]) -> Result<Self, Status> {
        let mut guess = None;
        let outline = Outline::parse(body, MEMBERS, |member, mut cursor| {
            if member == SIGNATURE || guess.is_some() || cursor.peek() != b'[' {
                return None;
            }
            guess = Some((member, guess_floats(&mut cursor)?));
            Some(cursor)
        })?;
        let signature_name = outline.signature_name(SIGNATURE)?;
        Ok(Self { outline, signature_name, guess })
    }

    /// The signature that it names; `None` for the default one, which an empty name means as well.
    #[must_use]
    pub fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// Decodes the tensors of a signature's inputs.
    ///
    /// In the row form of several inputs, where the first instance is a base64 object, only the first input comes back: the
    /// others are missing, which is for the checks of predict to say.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the tensors are not written as the signature wants them; in the column form, `UNIMPLEMENTED` for a
    /// dtype that JSON has no values for.
    pub fn tensors(&self, inputs: &[(&str, DType)]) -> Result<(Form, Vec<(String, Tensor)>), Status> {
        if inputs.is_empty() {
            let name = self.signature_name().unwrap_or("DEFAULT");
            return Err(Status::invalid_argument(format!("Failed to get input map for signature: {name}")));
        }
        match (self.outline.members[INSTANCES], self.outline.members[INPUTS]) {
            (Some(_), Some(_)) => Err(self
                .outline
                .refuse("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")),
            (Some(instances), None) => {
                let mut inside = instances;
                if instances.peek() != b'[' {
                    return Err(self.outline.refuse("Expecting 'instances' to be an list/array"));
                }
                if !inside.enter() {
                    return Err(self.outline.refuse("No values in 'instances' array"));
                }
                let tensors = match self.guessed(INSTANCES, inputs) {
                    Some(tensors) => tensors,
                    None => rows(instances, inside, inputs)?,
                };
                Ok((Form::Row, tensors))
            }
            (None, Some(values)) => {
                let tensors = match self.guessed(INPUTS, inputs) {
                    Some(tensors) => tensors,
                    None => columns(values, inputs)?,
                };
                Ok((Form::Column, tensors))
            }
            (None, None) => Err(Status::invalid_argument("Missing 'inputs' or 'instances' key")),
        }
    }

    /// The tensor that was decoded already, if it is what is wanted.
    fn guessed(&self, member: usize, inputs: &[(&str, DType)]) -> Option<Vec<(String, Tensor)>> {
        match (&self.guess, inputs) {
            (Some((of, tensor)), [(name, DType::Float32)]) if *of == member => {
                Some(vec![((*name).to_owned(), tensor.clone())])
            }
            _ => None,
        }
    }
}

/// Steps over plain nested lists of numbers, if that is what is here.
fn guess_floats(cursor: &mut Cursor<'_>) -> Option<Tensor> {
    let mut nest = Nest::default();
    let mut floats_so_far = TensorBuilder::with_capacity(room(cursor.text.len() - cursor.at)).ok()?;
    floats(cursor, &mut nest, &mut floats_so_far).ok()?;
    floats_so_far.finish(DType::Float32, &nest.shape()).ok()
}

/// `instances`: at the list, and inside of it. There is at least one.
fn rows(list: Cursor<'_>, inside: Cursor<'_>, inputs: &[(&str, DType)]) -> Result<Vec<(String, Tensor)>, Status> {
    if inside.peek() != b'{' && inputs.len() > 1 {
        return Err(Status::invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per \
             tensorinfo_map",
        ));
    }
    if is_named(inside)? { named_rows(inside, inputs) } else { plain_rows(list, inside, inputs[0]) }
}

/// Whether the value here is an object of named tensors, not one of base64.
fn is_named(cursor: Cursor<'_>) -> Result<bool, Status> {
    Ok(cursor.peek() == b'{' && cursor.base64_object()?.is_none())
}

/// Instances that are values of one input.
fn plain_rows(
    list: Cursor<'_>,
    mut inside: Cursor<'_>,
    (name, dtype): (&str, DType),
) -> Result<Vec<(String, Tensor)>, Status> {
    let mut column = Column::new(dtype, list.text.len() - list.at)?;
    let mut nest = Nest::default();
    let mut cursor = list;
    match column.take(&mut cursor, &mut nest) {
        Ok(()) => return Ok(vec![(name.to_owned(), column.finish(dtype, &nest.shape())?)]),
        Err(Stop::Status(status)) => return Err(status),
        Err(Stop::Irregular) => {}
    }
    let mut first = None;
    let mut index = 0;
    loop {
        if is_named(inside)? {
            let reason = format!("Expecting value/list but got object at item {index} of input list");
            return Err(Status::invalid_argument(reason));
        }
        compare(name, dtype, inside, &mut first).map_err(|status| {
            Status::invalid_argument(format!("Failed to process element: {index} of 'instances' list. Error: {status}"))
        })?;
        index += 1;
        inside.skip_value()?;
        if !inside.next_element()? {
            return Err(unexplained());
        }
    }
}

/// Checks an item on its own, and then against the first one, of which number of elements and shape are kept.
fn compare(name: &str, dtype: DType, item: Cursor<'_>, first: &mut Option<(usize, Vec<usize>)>) -> Result<(), Status> {
    let (count, shape) = measure(name, dtype, item)?;
    let Some((first_count, first_shape)) = first else {
        *first = Some((count, shape));
        return Ok(());
    };
    if *first_count != count {
        let reason = format!("Expecting tensor size: {first_count} but got: {count}");
        return Err(Status::invalid_argument(reason));
    }
    if *first_shape != shape {
        let reason = format!("Expecting shape {} but got: {}", brackets(first_shape), brackets(&shape));
        return Err(Status::invalid_argument(reason));
    }
    Ok(())
}

/// A shape as TensorFlow Serving prints it.
fn brackets(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(","))
}

/// What cannot be: something was refused, and then nothing was found wrong with it.
fn unexplained() -> Status {
    Status::new(tf_persist_core::Code::Internal, "the request's JSON was refused for no reason")
}

/// An input of which each instance brings a value.
struct Named<'i> {
    name: &'i str,
    dtype: DType,
    column: Column,
    nest: Nest,
    /// The last instance, counted from 1, that had it.
    seen: usize,
}

/// Instances that are objects of named values.
fn named_rows(mut cursor: Cursor<'_>, inputs: &[(&str, DType)]) -> Result<Vec<(String, Tensor)>, Status> {
    let bytes = (cursor.text.len() - cursor.at) / inputs.len();
    let mut columns = Vec::with_capacity(inputs.len());
    for (name, dtype) in inputs.iter().copied() {
        columns.push(Named { name, dtype, column: Column::new(dtype, bytes)?, nest: Nest::default(), seen: 0 });
    }
    let mut count = 0;
    loop {
        if !is_named(cursor)? {
            let reason = format!("Expecting object but got list at item {count} of input list");
            return Err(Status::invalid_argument(reason));
        }
        named_row(&mut cursor, count, &mut columns)?;
        count += 1;
        if !cursor.next_element()? {
            break;
        }
    }
    let finish = |named: Named<'_>| {
        let mut shape = named.nest.shape();
        shape.insert(0, count);
        Ok((named.name.to_owned(), named.column.finish(named.dtype, &shape)?))
    };
    columns.into_iter().map(finish).collect()
}

/// Takes one instance.
fn named_row(cursor: &mut Cursor<'_>, index: usize, columns: &mut [Named<'_>]) -> Result<(), Status> {
    let object = *cursor;
    // Objects mostly have their members in the same order as the signature or as each other.
    let mut expected = 0;
    let mut more = cursor.enter();
    while more {
        let name = cursor.string()?;
        let name = c_string(&name);
        cursor.colon()?;
        let is = |column: &Named<'_>| column.name.as_bytes() == name;
        let found = if columns.get(expected).is_some_and(is) { Some(expected) } else { columns.iter().position(is) };
        let result = match found {
            Some(found) => {
                expected = found + 1;
                columns[found].seen = index + 1;
                take_named(&mut columns[found], cursor)
            }
            None => {
                let name = String::from_utf8_lossy(name);
                Err(Status::invalid_argument(format!("JSON object: does not have named input: {name}")))
            }
        };
        result.map_err(|status| {
            let name = String::from_utf8_lossy(name);
            Status::invalid_argument(format!(
                "Failed to process element: {index} key: {name} of 'instances' list. Error: {status}"
            ))
        })?;
        more = cursor.next_member()?;
    }
    if columns.iter().all(|column| column.seen == index + 1) {
        return Ok(());
    }
    let mut names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    names.sort_unstable();
    Err(Status::invalid_argument(format!(
        "Failed to process element: {index} of 'instances' list. JSON object: {} keys must be equal to: {}",
        show(object),
        names.join(",")
    )))
}

/// Takes an instance's value of an input.
fn take_named(named: &mut Named<'_>, cursor: &mut Cursor<'_>) -> Result<(), Status> {
    let value = *cursor;
    let before = named.nest.is_known().then(|| named.nest.clone());
    match named.column.take(cursor, &mut named.nest) {
        Ok(()) => Ok(()),
        Err(Stop::Status(status)) => Err(status),
        Err(Stop::Irregular) => {
            let mut first = before.map(|nest| {
                let shape = nest.shape();
                (shape.iter().product(), shape)
            });
            compare(named.name, named.dtype, value, &mut first)?;
            Err(unexplained())
        }
    }
}

/// `inputs`: the value of the only input, or an object of all of them. Names that are no inputs are not looked at.
fn columns(values: Cursor<'_>, inputs: &[(&str, DType)]) -> Result<Vec<(String, Tensor)>, Status> {
    if !is_named(values)? {
        if inputs.len() > 1 {
            return Err(Status::invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per \
                 tensorinfo_map",
            ));
        }
        return Ok(vec![column(values, inputs[0], inputs.len())?]);
    }
    let mut found: Vec<Option<Cursor<'_>>> = vec![None; inputs.len()];
    let mut cursor = values;
    let mut more = cursor.enter();
    while more {
        let name = cursor.string()?;
        cursor.colon()?;
        if let Some(index) = inputs.iter().position(|(input, _)| input.as_bytes() == name.as_ref()) {
            found[index].get_or_insert(cursor);
        }
        cursor.skip_value()?;
        more = cursor.next_member()?;
    }
    let column = |(input, at): (&(&str, DType), Option<Cursor<'_>>)| match at {
        Some(at) => column(at, *input, inputs.len()),
        None => Err(Status::invalid_argument(format!("Missing named input: {} in 'inputs' object.", input.0))),
    };
    inputs.iter().zip(found).map(column).collect()
}

/// The value here, as a tensor.
fn column(value: Cursor<'_>, (name, dtype): (&str, DType), inputs: usize) -> Result<(String, Tensor), Status> {
    let mut column = Column::new(dtype, (value.text.len() - value.at) / inputs)?;
    let mut nest = Nest::default();
    let mut cursor = value;
    match column.take(&mut cursor, &mut nest) {
        Ok(()) => Ok((name.to_owned(), column.finish(dtype, &nest.shape())?)),
        Err(Stop::Status(status)) => Err(status),
        Err(Stop::Irregular) => {
            measure(name, dtype, value)?;
            Err(unexplained())
        }
    }
}
