//! Messages as bytes, part by part. A decoded node takes three kilobytes, since a map of attributes allocates room for
//! eleven at once; encoded, it takes a hundred bytes.

use tf_persist_proto::protobuf::rt::WireType;
use tf_persist_proto::protobuf::{CodedOutputStream, Message};

use crate::reason::{Reason, Result};

/// The bytes of a message, in pieces that were never copied.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pieces: Vec<Vec<u8>>,
}

impl Encoded {
    /// The bytes of a message.
    pub(super) fn new(message: &impl Message) -> Result<Self> {
        Ok(Self { pieces: vec![message.write_to_bytes().map_err(failed)?] })
    }

    /// Appends a message as a field. A repeated field gets one more element.
    pub(super) fn push(&mut self, field: u32, message: &impl Message) -> Result<()> {
        if self.pieces.is_empty() {
            self.pieces.push(Vec::new());
        }
        let Some(last) = self.pieces.last_mut() else { return Ok(()) };
        let mut output = CodedOutputStream::vec(last);
        let written = output.write_tag(field, WireType::LengthDelimited).and_then(|()| {
            message.write_length_delimited_to(&mut output)?;
            output.flush()
        });
        written.map_err(failed)
    }

    /// Appends the fields of another part of the same message.
    pub(super) fn append(&mut self, mut other: Self) {
        self.pieces.append(&mut other.pieces);
    }

    /// The message as a field of another one.
    pub(super) fn into_field(mut self, field: u32) -> Result<Self> {
        let mut header = Vec::new();
        let mut output = CodedOutputStream::vec(&mut header);
        let written = output.write_tag(field, WireType::LengthDelimited).and_then(|()| {
            output.write_raw_varint64(self.len())?;
            output.flush()
        });
        written.map_err(failed)?;
        drop(output);
        self.pieces.insert(0, header);
        Ok(self)
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The bytes in one piece.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.pieces.iter().map(Vec::len).sum());
        // Each piece is freed when it is copied.
        self.pieces.into_iter().for_each(|piece| bytes.extend_from_slice(&piece));
        bytes
    }
}

fn failed(error: tf_persist_proto::protobuf::Error) -> Reason {
    Reason::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use tf_persist_proto::tensorflow::{GraphDef, MetaGraphDef, NodeDef, VersionDef};

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_whole_message() {
        let node = |name: &str| NodeDef { name: name.repeat(100), op: "NoOp".to_owned(), ..NodeDef::default() };
        let versions = GraphDef {
            versions: Some(VersionDef { producer: 7, ..VersionDef::default() }).into(),
            ..GraphDef::default()
        };
        let whole = MetaGraphDef {
            graph_def: Some(GraphDef { node: ["a", "", "b"].map(node).into(), ..versions.clone() }).into(),
            ..MetaGraphDef::default()
        };
        let mut graph = Encoded::default();
        for name in ["a", "", "b"] {
            graph.push(1, &node(name)).unwrap();
        }
        graph.append(Encoded::new(&versions).unwrap());
        let graph = graph.into_field(2).unwrap();
        assert_eq!(graph.len(), whole.compute_size());
        assert_eq!(graph.into_bytes(), whole.write_to_bytes().unwrap());
    }
}
