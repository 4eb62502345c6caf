//! JSON values as error messages show them: pretty-printed, with lists on one line, and truncated.

use super::cursor::{Cursor, Parsed};
use super::number::Number;
use super::write::{Lists, Writer};

/// No new value is written after this many bytes (`kMaxJsonDebugStringBytes`). A value that was begun is finished, so
/// the text may be longer.
const LIMIT: usize = 256;

/// Prints a value of a valid text. NaN or an infinity, which RapidJSON cannot write, ends it.
pub(super) fn json_snippet(mut value: Cursor<'_>) -> String {
    let mut writer = Writer::with_capacity(LIMIT + 64);
    writer.lists = Lists::OneLine;
    let _ = events(&mut value, &mut writer);
    String::from_utf8_lossy(&writer.into_bytes()).into_owned()
}

/// Writes value after value; `None` once the limit is reached.
fn events(cursor: &mut Cursor<'_>, writer: &mut Writer) -> Parsed<Option<()>> {
    // No deeper than the limit: each level writes a bracket.
    let mut open: Vec<bool> = Vec::new();
    loop {
        if writer.len() >= LIMIT {
            return Ok(None);
        }
        match cursor.peek() {
            byte @ (b'[' | b'{') => {
                let object = byte == b'{';
                if object {
                    writer.begin_object();
                } else {
                    writer.begin_list();
                }
                if cursor.enter() {
                    open.push(object);
                    if object && name(cursor, writer)?.is_none() {
                        return Ok(None);
                    }
                    continue;
                }
                if end(object, writer).is_none() {
                    return Ok(None);
                }
            }
            b'"' => writer.string(&cursor.string()?),
            b'n' => {
                cursor.word(b"null")?;
                writer.raw(b"null");
            }
            b't' => {
                cursor.word(b"true")?;
                writer.boolean(true);
            }
            b'f' => {
                cursor.word(b"false")?;
                writer.boolean(false);
            }
            _ => match cursor.number()? {
                Number::Unsigned(value) => writer.unsigned(value),
                Number::Negative(value) => writer.signed(value),
                Number::Double(value) if value.is_finite() => writer.raw(shortest(value).as_bytes()),
                Number::Double(_) => {
                    writer.raw(b"");
                    return Ok(None);
                }
            },
        }
        loop {
            let Some(object) = open.last().copied() else { return Ok(Some(())) };
            let more = if object { cursor.next_member()? } else { cursor.next_element()? };
            if more {
                if object && name(cursor, writer)?.is_none() {
                    return Ok(None);
                }
                break;
            }
            open.pop();
            if end(object, writer).is_none() {
                return Ok(None);
            }
        }
    }
}

fn name(cursor: &mut Cursor<'_>, writer: &mut Writer) -> Parsed<Option<()>> {
    if writer.len() >= LIMIT {
        return Ok(None);
    }
    writer.string(&cursor.string()?);
    cursor.colon()?;
    Ok(Some(()))
}

fn end(object: bool, writer: &mut Writer) -> Option<()> {
    if writer.len() >= LIMIT {
        return None;
    }
    if object {
        writer.end_object();
    } else {
        writer.end_list();
    }
    Some(())
}

/// A double with as few digits as identify it, in the format of RapidJSON (`internal/dtoa.h`).
fn shortest(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0.0".into() } else { "0.0".into() };
    }
    let scientific = format!("{:e}", value.abs());
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let length = digits.len() as i32;
    // 10^(point - 1) <= value < 10^point
    let point = exponent + 1;
    let text = if point >= length && point <= 21 {
        format!("{digits}{:0<zeros$}.0", "", zeros = (point - length) as usize)
    } else if point > 0 && point <= 21 {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    } else if point > -6 && point <= 0 {
        format!("0.{:0<zeros$}{digits}", "", zeros = -point as usize)
    } else if length == 1 {
        format!("{digits}e{exponent}")
    } else {
        format!("{}.{}e{exponent}", &digits[..1], &digits[1..])
    };
    if value < 0.0 { format!("-{text}") } else { text }
}
