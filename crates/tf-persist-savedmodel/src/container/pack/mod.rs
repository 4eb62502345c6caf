//! Packs: a SavedModel as one file (`.tfpack`), or as bytes.
//!
//! A pack holds the files of a model folder, uncompressed, without any trace of where and when it was made: equal
//! models make equal bytes. [`SavedModel::open`](crate::SavedModel::open) takes the path of a pack or of a folder, and
//! [`SavedModel::from_bytes`](crate::SavedModel::from_bytes) a pack in memory.
//! [`SavedModel::save`](crate::SavedModel::save) to a path that ends in `.tfpack` and
//! [`SavedModel::to_bytes`](crate::SavedModel::to_bytes) write one.
//!
//! # What is in it
//!
//! `saved_model.pb` (or `saved_model.pbtxt`), `fingerprint.pb` as it is, and what an export copies: everything in
//! `variables`, `assets`, `assets.extra` and `debug`, `keras_metadata.pb` and `batching_params.pbtxt`. Empty folders
//! are not kept. Links inside the model are followed; those that lead out of it are refused.
//!
//! # The format
//!
//! A pack is a ZIP archive with uncompressed files, so `unzip`, Python's `zipfile` and every file manager can extract a
//! model without this library. Each set of files has exactly one such archive:
//!
//! ```text
//! for each file, sorted by the bytes of its name:
//!     local header, its extra field filled up so that the contents begin at a multiple of 64 bytes
//!     contents
//! SHA256SUMS           a file like the others: `<sha-256 in hex>  <name>` a line, which `sha256sum -c` reads
//! central directory    in the same order
//! end record           with the comment `tfpack 1 sha256=<sha-256 in hex>`: the digest of everything from the header of
//!                      SHA256SUMS on up to the digest itself
//! ```
//!
//! Dates are 1 January 1980, modes `0644`, names UTF-8 with `/`. ZIP64 is used where a number does not fit 32 bits, and
//! only there. The last 80 bytes of every version begin with `tfpack ` and the version.
//!
//! # What is checked
//!
//! On opening, everything except the contents: the digest of the table, and that headers and table equal, byte for
//! byte, those that would be written for their names, lengths and checksums. So there are no duplicate names, overlaps,
//! gaps, compressed files, links or folders. A name that is absolute, climbs out, has a backslash or a control
//! character, or lies in a file is refused. An archive that another program made of the same files is refused: unpack
//! it, and pack the folder.
//!
//! The SHA-256 of a file is compared when the whole file is read: graph, index and fingerprint when they are opened,
//! all files that TensorFlow reads when the model is loaded, every file when it is exported. Single variables that are
//! read from a shard are checked by the checksum of the checkpoint, as in a folder.
//!
//! SHA-256 identifies packs and files, which a CRC cannot. It is not a signature: anyone who can change a pack can
//! change its checksums.

mod items;
mod layout;
mod name;
mod read;
mod write;

pub(crate) use items::{Item, of_files, of_folder};
#[doc(hidden)]
pub use layout::Entry;
#[doc(hidden)]
pub use layout::push_hex;
pub use name::is_pack_path;
#[doc(hidden)]
pub use read::Pack;
pub(crate) use read::is_pack;
pub(crate) use write::{packed_length, write};

/// The version of the format that is written and read.
pub const FORMAT_VERSION: u32 = 1;

/// The most files of a pack.
pub const MAX_FILES: usize = 100_000;

/// The largest table: checksums and central directory take about two hundred bytes a file.
pub const MAX_TABLE_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
