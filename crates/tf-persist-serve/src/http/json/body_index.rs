//! The index of a request body: where the members that matter are.

use super::cursor::{Cursor, Fault, Parsed};
use super::json_snippet::json_snippet;
use crate::status::Status;

/// A valid JSON object, and the positions of some of its members.
pub(super) struct BodyIndex<'a, const N: usize> {
    /// At the object.
    root: Cursor<'a>,
    /// At the values of the members, in the order of the names. Of several members with one name, the first counts.
    pub(super) members: [Option<Cursor<'a>>; N],
}

impl<'a, const N: usize> BodyIndex<'a, N> {
    /// Reads a body. `visit` may read the value of a member and return its end. If it returns `None`, the value is
    /// skipped here, which reports any syntax error in it.
    pub(super) fn parse(
        body: &'a [u8],
        names: [&str; N],
        mut visit: impl FnMut(usize, Cursor<'a>) -> Option<Cursor<'a>>,
    ) -> Result<Self, Status> {
        if body.is_empty() {
            return Err(Status::invalid_argument("JSON Parse error: The document is empty"));
        }
        let mut cursor = Cursor { text: body, at: 0 };
        // A byte order mark, or any part of one.
        for byte in [0xEF, 0xBB, 0xBF] {
            cursor.eat(byte);
        }
        cursor.skip_space();
        let mut index = Self { root: cursor, members: [None; N] };
        match cursor.peek() {
            b'{' => index.members(cursor, names, &mut visit)?,
            0 | b']' | b'}' | b',' | b':' => cursor.fault(Fault::DocumentEmpty)?,
            _ => {
                cursor.skip_value()?;
                return Err(index.refuse("Is not object"));
            }
        }
        Ok(index)
    }

    fn members(
        &mut self,
        mut cursor: Cursor<'a>,
        names: [&str; N],
        visit: &mut impl FnMut(usize, Cursor<'a>) -> Option<Cursor<'a>>,
    ) -> Parsed<()> {
        if !cursor.enter() {
            return Ok(());
        }
        loop {
            if cursor.peek() != b'"' {
                return cursor.fault(Fault::ObjectMissName);
            }
            let name = cursor.string()?;
            cursor.colon()?;
            let index = names.iter().position(|wanted| wanted.as_bytes() == name.as_ref());
            let mut end = None;
            if let Some(index) = index.filter(|index| self.members[*index].is_none()) {
                self.members[index] = Some(cursor);
                end = visit(index, cursor);
            }
            match end {
                Some(end) => cursor = end,
                None => cursor.skip_value()?,
            }
            if !cursor.next_member()? {
                return Ok(());
            }
        }
    }

    /// An error about the whole body.
    pub(super) fn refuse(&self, reason: &str) -> Status {
        Status::invalid_argument(format!("JSON Value: {} {reason}", json_snippet(self.root)))
    }

    /// The name of the signature, the value of a member.
    pub(super) fn signature_name(&self, member: usize) -> Result<Option<String>, Status> {
        let Some(mut value) = self.members[member] else { return Ok(None) };
        if value.peek() != b'"' {
            return Err(self.refuse("not formatted correctly. 'signature_name' key must be a string value."));
        }
        let name = value.string()?;
        // An empty name means the default signature.
        Ok((!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned()))
    }
}
