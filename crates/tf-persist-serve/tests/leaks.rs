//! Servers that come and go in one process leave nothing behind. A test of its own: others open files too.

use std::fs;
use std::time::{Duration, Instant};

use tf_persist_serve::{ModelSource, Server, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many files and threads this process has.
fn held() -> (usize, usize) {
    let count = |what| fs::read_dir(what).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// A server with a connection that has asked and one that has not; stopped, or dropped while it runs.
async fn one_server(is_dropped: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.models.source = Some(ModelSource::BasePath { name: "m".into(), path: folder.path().to_owned() });
    settings.http.address = Some(([127, 0, 0, 1], 0).into());
    settings.grpc.address = Some(([127, 0, 0, 1], 0).into());
    let server = Server::bind(settings).unwrap();
    let (rest, grpc) = (server.rest_address().unwrap(), server.grpc_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    let mut asks = TcpStream::connect(rest).await.unwrap();
    asks.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(timeout(PATIENCE, asks.read(&mut [0; 1024])).await.unwrap().unwrap() > 0);
    let _silent = TcpStream::connect(grpc).await.unwrap();
    if is_dropped {
        served.abort();
        assert!(timeout(PATIENCE, served).await.unwrap().unwrap_err().is_cancelled());
    } else {
        stop.send(()).unwrap();
        timeout(PATIENCE, served).await.unwrap().unwrap().unwrap();
    }
}

#[test]
fn servers_that_are_gone_leave_nothing_behind() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // What is set up once is set up now.
    runtime.block_on(one_server(false));
    let settled = |limit: (usize, usize)| {
        let begin = Instant::now();
        loop {
            let now = held();
            if now.0 <= limit.0 && now.1 <= limit.1 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{now:?} files and threads are more than {limit:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // This thread, the runtime's, one of its that waits for more work for a moment; and the harness's.
    let (files, _) = held();
    for is_dropped in [false, true] {
        (0..10).for_each(|_| runtime.block_on(one_server(is_dropped)));
        settled((files, 5));
    }
}
