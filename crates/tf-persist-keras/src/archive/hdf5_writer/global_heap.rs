//! Global heaps: collections of texts of a variable length.

/// The size from which on a collection takes no more texts. A reader reads whole collections.
const FULL: usize = 1 << 16;

/// The smallest collection (`H5HG_MINSIZE`).
const SMALLEST: usize = 4096;

const HEADER: usize = 16;

/// The texts of a file.
#[derive(Debug, Default)]
pub(super) struct GlobalHeap {
    collections: Vec<Vec<u8>>,
    /// The number of texts in the last collection.
    count: u16,
}

/// Where a text is.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeapObject {
    pub(super) collection: usize,
    pub(super) index: u16,
}

impl GlobalHeap {
    pub(super) fn add(&mut self, text: &[u8]) -> HeapObject {
        if self.count == u16::MAX || self.collections.last().is_none_or(|collection| collection.len() >= FULL) {
            // The signature and the version; the size is written at the end.
            self.collections.push(b"GCOL\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec());
            self.count = 0;
        }
        self.count += 1;
        let collection = self.collections.len() - 1;
        let bytes = &mut self.collections[collection];
        object(bytes, self.count, text.len());
        bytes.extend_from_slice(text);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        HeapObject { collection, index: self.count }
    }

    /// The finished collections.
    pub(super) fn into_collections(mut self) -> Vec<Vec<u8>> {
        for bytes in &mut self.collections {
            if bytes.len() < SMALLEST {
                // Object 0 is the free space with its own header; less than a header is left as it is.
                let free = SMALLEST - bytes.len();
                if free >= HEADER {
                    object(bytes, 0, free);
                }
                bytes.resize(SMALLEST, 0);
            }
            let size = bytes.len() as u64;
            bytes[8..16].copy_from_slice(&size.to_le_bytes());
        }
        self.collections
    }
}

/// The header of an object: its index, its reference count, which h5py leaves at 0, and its size.
fn object(bytes: &mut Vec<u8>, index: u16, size: usize) {
    bytes.extend_from_slice(&index.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&(size as u64).to_le_bytes());
}
