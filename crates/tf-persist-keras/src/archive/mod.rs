//! The containers of Keras files: zip archives, and HDF5 files with weights.

mod attribute;
mod byte_range;
mod file;
pub(crate) mod hdf5;
pub(crate) mod hdf5_writer;
pub(crate) mod zip;
pub(crate) mod zip_writer;

pub(crate) use attribute::Attribute;
pub(crate) use byte_range::ByteRange;
pub(crate) use file::read_file;
