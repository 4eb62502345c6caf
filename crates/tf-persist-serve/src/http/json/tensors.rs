//! Tensors in row format and in column format (`FillTensorMapFromInstancesList` and `FillTensorMapFromInputsMap` of
//! `util/json_tensor.cc`). The text is known to be valid JSON.

use tf_persist_core::{Code, DType, Tensor};

use super::builders::{ColumnBuilder, ShapeBuilder, Stop};
use super::cursor::Cursor;
use super::diagnose::check_value;
use super::json_snippet::json_snippet;
use super::string::c_string;
use crate::status::Status;

/// The inputs of a signature.
pub(super) struct SignatureInputs<'i> {
    inputs: &'i [(&'i str, DType)],
    has_default: &'i dyn Fn(&str) -> bool,
    /// The input whose values need no name: the only input, or the only one without a default.
    pub(super) unnamed: Option<(&'i str, DType)>,
}

impl<'i> SignatureInputs<'i> {
    pub(super) fn new(inputs: &'i [(&'i str, DType)], has_default: &'i dyn Fn(&str) -> bool) -> Self {
        let mut required = inputs.iter().filter(|(name, _)| !has_default(name));
        let unnamed = match inputs {
            [only] => Some(*only),
            _ => required.next().copied().filter(|_| required.next().is_none()),
        };
        Self { inputs, has_default, unnamed }
    }
}

/// Decodes `instances`. The cursors are at the list and at its first element.
pub(super) fn rows(
    list: Cursor<'_>,
    inside: Cursor<'_>,
    signature: &SignatureInputs<'_>,
) -> Result<Vec<(String, Tensor)>, Status> {
    if inside.peek() != b'{' && signature.unnamed.is_none() {
        return Err(Status::invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per \
             tensorinfo_map",
        ));
    }
    // A base64 object in row format with several inputs belongs to the first one, as in TensorFlow Serving.
    let unnamed = signature.unnamed.unwrap_or(signature.inputs[0]);
    if is_named_object(inside)? { named_rows(inside, signature) } else { plain_rows(list, inside, unnamed) }
}

/// Whether the value here is an object of named tensors, not a base64 object.
fn is_named_object(cursor: Cursor<'_>) -> Result<bool, Status> {
    Ok(cursor.peek() == b'{' && cursor.base64_object()?.is_none())
}

/// Decodes instances that are values of one input.
fn plain_rows(
    list: Cursor<'_>,
    mut inside: Cursor<'_>,
    (name, dtype): (&str, DType),
) -> Result<Vec<(String, Tensor)>, Status> {
    let mut column = ColumnBuilder::new(dtype, list.text.len() - list.at)?;
    let mut shape_builder = ShapeBuilder::default();
    let mut cursor = list;
    match column.take(&mut cursor, &mut shape_builder) {
        Ok(()) => return Ok(vec![(name.to_owned(), column.finish(dtype, &shape_builder.shape())?)]),
        Err(Stop::Status(status)) => return Err(status),
        Err(Stop::Irregular) => {}
    }
    let mut first = None;
    let mut index = 0;
    loop {
        if is_named_object(inside)? {
            let reason = format!("Expecting value/list but got object at item {index} of input list");
            return Err(Status::invalid_argument(reason));
        }
        check_item(name, dtype, inside, &mut first).map_err(|status| {
            Status::invalid_argument(format!("Failed to process element: {index} of 'instances' list. Error: {status}"))
        })?;
        index += 1;
        inside.skip_value()?;
        if !inside.next_element()? {
            return Err(undiagnosed());
        }
    }
}

/// Checks an item by itself, and then against the number of elements and the shape of the first one.
fn check_item(
    name: &str,
    dtype: DType,
    item: Cursor<'_>,
    first: &mut Option<(usize, Vec<usize>)>,
) -> Result<(), Status> {
    let (count, shape) = check_value(name, dtype, item)?;
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

/// Unreachable: a value was refused, but has no error.
fn undiagnosed() -> Status {
    Status::new(Code::Internal, "the request's JSON was refused without a reason")
}

/// An input for which each instance has a value.
struct NamedColumn<'i> {
    name: &'i str,
    dtype: DType,
    has_default: bool,
    column: ColumnBuilder,
    shape_builder: ShapeBuilder,
    /// The last instance, counted from 1, that has a value for it.
    seen: usize,
}

impl NamedColumn<'_> {
    /// Whether this instance and all before it have a value, or, for an input with a default, none of them has.
    fn is_whole(&self, index: usize) -> bool {
        self.seen == index + 1 || (self.has_default && self.seen == 0)
    }
}

