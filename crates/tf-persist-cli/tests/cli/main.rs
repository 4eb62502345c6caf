//! Tests of the command line as users run it: the built binary, real models, whole processes.
//!
//! Nothing here needs Python. `run` and `export` need libtensorflow, as [`support::libtensorflow`] finds it; everything
//! else is tested with a libtensorflow that does not exist.

mod bad_input;
mod bad_variables;
mod batches;
mod columns;
mod command;
mod denormals;
mod deploy;
mod diff;
mod disk;
mod documented_names;
mod examples;
mod export;
mod export_options;
mod help;
mod hostile;
mod inputs;
mod inspect;
mod loop_command;
mod monitor;
mod old_graphs;
mod op_libraries;
mod outputs;
mod pack;
mod printing;
mod recorded;
mod remotes;
mod request_log;
mod requests;
mod run;
mod runtime;
mod scan;
mod sentences;
mod sequences;
mod serve;
mod serve_store;
mod serve_traffic;
mod signatures;
mod snippets;
mod stats;
mod store;
mod streams;
mod support;
mod tables;
mod tour;
mod train;
mod train_stops;
mod unrestored;
mod verify;
