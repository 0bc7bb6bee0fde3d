//! Work on files, done where it keeps no task waiting.
//!
//! A future can be dropped, work under way on another thread cannot. So that a call that was given up never undoes what a
//! later one did, work is told whether it is still wanted, and asks that after it took the lock that puts it in order with
//! other work: a later call begins after the earlier one was given up, so it takes that lock after the answer is no.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use callsign_core::error::{Error, ErrorKind, Result};

/// How long a piece of work may take before it is given up.
pub(super) const WORK_MAX: Duration = Duration::from_secs(5);

/// Whether somebody waits for the work.
#[derive(Debug, Clone)]
pub(super) struct Wanted(Arc<AtomicBool>);

/// Held by who waits.
struct Waiting(Wanted);

impl Wanted {
    /// For a call that was given up.
    #[cfg(test)]
    pub(super) fn by_nobody() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// Nobody waits any more: what was asked for is not to be done.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        if self.0.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Closed, op, "the call was given up before its turn came"))
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Does work on files on the blocking pool, for at most [`WORK_MAX`].
///
/// # Cancel safety
///
/// Work that has not begun when this is dropped is not done; work under way is done to its end.
pub(super) async fn blocking<T: Send + 'static>(
    op: &'static str,
    work: impl FnOnce(&Wanted) -> Result<T> + Send + 'static,
) -> Result<T> {
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let _waiting = Waiting(wanted.clone());
    let work = tokio::task::spawn_blocking(move || {
        wanted.check(op)?;
        work(&wanted)
    });
    match tokio::time::timeout(WORK_MAX, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            Err(Error::new(ErrorKind::Internal, op, "the work on files was broken off").with_source(error))
        }
        Err(_) => Err(slow(op)),
    }
}

/// The file system, or somebody who holds a lock on it, takes too long.
pub(super) fn slow(op: &'static str) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, op, format!("the file system took more than {WORK_MAX:?}"))
        .with_hint("see whether its disk still answers; set CALLSIGN_LOCAL_DIR to a folder on a tmpfs if it does not")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_under_way_learns_that_its_call_was_given_up() {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, may_go) = mpsc::channel();
        let (say, heard) = mpsc::channel();
        let call = blocking("test", move |wanted| {
            let _ = begun.send(wanted.check("test").is_ok());
            let _ = may_go.recv();
            let _ = say.send(wanted.check("test").is_ok());
            Ok(())
        });
        tokio::select! {
            biased;
            _ = call => panic!("the work cannot be done"),
            wanted = has_begun => assert!(wanted.unwrap()),
        }
        go.send(()).unwrap();
        assert!(!heard.recv().unwrap());
    }
}
