//! `tf-persist run --batch-size`: rows of files, run batch by batch in constant memory.
//!
//! ```text
//! files → `Inputs` → batches → two runs at once → `Spool` (`FILE.partial`) → `finish` → FILE
//! ```
//!
//! The outputs are first appended to one plain file each. A state file beside them says how many rows are done, so a
//! run that was killed continues there; the file that the user named is made of them at the end. So each format of
//! output can be resumed in the same way, and an interrupted run gives the bytes of an unbroken one.

mod finish;
mod inputs;
mod pipeline;
mod progress;
mod run;
mod source;
mod spool;
mod state;

pub(super) use run::run;