/// Decodes instances that are objects of named values.
fn named_rows(mut cursor: Cursor<'_>, signature: &SignatureInputs<'_>) -> Result<Vec<(String, Tensor)>, Status> {
    let bytes = (cursor.text.len() - cursor.at) / signature.inputs.len();
    let mut columns = Vec::with_capacity(signature.inputs.len());
    for (name, dtype) in signature.inputs.iter().copied() {
        let (has_default, column) = ((signature.has_default)(name), ColumnBuilder::new(dtype, bytes)?);
        columns.push(NamedColumn { name, dtype, has_default, column, shape_builder: ShapeBuilder::default(), seen: 0 });
    }
    let mut count = 0;
    loop {
        if !is_named_object(cursor)? {
            let reason = format!("Expecting object but got list at item {count} of input list");
            return Err(Status::invalid_argument(reason));
        }
        named_row(&mut cursor, count, &mut columns)?;
        count += 1;
        if !cursor.next_element()? {
            break;
        }
    }
    let finish = |named: NamedColumn<'_>| {
        let mut shape = named.shape_builder.shape();
        shape.insert(0, count);
        Ok((named.name.to_owned(), named.column.finish(named.dtype, &shape)?))
    };
    columns.into_iter().filter(|named| named.seen > 0).map(finish).collect()
}

/// Reads one instance.
fn named_row(cursor: &mut Cursor<'_>, index: usize, columns: &mut [NamedColumn<'_>]) -> Result<(), Status> {
    let object = *cursor;
    // Objects usually have their members in the order of the signature.
    let mut expected = 0;
    // Whether there is an input that earlier instances do not have.
    let mut is_late = false;
    let mut more = cursor.enter();
    while more {
        let name = cursor.string()?;
        let name = c_string(&name);
        cursor.colon()?;
        let is = |column: &NamedColumn<'_>| column.name.as_bytes() == name;
        let found = if columns.get(expected).is_some_and(is) { Some(expected) } else { columns.iter().position(is) };
        let result = match found {
            Some(found) => {
                expected = found + 1;
                is_late |= columns[found].seen < index;
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
    if !is_late && columns.iter().all(|column| column.is_whole(index)) {
        return Ok(());
    }
    let mut names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    names.sort_unstable();
    Err(Status::invalid_argument(format!(
        "Failed to process element: {index} of 'instances' list. JSON object: {} keys must be equal to: {}",
        json_snippet(object),
        names.join(",")
    )))
}

/// Reads an instance's value of an input.
fn take_named(named: &mut NamedColumn<'_>, cursor: &mut Cursor<'_>) -> Result<(), Status> {
    let value = *cursor;
    let before = named.shape_builder.is_known().then(|| named.shape_builder.clone());
    match named.column.take(cursor, &mut named.shape_builder) {
        Ok(()) => Ok(()),
        Err(Stop::Status(status)) => Err(status),
        Err(Stop::Irregular) => {
            let mut first = before.map(|shape_builder| {
                let shape = shape_builder.shape();
                (shape.iter().product(), shape)
            });
            check_item(named.name, named.dtype, value, &mut first)?;
            Err(undiagnosed())
        }
    }
}

/// Decodes `inputs`: the value of the only input, or an object of all of them. Other names are ignored.
pub(super) fn columns(values: Cursor<'_>, signature: &SignatureInputs<'_>) -> Result<Vec<(String, Tensor)>, Status> {
    let inputs = signature.inputs;
    if !is_named_object(values)? {
        let Some(unnamed) = signature.unnamed else {
            return Err(Status::invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per \
                 tensorinfo_map",
            ));
        };
        return Ok(vec![column(values, unnamed, 1)?]);
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
        Some(at) => Some(column(at, *input, inputs.len())),
        None if (signature.has_default)(input.0) => None,
        None => Some(Err(Status::invalid_argument(format!("Missing named input: {} in 'inputs' object.", input.0)))),
    };
    inputs.iter().zip(found).filter_map(column).collect()
}

/// The value here, as a tensor.
fn column(value: Cursor<'_>, (name, dtype): (&str, DType), inputs: usize) -> Result<(String, Tensor), Status> {
    let mut column = ColumnBuilder::new(dtype, (value.text.len() - value.at) / inputs)?;
    let mut shape_builder = ShapeBuilder::default();
    let mut cursor = value;
    match column.take(&mut cursor, &mut shape_builder) {
        Ok(()) => Ok((name.to_owned(), column.finish(dtype, &shape_builder.shape())?)),
        Err(Stop::Status(status)) => Err(status),
        Err(Stop::Irregular) => {
            check_value(name, dtype, value)?;
            Err(undiagnosed())
        }
    }
}
