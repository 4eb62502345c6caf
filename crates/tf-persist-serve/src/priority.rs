//! Low priority for threads that do not answer requests.

/// The niceness of low-priority threads.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lowers the priority of this thread below that of threads that answer requests.
pub(crate) fn lower_priority() {
    // On Linux this is the priority of one thread; on other systems it would be that of the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// The niceness of the calling thread (`proc_pid_stat(5)`).
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn lowers_the_priority_of_one_thread() {
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
