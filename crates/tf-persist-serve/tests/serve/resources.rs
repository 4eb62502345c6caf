//! Servers that come and go in one process leave nothing behind.

use std::fs;
use std::time::Duration;

use tf_persist_testing::{in_own_process, wait_until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::common::TestServer;
use crate::common::http::{GET_HEALTHZ, read};

/// How many files and threads this process has.
fn files_and_threads() -> (usize, usize) {
    let count = |folder| fs::read_dir(folder).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// A server with a connection that has made a request and one that has not; stopped, or dropped while it runs.
async fn run_server(is_dropped: bool) {
    let server = TestServer::start(|_, _| ());
    let mut active = server.connect().await;
    active.write_all(GET_HEALTHZ.as_bytes()).await.unwrap();
    assert_eq!(read(&mut active).await.unwrap().code, 200);
    let _silent = TcpStream::connect(server.grpc).await.unwrap();
    if is_dropped { server.abort().await } else { server.stop().await }
}

#[test]
fn stopped_servers_leave_no_files_and_threads() {
    in_own_process("resources::stopped_servers_leave_no_files_and_threads", || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_keep_alive(Duration::from_millis(10))
            .enable_all()
            .build()
            .unwrap();
        // The first server sets up what stays.
        runtime.block_on(run_server(false));
        let (files, _) = files_and_threads();
        for is_dropped in [false, true] {
            (0..10).for_each(|_| runtime.block_on(run_server(is_dropped)));
            // The test's thread, the runtime's, one of its blocking threads, and the test harness's.
            wait_until("files are closed and threads have ended", || {
                let (open_files, threads) = files_and_threads();
                open_files <= files && threads <= 5
            });
        }
    });
}
