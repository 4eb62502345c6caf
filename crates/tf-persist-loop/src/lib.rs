//! The loop of a served model: watch what it is asked, train it on when that changes, and publish what is better.
//!
//! A loop has a configuration ([`Config`], `LOOP.toml`) and a state in the store of its model. [`Loop::run`] goes on
//! from that state: a process that is killed anywhere loses at most the training under way, and nothing is done twice.
//!
//! ```no_run
//! use tf_persist_core::LoadOptions;
//! use tf_persist_loop::{Config, Loop, Tools, Until};
//!
//! # fn main() -> tf_persist_loop::Result<()> {
//! let config = Config::read("loop.toml")?;
//! let tools = Tools::new(LoadOptions::default()).report(|line| println!("{}", line.text));
//! Loop::open(config, tools)?.run(Until::NothingToDo)?;
//! # Ok(())
//! # }
//! ```
//!
//! What is wrong with an attempt at a new version (data that cannot be read, a training that fails, a gate that does
//! not hold) ends the attempt, and the version in production stays. What keeps the loop itself from going on is a
//! [`LoopError`].

mod config;
mod data;
mod error;
mod gates;
mod machine;
mod serving;
mod state;
mod tools;
mod train;
mod watch;

pub use config::{
    Act, Canary, Config, Gates, Guard, HeldOut, Length, Metric, NewReference, Promote, Shadow, Train, Watch,
};
pub use error::{LoopError, Result};
pub use machine::{Loop, Until, plan};
pub use tools::{Line, Tools};
