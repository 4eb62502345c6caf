//! A SavedModel with one of its meta graphs, without decoding any.

use tf_persist_proto::wire::Reader;

use super::{MetaGraph, SavedModel};

/// `SavedModel.meta_graphs`.
const META_GRAPHS: u32 = 2;

impl SavedModel {
    /// The serialized `SavedModel` with this meta graph only. All other fields stay, known or not.
    pub(crate) fn with_only(&self, meta_graph: &MetaGraph) -> Vec<u8> {
        let bytes = self.bytes();
        let kept = meta_graph.range();
        let mut alone = Vec::with_capacity(kept.len() + 64);
        let mut reader = Reader::new(bytes);
        let mut start = 0;
        // The file was surveyed when it was opened, so every field can be read.
        while let Ok(Some((field, _))) = reader.next() {
            let end = reader.position();
            if field != META_GRAPHS || end == kept.end {
                alone.extend_from_slice(&bytes[start..end]);
            }
            start = end;
        }
        alone
    }
}
