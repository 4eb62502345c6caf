//! Threads that stand back behind those that answer requests.

/// How much more room such a thread leaves to others, as `nice` counts it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets this thread stand back behind those that answer requests.
pub(crate) fn lower_priority() {
    // Of a thread, on Linux; elsewhere this would be the process's priority.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// The niceness of the thread that asks (`proc_pid_stat(5)`).
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn one_thread_stands_back() {
        let before = niceness();
        let (own, heir) = std::thread::spawn(|| {
            super::lower_priority();
            (niceness(), std::thread::spawn(niceness).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((own, heir), (super::NICENESS.max(before), super::NICENESS.max(before)));
        assert_eq!(niceness(), before);
    }
}
