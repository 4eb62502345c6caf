//! Ports and sockets.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the operating system holds until they are accepted.
const BACKLOG: u32 = 4096;
/// Open files that are no connections: models while they load, libraries, the log.
const OTHER_FILES: u64 = 1024;

/// Listens on an address, and says which port it is.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again takes its port over from connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Listens on a UNIX socket, in place of one that a server left behind.
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

/// Lets the process open as many files as connections need, as far as it may; says so if that is not far enough.
pub(crate) fn raise_open_files(connections: usize) {
    let wanted = (connections as u64).saturating_mul(2).saturating_add(OTHER_FILES);
    let found = getrlimit(Resource::Nofile);
    let Some(current) = found.current.filter(|current| *current < wanted) else { return };
    let reachable = found.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let limit = Rlimit { current: Some(reachable), maximum: found.maximum };
    let reached = if setrlimit(Resource::Nofile, limit).is_ok() { reachable } else { current };
    // One port alone at its limit is what may happen; both at once hardly do.
    if reached < connections as u64 + OTHER_FILES {
        tracing::warn!(
            open_files = reached,
            connections,
            "fewer files may be open at once (`ulimit -n`) than --max_connections lets connections be: more wait to be taken"
        );
    } else if reached < wanted {
        tracing::debug!(open_files = reached, wanted, "fewer files may be open at once than connections of both ports");
    }
}
