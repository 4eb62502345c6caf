//! Repairs the `:authority` header of requests over a UNIX socket.
//!
//! gRPC clients put the path of the socket there, percent-encoded or not (`:authority: tmp%2Fmodel.sock`). That is not
//! a valid host name, and `h2` refuses such requests (<https://github.com/hyperium/h2/pull/487>). The server does not
//! use the header. So invalid bytes of it are overwritten in place while the stream is read. To be removed when `h2`
//! accepts such names.

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Types of frames (section 6).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Flags of a HEADERS frame.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The name of the header, and its index in the static table (RFC 7541, appendix A).
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_INDEX: u64 = 1;

/// The position of the next byte in the stream of frames.
#[derive(Debug)]
enum Position {
    Preface(usize),
    FrameHead { bytes: [u8; 9], count: usize },
    PadLength,
    Skip(usize),
    Block,
}

/// The position of the next byte in a header block (RFC 7541, section 6).
#[derive(Debug, Clone, Copy)]
enum Field {
    Begin,
    /// In a number, with its bits so far and its meaning.
    Number {
        value: u64,
        shift: u32,
        of: Number,
    },
    NameLength,
    Name {
        left: u64,
        at: usize,
        is_like: bool,
    },
    ValueLength {
        is_authority: bool,
    },
    Value {
        left: u64,
        rewrite: bool,
    },
}

/// The meaning of a number.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// Not followed by a string.
    Alone,
    NameIndex,
    NameLength {
        plain: bool,
    },
    ValueLength {
        rewrite: bool,
    },
}

/// The state of the parser of one connection.
#[derive(Debug)]
pub struct UdsAuthorityRewriter {
    position: Position,
    field: Field,
    /// The rest of the payload of the current HEADERS frame, and how much of that is padding.
    left: usize,
    padding: usize,
    flags: u8,
}

impl Default for UdsAuthorityRewriter {
    /// The state at the start of a connection.
    fn default() -> Self {
        Self { position: Position::Preface(PREFACE), field: Field::Begin, left: 0, padding: 0, flags: 0 }
    }
}

impl UdsAuthorityRewriter {
    /// Overwrites invalid bytes of `:authority` in the next bytes of the stream.
    pub fn rewrite(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            // Bytes that do not matter are skipped together.
            if let Position::Preface(left) | Position::Skip(left) = &mut self.position {
                let passed = (*left).min(bytes.len() - at);
                *left -= passed;
                at += passed;
                if *left == 0 {
                    self.position = self.after_skip();
                }
                continue;
            }
            let byte = &mut bytes[at];
            at += 1;
            match &mut self.position {
                Position::FrameHead { bytes, count } => {
                    bytes[*count] = *byte;
                    *count += 1;
                    if *count == bytes.len() {
                        let head = *bytes;
                        self.position = self.frame(head);
                    }
                }
                Position::PadLength => {
                    self.left -= 1;
                    self.padding = usize::from(*byte).min(self.left);
                    self.position = self.after_padding();
                }
                _ => {
                    self.left -= 1;
                    self.field = self.field.next(byte);
                    if self.left <= self.padding {
                        self.position = self.end();
                    }
                }
            }
        }
    }

    /// The position after the head of a frame.
    fn frame(&mut self, head: [u8; 9]) -> Position {
        let [a, b, c, kind, flags, ..] = head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.padding = 0;
        self.flags = if kind == HEADERS { flags } else { 0 };
        match kind {
            HEADERS => self.field = Field::Begin,
            CONTINUATION => {}
            _ => return self.end(),
        }
        if self.flags & PADDED != 0 && self.left > 0 { Position::PadLength } else { self.after_padding() }
    }

    /// The position after the length of the padding.
    fn after_padding(&mut self) -> Position {
        let priority = if self.flags & PRIORITY != 0 { 5.min(self.left) } else { 0 };
        self.flags = 0;
        if priority == 0 {
            return if self.left <= self.padding { self.end() } else { Position::Block };
        }
        self.left -= priority;
        Position::Skip(priority)
    }

    /// The position after skipped bytes.
    fn after_skip(&mut self) -> Position {
        if self.left <= self.padding { self.end() } else { Position::Block }
    }

    /// The position from where the rest of a frame is skipped.
    fn end(&mut self) -> Position {
        let rest = std::mem::take(&mut self.left);
        self.padding = 0;
        if rest == 0 { Position::FrameHead { bytes: [0; 9], count: 0 } } else { Position::Skip(rest) }
    }
}

