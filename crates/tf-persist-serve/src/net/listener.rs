//! Binds ports and sockets.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the operating system queues until they are accepted.
const BACKLOG: u32 = 4096;
/// Open files besides connections: models while they load, libraries, the log.
const OTHER_FILES: u64 = 1024;

/// Binds a TCP address. Returns the listener, and the address with the port that was bound.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server can bind the port although connections of the previous one are not closed yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Binds a UNIX socket, and replaces one that a crashed server left behind.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another server listens on it")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    UnixListener::bind(path)
}

/// Raises the limit of open files as far as permitted. Logs a warning if connections may reach it.
pub(crate) fn raise_open_files(connections: usize) {
    let wanted = (connections as u64).saturating_mul(2).saturating_add(OTHER_FILES);
    let found = getrlimit(Resource::Nofile);
    let Some(current) = found.current.filter(|current| *current < wanted) else { return };
    let reachable = found.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let limit = Rlimit { current: Some(reachable), maximum: found.maximum };
    let reached = if setrlimit(Resource::Nofile, limit).is_ok() { reachable } else { current };
    // One port may reach its limit of connections; both at once hardly will.
    if reached < connections as u64 + OTHER_FILES {
        tracing::warn!(
            open_files = reached,
            connections,
            "the limit of open files (`ulimit -n`) is below the limit of connections: further connections wait"
        );
    } else if reached < wanted {
        tracing::debug!(
            open_files = reached,
            wanted,
            "the limit of open files is below the limits of connections of both ports"
        );
    }
}
