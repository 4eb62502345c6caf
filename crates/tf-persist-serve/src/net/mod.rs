//! Ports, connections, and the threads that serve them.

mod accept;
mod busy_poll;
mod listener;
mod observed_io;
mod stream;
mod worker_pool;

pub(crate) use accept::{Listener, Port};
pub(crate) use listener::{bind_tcp, bind_unix, raise_open_files};
pub(crate) use observed_io::{IoEvent, ObservedIo};
pub(crate) use stream::Peer;
pub(crate) use worker_pool::WorkerPool;