impl Field {
    /// The position after a byte of a header block. Overwrites the byte if it is invalid.
    fn next(self, byte: &mut u8) -> Self {
        match self {
            Self::Begin => match *byte {
                byte if byte & 0x80 != 0 => Self::number(byte, 7, Number::Alone),
                byte if byte & 0x40 != 0 => Self::number(byte, 6, Number::NameIndex),
                byte if byte & 0x20 != 0 => Self::number(byte, 5, Number::Alone),
                byte => Self::number(byte, 4, Number::NameIndex),
            },
            Self::Number { value, shift, of } => {
                let more = u64::from(*byte & 0x7f).checked_shl(shift).unwrap_or(0);
                let value = value.saturating_add(more);
                if *byte & 0x80 == 0 { of.is(value) } else { Self::Number { value, shift: shift + 7, of } }
            }
            // The first bit of a string marks it as compressed.
            Self::NameLength => Self::number(*byte, 7, Number::NameLength { plain: *byte & 0x80 == 0 }),
            Self::ValueLength { is_authority } => {
                Self::number(*byte, 7, Number::ValueLength { rewrite: is_authority && *byte & 0x80 == 0 })
            }
            Self::Name { left, at, is_like } => {
                let is_like = is_like && AUTHORITY.get(at) == Some(byte);
                if left > 1 {
                    return Self::Name { left: left - 1, at: at + 1, is_like };
                }
                Self::ValueLength { is_authority: is_like && at + 1 == AUTHORITY.len() }
            }
            Self::Value { left, rewrite } => {
                if rewrite && !byte.is_ascii_alphanumeric() && !matches!(*byte, b'.' | b'-' | b'_') {
                    *byte = b'-';
                }
                if left > 1 { Self::Value { left: left - 1, rewrite } } else { Self::Begin }
            }
        }
    }

    /// A number that begins in the low bits of a byte (section 5.1).
    fn number(byte: u8, bits: u32, of: Number) -> Self {
        let limit = u64::MAX >> (64 - bits);
        let number = u64::from(byte) & limit;
        if number < limit { of.is(number) } else { Self::Number { value: number, shift: 0, of } }
    }
}

impl Number {
    /// The position after this number.
    fn is(self, number: u64) -> Field {
        match self {
            Self::Alone => Field::Begin,
            Self::NameIndex if number == 0 => Field::NameLength,
            Self::NameIndex => Field::ValueLength { is_authority: number == AUTHORITY_INDEX },
            Self::NameLength { .. } if number == 0 => Field::ValueLength { is_authority: false },
            Self::NameLength { plain } => Field::Name { left: number, at: 0, is_like: plain },
            Self::ValueLength { .. } if number == 0 => Field::Begin,
            Self::ValueLength { rewrite } => Field::Value { left: number, rewrite },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// What a client sends, with this authority.
    fn stream(authority: &str) -> Vec<u8> {
        let mut stream = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        stream.extend(frame(4, 0, b"\0\x03\0\0%/"));
        // As Python's client writes it: names as literals.
        let named = |value: &str| {
            let mut block = b"@\x05:path\x04/a%b@\x0a:authority".to_vec();
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
            block.extend_from_slice(b"\x83\x86@\x02te\x02a/");
            block
        };
        stream.extend(frame(HEADERS, 4, &named(authority)));
        stream.extend(frame(0, 1, b"%/%/"));
        // As Java's client writes it: names by index; padded, with a priority.
        let mut block = vec![3, b'/', b'/', b'/', b'/', b'/'];
        block.extend([0x3f, 0xe1, 0x1f, 0x41, authority.len() as u8]);
        block.extend_from_slice(authority.as_bytes());
        block.extend(b"\x01\0\xff\x90\x01\x0f\x2f\x01/%/%");
        stream.extend(frame(HEADERS, 4 | PADDED | PRIORITY, &block));
        // In two frames; the second begins within the value.
        let block = named(authority);
        let (first, second) = block.split_at(28);
        stream.extend(frame(HEADERS, 0, first));
        stream.extend(frame(CONTINUATION, 4, second));
        stream.extend(frame(HEADERS, 4 | PADDED, b"\x03///"));
        stream.extend(frame(HEADERS, 4, b""));
        stream.extend(frame(0, 1, b"/"));
        stream
    }

    #[test]
    fn only_the_authority_is_overwritten() {
        for (sent, read) in
            [("tmp%2Fmodel.sock", "tmp-2Fmodel.sock"), ("/var/run/a.sock", "-var-run-a.sock"), ("a_b.c-D9", "a_b.c-D9")]
        {
            // In chunks of every size.
            for size in [1, 2, 3, 7, 1000] {
                let (mut found, mut rewriter) = (stream(sent), UdsAuthorityRewriter::default());
                found.chunks_mut(size).for_each(|piece| rewriter.rewrite(piece));
                assert_eq!(found, stream(read), "{sent} in pieces of {size}");
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_harmless() {
        let mut seed = 1_u64;
        for _ in 0..200 {
            let mut bytes: Vec<u8> = (0..500)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Short frames, many of which are headers.
                    if seed >> 63 == 0 { (seed >> 40) as u8 & 9 } else { (seed >> 33) as u8 }
                })
                .collect();
            let before = bytes.clone();
            UdsAuthorityRewriter::default().rewrite(&mut bytes);
            assert!(bytes.iter().zip(&before).all(|(after, before)| after == before || *after == b'-'));
            let (mut pieces, mut rewriter) = (before, UdsAuthorityRewriter::default());
            pieces.chunks_mut(3).for_each(|piece| rewriter.rewrite(piece));
            assert_eq!(pieces, bytes);
        }
    }
}
