//! Several requests at a time.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::{Result, StoreError};

/// Does all jobs in their order, `threads` at a time. After the first error no other is begun.
pub(crate) fn in_parallel<J: Send>(
    jobs: impl IntoIterator<Item = J>,
    threads: usize,
    work: impl Fn(J) -> Result<()> + Sync,
) -> Result<()> {
    let jobs: VecDeque<J> = jobs.into_iter().collect();
    let threads = threads.min(jobs.len()).max(1);
    let (jobs, has_failed) = (Mutex::new(jobs), AtomicBool::new(false));
    let next = || jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    let run = || -> Result<()> {
        while let Some(job) = next().filter(|_| !has_failed.load(Ordering::Relaxed)) {
            work(job).inspect_err(|_| has_failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut first: Result<(), StoreError> = run();
        for thread in running {
            match thread.join() {
                Ok(done) => first = first.and(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        first
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn all_jobs_are_done_once() {
        let sum = AtomicU64::new(0);
        in_parallel(1..=1000_u64, 7, |job| {
            sum.fetch_add(job, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 500_500);
    }

    #[test]
    fn an_error_ends_the_others() {
        let done = AtomicU64::new(0);
        let failed = in_parallel(0..1000, 2, |_| {
            done.fetch_add(1, Ordering::Relaxed);
            Err(StoreError::NotAStore { path: PathBuf::new(), instead: None })
        });
        assert!(failed.is_err());
        assert!(done.into_inner() <= 2);
    }
}
