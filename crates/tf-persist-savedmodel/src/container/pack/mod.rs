//! Packs: a SavedModel as one file (`.tfpack`), or as bytes.
//!
//! A pack holds the files of a model folder, uncompressed, and nothing of where and when it was made: equal models make equal
//! bytes. [`SavedModel::open`](crate::SavedModel::open) takes the path of a pack as it takes that of a folder, and
//! [`SavedModel::from_bytes`](crate::SavedModel::from_bytes) a pack from memory;
//! [`SavedModel::save`](crate::SavedModel::save) to a path that ends in `.tfpack` and [`SavedModel::to_bytes`](crate::SavedModel::to_bytes) make one.
//!
//! # What is in it
//!
//! `saved_model.pb` (or `saved_model.pbtxt`), `fingerprint.pb` as it is, and what an export copies: everything in `variables`,
//! `assets`, `assets.extra` and `debug`, `keras_metadata.pb` and `batching_params.pbtxt`. Empty folders are not kept. Links
//! inside the model are followed; those that lead out of it are refused.
//!
//! # The format
//!
//! A pack is a ZIP archive whose files are stored, so `unzip`, Python's `zipfile` and every file manager can take a model out
//! of it without this library. It is one certain archive of the many that a set of files could make:
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
//! Dates are 1 January 1980, modes `0644`, names UTF-8 with `/`. ZIP64 is used where a number does not fit 32 bits, and only there.
//! The last 80 bytes of every version begin with `tfpack ` and the version.
//!
//! # What is checked
//!
//! On opening, everything but the contents: the digest of the table, and that headers and table are to the byte what would be
//! written for the names, lengths and checksums that they give. So there is no second file of one name, no overlap, no gap, nothing
//! compressed, no link and no folder; a name that is absolute, climbs out, has a backslash or a control character, or stands
//! in a file is refused. An archive that some other program made of the same files is not taken: unpack it, and pack the folder.
//!
//! The SHA-256 of a file is compared when the file is taken out whole: graph, index and fingerprint when they are looked at, all
//! that TensorFlow reads when the model is loaded, every file when it is exported. Single variables read from a shard are checked by
//! the checksum that the checkpoint has of each, as in a folder.
//!
//! SHA-256 is what says whether two packs, or two files, are the same, which a CRC cannot. It is no signature: who can change a
//! pack can change its checksums.

mod items;
mod layout;
mod name;
mod read;
mod write;

pub(crate) use items::{Item, of_files, of_folder};
#[doc(hidden)]
pub use layout::Entry;
pub use name::is_pack_path;
#[doc(hidden)]
pub use read::Pack;
pub(crate) use read::is_pack;
pub(crate) use write::{packed_length, write};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The most files that a pack may have.
pub const MAX_FILES: usize = 100_000;

/// The largest table that is read: checksums and central directory take some two hundred bytes a file.
pub const MAX_TABLE_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
