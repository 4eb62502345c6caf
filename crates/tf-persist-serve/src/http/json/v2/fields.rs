//! The members of objects and the elements of lists, with their kinds checked.

use super::super::cursor::{Cursor, Fault};
use super::super::json_snippet::json_snippet;
use super::super::number::Number;
use crate::status::Status;
use crate::v2::Parameter;

/// Reads the members of the object here. `member` reads or skips the value of each.
pub(super) fn object<'a>(
    cursor: &mut Cursor<'a>,
    what: &str,
    mut member: impl FnMut(&[u8], &mut Cursor<'a>) -> Result<(), Status>,
) -> Result<(), Status> {
    if cursor.peek() != b'{' {
        return Err(other_kind(*cursor, what, "an object"));
    }
    let mut more = cursor.enter();
    while more {
        if cursor.peek() != b'"' {
            cursor.fault(Fault::ObjectMissName)?;
        }
        let name = cursor.string()?;
        cursor.colon()?;
        member(&name, cursor)?;
        more = cursor.next_member()?;
    }
    Ok(())
}

/// Reads the elements of the list here. `element` reads or skips each.
pub(super) fn list<'a>(
    cursor: &mut Cursor<'a>,
    what: &str,
    mut element: impl FnMut(&mut Cursor<'a>) -> Result<(), Status>,
) -> Result<(), Status> {
    if cursor.peek() != b'[' {
        return Err(other_kind(*cursor, what, "a list"));
    }
    let mut more = cursor.enter();
    while more {
        element(cursor)?;
        more = cursor.next_element()?;
    }
    Ok(())
}

/// Reads a string.
pub(super) fn text(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Status> {
    if cursor.peek() != b'"' {
        return Err(other_kind(*cursor, what, "a string"));
    }
    let bytes = cursor.string()?.into_owned();
    String::from_utf8(bytes).map_err(|_| Status::invalid_argument(format!("{what} is not UTF-8")))
}

/// Reads a number of things.
pub(super) fn count(cursor: &mut Cursor<'_>, what: &str) -> Result<usize, Status> {
    let wanted = "a number that is not negative";
    if !matches!(cursor.peek(), b'0'..=b'9' | b'-') {
        return Err(other_kind(*cursor, what, wanted));
    }
    let start = *cursor;
    let number = cursor.number()?.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| other_kind(start, what, wanted))
}

/// Reads `true` or `false`.
pub(super) fn boolean(cursor: &mut Cursor<'_>, what: &str) -> Result<bool, Status> {
    let word: &[u8] = match cursor.peek() {
        b't' => b"true",
        b'f' => b"false",
        _ => return Err(other_kind(*cursor, what, "true or false")),
    };
    cursor.word(word)?;
    Ok(word == b"true")
}

/// Reads the value of a parameter, and passes it on unless it is null.
pub(super) fn parameter(
    cursor: &mut Cursor<'_>,
    name: &str,
    note: impl FnOnce(Parameter<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    match cursor.peek() {
        b'n' => Ok(cursor.word(b"null")?),
        b'"' => note(Parameter::Text(&text(cursor, &format!("the parameter `{name}`"))?)),
        b't' | b'f' => note(Parameter::Bool(boolean(cursor, name)?)),
        b'0'..=b'9' | b'-' => note(match cursor.number()? {
            Number::Unsigned(value) => Parameter::Integer(value.into()),
            Number::Negative(value) => Parameter::Integer(value.into()),
            Number::Double(_) => Parameter::Other,
        }),
        _ => {
            cursor.skip_value()?;
            note(Parameter::Other)
        }
    }
}

/// The error of a value of another kind, or of a text that is not JSON.
pub(super) fn other_kind(cursor: Cursor<'_>, what: &str, wanted: &str) -> Status {
    let mut value = cursor;
    match value.skip_value() {
        Ok(()) => Status::invalid_argument(format!("{what} must be {wanted}, not {}", json_snippet(cursor))),
        Err(error) => error.into(),
    }
}
