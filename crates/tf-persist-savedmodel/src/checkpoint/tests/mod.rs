mod copy;
mod index;
mod locate;
mod read;
mod write;
