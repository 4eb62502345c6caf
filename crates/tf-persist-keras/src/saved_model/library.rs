//! The functions of a graph, of which only the newest is decoded: a model has thousands of nodes, and decoded they need
//! ten times the memory of their bytes.

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::{FunctionDef, FunctionDefLibrary};

use crate::reason::{Reason, Result};

/// The number of `FunctionDefLibrary.function`.
const FUNCTION: u32 = 1;

/// A library that is being made.
#[derive(Default)]
pub(super) struct Library {
    encoded: FunctionDefLibrary,
    last: Option<FunctionDef>,
}

impl Library {
    /// Adds a function.
    pub(super) fn push(&mut self, function: FunctionDef) -> Result<()> {
        self.encode_last()?;
        self.last = Some(function);
        Ok(())
    }

    /// The function that was added last.
    pub(super) fn last(&self) -> Option<&FunctionDef> {
        self.last.as_ref()
    }

    /// The library, whose functions are fields that are not decoded.
    pub(super) fn finish(mut self) -> Result<FunctionDefLibrary> {
        self.encode_last()?;
        Ok(self.encoded)
    }

    fn encode_last(&mut self) -> Result<()> {
        let Some(function) = self.last.take() else { return Ok(()) };
        let bytes = function.write_to_bytes().map_err(|error| Reason::new(error.to_string()))?;
        self.encoded.special_fields.mut_unknown_fields().add_length_delimited(FUNCTION, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tf_persist_proto::tensorflow::OpDef;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_decoded_functions() {
        let named = |name: &str| {
            let signature = OpDef { name: name.to_owned(), ..OpDef::default() };
            FunctionDef { signature: Some(signature).into(), ..FunctionDef::default() }
        };
        let mut library = Library::default();
        assert!(library.last().is_none());
        for name in ["a", "", "b"] {
            library.push(named(name)).unwrap();
            assert_eq!(library.last().unwrap().signature.name, name);
        }
        let whole = FunctionDefLibrary { function: ["a", "", "b"].map(named).into(), ..FunctionDefLibrary::default() };
        let encoded = library.finish().unwrap();
        assert_eq!(encoded.write_to_bytes().unwrap(), whole.write_to_bytes().unwrap());
        assert_eq!(encoded.compute_size(), whole.compute_size());
    }
}
