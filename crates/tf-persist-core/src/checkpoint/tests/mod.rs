mod index;
mod read;
mod write;
