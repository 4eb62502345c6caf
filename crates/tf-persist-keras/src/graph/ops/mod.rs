//! The ops of TensorFlow that models are made of, as methods of [`Graph`](super::Graph).

mod array;
mod constant;
pub(crate) mod conv;
mod elementwise;
mod image;
mod index;
mod lists;
mod matrix;
pub(crate) mod nn;
mod number;
mod reduce;
pub(crate) mod slice;
mod sort;
pub(crate) mod strings;
mod table;
