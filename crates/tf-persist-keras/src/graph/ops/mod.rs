//! The ops of TensorFlow that models are made of, as methods of [`Graph`](super::Graph).

mod array;
mod constant;
mod elementwise;
mod nn;
mod reduce;
mod slice;
mod sort;
mod table;
